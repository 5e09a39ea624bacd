//! Attempts that are expected to take more than the machine has left.

use crate::support::service::Service;
use jiff::Timestamp;
use millrace::job::{CancelMode, State};
use millrace::worker::{Amount, Gauge, Room};
use std::time::Duration;

/// A machine that has nothing left.
struct Full;

impl Gauge for Full {
    fn free(&self) -> Amount {
        Amount::default()
    }
}

fn held_back(service: &Service) -> u64 {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &service.engine.meters.registry).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("millrace_attempts_held_back_total{queue=\"archive\"} "));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_beside_others_for_what_its_like_have_taken() {
    let service = Service::in_room("concurrency = 2", Room::new(Full));
    // The first of its kind is let in, and so is one that is alone; both teach.
    for _ in 0..2 {
        let id = service.submit("a.txt", "hello", |_| {}).await;
        assert_eq!(service.ended(id).await.state, State::Succeeded);
    }
    assert_eq!(held_back(&service), 0);
    let other = service.submit("x.attack", "obedient", |_| {}).await;
    service.until(other, |job| job.progress.stage == "wait").await;
    let waiting = service.submit("a.txt", "hello", |_| {}).await;
    let told = async {
        while held_back(&service) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("it is held back");
    assert_eq!(service.job(waiting).await.state, State::Running);
    service.intake.store.cancel(other, CancelMode::Kill, Timestamp::now()).await.unwrap();
    assert_eq!(service.ended(waiting).await.state, State::Succeeded);
    let log = service.intake.store.log(waiting, 0).await.unwrap();
    assert!(log.iter().any(|line| line.message.starts_with("waits for room: it is expected to take ")), "{log:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_room_can_be_cancelled() {
    let service = Service::in_room("concurrency = 2", Room::new(Full));
    let taught = service.submit("a.txt", "hello", |_| {}).await;
    service.ended(taught).await;
    let other = service.submit("x.attack", "obedient", |_| {}).await;
    service.until(other, |job| job.progress.stage == "wait").await;
    let waiting = service.submit("a.txt", "hello", |_| {}).await;
    service.until(waiting, |job| job.state == State::Running).await;
    for id in [waiting, other] {
        service.intake.store.cancel(id, CancelMode::Soft, Timestamp::now()).await.unwrap();
        assert_eq!(service.ended(id).await.state, State::Cancelled);
    }
    service.stop().await;
}
