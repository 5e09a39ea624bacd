//! Slots that end a job and have their next one in the same round trip, and those that close instead.

use crate::support::service::Service;
use jiff::Timestamp;
use millrace::job::{CancelMode, JobId, State};
use millrace::store::Tuning;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_job_and_the_next_lease_are_one_step() {
    let service = Service::start("concurrency = 1");
    let pause = |paused| Tuning { paused: Some(paused), ..Tuning::default() };
    service.intake.store.tune("archive", pause(true), Timestamp::now()).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(service.submit("a.txt", "hello", |_| {}).await);
    }
    service.intake.store.tune("archive", pause(false), Timestamp::now()).await.unwrap();
    let mut ended: Option<Timestamp> = None;
    for id in ids {
        let attempt = service.ended(id).await.attempts[0].clone();
        // Told to the nanosecond: two steps would not have the same.
        assert!(ended.is_none_or(|ended| ended == attempt.started_at), "{ended:?} {attempt:?}");
        ended = attempt.finished_at;
    }
    service.stop().await;
}

/// Waits until the pool says that it has so many slots.
async fn until_slots(service: &Service, slots: u32) {
    let wait = async {
        let told = || async { service.intake.store.workers(Timestamp::now()).await.unwrap() };
        while !told().await.iter().flat_map(|worker| &worker.queues).any(|pool| pool.queue == "archive" && pool.slots == slots) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the pool hears of its slots");
}

async fn endless(service: &Service) -> JobId {
    service.submit("x.attack", "obedient", |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_not_wanted_any_more_takes_no_further_job() {
    let service = Service::start("concurrency = 2");
    let (first, second) = (endless(&service).await, endless(&service).await);
    for id in [first, second] {
        service.until(id, |job| job.state == State::Running).await;
    }
    let waiting = endless(&service).await;
    let store = &service.intake.store;
    store.tune("archive", Tuning { concurrency: Some(1), ..Tuning::default() }, Timestamp::now()).await.unwrap();
    until_slots(&service, 1).await;
    store.cancel(first, CancelMode::Kill, Timestamp::now()).await.unwrap();
    service.ended(first).await;
    // Its slot would have taken it with the end of the first.
    assert_eq!(service.job(waiting).await.state, State::Queued);
    store.cancel(second, CancelMode::Kill, Timestamp::now()).await.unwrap();
    service.until(waiting, |job| job.state == State::Running).await;
    store.cancel(waiting, CancelMode::Kill, Timestamp::now()).await.unwrap();
    service.ended(waiting).await;
    service.stop().await;
}
