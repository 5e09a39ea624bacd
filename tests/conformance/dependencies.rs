//! Jobs that wait for others.

use super::{heard, on_every_store};
use crate::support::records::{at, finish, lease_request, new_job, store_of};
use millrace::failure::{Code, Failure};
use millrace::job::{CancelMode, Job, JobId, Lease, State};
use millrace::store::{Inserted, NewJob, Notice, PurgePolicy, StoreError};

fn after(dependencies: &[JobId], second: i64) -> NewJob {
    let mut new = new_job(second);
    new.record.job.after = dependencies.to_vec();
    new
}

fn running(job: JobId) -> Lease {
    Lease { job, attempt: 1 }
}

fn crashed() -> Option<Failure> {
    Some(Failure::new(Code::Crashed, "x"))
}

/// State and error of a job that may have failed for another.
fn fate(job: &Job) -> (State, Option<Code>) {
    (job.state, job.error.as_ref().map(|e| e.code))
}

const FAILED_FOR_ANOTHER: (State, Option<Code>) = (State::Failed, Some(Code::DependencyFailed));

#[test]
fn a_job_starts_when_all_it_waits_for_have_succeeded() {
    on_every_store(|store| async move {
        let (first, second) = (store_of(&store, new_job(0)).await, store_of(&store, new_job(1)).await);
        let waiting = store_of(&store, after(&[first, second, first], 2)).await;
        let job = store.get(waiting).await.unwrap().job;
        assert_eq!((job.state, job.after, job.waiting_on), (State::Queued, vec![first, second, first], vec![first, second]));
        assert_eq!(store.lease(lease_request(9, 40), at(3)).await.unwrap().len(), 2);
        assert!(store.due_since().await.unwrap().is_empty(), "what waits for others is not late");
        store.finish(finish(running(second), None, None), at(4)).await.unwrap().unwrap();
        assert_eq!(store.get(waiting).await.unwrap().job.waiting_on, [first]);
        assert!(store.lease(lease_request(9, 40), at(5)).await.unwrap().is_empty());
        let mut notices = store.notices();
        store.finish(finish(running(first), None, None), at(6)).await.unwrap().unwrap();
        heard(&mut notices, Notice::Ready("image".into())).await;
        let job = store.get(waiting).await.unwrap().job;
        assert_eq!((job.waiting_on, job.run_at, store.due_since().await.unwrap()["image"]), (vec![], at(6), at(6)));
        assert_eq!(store.lease(lease_request(9, 40), at(7)).await.unwrap()[0].job.id, waiting);
    });
}

#[test]
fn a_later_time_is_waited_for_as_well() {
    on_every_store(|store| async move {
        let first = store_of(&store, new_job(0)).await;
        let mut new = after(&[first], 1);
        new.record.job.run_at = at(100);
        let waiting = store_of(&store, new).await;
        store.lease(lease_request(1, 40), at(2)).await.unwrap();
        store.finish(finish(running(first), None, None), at(3)).await.unwrap().unwrap();
        assert_eq!(store.get(waiting).await.unwrap().job.run_at, at(100));
        assert!(store.lease(lease_request(1, 200), at(99)).await.unwrap().is_empty());
        assert_eq!(store.lease(lease_request(1, 200), at(100)).await.unwrap().len(), 1);
    });
}

#[test]
fn a_failure_takes_the_whole_chain_along_but_a_retry_does_not() {
    on_every_store(|store| async move {
        let first = store_of(&store, new_job(0)).await;
        let second = store_of(&store, after(&[first], 1)).await;
        let (third, beside) = (store_of(&store, after(&[second], 2)).await, store_of(&store, after(&[first], 2)).await);
        store.lease(lease_request(1, 40), at(3)).await.unwrap();
        store.finish(finish(running(first), crashed(), Some(at(5))), at(4)).await.unwrap().unwrap();
        assert_eq!(store.get(second).await.unwrap().job.state, State::Queued, "the first one will be tried again");
        store.lease(lease_request(1, 40), at(5)).await.unwrap();
        store.finish(finish(Lease { job: first, attempt: 2 }, crashed(), None), at(6)).await.unwrap().unwrap();
        for (job, by) in [(second, first), (third, second), (beside, first)] {
            let job = store.get(job).await.unwrap().job;
            assert_eq!((fate(&job), job.attempt, job.finished_at), (FAILED_FOR_ANOTHER, 0, Some(at(6))));
            assert!(job.error.unwrap().message.contains(&by.to_string()));
            assert_eq!(job.waiting_on, [by]);
            let kinds: Vec<_> = store.events(0, Some(job.id), 9).await.unwrap().into_iter().map(|e| e.kind).collect();
            assert_eq!(kinds, ["queued", "failed"]);
        }
    });
}

