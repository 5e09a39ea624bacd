//! What is told of each request: an id for both sides, a line in the log (never the query: it may hold secrets), a count
//! and a duration.

use super::Shared;
use crate::trace;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A client's own id is taken up to this length.
const REQUEST_ID_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// Requests by route, method and status, and how long they took until the head of the answer.
pub struct Requests {
    pub registry: Registry,
    count: Family<Answered, Counter>,
    under_way: Family<Route, Gauge>,
    seconds: Family<Route, Histogram>,
}

impl Default for Requests {
    fn default() -> Self {
        let mut registry = Registry::default();
        let (count, under_way) = (Family::default(), Family::default());
        // 1 ms to 16 s.
        let seconds = Family::new_with_constructor((|| Histogram::new(exponential_buckets(0.001, 2.0, 15))) as fn() -> Histogram);
        registry.register("millrace_http_requests", "Requests by route, method and status", count.clone());
        registry.register("millrace_http_requests_under_way", "Requests whose answer has not begun, by route", under_way.clone());
        registry.register("millrace_http_request_duration_seconds", "Seconds to the head of the answer, by route", seconds.clone());
        Requests { registry, count, under_way, seconds }
    }
}

pub async fn watch(State(service): State<Shared>, request: Request, next: Next) -> Response {
    let (began, method, path) = (Instant::now(), request.method().clone(), request.uri().path().to_owned());
    // A route's pattern, not the path: there are few patterns.
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", |m| m.as_str()).to_owned();
    let id = request_id(request.headers());
    let under_way = UnderWay::begin(&service.requests, &route);
    let span = span(&request, &route);
    let mut response = next.run(request).instrument(span.clone()).await;
    drop(under_way);
    let (status, took) = (response.status().as_u16(), began.elapsed());
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
    let name = if method.as_str().len() > 7 { "other".to_owned() } else { method.to_string() };
    service.requests.count.get_or_create(&Answered { route: route.clone(), method: name, status }).inc();
    service.requests.seconds.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
    let (ms, id_text) = (took.as_millis() as u64, id.to_str().unwrap_or_default());
    match route.as_str() {
        _ if status >= 500 => tracing::error!(%method, path, status, ms, id = id_text, "request"),
        "/healthz" | "/readyz" | "/metrics" => tracing::trace!(%method, path, status, ms, id = id_text, "request"),
        _ if method.is_safe() => tracing::debug!(%method, path, status, ms, id = id_text, "request"),
        _ => tracing::info!(%method, path, status, ms, id = id_text, "request"),
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// A request's place in its client's trace, by the names of OpenTelemetry's conventions for HTTP servers. Those of probes have none.
fn span(request: &Request, route: &str) -> Span {
    if matches!(route, "/healthz" | "/readyz" | "/metrics") {
        return Span::none();
    }
    let method = request.method().as_str();
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    trace::follow(&span, request.headers().get(trace::TRACEPARENT).and_then(|value| value.to_str().ok()));
    span
}

/// Counts a request until its answer begins or its client has gone.
struct UnderWay(Gauge);

impl UnderWay {
    fn begin(requests: &Requests, route: &str) -> UnderWay {
        let gauge = requests.under_way.get_or_create(&Route { route: route.to_owned() }).clone();
        gauge.inc();
        UnderWay(gauge)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The client's own id when it is short and plain, a new one otherwise.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |v: &&HeaderValue| v.len() <= REQUEST_ID_MAX && v.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    let own = headers.get(REQUEST_ID).filter(|v| !v.is_empty()).filter(plain).cloned();
    own.unwrap_or_else(|| HeaderValue::from_str(&uuid::Uuid::now_v7().simple().to_string()).unwrap_or(HeaderValue::from_static("-")))
}
