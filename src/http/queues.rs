//! Queues: their settings, depths and live changes.

use super::Shared;
use super::extract::{Bytes, Path, parse};
use super::problem::Problem;
use crate::failure::{Refusal, RefusalKind};
use crate::intake::store;
use crate::job::State as JobState;
use crate::limits::{Limits, Rate, Span};
use crate::queue::{Autoscale, CONCURRENCY_MAX};
use crate::store::Tuning;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A queue, as read.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct QueueView {
    pub name: String,
    /// Slots; under an autoscale, those that the workers have open.
    pub concurrency: u32,
    /// Slots follow the load, in each worker.
    pub autoscale: Option<Autoscale>,
    pub slots_used: u64,
    pub slots_free: u64,
    /// No new leases while true.
    pub paused: bool,
    /// Starts over all workers.
    pub rate_limit: Option<Rate>,
    pub soft_time_limit: Span,
    pub hard_time_limit: Span,
    pub max_attempts: u32,
    pub retry_delay: Span,
    pub limits: Limits,
    pub jobs: Depth,
    /// Seconds that the job which is due longest has waited; null when none waits.
    pub oldest_waiting_s: Option<u64>,
}

/// Jobs by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Depth {
    pub queued: u64,
    pub running: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub cancelled: u64,
}

impl Depth {
    fn of(counts: &BTreeMap<JobState, u64>) -> Depth {
        let n = |state| counts.get(&state).copied().unwrap_or(0);
        Depth {
            queued: n(JobState::Queued),
            running: n(JobState::Running),
            succeeded: n(JobState::Succeeded),
            failed: n(JobState::Failed),
            cancelled: n(JobState::Cancelled),
        }
    }

    pub fn by_state(self) -> [(JobState, u64); 5] {
        let Depth { queued, running, succeeded, failed, cancelled } = self;
        [
            (JobState::Queued, queued),
            (JobState::Running, running),
            (JobState::Succeeded, succeeded),
            (JobState::Failed, failed),
            (JobState::Cancelled, cancelled),
        ]
    }
}

/// What a purge did.
#[derive(Debug, Serialize, ToSchema)]
pub struct PurgedQueue {
    cancelled: u64,
}

/// Every queue, by name.
#[utoipa::path(get, path = "/v1/queues", tag = "queues", responses((status = 200, body = [QueueView]), Problem))]
pub async fn list(State(service): State<Shared>) -> Result<Json<Vec<QueueView>>, Problem> {
    all(&service).await.map(Json)
}

/// One queue.
#[utoipa::path(get, path = "/v1/queues/{name}", tag = "queues", params(("name" = String, Path)), responses((status = 200, body = QueueView), Problem))]
pub async fn read(State(service): State<Shared>, Path(name): Path<String>) -> Result<Json<QueueView>, Problem> {
    one(&service, &name).await.map(Json)
}

/// Sets the fields given; live within a second, kept across restarts.
#[utoipa::path(patch, path = "/v1/queues/{name}", tag = "queues", params(("name" = String, Path)), request_body = Tuning, responses((status = 200, body = QueueView), Problem))]
pub async fn tune(State(service): State<Shared>, Path(name): Path<String>, Bytes(body): Bytes) -> Result<Json<QueueView>, Problem> {
    let tuning: Tuning = parse(&body)?;
    let now = one(&service, &name).await?;
    let refuse = |field: &str, given: String, allowed: &str| {
        Err(Problem(Refusal::new(RefusalKind::InvalidRequest, format!("`{field}` must be {allowed}.")).field(field).given(given).allowed([allowed])))
    };
    if let Some(n) = tuning.concurrency.filter(|n| *n > CONCURRENCY_MAX) {
        return refuse("concurrency", n.to_string(), "0 to 1024");
    }
    if let Some(range) = tuning.autoscale.flatten().filter(|range| !range.is_sound()) {
        return refuse("autoscale", format!("{} to {}", range.min, range.max), "min and max, 0 to 1024, with min not above max and max at least 1");
    }
    if let Some(n) = tuning.max_attempts.filter(|n| !(1..=100).contains(n)) {
        return refuse("max_attempts", n.to_string(), "1 to 100");
    }
    let (soft, hard) = (tuning.soft_time_limit.unwrap_or(now.soft_time_limit), tuning.hard_time_limit.unwrap_or(now.hard_time_limit));
    if soft > hard {
        let field = if tuning.soft_time_limit.is_some() { "soft_time_limit" } else { "hard_time_limit" };
        return refuse(field, format!("{soft} and {hard}"), "such that soft_time_limit does not exceed hard_time_limit");
    }
    change(&service, &name, tuning).await
}

