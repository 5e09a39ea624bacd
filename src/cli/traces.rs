//! Where traces go: to a collector that speaks OTLP over HTTP, named by the variables of the OpenTelemetry specification
//! (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` and their kin). Without an endpoint there are none.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// An exporter that sends in the background; what it holds at the end is sent by [`Traces::end`].
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// None where no collector is named, or the SDK is disabled.
    pub fn from_environment() -> Result<Option<Traces>, String> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if disabled || !ENDPOINTS.iter().any(|name| set(name).is_some()) {
            return Ok(None);
        }
        crate::tls::use_ring();
        let exporter = SpanExporter::builder().with_http().build().map_err(|e| format!("traces: {e}"))?;
        let mut resource = Resource::builder();
        if set("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("millrace");
        }
        let instance = format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id());
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = resource.with_attributes([version, KeyValue::new("service.instance.id", instance)]).build();
        Ok(Some(Traces(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())))
    }

    /// Takes the program's own spans; those of libraries are theirs.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let layer = tracing_opentelemetry::layer().with_tracer(self.0.tracer("millrace"));
        let plain = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        plain.with_filter(Targets::new().with_target("millrace", LevelFilter::INFO))
    }

    /// Sends what is still held.
    pub fn end(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}
