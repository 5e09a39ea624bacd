//! One trace from a client's request to the last step on another machine, as a collector of OpenTelemetry gets it.

use crate::support::direct::fixture;
use crate::support::redis::RedisServer;
use crate::support::s3::S3Server;
use crate::support::server::{Config, Server, text_of};
use crate::support::worker::Worker;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

/// A span as it arrived.
#[derive(Debug, Clone)]
struct Span {
    name: String,
    id: String,
    parent: String,
    failed: bool,
    attributes: BTreeMap<String, String>,
    /// The process that made it.
    service: BTreeMap<String, String>,
}

/// Listens where exporters send to.
struct Collector {
    url: String,
    arrived: UnboundedReceiver<ExportTraceServiceRequest>,
    spans: Vec<Span>,
}

impl Collector {
    async fn start() -> Collector {
        let (tell, arrived) = unbounded_channel();
        let take = post(async move |body: Bytes| {
            // The test may have seen enough.
            let _ = tell.send(ExportTraceServiceRequest::decode(body).expect("a message of OTLP"));
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().route("/v1/traces", take)).into_future());
        Collector { url, arrived, spans: Vec::new() }
    }

    fn config(&self) -> Config {
        Config::default().environment("OTEL_EXPORTER_OTLP_ENDPOINT", &self.url).environment("OTEL_BSP_SCHEDULE_DELAY", "100")
    }

    /// The span of the trace that this is true of, once it has arrived.
    async fn span(&mut self, of: impl Fn(&Span) -> bool) -> Span {
        loop {
            if let Some(found) = self.spans.iter().find(|span| of(span)) {
                return found.clone();
            }
            let message = tokio::time::timeout(Duration::from_secs(60), self.arrived.recv()).await;
            let message = message.unwrap_or_else(|_| panic!("no such span among {:#?}", self.spans)).unwrap();
            for of_process in message.resource_spans {
                let service = attributes(&of_process.resource.unwrap_or_default().attributes);
                for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    if hex::encode(&span.trace_id) == TRACE {
                        self.spans.push(Span {
                            name: span.name,
                            id: hex::encode(span.span_id),
                            parent: hex::encode(span.parent_span_id),
                            failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
                            attributes: attributes(&span.attributes),
                            service: service.clone(),
                        });
                    }
                }
            }
        }
    }
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|v| v.value.clone()) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(n)) => n.to_string(),
        other => format!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_request_to_the_worker_that_converts() {
    let (redis, s3) = (RedisServer::start(&[]), S3Server::start().await);
    let mut collector = Collector::start().await;
    let shared = collector.config().s3(&s3).variable("STORE", &redis.url("traces"));
    let server = Server::start(shared.clone().variable("POOLS", "cleanup")).await;
    let worker = Worker::start(shared, "image");
    let upload = server.upload("scene.png", std::fs::read(fixture("image/png/good/scene.png")).unwrap()).await;
    let request = server.request(reqwest::Method::POST, "/v1/jobs").header("traceparent", format!("00-{TRACE}-{CLIENT}-01"));
    let answer = request.json(&json!({"input": {"upload": upload}, "to": "webp"})).send().await.unwrap();
    let job = server.ended(&text_of(&answer.json().await.unwrap(), "id")).await;
    assert_eq!(job["state"], "succeeded", "{job}");

    let asked = collector.span(|s| s.name == "POST /v1/jobs").await;
    assert_eq!((asked.parent.as_str(), asked.attributes["http.response.status_code"].as_str()), (CLIENT, "202"));
    let sent = collector.span(|s| s.name == "submit").await;
    assert_eq!((&sent.parent, sent.attributes["messaging.message.id"].as_str()), (&asked.id, job["id"].as_str().unwrap()));
    assert!(text_of(&job["context"], "traceparent").contains(&sent.id), "{job}");
    let tried = collector.span(|s| s.name == "attempt").await;
    assert_eq!((&tried.parent, tried.failed, tried.attributes["messaging.destination.name"].as_str()), (&sent.id, false, "image"));
    for (step, within) in [("fetch", "attempt"), ("convert", "attempt"), ("publish", "convert"), ("prove", "publish"), ("finish", "attempt")] {
        let step = collector.span(|s| s.name == step).await;
        let around = collector.span(|s| s.name == within).await;
        assert_eq!((&step.parent, &step.service), (&around.id, &tried.service), "{step:?}");
    }
    assert_eq!([&sent, &tried].map(|s| s.service["service.name"].as_str()), ["millrace"; 2]);
    assert_eq!(tried.service["service.instance.id"], worker.name());
    assert_ne!(sent.service["service.instance.id"], worker.name());
    worker.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_says_that_an_attempt_failed_and_is_sent_before_the_end() {
    let mut collector = Collector::start().await;
    // Later than the end: what is held must be sent by it.
    let mut server = Server::start(collector.config().environment("OTEL_BSP_SCHEDULE_DELAY", "600000")).await;
    let context = json!({"traceparent": format!("00-{TRACE}-{CLIENT}-01")});
    let id = server.submit("broken.png", "\u{89}PNG", json!({"from": "png", "to": "webp", "context": context})).await;
    let job = server.ended(&id).await;
    assert_eq!(job["state"], "failed", "{job}");
    server.terminate();
    let tried = collector.span(|s| s.name == "attempt").await;
    assert_eq!((tried.failed, tried.attributes["error.type"].as_str()), (true, job["error"]["code"].as_str().unwrap()));
    assert_eq!(tried.parent, collector.span(|s| s.name == "submit").await.id);
    assert_eq!(collector.span(|s| s.name == "submit").await.parent, CLIENT);
}