/// Takes no new jobs from the line until resumed; what runs goes on.
#[utoipa::path(post, path = "/v1/queues/{name}/pause", tag = "queues", params(("name" = String, Path)), responses((status = 200, body = QueueView), Problem))]
pub async fn pause(State(service): State<Shared>, Path(name): Path<String>) -> Result<Json<QueueView>, Problem> {
    change(&service, &name, Tuning { paused: Some(true), ..Tuning::default() }).await
}

/// Takes jobs again.
#[utoipa::path(post, path = "/v1/queues/{name}/resume", tag = "queues", params(("name" = String, Path)), responses((status = 200, body = QueueView), Problem))]
pub async fn resume(State(service): State<Shared>, Path(name): Path<String>) -> Result<Json<QueueView>, Problem> {
    change(&service, &name, Tuning { paused: Some(false), ..Tuning::default() }).await
}

/// Cancels every queued job.
#[utoipa::path(post, path = "/v1/queues/{name}/purge", tag = "queues", params(("name" = String, Path)), responses((status = 200, body = PurgedQueue), Problem))]
pub async fn purge(State(service): State<Shared>, Path(name): Path<String>) -> Result<Json<PurgedQueue>, Problem> {
    one(&service, &name).await?;
    let cancelled = service.intake.store.purge_queue(&name, service.clock.now()).await.map_err(store)?;
    Ok(Json(PurgedQueue { cancelled }))
}

async fn change(service: &Shared, name: &str, tuning: Tuning) -> Result<Json<QueueView>, Problem> {
    one(service, name).await?;
    service.intake.store.tune(name, tuning, service.clock.now()).await.map_err(store)?;
    one(service, name).await.map(Json)
}

async fn one(service: &Shared, name: &str) -> Result<QueueView, Problem> {
    let unknown = || {
        let names = service.intake.queues.names();
        Problem(Refusal::new(RefusalKind::NotFound, format!("There is no queue `{name}`.")).given(name).allowed(names))
    };
    all(service).await?.into_iter().find(|q| q.name == name).ok_or_else(unknown)
}

/// Every queue as it is now.
pub async fn all(service: &Shared) -> Result<Vec<QueueView>, Problem> {
    let keeper = &service.intake.store;
    let (mut tunings, mut counts) = (keeper.tunings().await.map_err(store)?, keeper.counts().await.map_err(store)?);
    let (due, now) = (keeper.due_since().await.map_err(store)?, service.clock.now());
    let workers = keeper.workers(now).await.map_err(store)?;
    let views = service.intake.queues.iter().map(|(name, queue)| {
        let tuning = tunings.remove(name).unwrap_or_default();
        let jobs = Depth::of(&counts.remove(name).unwrap_or_default());
        let autoscale = tuning.autoscale.unwrap_or(queue.settings.autoscale);
        let open = || workers.iter().flat_map(|w| &w.queues).filter(|pool| pool.queue == name).map(|pool| pool.slots).sum();
        let concurrency = autoscale.map_or_else(|| tuning.concurrency.unwrap_or(queue.settings.concurrency), |_| open());
        QueueView {
            name: name.to_owned(),
            concurrency,
            autoscale,
            slots_used: jobs.running,
            slots_free: u64::from(concurrency).saturating_sub(jobs.running),
            paused: tuning.paused.unwrap_or(false),
            rate_limit: tuning.rate_limit.unwrap_or(queue.settings.rate_limit),
            soft_time_limit: tuning.soft_time_limit.unwrap_or(queue.limits.soft_time_limit),
            hard_time_limit: tuning.hard_time_limit.unwrap_or(queue.limits.hard_time_limit),
            max_attempts: tuning.max_attempts.unwrap_or(queue.settings.max_attempts),
            retry_delay: tuning.retry_delay.unwrap_or(queue.settings.retry_delay),
            limits: queue.limits.clone(),
            jobs,
            oldest_waiting_s: due.get(name).and_then(|since| u64::try_from(now.duration_since(*since).as_secs()).ok()),
        }
    });
    Ok(views.collect())
}