#[test]
fn a_cancel_a_purge_and_an_expiry_are_failures_too() {
    on_every_store(|store| async move {
        let elsewhere = |mut new: NewJob| {
            new.record.job.queue = "video".into();
            new
        };
        let mut brief = new_job(0);
        brief.record.job.expires_at = Some(at(5));
        let expiring = store_of(&store, brief).await;
        let (cancelled, purged) = (store_of(&store, new_job(1)).await, store_of(&store, elsewhere(new_job(2))).await);
        let mut waiting = Vec::new();
        for dependency in [cancelled, purged, expiring] {
            waiting.push(store_of(&store, after(&[dependency], 3)).await);
        }
        store.cancel(cancelled, CancelMode::Soft, at(4)).await.unwrap();
        store.purge_queue("video", at(4)).await.unwrap();
        store.reap(at(6), at(6)).await.unwrap();
        for id in waiting {
            assert_eq!(fate(&store.get(id).await.unwrap().job), FAILED_FOR_ANOTHER);
        }
        assert_eq!(store.counts().await.unwrap()["image"][&State::Queued], 0);
    });
}

#[test]
fn a_waiting_job_can_itself_be_cancelled() {
    on_every_store(|store| async move {
        let first = store_of(&store, new_job(0)).await;
        let second = store_of(&store, after(&[first], 1)).await;
        let third = store_of(&store, after(&[second], 2)).await;
        store.cancel(second, CancelMode::Soft, at(3)).await.unwrap();
        assert_eq!(fate(&store.get(third).await.unwrap().job), FAILED_FOR_ANOTHER);
        store.lease(lease_request(1, 40), at(4)).await.unwrap();
        store.finish(finish(running(first), None, None), at(5)).await.unwrap().unwrap();
        assert_eq!(store.get(second).await.unwrap().job.state, State::Cancelled);
    });
}

#[test]
fn what_has_ended_before_counts_at_once() {
    on_every_store(|store| async move {
        let (good, bad) = (store_of(&store, new_job(0)).await, store_of(&store, new_job(1)).await);
        store.lease(lease_request(2, 40), at(2)).await.unwrap();
        store.finish(finish(running(good), None, None), at(3)).await.unwrap().unwrap();
        store.finish(finish(running(bad), crashed(), None), at(3)).await.unwrap().unwrap();
        let inserted = store.insert(vec![after(&[good], 4), after(&[good, bad], 4)], at(4)).await.unwrap();
        let [Inserted::New(ready), Inserted::New(failed)] = &inserted[..] else { panic!("{inserted:?}") };
        assert_eq!((ready.state, &ready.waiting_on, fate(failed)), (State::Queued, &vec![], FAILED_FOR_ANOTHER));
        assert_eq!(store.get(failed.id).await.unwrap().job, *failed);
        assert_eq!(store.lease(lease_request(9, 40), at(5)).await.unwrap()[0].job.id, ready.id);
    });
}

#[test]
fn an_unknown_job_is_refused_and_nothing_is_kept() {
    on_every_store(|store| async move {
        let nobody = JobId::new();
        let (fine, wrong) = (new_job(0), after(&[nobody], 0));
        let (fine_id, itself) = (fine.record.job.id, new_job(0));
        let refused = store.insert(vec![fine, wrong], at(0)).await;
        assert!(matches!(refused, Err(StoreError::UnknownDependency(id)) if id == nobody), "{refused:?}");
        assert!(matches!(store.get(fine_id).await, Err(StoreError::NotFound(_))));
        let own = itself.record.job.id;
        let mut itself = itself;
        itself.record.job.after = vec![own];
        assert!(matches!(store.insert(vec![itself], at(0)).await, Err(StoreError::UnknownDependency(id)) if id == own));
        // Further up in the same list is known.
        let first = new_job(1);
        let second = after(&[first.record.job.id], 1);
        assert_eq!(store.insert(vec![first, second], at(1)).await.unwrap().len(), 2);
        assert_eq!(store.lease(lease_request(9, 40), at(2)).await.unwrap().len(), 1);
    });
}

