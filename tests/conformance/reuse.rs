//! Jobs that are equal: which answers another, and which waits for which.

use super::{heard, on_every_store};
use crate::support::records::{at, finish, lease_request, new_job, store_of};
use millrace::failure::{Code, Failure};
use millrace::format::Format;
use millrace::job::{CancelMode, Job, JobId, Lease, State};
use millrace::store::{Finish, Inserted, LeaseRequest, NewJob, Notice, OutputDone, PurgePolicy, Store};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A job with this reuse key.
fn keyed(key: &str, second: i64) -> NewJob {
    let mut new = new_job(second);
    new.record.reuse_key = Some(key.into());
    new
}

fn changed(mut new: NewJob, change: impl FnOnce(&mut NewJob)) -> NewJob {
    change(&mut new);
    new
}

/// An end with one published file.
fn made(lease: Lease) -> Finish {
    let artifacts = BTreeMap::from([("a".to_owned(), format!("jobs/{}/{}/0", lease.job, lease.attempt))]);
    Finish { output: Some(OutputDone { group: "a".into(), entries: vec![], artifacts }), ..finish(lease, None, None) }
}

fn crashed(lease: Lease, retry_at: Option<i64>) -> Finish {
    finish(lease, Some(Failure::new(Code::Crashed, "x")), retry_at.map(at))
}

/// Leases what is due.
async fn leased(store: &Arc<dyn Store>, second: i64) -> Vec<JobId> {
    store.lease(lease_request(50, second + 30), at(second)).await.unwrap().into_iter().map(|r| r.job.id).collect()
}

/// A job that succeeds at this second.
async fn done(store: &Arc<dyn Store>, new: NewJob, second: i64) -> JobId {
    let id = store_of(store, new).await;
    assert_eq!(leased(store, second).await, [id]);
    store.finish(made(Lease { job: id, attempt: 1 }), at(second)).await.unwrap().unwrap();
    id
}

async fn answer(store: &Arc<dyn Store>, key: &str) -> Option<JobId> {
    store.answer(key).await.unwrap().map(|record| record.job.id)
}

async fn job(store: &Arc<dyn Store>, id: JobId) -> Job {
    store.get(id).await.unwrap().job
}

/// Due for a worker and waiting for nobody.
async fn is_due(store: &Arc<dyn Store>, id: JobId) -> bool {
    let job = job(store, id).await;
    job.state == State::Queued && job.waiting_on.is_empty()
}

#[test]
fn the_equal_job_that_ended_last_and_has_its_bytes_answers() {
    on_every_store(|store| async move {
        let first = done(&store, keyed("k", 0), 1).await;
        assert_eq!(answer(&store, "k").await, Some(first));
        let record = store.answer("k").await.unwrap().unwrap();
        assert!(record.is_whole() && record.artifacts["a"].contains(&first.to_string()), "{record:?}");
        let second = done(&store, keyed("k", 2), 3).await;
        done(&store, new_job(4), 5).await;
        let other = done(&store, keyed("other", 6), 7).await;
        assert_eq!((answer(&store, "k").await, answer(&store, "other").await), (Some(second), Some(other)));
        assert_eq!(answer(&store, "").await, None);
        // Whose bytes are purged answers nothing more, nor whose record is gone.
        store.remove(second).await.unwrap();
        assert_eq!(answer(&store, "k").await, Some(first));
        let policy = |outputs, records| PurgePolicy {
            outputs_before: [("image".to_owned(), at(outputs))].into(),
            records_before: [("image".to_owned(), at(records))].into(),
            limit: 100,
        };
        assert_eq!(store.purge(policy(2, 0), at(9)).await.unwrap().outputs, 1);
        assert_eq!((answer(&store, "k").await, job(&store, first).await.state), (None, State::Succeeded));
        store.purge(policy(0, 100), at(100)).await.unwrap();
        assert_eq!(answer(&store, "other").await, None);
    });
}

