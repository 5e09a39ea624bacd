//! What Prometheus is told, in OpenMetrics text: the queues by the service that answers for all, the rest by each process of itself.

use super::problem::Problem;
use super::{Shared, queues};
use crate::failure::{Refusal, RefusalKind};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueState {
    queue: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfQueue {
    queue: String,
}

/// For Prometheus (OpenMetrics text): jobs, slots, waits and runs, leases, letters, requests, the jail's level, the build.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, body = String, content_type = "application/openmetrics-text"), Problem))]
pub async fn metrics(State(service): State<Shared>) -> Result<Response, Problem> {
    let mut registry = Registry::with_prefix("millrace");
    let jobs: Family<QueueState, Gauge> = Family::default();
    let per_queue = || Family::<OfQueue, Gauge>::default();
    let (slots, used, paused, oldest) = (per_queue(), per_queue(), per_queue(), per_queue());
    for queue in queues::all(&service).await? {
        for (state, n) in queue.jobs.by_state() {
            jobs.get_or_create(&QueueState { queue: queue.name.clone(), state: state.as_str() }).set(n.cast_signed());
        }
        let label = OfQueue { queue: queue.name };
        slots.get_or_create(&label).set(queue.concurrency.into());
        used.get_or_create(&label).set(queue.slots_used.cast_signed());
        paused.get_or_create(&label).set(queue.paused.into());
        oldest.get_or_create(&label).set(queue.oldest_waiting_s.unwrap_or(0).cast_signed());
    }
    registry.register("jobs", "Jobs by queue and state", jobs);
    registry.register("slots", "Slots by queue", slots);
    registry.register("slots_used", "Slots that run a job, by queue", used);
    registry.register("queue_paused", "1 while a queue is paused", paused);
    registry.register("queue_oldest_waiting_seconds", "How long the job that is due longest has waited, by queue", oldest);
    tell(&[&registry, &of_process(service.sandbox_level), &service.meters.registry, &service.letters.registry, &service.requests.registry])
}

/// What each process says of itself.
pub fn of_process(sandbox_level: u8) -> Registry {
    let mut registry = Registry::with_prefix("millrace");
    let level: Gauge = Gauge::default();
    level.set(sandbox_level.into());
    registry.register("sandbox_level", "The measured level of the jail, 0 to 4", level);
    registry.register("build", "The program", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
    registry
}

pub fn tell(registries: &[&Registry]) -> Result<Response, Problem> {
    let mut text = String::new();
    let written = registries.iter().try_for_each(|registry| encode_registry(&mut text, registry)).and_then(|()| encode_eof(&mut text));
    written.map_err(|e| Refusal::new(RefusalKind::Internal, "The metrics could not be written.").given(e))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
