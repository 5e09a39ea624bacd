//! The HTTP edge: the list of routes; one resource per file below.

mod auth;
mod health;
mod jobs;
mod outputs;
mod problem;
mod queues;
mod registry;
mod uploads;

use crate::clock::SharedClock;
use crate::intake::Intake;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use std::sync::Arc;

/// What the handlers work with.
pub struct Service {
    pub intake: Arc<Intake>,
    pub clock: SharedClock,
    /// What clients must send as `Authorization: Bearer`; none: anyone who reaches the address may use it.
    pub token: Option<String>,
}

pub type Shared = Arc<Service>;

/// JSON bodies beyond this are refused; uploads stream and have the queues' own limits.
const JSON_MAX_BYTES: usize = 1 << 20;

pub fn router(service: Shared) -> Router {
    let streamed = Router::new()
        .route("/v1/jobs", post(jobs::submit).get(jobs::list))
        .route("/v1/uploads", post(uploads::receive))
        .route("/v1/convert", post(jobs::convert).put(jobs::convert))
        .layer(DefaultBodyLimit::disable());
    let plain = Router::new()
        .route("/v1/jobs/{id}", get(jobs::read).delete(jobs::remove))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{id}/retry", post(jobs::retry))
        .route("/v1/jobs/{id}/log", get(jobs::log))
        .route("/v1/jobs/{id}/outputs/{*name}", get(outputs::download))
        .route("/v1/queues", get(queues::list))
        .route("/v1/queues/{name}", get(queues::read).patch(queues::tune))
        .route("/v1/queues/{name}/pause", post(queues::pause))
        .route("/v1/queues/{name}/resume", post(queues::resume))
        .route("/v1/queues/{name}/purge", post(queues::purge))
        .route("/v1/formats", get(registry::formats))
        .route("/v1/presets", get(registry::presets))
        .route("/metrics", get(health::metrics))
        .layer(DefaultBodyLimit::max(JSON_MAX_BYTES));
    let guarded = streamed.merge(plain).layer(from_fn_with_state(service.clone(), auth::guard));
    let open = Router::new().route("/healthz", get(health::alive)).route("/readyz", get(health::ready));
    guarded.merge(open).fallback(problem::no_route).with_state(service)
}
