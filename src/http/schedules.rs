//! Schedules: read, put, delete, run now.

use super::Shared;
use super::extract::{Bytes, Path, parse};
use super::problem::Problem;
use crate::intake::store;
use crate::job::Job;
use crate::schedule::{self, ScheduleRequest};
use crate::store::Schedule;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

/// Every schedule, by name.
#[utoipa::path(get, path = "/v1/schedules", tag = "schedules", responses((status = 200, body = [Schedule]), Problem))]
pub async fn list(State(service): State<Shared>) -> Result<Json<Vec<Schedule>>, Problem> {
    Ok(Json(service.intake.store.schedules().await.map_err(store)?))
}

/// One schedule.
#[utoipa::path(get, path = "/v1/schedules/{name}", tag = "schedules", params(("name" = String, Path)), responses((status = 200, body = Schedule), Problem))]
pub async fn read(State(service): State<Shared>, Path(name): Path<String>) -> Result<Json<Schedule>, Problem> {
    Ok(Json(schedule::find(&*service.intake.store, &name).await?))
}

/// Makes or replaces a schedule. One without a time zone has the configured one.
#[utoipa::path(put, path = "/v1/schedules/{name}", tag = "schedules", params(("name" = String, Path)), request_body = ScheduleRequest, responses((status = 200, body = Schedule), Problem))]
pub async fn put(State(service): State<Shared>, Path(name): Path<String>, Bytes(body): Bytes) -> Result<Json<Schedule>, Problem> {
    let request: ScheduleRequest = parse(&body)?;
    let now = service.clock.now();
    Ok(Json(schedule::put(&*service.intake.store, &name, request, &service.time_zone, now).await?))
}

/// Deletes a schedule. A shipped one comes back at the next start: disable it instead.
#[utoipa::path(delete, path = "/v1/schedules/{name}", tag = "schedules", params(("name" = String, Path)), responses((status = 204), Problem))]
pub async fn remove(State(service): State<Shared>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    service.intake.store.delete_schedule(&name).await.map_err(store)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Submits the schedule's job now; its next time stays as it is.
#[utoipa::path(post, path = "/v1/schedules/{name}/run", tag = "schedules", params(("name" = String, Path)), responses((status = 202, body = Job), Problem))]
pub async fn run(State(service): State<Shared>, Path(name): Path<String>) -> Result<(StatusCode, Json<Job>), Problem> {
    let job = schedule::run_now(&*service.intake.store, &service.intake.queues, &name, service.clock.now()).await?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}
