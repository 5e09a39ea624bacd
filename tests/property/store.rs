//! Two workers race for leases while jobs are submitted, cancelled, finished, lost and retried: the store and a list in
//! memory must agree after every step.

use crate::support::records::{at, finish, lease_request, new_job, store_of};
use crate::support::redis::fresh_store;
use millrace::failure::{Code, Failure};
use millrace::job::{CancelMode, JobId, Lease, State};
use millrace::store::Store;
use millrace::store::sqlite::SqliteStore;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Verb {
    Insert { priority: u8, key: u8, delay: i64, equal: u8 },
    Lease { worker: usize },
    Finish { worker: usize, outcome: u8 },
    Release { worker: usize },
    Cancel { pick: usize },
    Retry { pick: usize },
    Wait { seconds: i64 },
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        4 => (prop_oneof![Just(0u8), Just(5), Just(9)], 0u8..3, prop_oneof![3 => Just(0i64), 1 => 1i64..20], 0u8..3)
            .prop_map(|(priority, key, delay, equal)| Verb::Insert { priority, key, delay, equal }),
        4 => (0usize..2).prop_map(|worker| Verb::Lease { worker }),
        3 => (0usize..2, 0u8..3).prop_map(|(worker, outcome)| Verb::Finish { worker, outcome }),
        1 => (0usize..2).prop_map(|worker| Verb::Release { worker }),
        1 => (0usize..20).prop_map(|pick| Verb::Cancel { pick }),
        1 => (0usize..20).prop_map(|pick| Verb::Retry { pick }),
        2 => (1i64..25).prop_map(|seconds| Verb::Wait { seconds }),
    ]
}

/// One job, as the model sees it.
#[derive(Debug, Clone)]
struct Modelled {
    id: JobId,
    state: State,
    priority: u8,
    /// 0: none.
    key: u8,
    /// The reuse key; 0: none.
    equal: u8,
    /// The equal job it waits for.
    follows: Option<JobId>,
    run_at: i64,
    turn: Option<u64>,
    attempt: u32,
    lost: u32,
    until: i64,
    cancel: bool,
}

/// The turns of due jobs: the highest one leased by priority, the last one given by priority and key.
#[derive(Default)]
struct Turns {
    leased: BTreeMap<u8, u64>,
    given: BTreeMap<(u8, u8), u64>,
}

impl Turns {
    fn promote(&mut self, jobs: &mut [Modelled], now: i64) {
        let mut due: Vec<_> =
            jobs.iter_mut().filter(|j| j.state == State::Queued && j.turn.is_none() && j.follows.is_none() && j.run_at <= now).collect();
        due.sort_by_key(|j| (j.run_at, j.id));
        for job in due {
            let last = self.given.entry((job.priority, job.key)).or_default();
            *last = 1 + (*last).max(self.leased.get(&job.priority).copied().unwrap_or(0));
            job.turn = Some(*last);
        }
    }
}

/// The job that one which would be due now follows.
fn leader(jobs: &[Modelled], priority: u8, key: u8, equal: u8, now: i64) -> Option<JobId> {
    let leads = |j: &&Modelled| match j.state {
        State::Running => true,
        State::Queued => j.follows.is_none() && j.run_at <= now && j.priority >= priority && j.key == key,
        _ => false,
    };
    jobs.iter().filter(|j| equal > 0 && j.equal == equal).find(leads).map(|j| j.id)
}

/// Those who followed what has ended are due.
fn let_go(jobs: &mut [Modelled], now: i64) {
    let ended: Vec<JobId> = jobs.iter().filter(|j| j.state.is_terminal()).map(|j| j.id).collect();
    for job in jobs.iter_mut() {
        if job.state.is_terminal() {
            job.follows = None;
        } else if job.follows.is_some_and(|id| ended.contains(&id)) {
            (job.follows, job.run_at) = (None, job.run_at.max(now));
        }
    }
}

/// What a lease in a worker's hand is good for.
fn held(jobs: &mut [Modelled], lease: Lease) -> Option<&mut Modelled> {
    jobs.iter_mut().find(|j| j.id == lease.job && j.attempt == lease.attempt && j.state == State::Running)
}

