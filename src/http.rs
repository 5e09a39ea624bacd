//! The HTTP edge: the list of routes; one resource per file below.

mod audit;
mod auth;
mod caller;
mod door;
mod events;
mod extract;
mod gate;
mod health;
mod jobs;
mod links;
mod metrics;
mod observe;
pub mod openapi;
mod outputs;
mod page;
mod pipelines;
mod probe;
mod problem;
mod queues;
mod rates;
mod registry;
mod schedules;
mod server;
mod stats;
mod tokens;
mod tus;
mod uploads;
mod vitals;
mod wait;
mod webhooks;
mod workers;

pub use door::{AuthSettings, Door};
pub use observe::Requests;
pub use server::{Patience, serve};
pub use vitals::{Vitals, vitals};

use crate::blobs::Links;
use crate::clock::SharedClock;
use crate::intake::Intake;
use crate::notify::LetterMeters;
use crate::probe::Prober;
use crate::tus::Tus;
use crate::worker::Meters;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, head, post};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

/// What the handlers work with.
pub struct Service {
    pub intake: Arc<Intake>,
    pub prober: Arc<Prober>,
    pub tus: Arc<Tus>,
    pub clock: SharedClock,
    /// Where downloads are redirected to; none: their bytes are passed on.
    pub links: Option<Arc<dyn Links>>,
    /// What clients must send as `Authorization: Bearer`; none: anyone who reaches the address may use it.
    pub token: Option<String>,
    pub door: Door,
    /// IANA name, for schedules that name none.
    pub time_zone: String,
    /// The measured level of the jail, 0 to 4.
    pub sandbox_level: u8,
    pub requests: Requests,
    pub meters: Arc<Meters>,
    pub letters: Arc<LetterMeters>,
    /// Cancelled when the service begins to stop: what waits or streams ends.
    pub drain: CancellationToken,
}

pub type Shared = Arc<Service>;

/// How long a body that was refused may go on.
const LINGER: Duration = Duration::from_secs(10);
/// JSON bodies beyond this are refused; uploads stream and have the queues' own limits.
const JSON_MAX_BYTES: usize = 1 << 20;

pub fn router(service: Shared) -> Router {
    let streamed = Router::new()
        .route("/v1/jobs", post(jobs::submit).get(jobs::list))
        .route("/v1/uploads", post(uploads::receive))
        .route("/v1/convert", post(jobs::convert).put(jobs::convert))
        .route("/v1/probe", post(probe::look))
        .layer(DefaultBodyLimit::disable());
    let plain = Router::new()
        .route("/v1/jobs/{id}", get(jobs::read).delete(jobs::remove))
        .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/jobs/{id}/retry", post(jobs::retry))
        .route("/v1/jobs/{id}/log", get(jobs::log))
        .route("/v1/jobs/{id}/links", post(links::make))
        .route("/v1/jobs/{id}/events", get(events::of_job))
        .route("/v1/jobs/{id}/outputs/{*name}", get(outputs::download))
        .route("/v1/pipelines", post(pipelines::submit).get(pipelines::list))
        .route("/v1/pipelines/{id}", get(pipelines::read))
        .route("/v1/pipelines/{id}/cancel", post(pipelines::cancel))
        .route("/v1/pipelines/{id}/retry", post(pipelines::retry))
        .route("/v1/queues", get(queues::list))
        .route("/v1/queues/{name}", get(queues::read).patch(queues::tune))
        .route("/v1/queues/{name}/pause", post(queues::pause))
        .route("/v1/queues/{name}/resume", post(queues::resume))
        .route("/v1/queues/{name}/purge", post(queues::purge))
        .route("/v1/workers", get(workers::list))
        .route("/v1/workers/{id}/drain", post(workers::drain))
        .route("/v1/workers/{id}/restart", post(workers::restart))
        .route("/v1/schedules", get(schedules::list))
        .route("/v1/schedules/{name}", get(schedules::read).put(schedules::put).delete(schedules::remove))
        .route("/v1/schedules/{name}/run", post(schedules::run))
        .route("/v1/webhooks/deliveries", get(webhooks::list))
        .route("/v1/webhooks/deliveries/{id}", get(webhooks::read))
        .route("/v1/webhooks/deliveries/{id}/replay", post(webhooks::replay))
        .route("/v1/self", get(tokens::own))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::revoke))
        .route("/v1/audit", get(audit::list))
        .route("/v1/formats", get(registry::formats))
        .route("/v1/presets", get(registry::presets))
        .route("/v1/events", get(events::all))
        .route("/v1/stats", get(stats::read))
        .route("/metrics", get(metrics::metrics))
        .layer(DefaultBodyLimit::max(JSON_MAX_BYTES));
    let pieces = Router::new()
        .route("/v1/tus", post(tus::create).options(tus::options))
        .route("/v1/tus/{id}", head(tus::standing).patch(tus::piece).delete(tus::terminate))
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(tus::speak));
    let guarded = streamed.merge(plain).merge(pieces).layer(from_fn_with_state(service.clone(), auth::guard));
    let cors = service.door.cors();
    let open = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(openapi::document))
        .route("/", get(page::index))
        .route("/page/{file}", get(page::file))
        .layer(from_fn(page::protect));
    let router = guarded
        .merge(open)
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn_with_state(service.clone(), observe::watch))
        .with_state(service);
    // A browser's own question about another origin is for no route, and carries no token.
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}
