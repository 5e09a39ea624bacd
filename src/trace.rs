//! Traces go with a job: its `context` carries the `traceparent` of W3C Trace Context (<https://www.w3.org/TR/trace-context/>) from
//! the request through the queue to every attempt, whichever process runs it, and to the jobs that this one causes.
//!
//! Without an exporter, or without the feature `otlp`, spans are nowhere and nothing here has an effect.

use tracing::Span;

/// Header of a request, and key in a job's context.
pub const TRACEPARENT: &str = "traceparent";

/// Makes a span that was not entered yet a part of the trace that its cause names; a malformed name is none.
#[cfg(feature = "otlp")]
pub fn follow(span: &Span, cause: Option<&str>) {
    use opentelemetry::propagation::TextMapPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    let Some(cause) = cause else { return };
    let carrier = std::collections::HashMap::from([(TRACEPARENT.to_owned(), cause.to_owned())]);
    // A span that nobody listens to has no place in a trace.
    let _ = span.set_parent(opentelemetry_sdk::propagation::TraceContextPropagator::new().extract(&carrier));
}

/// What others name this span by as their cause; none while no trace is kept.
#[cfg(feature = "otlp")]
pub fn name(span: &Span) -> Option<String> {
    use opentelemetry::propagation::TextMapPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    let mut carrier = std::collections::HashMap::new();
    opentelemetry_sdk::propagation::TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

#[cfg(not(feature = "otlp"))]
pub fn follow(_: &Span, _: Option<&str>) {}

#[cfg(not(feature = "otlp"))]
pub fn name(_: &Span) -> Option<String> {
    None
}