async fn play(store: Arc<dyn Store>, verbs: Vec<Verb>) {
    let (mut now, mut jobs, mut turns): (i64, Vec<Modelled>, Turns) = (1000, Vec::new(), Turns::default());
    // The last lease each worker got; it may be stale by now, and is used all the same.
    let mut hands: [Option<Lease>; 2] = [None, None];
    for verb in verbs {
        match verb {
            Verb::Insert { priority, key, delay, equal } => {
                let mut new = new_job(now);
                (new.record.job.priority, new.record.job.run_at) = (priority, at(now + delay));
                new.record.job.fairness_key = (key > 0).then(|| key.to_string());
                new.record.reuse_key = (equal > 0).then(|| equal.to_string());
                let follows = if delay == 0 { leader(&jobs, priority, key, equal, now) } else { None };
                // A job that is not due disturbs nobody's turn.
                let is_due = delay == 0 && follows.is_none();
                if is_due {
                    turns.promote(&mut jobs, now);
                }
                let id = store_of(&store, new).await;
                let run_at = now + delay;
                let fresh = Modelled {
                    id,
                    state: State::Queued,
                    priority,
                    key,
                    equal,
                    follows,
                    run_at,
                    turn: None,
                    attempt: 0,
                    lost: 0,
                    until: 0,
                    cancel: false,
                };
                jobs.push(fresh);
                if is_due {
                    turns.promote(&mut jobs, now);
                }
            }
            Verb::Lease { worker } => {
                turns.promote(&mut jobs, now);
                let due = (0..jobs.len()).filter(|i| jobs[*i].turn.is_some());
                let best = due.min_by_key(|i| (u8::MAX - jobs[*i].priority, jobs[*i].turn, *i));
                let leased = store.lease(lease_request(1, now + 30), at(now)).await.unwrap();
                assert_eq!(leased.first().map(|r| r.job.id), best.map(|i| jobs[i].id));
                if let Some(i) = best {
                    let job = &mut jobs[i];
                    (job.state, job.attempt, job.until) = (State::Running, job.attempt + 1, now + 30);
                    let highest = turns.leased.entry(job.priority).or_default();
                    *highest = (*highest).max(job.turn.take().unwrap());
                    hands[worker] = Some(Lease { job: job.id, attempt: job.attempt });
                }
            }
            Verb::Finish { worker, outcome } => {
                let Some(lease) = hands[worker] else { continue };
                let failure = (outcome > 0).then(|| Failure::new(Code::Crashed, "x"));
                let retry_at = (outcome == 2).then(|| at(now + 5));
                let told = store.finish(finish(lease, failure, retry_at), at(now)).await.unwrap();
                let model = held(&mut jobs, lease);
                assert_eq!(told.is_ok(), model.is_some(), "a finish counts exactly while its lease holds");
                if let Some(job) = model {
                    (job.state, job.run_at) = match outcome {
                        0 => (State::Succeeded, job.run_at),
                        2 if job.cancel => (State::Cancelled, job.run_at),
                        2 => (State::Queued, now + 5),
                        _ => (State::Failed, job.run_at),
                    };
                    job.cancel &= job.state == State::Queued;
                }
            }
            Verb::Release { worker } => {
                let Some(lease) = hands[worker] else { continue };
                let told = store.release(lease, vec![], at(now)).await.unwrap();
                let model = held(&mut jobs, lease);
                assert_eq!(told.is_ok(), model.is_some());
                if let Some(job) = model {
                    (job.state, job.run_at) = (if job.cancel { State::Cancelled } else { State::Queued }, now);
                    job.cancel = false;
                }
            }
            Verb::Cancel { pick } => {
                let Some(job) = jobs.get_mut(pick) else { continue };
                store.cancel(job.id, CancelMode::Soft, at(now)).await.unwrap();
                match job.state {
                    State::Queued => (job.state, job.turn) = (State::Cancelled, None),
                    State::Running => job.cancel = true,
                    _ => {}
                }
            }
            Verb::Retry { pick } => {
                let Some(job) = jobs.get_mut(pick) else { continue };
                let possible = matches!(job.state, State::Failed | State::Cancelled);
                assert_eq!(store.retry(job.id, at(now)).await.is_ok(), possible);
                if possible {
                    (job.state, job.run_at, job.lost, job.cancel) = (State::Queued, now, 0, false);
                }
            }
            Verb::Wait { seconds } => {
                now += seconds;
                store.reap(at(now), at(now)).await.unwrap();
                for job in jobs.iter_mut().filter(|j| j.state == State::Running && j.until < now) {
                    job.lost += 1;
                    job.state = match (job.lost, job.cancel) {
                        (3.., _) => State::Failed,
                        (_, true) => State::Cancelled,
                        _ => State::Queued,
                    };
                    (job.run_at, job.cancel) = (now, false);
                }
            }
        }
        let_go(&mut jobs, now);
        for job in &jobs {
            let stored = store.get(job.id).await.unwrap().job;
            assert_eq!(stored.waiting_on, Vec::from_iter(job.follows));
            assert_eq!((stored.state, stored.attempt, stored.recoveries), (job.state, job.attempt, job.lost));
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn the_store_agrees_with_the_model(verbs in proptest::collection::vec(verb(), 1..60)) {
        runtime().block_on(play(Arc::new(SqliteStore::in_memory().unwrap()), verbs));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn redis_agrees_with_the_model(verbs in proptest::collection::vec(verb(), 1..60)) {
        runtime().block_on(async {
            let (_server, store) = fresh_store().await;
            play(Arc::new(store), verbs).await;
        });
    }
}