#[test]
fn a_retried_job_waits_for_what_is_left() {
    on_every_store(|store| async move {
        let (good, bad) = (store_of(&store, new_job(0)).await, store_of(&store, new_job(1)).await);
        let waiting = store_of(&store, after(&[good, bad], 2)).await;
        store.lease(lease_request(2, 40), at(3)).await.unwrap();
        store.finish(finish(running(good), None, None), at(4)).await.unwrap().unwrap();
        store.finish(finish(running(bad), crashed(), None), at(5)).await.unwrap().unwrap();
        assert_eq!(fate(&store.retry(waiting, at(6)).await.unwrap()), FAILED_FOR_ANOTHER, "the other one is still failed");
        store.retry(bad, at(7)).await.unwrap();
        let job = store.retry(waiting, at(8)).await.unwrap();
        assert_eq!((fate(&job), job.waiting_on), ((State::Queued, None), vec![bad]));
        assert_eq!(store.lease(lease_request(9, 60), at(9)).await.unwrap().len(), 1);
        store.finish(finish(Lease { job: bad, attempt: 2 }, None, None), at(10)).await.unwrap().unwrap();
        assert_eq!(store.lease(lease_request(9, 60), at(11)).await.unwrap()[0].job.id, waiting);
    });
}

#[test]
fn removed_records_strand_nobody() {
    on_every_store(|store| async move {
        let (good, bad) = (store_of(&store, new_job(0)).await, store_of(&store, new_job(1)).await);
        let (ready, failed) = (store_of(&store, after(&[good], 2)).await, store_of(&store, after(&[bad], 2)).await);
        store.lease(lease_request(2, 40), at(3)).await.unwrap();
        store.finish(finish(running(good), None, None), at(4)).await.unwrap().unwrap();
        store.finish(finish(running(bad), crashed(), None), at(4)).await.unwrap().unwrap();
        for id in [good, bad] {
            store.remove(id).await.unwrap();
        }
        assert_eq!(fate(&store.get(failed).await.unwrap().job), FAILED_FOR_ANOTHER);
        assert!(matches!(store.retry(failed, at(5)).await, Err(StoreError::UnknownDependency(id)) if id == bad));
        assert_eq!(fate(&store.get(failed).await.unwrap().job), FAILED_FOR_ANOTHER);
        let policy = PurgePolicy { outputs_before: [].into(), records_before: [("image".to_owned(), at(1000))].into(), limit: 10 };
        assert_eq!(store.purge(policy, at(1000)).await.unwrap().records, 1);
        assert_eq!(store.lease(lease_request(9, 2000), at(1001)).await.unwrap()[0].job.id, ready);
    });
}

#[test]
fn a_long_chain_is_told_link_by_link() {
    on_every_store(|store| async move {
        let first = new_job(0);
        let root = first.record.job.id;
        let mut chain = vec![first];
        for n in 0..2500 {
            let mut next = chain[n].clone();
            next.record.job.id = JobId::new();
            next.record.job.after = vec![chain[n].record.job.id];
            chain.push(next);
        }
        let last = chain[2500].record.job.id;
        store.insert(chain, at(1)).await.unwrap();
        store.cancel(root, CancelMode::Soft, at(2)).await.unwrap();
        let queued = store.counts().await.unwrap()["image"][&State::Queued];
        assert!(queued > 0 && queued < 2500, "{queued}");
        // The first record may go before the last link is told.
        store.remove(root).await.unwrap();
        for _ in 0..2 {
            store.reap(at(3), at(3)).await.unwrap();
        }
        assert_eq!(store.counts().await.unwrap()["image"][&State::Queued], 0);
        let job = store.get(last).await.unwrap().job;
        assert_eq!((fate(&job), job.finished_at), (FAILED_FOR_ANOTHER, Some(at(2))));
    });
}

#[test]
fn a_thousand_dependents_of_one_job_all_start() {
    on_every_store(|store| async move {
        let root = store_of(&store, new_job(0)).await;
        let waiting = after(&[root], 1);
        let another = || {
            let mut another = waiting.clone();
            another.record.job.id = JobId::new();
            another
        };
        store.insert(std::iter::repeat_with(another).take(1500).collect(), at(1)).await.unwrap();
        store.lease(lease_request(1, 40), at(2)).await.unwrap();
        store.finish(finish(running(root), None, None), at(3)).await.unwrap().unwrap();
        assert_eq!(store.lease(lease_request(2000, 40), at(4)).await.unwrap().len(), 1000);
        store.reap(at(5), at(5)).await.unwrap();
        assert_eq!(store.lease(lease_request(2000, 40), at(6)).await.unwrap().len(), 500);
    });
}
