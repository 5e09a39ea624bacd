//! Many slots that end their jobs and take the next ones at the same time.

use super::on_every_store;
use crate::support::cutter::Cutter;
use crate::support::records::{at, finish, lease_request, new_job, store_of};
use crate::support::redis::RedisServer;
use futures::future::join_all;
use millrace::job::{JobId, Lease, Record, State};
use millrace::store::redis::RedisStore;
use millrace::store::{Filter, Store};
use std::collections::BTreeSet;
use std::sync::Arc;

const JOBS: usize = 120;

/// Ends and leases until nothing is left; the jobs that were run.
async fn slot(store: Arc<dyn Store>, first: Record) -> Vec<JobId> {
    let (mut run, mut next) = (Vec::new(), vec![first]);
    while let Some(record) = next.pop() {
        assert!(next.is_empty(), "a slot has one job");
        run.push(record.job.id);
        let lease = Lease { job: record.job.id, attempt: record.job.attempt };
        let (ended, leased) = store.finish_and_lease(finish(lease, None, None), lease_request(1, 90), at(200)).await.unwrap();
        assert_eq!(ended.unwrap().state, State::Succeeded);
        next = leased;
    }
    run
}

async fn all_are_run_once(store: Arc<dyn Store>) {
    let jobs = store.insert((0..JOBS as i64).map(new_job).collect(), at(130)).await.unwrap();
    let first = store.lease(lease_request(40, 90), at(140)).await.unwrap();
    let run: Vec<JobId> = join_all(first.into_iter().map(|record| slot(store.clone(), record))).await.concat();
    let all: BTreeSet<JobId> = jobs.iter().map(|inserted| inserted.job().id).collect();
    assert_eq!((run.len(), run.into_iter().collect::<BTreeSet<_>>()), (JOBS, all));
    let ended = store.list(Filter { limit: 500, ..Filter::default() }).await.unwrap();
    assert!(ended.len() == JOBS && ended.iter().all(|job| (job.state, job.attempt) == (State::Succeeded, 1)));
    assert_eq!(store.counts().await.unwrap()["image"][&State::Succeeded], JOBS as u64);
    let events = store.events(0, None, 1000).await.unwrap();
    assert!(events.iter().map(|event| event.seq).eq(1..=3 * JOBS as u64), "no number is left out");
}

#[test]
fn slots_that_end_at_once_have_each_its_own_next_job() {
    on_every_store(all_are_run_once);
}

#[test]
fn a_lost_answer_that_was_for_many_slots_is_none_of_theirs() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = RedisServer::start(&[]);
        let cutter = Cutter::before(server.port).await;
        let store = Arc::new(RedisStore::open(&format!("redis://127.0.0.1:{}/", cutter.port)).await.unwrap());
        cutter.lose_next_answer();
        let cutting = async {
            for cuts in 1..4 {
                while cutter.cuts() < cuts {
                    tokio::task::yield_now().await;
                }
                cutter.lose_next_answer();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = cutting => {}
            () = all_are_run_once(store) => {}
        }
        assert!(cutter.cuts() >= 3, "links were cut while slots ended");
    });
}

#[test]
fn the_events_of_one_job_are_found_among_those_of_many_and_after_it_is_gone() {
    on_every_store(|store| async move {
        let mut jobs: Vec<_> = (0..50).map(new_job).collect();
        let id = jobs[33].record.job.id;
        jobs[33].record.job.priority = 9;
        store.insert(jobs, at(60)).await.unwrap();
        store_of(&store, new_job(61)).await;
        let lease = Lease { job: store.lease(lease_request(1, 90), at(70)).await.unwrap()[0].job.id, attempt: 1 };
        assert_eq!(lease.job, id);
        store.finish(finish(lease, None, None), at(80)).await.unwrap().unwrap();
        let told = || async { store.events(0, Some(id), 10).await.unwrap().into_iter().map(|e| (e.seq, e.kind)).collect::<Vec<_>>() };
        let wanted = [(34, "queued".to_owned()), (52, "started".into()), (53, "succeeded".into())];
        assert_eq!(told().await, wanted);
        assert_eq!(store.events(34, Some(id), 1).await.unwrap()[0].seq, 52);
        assert_eq!(store.events(40, None, 5).await.unwrap().iter().map(|e| e.seq).collect::<Vec<_>>(), [41, 42, 43, 44, 45]);
        store.remove(id).await.unwrap();
        assert_eq!(told().await, wanted);
    });
}
