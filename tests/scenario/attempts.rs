//! How attempts end: each cause has its code, its time and its consequence.

use crate::support::service::Service;
use jiff::{SignedDuration, Timestamp};
use millrace::clock::{Clock, ManualClock};
use millrace::failure::Code;
use millrace::format::Format;
use millrace::job::{CancelMode, State};
use millrace::limits::Span;
use millrace::store::{LeaseRequest, Tuning};
use std::time::{Duration, Instant};

/// Fast retries, so that a test sees them.
const FAST: &str = "retry_delay = \"100ms\"\nretry_delay_max = \"200ms\"\nmemory_max = \"256MiB\"";

fn code(job: &millrace::job::Job) -> Option<Code> {
    job.error.as_ref().map(|e| e.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_succeeds_with_its_proof_and_its_bytes() {
    let service = Service::start(FAST);
    let id = service.submit("a.txt", "hello", |_| {}).await;
    let job = service.ended(id).await;
    assert_eq!((job.state, job.attempt, code(&job)), (State::Succeeded, 1, None));
    let output = &job.outputs[0];
    assert_eq!((output.name.as_str(), output.size_bytes, output.state), ("a.noop", Some(2), State::Succeeded));
    let record = service.intake.store.get(id).await.unwrap();
    let mut text = String::new();
    let mut opened = service.intake.blobs.open(&record.artifacts["a.noop"], None).await.unwrap();
    tokio::io::AsyncReadExt::read_to_string(&mut opened.bytes, &mut text).await.unwrap();
    assert_eq!(text, "ok");
    assert!(job.attempts[0].sandbox_level >= 3 && job.attempts[0].finished_at.is_some());
    assert!(!service.intake.store.log(id, 0).await.unwrap().is_empty());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_input_is_measured_however_short_the_job_is() {
    let service = Service::start(FAST);
    let zip = std::fs::read(crate::support::direct::fixture("archive/zip/good/mixed.zip")).unwrap();
    let id = service.submit("a.zip", zip, |r| r.to = Format::parse("json")).await;
    let job = service.ended(id).await;
    assert!(job.input.as_ref().unwrap().media.entries.is_some_and(|n| n > 0), "{:?}", job.input);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hard_limit_kills_what_does_not_listen() {
    let service = Service::start(FAST);
    for attack in ["busy-loop", "sleep-stopped"] {
        let id = service
            .submit("x.attack", attack, |r| {
                (r.soft_time_limit, r.hard_time_limit, r.max_attempts) = (Some(Span(500)), Some(Span(1000)), Some(1));
            })
            .await;
        let job = service.until(id, |j| j.state == State::Running || j.state.is_terminal()).await;
        let started = job.started_at.unwrap();
        let job = service.ended(id).await;
        assert_eq!((job.state, code(&job)), (State::Failed, Some(Code::HardTimeLimit)), "{attack}: {:?}", job.error);
        let took = job.finished_at.unwrap().duration_since(started);
        assert!(took.as_millis() >= 1000 && took.as_millis() < 2500, "{attack} took {took:?}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_soft_limit_is_heeded_by_the_obedient() {
    let service = Service::start(FAST);
    let id = service.submit("x.attack", "obedient", |r| (r.soft_time_limit, r.max_attempts) = (Some(Span(500)), Some(1))).await;
    let job = service.ended(id).await;
    assert_eq!((job.state, code(&job)), (State::Failed, Some(Code::SoftTimeLimit)));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_running_job_softly_or_by_force() {
    let service = Service::start(FAST);
    for (attack, mode) in [("obedient", CancelMode::Soft), ("busy-loop", CancelMode::Kill)] {
        let id = service.submit("x.attack", attack, |_| {}).await;
        service.until(id, |j| j.state == State::Running).await;
        let asked = Instant::now();
        service.intake.store.cancel(id, mode, jiff::Timestamp::now()).await.unwrap();
        let job = service.ended(id).await;
        assert_eq!((job.state, code(&job), job.failures), (State::Cancelled, Some(Code::Cancelled), 0), "{attack}");
        assert!(asked.elapsed() < Duration::from_secs(3), "{attack} took {:?}", asked.elapsed());
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_are_retried_until_the_attempts_are_used_up() {
    let service = Service::start(FAST);
    let id = service.submit("x.attack", "crash", |_| {}).await;
    let job = service.ended(id).await;
    assert_eq!((job.state, code(&job), job.attempt, job.failures), (State::Failed, Some(Code::Crashed), 3, 3));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn walls_end_the_job_with_their_own_code() {
    let service = Service::start(FAST);
    for (attack, wanted, attempts) in [("allocate", Code::OutOfMemory, 2), ("exec", Code::PolicyViolation, 1)] {
        let id = service.submit("x.attack", attack, |_| {}).await;
        let job = service.ended(id).await;
        assert_eq!((job.state, code(&job), job.attempt), (State::Failed, Some(wanted), attempts), "{attack}: {:?}", job.error);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_gives_jobs_back_without_a_failure() {
    let mut service = Service::start(FAST);
    let id = service.submit("x.attack", "obedient", |_| {}).await;
    service.until(id, |j| j.state == State::Running).await;
    service.drain().await;
    let job = service.job(id).await;
    assert_eq!((job.state, job.failures, job.attempts[0].cause.as_deref()), (State::Queued, 0, Some("interrupted")));
    service.resume();
    service.until(id, |j| j.attempt == 2 && j.state == State::Running).await;
    service.intake.store.cancel(id, CancelMode::Kill, jiff::Timestamp::now()).await.unwrap();
    service.ended(id).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_follow_the_live_setting() {
    let service = Service::start(FAST);
    let tune = |n| service.intake.store.tune("archive", Tuning { concurrency: Some(n), ..Tuning::default() }, jiff::Timestamp::now());
    tune(1).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), async {
        while service.intake.store.tunings().await.unwrap().get("archive").and_then(|t| t.concurrency) != Some(1) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let first = service.submit("x.attack", "obedient", |_| {}).await;
    service.until(first, |j| j.state == State::Running).await;
    let second = service.submit("x.attack", "obedient", |_| {}).await;
    assert_eq!(service.job(second).await.state, State::Queued);
    tune(2).await.unwrap();
    let tuned = Instant::now();
    service.until(second, |j| j.state == State::Running).await;
    assert!(tuned.elapsed() < Duration::from_secs(2), "took {:?}", tuned.elapsed());
    for id in [first, second] {
        service.intake.store.cancel(id, CancelMode::Kill, jiff::Timestamp::now()).await.unwrap();
        service.ended(id).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_forward_takes_no_lease_from_whoever_still_works() {
    let clock = ManualClock::at(Timestamp::now());
    let service = Service::with_clock(FAST, clock.clone());
    // It says nothing while it works, so no heartbeat is due for it.
    let busy = service.submit("x.attack", "busy-loop", |_| {}).await;
    service.until(busy, |job| job.state == State::Running).await;
    // Nobody works on this one: its lease shows when the reaper has gone round.
    let png = std::fs::read(crate::support::direct::fixture("image/png/good/scene.png")).unwrap();
    let lost = service.submit("a.png", png, |request| request.to = Format::parse("webp")).await;
    let until = clock.now() + SignedDuration::from_secs(60);
    let request = LeaseRequest { queue: "image".into(), worker: "nobody".into(), max: 1, rate_limit: None, until, sandbox_level: 3 };
    assert_eq!(service.intake.store.lease(request, clock.now()).await.unwrap().len(), 1);

    clock.advance(Duration::from_secs(3600));
    service.until(lost, |job| job.recoveries == 1).await;
    let job = service.job(busy).await;
    assert_eq!((job.state, job.attempt, job.recoveries), (State::Running, 1, 0));
    service.intake.store.cancel(busy, CancelMode::Kill, clock.now()).await.unwrap();
    assert_eq!(service.ended(busy).await.state, State::Cancelled);
    service.stop().await;
}