#[test]
fn what_failed_or_lacks_something_answers_nothing() {
    on_every_store(|store| async move {
        let failed = store_of(&store, keyed("k", 0)).await;
        leased(&store, 1).await;
        store
            .finish(Finish { output: made(Lease { job: failed, attempt: 1 }).output, ..crashed(Lease { job: failed, attempt: 1 }, None) }, at(1))
            .await
            .unwrap()
            .unwrap();
        let empty = store_of(&store, keyed("k", 2)).await;
        leased(&store, 3).await;
        store.finish(finish(Lease { job: empty, attempt: 1 }, None, None), at(3)).await.unwrap().unwrap();
        let lacking = done(&store, changed(keyed("k", 4), |new| new.record.job.outputs = vec![lost()]), 5).await;
        assert!(job(&store, lacking).await.partial);
        assert_eq!(answer(&store, "k").await, None);
        // Queued again and done in full, it does.
        store.retry(failed, at(6)).await.unwrap();
        assert_eq!(leased(&store, 7).await, [failed]);
        assert_eq!(answer(&store, "k").await, None);
        let again = Lease { job: failed, attempt: 2 };
        let ended = store.finish(Finish { reused: true, ..made(again) }, at(8)).await.unwrap().unwrap();
        assert!(ended.reused && job(&store, failed).await.reused);
        assert_eq!(answer(&store, "k").await, Some(failed));
        // Retried, and its bytes purged, the one that lacked something never answered.
        store.retry(lacking, at(9)).await.unwrap();
        assert_eq!(answer(&store, "k").await, Some(failed));
    });
}

/// An output that has failed.
fn lost() -> millrace::job::Output {
    let to = Format::parse("webp").unwrap();
    serde_json::from_value(serde_json::json!({
        "name": "b", "group": "b", "converter": "image.transcode", "to": to, "preset": null, "options": null, "state": "failed",
        "progress": millrace::progress::Progress::default(), "error": null, "size_bytes": null, "sha256": null, "format": to, "verification": null,
        "url": null, "ready_at": null,
    }))
    .unwrap()
}

#[test]
fn an_equal_job_follows_one_in_flight_and_is_due_when_that_has_ended() {
    on_every_store(|store| async move {
        let leader = store_of(&store, keyed("k", 0)).await;
        let inserted = store.insert(vec![keyed("k", 1), keyed("other", 1), new_job(1)], at(1)).await.unwrap();
        let [Inserted::New(early), Inserted::New(other), Inserted::New(plain)] = &inserted[..] else { panic!("{inserted:?}") };
        assert_eq!((&early.waiting_on, &early.after, &other.waiting_on, &plain.waiting_on), (&vec![leader], &vec![], &vec![], &vec![]));
        assert_eq!(job(&store, early.id).await.waiting_on, [leader]);
        assert_eq!(leased(&store, 2).await, [leader, other.id, plain.id]);
        // Of one that runs, and never of a follower.
        let late = store_of(&store, keyed("k", 3)).await;
        assert_eq!(job(&store, late).await.waiting_on, [leader]);
        assert!(leased(&store, 4).await.is_empty() && store.due_since().await.unwrap().is_empty());
        let mut notices = store.notices();
        store.finish(made(Lease { job: leader, attempt: 1 }), at(5)).await.unwrap().unwrap();
        heard(&mut notices, Notice::Ready("image".into())).await;
        assert_eq!((job(&store, late).await.waiting_on, job(&store, late).await.run_at), (vec![], at(5)));
        assert_eq!((leased(&store, 6).await, answer(&store, "k").await), (vec![early.id, late], Some(leader)));
        let kinds: Vec<_> = store.events(0, Some(late), 9).await.unwrap().into_iter().map(|e| e.kind).collect();
        assert_eq!(kinds, ["queued", "started"]);
    });
}

