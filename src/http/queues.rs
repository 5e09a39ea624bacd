//! Queues: their settings, depths and live changes.

use super::Shared;
use super::problem::Problem;
use crate::failure::{Refusal, RefusalKind};
use crate::intake::store;
use crate::queue::CONCURRENCY_MAX;
use crate::store::Tuning;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::{Value, json};

pub async fn list(State(service): State<Shared>) -> Result<Json<Value>, Problem> {
    let mut queues = Vec::new();
    for name in service.intake.queues.names() {
        queues.push(describe(&service, name).await?);
    }
    Ok(Json(Value::Array(queues)))
}

pub async fn read(State(service): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    describe(&service, &name).await.map(Json)
}

/// Sets the fields given; live within a second, kept across restarts.
pub async fn tune(State(service): State<Shared>, Path(name): Path<String>, body: Bytes) -> Result<Json<Value>, Problem> {
    let tuning: Tuning = super::jobs::parse(&body)?;
    let refuse = |field: &str, allowed: &str| {
        Problem(Refusal::new(RefusalKind::InvalidRequest, format!("`{field}` must be {allowed}.")).field(field).allowed([allowed]))
    };
    if tuning.concurrency.is_some_and(|n| n > CONCURRENCY_MAX) {
        return Err(refuse("concurrency", "0 to 1024"));
    }
    if tuning.max_attempts.is_some_and(|n| !(1..=100).contains(&n)) {
        return Err(refuse("max_attempts", "1 to 100"));
    }
    change(&service, &name, tuning).await
}

pub async fn pause(State(service): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    change(&service, &name, Tuning { paused: Some(true), ..Tuning::default() }).await
}

pub async fn resume(State(service): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    change(&service, &name, Tuning { paused: Some(false), ..Tuning::default() }).await
}

/// Cancels every queued job.
pub async fn purge(State(service): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    describe(&service, &name).await?;
    let cancelled = service.intake.store.purge_queue(&name, service.clock.now()).await.map_err(store)?;
    Ok(Json(json!({"cancelled": cancelled})))
}

async fn change(service: &Shared, name: &str, tuning: Tuning) -> Result<Json<Value>, Problem> {
    describe(service, name).await?;
    service.intake.store.tune(name, tuning, service.clock.now()).await.map_err(store)?;
    describe(service, name).await.map(Json)
}

async fn describe(service: &Shared, name: &str) -> Result<Value, Problem> {
    let queues = &service.intake.queues;
    let unknown = || Refusal::new(RefusalKind::NotFound, format!("There is no queue `{name}`.")).allowed(queues.names());
    let queue = queues.get(name).ok_or_else(unknown)?;
    let tuning = service.intake.store.tunings().await.map_err(store)?.remove(name).unwrap_or_default();
    let counts = service.intake.store.counts().await.map_err(store)?.remove(name).unwrap_or_default();
    Ok(json!({
        "name": name,
        "concurrency": tuning.concurrency.unwrap_or(queue.settings.concurrency),
        "paused": tuning.paused.unwrap_or(false),
        "soft_time_limit": tuning.soft_time_limit.unwrap_or(queue.limits.soft_time_limit),
        "hard_time_limit": tuning.hard_time_limit.unwrap_or(queue.limits.hard_time_limit),
        "max_attempts": tuning.max_attempts.unwrap_or(queue.settings.max_attempts),
        "retry_delay": tuning.retry_delay.unwrap_or(queue.settings.retry_delay),
        "limits": queue.limits,
        "jobs": counts.into_iter().map(|(state, n)| (state.as_str().to_owned(), json!(n))).collect::<serde_json::Map<_, _>>(),
    }))
}
