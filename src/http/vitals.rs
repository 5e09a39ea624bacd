//! The door of a process that only works: how it is and what it counts, nothing else.

use super::problem::{self, Problem};
use super::{Door, auth, health, metrics};
use crate::store::Store;
use crate::worker::Meters;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a worker's handlers work with.
pub struct Vitals {
    pub store: Arc<dyn Store>,
    pub meters: Arc<Meters>,
    /// The measured level of the jail, 0 to 4.
    pub sandbox_level: u8,
    /// What `/metrics` asks for as `Authorization: Bearer`.
    pub token: Option<String>,
    pub door: Door,
    /// Cancelled when the process begins to stop.
    pub drain: CancellationToken,
}

pub fn vitals(worker: Arc<Vitals>) -> Router {
    Router::new()
        .route("/metrics", get(count))
        .layer(from_fn_with_state(worker.clone(), guard))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(ready))
        .fallback(problem::no_route)
        .with_state(worker)
}

async fn guard(State(worker): State<Arc<Vitals>>, request: Request, next: Next) -> Response {
    match auth::admit(&worker.door, worker.token.as_deref(), request.headers(), request.method()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => Problem(refusal).into_response(),
    }
}

async fn count(State(worker): State<Arc<Vitals>>) -> Result<Response, Problem> {
    metrics::tell(&[&metrics::of_process(worker.sandbox_level), &worker.meters.registry])
}

async fn ready(State(worker): State<Arc<Vitals>>) -> Result<&'static str, Problem> {
    health::readiness(&*worker.store, &worker.drain).await
}