#[test]
fn jobs_that_come_together_follow_the_first() {
    on_every_store(|store| async move {
        let jobs: Vec<NewJob> = (0..20).map(|_| keyed("k", 0)).collect();
        let inserted = store.insert(jobs, at(0)).await.unwrap();
        let leader = inserted[0].job().id;
        assert!(inserted[1..].iter().all(|i| i.job().waiting_on == [leader]), "{inserted:?}");
        assert_eq!(leased(&store, 1).await, [leader]);
        store.finish(made(Lease { job: leader, attempt: 1 }), at(2)).await.unwrap().unwrap();
        assert_eq!(leased(&store, 3).await.len(), 19);
    });
}

#[test]
fn whatever_ends_a_leader_lets_its_followers_go() {
    on_every_store(|store| async move {
        // By a failure, which is told once it is final.
        let (leader, follower) = (store_of(&store, keyed("k", 0)).await, store_of(&store, keyed("k", 1)).await);
        leased(&store, 2).await;
        store.finish(crashed(Lease { job: leader, attempt: 1 }, Some(10)), at(3)).await.unwrap().unwrap();
        assert_eq!(job(&store, follower).await.waiting_on, [leader]);
        assert_eq!(leased(&store, 10).await, [leader]);
        store.finish(crashed(Lease { job: leader, attempt: 2 }, None), at(11)).await.unwrap().unwrap();
        assert!(is_due(&store, follower).await && job(&store, follower).await.error.is_none());
        // Now it leads.
        let next = store_of(&store, keyed("k", 12)).await;
        assert_eq!(job(&store, next).await.waiting_on, [follower]);
        assert_eq!(leased(&store, 12).await, [follower]);
        // By a lease lost for the third time.
        for (second, attempt) in [(100, 1), (200, 2), (300, 3)] {
            assert_eq!(job(&store, next).await.waiting_on, [follower]);
            store.reap(at(second), at(second)).await.unwrap();
            assert_eq!(leased(&store, second).await.contains(&follower), attempt < 3);
        }
        assert_eq!(job(&store, follower).await.state, State::Failed);
        assert_eq!(job(&store, next).await.state, State::Running);
        // By a cancel, soon and late, and by an expiry.
        store.cancel(next, CancelMode::Soft, at(301)).await.unwrap();
        let brief = changed(keyed("k", 301), |new| new.record.job.expires_at = Some(at(320)));
        let brief = store_of(&store, brief).await;
        store.finish(crashed(Lease { job: next, attempt: 1 }, Some(900)), at(302)).await.unwrap().unwrap();
        assert!(is_due(&store, brief).await);
        let last = store_of(&store, keyed("k", 303)).await;
        assert_eq!(job(&store, last).await.waiting_on, [brief]);
        store.reap(at(321), at(321)).await.unwrap();
        assert!(is_due(&store, last).await);
        let waiting = store_of(&store, keyed("k", 322)).await;
        store.cancel(last, CancelMode::Soft, at(323)).await.unwrap();
        assert!(is_due(&store, waiting).await);
        // By a purge of the queue, which takes the followers along.
        store_of(&store, keyed("k", 324)).await;
        assert_eq!(store.purge_queue("image", at(325)).await.unwrap(), 2);
        assert_eq!(store.counts().await.unwrap()["image"][&State::Queued], 0);
        let fresh = store_of(&store, keyed("k", 326)).await;
        assert_eq!(leased(&store, 327).await, [fresh], "nobody is left to follow");
    });
}

