//! Slots that end a job and have their next one in the same round trip, those that close instead, and those that stand idle.

use crate::support::redis::RedisServer;
use crate::support::service::Service;
use jiff::Timestamp;
use millrace::job::{CancelMode, JobId, State};
use millrace::limits::Span;
use millrace::store::Tuning;
use millrace::store::redis::RedisStore;
use std::sync::Arc;
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

fn stalls(service: &Service) -> u64 {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &service.engine.meters.registry).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("millrace_slots_stalled_total{queue=\"archive\"} "));
    line.expect("the counter is there from the start").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_get_no_lease_while_jobs_are_due_are_counted() {
    let server = RedisServer::start(&[]);
    let store = RedisStore::open(&server.url("m")).await.unwrap();
    let mut service = Service::on("", |_| Arc::new(store));
    service.drain().await;
    let id = service.submit("a.txt", "hello", |_| {}).await;
    // Full memory refuses leases, and nothing else that a worker asks for.
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    service.resume();
    let counted = async {
        while stalls(&service) == 0 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(30), counted).await.expect("the stall is counted");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(service.ended(id).await.state, State::Succeeded);
    assert_eq!(stalls(&service), 1, "an episode counts once");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_work_or_have_nothing_to_do_are_no_stall() {
    let service = Service::start("concurrency = 2");
    // One slot works for longer than the other may stand idle, which now and then has a job; what waits is held back.
    let limit = Span(3500);
    let long = service.submit("x.attack", "obedient", |r| (r.soft_time_limit, r.max_attempts) = (Some(limit), Some(1))).await;
    let later = service.submit("a.txt", "hello", |r| r.run_at = Some(Timestamp::MAX)).await;
    for _ in 0..3 {
        let id = service.submit("a.txt", "hello", |_| {}).await;
        service.ended(id).await;
    }
    service.ended(long).await;
    assert_eq!((service.job(later).await.state, stalls(&service)), (State::Queued, 0));
    service.stop().await;
}
