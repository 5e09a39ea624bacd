//! The processes that hold pools: who they are, and orders to them.

use super::Shared;
use super::extract::Path;
use super::problem::Problem;
use crate::intake::store;
use crate::store::{Presence, WorkerOrder};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

/// Every worker heard of within 30 seconds, by id.
#[utoipa::path(get, path = "/v1/workers", tag = "workers", responses((status = 200, body = [Presence]), Problem))]
pub async fn list(State(service): State<Shared>) -> Result<Json<Vec<Presence>>, Problem> {
    Ok(Json(service.intake.store.workers(service.clock.now()).await.map_err(store)?))
}

/// Within a second the worker leases nothing more; what runs ends, and it stays idle until restarted.
#[utoipa::path(post, path = "/v1/workers/{id}/drain", tag = "workers", params(("id" = String, Path)), responses((status = 202, body = Presence), Problem))]
pub async fn drain(State(service): State<Shared>, Path(id): Path<String>) -> Result<(StatusCode, Json<Presence>), Problem> {
    order(&service, &id, WorkerOrder::Drain).await
}

/// Within a second the worker gives back what runs, no failure counted, and starts its pools and zygotes anew. The process
/// stays, and answers all the while.
#[utoipa::path(post, path = "/v1/workers/{id}/restart", tag = "workers", params(("id" = String, Path)), responses((status = 202, body = Presence), Problem))]
pub async fn restart(State(service): State<Shared>, Path(id): Path<String>) -> Result<(StatusCode, Json<Presence>), Problem> {
    order(&service, &id, WorkerOrder::Restart).await
}

async fn order(service: &Shared, id: &str, order: WorkerOrder) -> Result<(StatusCode, Json<Presence>), Problem> {
    let told = service.intake.store.order(id, order, service.clock.now()).await.map_err(store)?;
    Ok((StatusCode::ACCEPTED, Json(told)))
}