#[test]
fn nobody_follows_what_would_come_no_sooner() {
    on_every_store(|store| async move {
        let later = store_of(&store, changed(keyed("k", 0), |new| new.record.job.run_at = at(500))).await;
        let low = store_of(&store, changed(keyed("k", 1), |new| new.record.job.priority = 3)).await;
        let usual = store_of(&store, keyed("k", 2)).await;
        let site = store_of(&store, changed(keyed("k", 3), |new| new.record.job.fairness_key = Some("site-a".into()))).await;
        let token = |id: &str| id.to_owned();
        let owned = store_of(&store, changed(keyed("k", 4), |new| new.record.owner = Some(token("t1")))).await;
        for id in [later, low, usual, site, owned] {
            assert!(is_due(&store, id).await, "none of them is another's equal in line");
        }
        let follows = |new: NewJob| {
            let store = store.clone();
            async move {
                let id = store_of(&store, new).await;
                job(&store, id).await.waiting_on
            }
        };
        let site_a = |new: &mut NewJob| new.record.job.fairness_key = Some("site-a".into());
        assert_eq!(follows(changed(keyed("k", 5), |new| new.record.job.priority = 0)).await, [low], "the oldest of two");
        assert_eq!(follows(keyed("k", 5)).await, [usual]);
        assert_eq!(follows(keyed("k", 1)).await, [usual], "of two that come at once the later one may be kept first");
        assert_eq!(follows(changed(keyed("k", 5), site_a)).await, [site]);
        assert_eq!(follows(changed(keyed("k", 5), |new| new.record.owner = Some(token("t1")))).await, [owned]);
        assert!(follows(changed(keyed("k", 5), |new| new.record.owner = Some(token("t2")))).await.is_empty());
        assert!(follows(changed(keyed("k", 5), |new| new.record.job.run_at = at(400))).await.is_empty());
        assert!(follows(changed(keyed("k", 5), |new| new.record.job.priority = 9)).await.is_empty());
        // What waits for others neither leads nor follows.
        let waiting = |second| changed(keyed("w", second), |new| new.record.job.after = vec![usual]);
        let bound = store_of(&store, waiting(6)).await;
        assert_eq!(job(&store, bound).await.waiting_on, [usual]);
        assert!(follows(keyed("w", 7)).await.is_empty());
        // One that runs is followed whatever its place in line was.
        store.lease(LeaseRequest { max: 50, ..lease_request(50, 60) }, at(8)).await.unwrap();
        assert_eq!(follows(changed(keyed("k", 9), |new| new.record.job.priority = 9)).await, [low]);
    });
}

#[test]
fn a_follower_has_ways_of_its_own() {
    on_every_store(|store| async move {
        let leader = store_of(&store, keyed("k", 0)).await;
        let cancelled = store_of(&store, keyed("k", 1)).await;
        let brief = store_of(&store, changed(keyed("k", 1), |new| new.record.job.expires_at = Some(at(5)))).await;
        let bound = store_of(&store, changed(new_job(1), |new| new.record.job.after = vec![cancelled])).await;
        let ended = store.cancel(cancelled, CancelMode::Soft, at(2)).await.unwrap();
        assert_eq!((ended.state, ended.waiting_on), (State::Cancelled, vec![]));
        assert_eq!(job(&store, bound).await.error.unwrap().code, Code::DependencyFailed, "those that come after it are another matter");
        assert_eq!(leased(&store, 6).await, [leader]);
        assert_eq!(job(&store, brief).await.error.unwrap().code, Code::Expired);
        // Retried, it follows nobody, and may lead.
        let retried = store.retry(cancelled, at(7)).await.unwrap();
        assert_eq!((retried.state, &retried.waiting_on), (State::Queued, &vec![]));
        assert_eq!(leased(&store, 8).await, [cancelled]);
        store.finish(made(Lease { job: leader, attempt: 1 }), at(9)).await.unwrap().unwrap();
        assert_eq!(job(&store, cancelled).await.state, State::Running, "it was told of nothing");
        assert_eq!(job(&store, brief).await.state, State::Failed);
        let late = store_of(&store, keyed("k", 10)).await;
        assert_eq!(job(&store, late).await.waiting_on, [cancelled]);
        store.release(Lease { job: cancelled, attempt: 1 }, vec![], at(11)).await.unwrap().unwrap();
        assert_eq!(job(&store, late).await.waiting_on, [cancelled], "an interruption is no end");
        // The record of a leader may go before its followers run.
        assert_eq!(leased(&store, 12).await, [cancelled]);
        store.finish(made(Lease { job: cancelled, attempt: 2 }), at(13)).await.unwrap().unwrap();
        store.remove(cancelled).await.unwrap();
        assert_eq!(leased(&store, 14).await, [late]);
    });
}
