//! Every kind of bad request is answered with a problem document that names what is wrong.

use crate::support::direct::fixture;
use crate::support::server::{Config, Server};
use reqwest::{Method, Response};
use serde_json::{Value, json};

/// Method, path and body; the status, code and field to be told.
type Case<'c> = (&'c Method, &'c str, String, u16, &'c str, Option<&'c str>);

/// The problem document of an answer; its form is checked here.
async fn problem(response: Response) -> Value {
    let (status, kind) = (response.status(), response.headers()["content-type"].clone());
    let text = response.text().await.unwrap();
    assert_eq!(kind, "application/problem+json", "{status} {text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["status"], status.as_u16(), "{document}");
    assert!(document["title"].is_string() && document["detail"].as_str().is_some_and(|d| d.ends_with(['.', '?'])), "{document}");
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_is_a_problem_with_its_field() {
    let server = Server::start(Config::default()).await;
    let picture = server.upload("scene.png", std::fs::read(fixture("image/png/good/scene.png")).unwrap()).await;
    let unknown = server.upload("unknown.bin", vec![0u8; 64]).await;
    let empty = server.upload("empty.png", "").await;
    let job = |fields: Value| {
        let mut job = json!({"input": {"upload": picture}, "to": "webp"});
        job.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        job.to_string()
    };
    let (post, get, patch, put) = (Method::POST, Method::GET, Method::PATCH, Method::PUT);
    let daily = |field: &str, value: &str| {
        let mut schedule = json!({"cron": "@daily", "time_zone": "UTC", "converter": "cleanup.purge-records"});
        schedule[field] = json!(value);
        schedule.to_string()
    };
    let table: Vec<Case> = vec![
        (&post, "/v1/jobs", "{".into(), 422, "invalid_request", None),
        (&post, "/v1/jobs", "[]".into(), 422, "invalid_request", None),
        (&post, "/v1/jobs", job(json!({"input": {"upload": "gone"}})), 404, "not_found", Some("input.upload")),
        (&post, "/v1/jobs", job(json!({"input": {"path": "/etc/passwd"}})), 404, "not_found", Some("input.path")),
        (&post, "/v1/jobs", job(json!({"input": {"upload": unknown}})), 415, "unsupported_format", Some("input")),
        (&post, "/v1/jobs", job(json!({"input": {"upload": empty}})), 415, "unsupported_format", Some("input")),
        (&post, "/v1/jobs", job(json!({"to": "nope"})), 422, "invalid_request", Some("to")),
        (&post, "/v1/jobs", job(json!({"to": "mp4"})), 422, "unsupported_conversion", Some("to")),
        (&post, "/v1/jobs", job(json!({"priority": 10})), 422, "invalid_request", Some("priority")),
        (&post, "/v1/jobs", job(json!({"queue": "nope"})), 422, "invalid_request", Some("queue")),
        (&post, "/v1/jobs", job(json!({"soft_time_limit": "soon"})), 422, "invalid_request", Some("soft_time_limit")),
        (&post, "/v1/jobs", job(json!({"after": ["0198c0ff-ee00-7000-8000-000000000000"]})), 422, "invalid_request", Some("after[0]")),
        (&post, "/v1/jobs", job(json!({"after": ["soon"]})), 422, "invalid_request", Some("after[0]")),
        (&post, "/v1/jobs", job(json!({"after": vec!["0198c0ff-ee00-7000-8000-000000000000"; 101]})), 422, "invalid_request", Some("after")),
        (&post, "/v1/jobs", job(json!({"run_at": "tomorrow"})), 422, "invalid_request", Some("run_at")),
        (&post, "/v1/jobs", job(json!({"tO": "webp"})), 422, "invalid_request", Some("tO")),
        (&post, "/v1/jobs", job(json!({"options": {"quality": 101}})), 422, "invalid_option", Some("options.quality")),
        (&post, "/v1/jobs", job(json!({"options": {"qualty": 1}})), 422, "invalid_option", Some("options.qualty")),
        (&post, "/v1/jobs", job(json!({"preset": "nope"})), 422, "invalid_option", Some("preset")),
        (&post, "/v1/jobs?wait=soon", job(json!({})), 422, "invalid_request", Some("wait")),
        (&post, "/v1/jobs", "x".repeat((1 << 20) + 1), 413, "too_large", None),
        (&patch, "/v1/queues/image", json!({"retry_delay": "x".repeat(1 << 20)}).to_string(), 413, "too_large", None),
        (&post, "/v1/convert?to=nope", "x".into(), 422, "invalid_request", Some("to")),
        (&post, "/v1/convert?to=webp&options=%7B", "x".into(), 422, "invalid_request", Some("options")),
        (&post, "/v1/uploads?nam=x", "x".into(), 422, "invalid_request", Some("nam")),
        (&post, "/v1/probe", json!({"input": {"upload": "gone"}}).to_string(), 404, "not_found", Some("input.upload")),
        (&post, "/v1/probe?name=x.bin", "\0\0\0\0".into(), 415, "unsupported_format", Some("input")),
        (&get, "/v1/jobs?limit=0", String::new(), 422, "invalid_request", Some("limit")),
        (&get, "/v1/jobs?limit=many", String::new(), 422, "invalid_request", Some("limit")),
        (&get, "/v1/jobs?state=gone", String::new(), 422, "invalid_request", Some("state")),
        (&get, "/v1/jobs?queue=gone", String::new(), 422, "invalid_request", Some("queue")),
        (&get, "/v1/jobs?cursor=1", String::new(), 422, "invalid_request", Some("cursor")),
        (&get, "/v1/jobs?since=yesterday", String::new(), 422, "invalid_request", Some("since")),
        (&get, "/v1/jobs/1", String::new(), 404, "not_found", None),
        (&get, "/v1/jobs/0198c0ff-ee00-7000-8000-000000000000", String::new(), 404, "not_found", None),
        (&get, "/v1/jobs/%ff", String::new(), 404, "not_found", None),
        (&get, "/v1/events?last_event_id=x", String::new(), 422, "invalid_request", Some("last_event_id")),
        (&get, "/v1/nothing", String::new(), 404, "not_found", None),
        (&get, "/page/nothing.js", String::new(), 404, "not_found", None),
        (&put, "/v1/jobs", String::new(), 405, "method_not_allowed", None),
        (&post, "/healthz", String::new(), 405, "method_not_allowed", None),
        (&get, "/v1/queues/gone", String::new(), 404, "not_found", None),
        (&post, "/v1/queues/gone/pause", String::new(), 404, "not_found", None),
        (&patch, "/v1/queues/image", r#"{"concurrency": 1025}"#.into(), 422, "invalid_request", Some("concurrency")),
        (&patch, "/v1/queues/image", r#"{"concurrency": -1}"#.into(), 422, "invalid_request", Some("concurrency")),
        (&patch, "/v1/queues/image", r#"{"max_attempts": 0}"#.into(), 422, "invalid_request", Some("max_attempts")),
        (&patch, "/v1/queues/image", r#"{"soft_time_limit": "2h"}"#.into(), 422, "invalid_request", Some("soft_time_limit")),
        (&patch, "/v1/queues/image", r#"{"autoscale": {"min": 3, "max": 2}}"#.into(), 422, "invalid_request", Some("autoscale")),
        (&patch, "/v1/queues/image", r#"{"autoscale": {"min": 0, "max": 0}}"#.into(), 422, "invalid_request", Some("autoscale")),
        (&patch, "/v1/queues/image", r#"{"rate_limit": "5/d"}"#.into(), 422, "invalid_request", Some("rate_limit")),
        (&patch, "/v1/queues/image", r#"{"slots": 1}"#.into(), 422, "invalid_request", Some("slots")),
        (&put, "/v1/schedules/s", daily("cron", "* * * *"), 422, "invalid_request", Some("cron")),
        (&put, "/v1/schedules/s", daily("every", "5m"), 422, "invalid_request", Some("cron")),
        (&put, "/v1/schedules/s", daily("missed", "twice"), 422, "invalid_request", Some("missed")),
        (&put, "/v1/schedules/s", r#"{"every": "100ms", "converter": "cleanup.purge-records"}"#.into(), 422, "invalid_request", Some("every")),
        (&put, "/v1/schedules/s", r#"{"converter": "cleanup.purge-records"}"#.into(), 422, "invalid_request", Some("cron")),
        (&put, "/v1/schedules/s", daily("time_zone", "Mars/Base"), 422, "invalid_request", Some("time_zone")),
        (&put, "/v1/schedules/s", daily("converter", "image.transcode"), 422, "invalid_request", Some("converter")),
        (&put, "/v1/schedules/s", r#"{"cron": "@daily"}"#.into(), 422, "invalid_request", Some("converter")),
        (&put, "/v1/schedules/s", daily("converter", "celery.send"), 422, "invalid_request", Some("converter")),
        (
            &put,
            "/v1/schedules/s",
            r#"{"cron": "@daily", "celery": {"task": "t"}, "converter": "cleanup.purge-records"}"#.into(),
            422,
            "invalid_request",
            Some("converter"),
        ),
        (&put, "/v1/schedules/s", r#"{"cron": "@daily", "celery": {"task": "a b"}}"#.into(), 422, "invalid_request", Some("celery.task")),
        (&put, "/v1/schedules/s", r#"{"cron": "@daily", "celery": {"task": "t", "queue": ""}}"#.into(), 422, "invalid_request", Some("celery.queue")),
        (&put, "/v1/schedules/s", r#"{"cron": "@daily", "celery": {"task": "t", "eta": 1}}"#.into(), 422, "invalid_request", Some("celery.eta")),
        (&put, "/v1/schedules/a%20b", daily("cron", "@daily"), 422, "invalid_request", Some("name")),
        (&post, "/v1/schedules/gone/run", String::new(), 404, "not_found", None),
    ];
    let mut wrong = Vec::new();
    for (method, path, body, status, code, field) in table {
        let told =
            problem(server.request(method.clone(), path).header("content-type", "application/json").body(body.clone()).send().await.unwrap()).await;
        let got = (told["status"].as_u64(), told["code"].as_str(), told["field"].as_str());
        if got != (Some(status.into()), Some(code), field) {
            wrong.push(format!("{method} {path} {body:.100}\n  wanted {status} {code} {field:?}\n  told {told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let key = server.request(Method::POST, "/v1/jobs").header("idempotency-key", "").body(job(json!({}))).send().await.unwrap();
    assert_eq!(problem(key).await["field"], "Idempotency-Key");
    let id = server.request(Method::GET, "/v1/events").header("last-event-id", "x").send().await.unwrap();
    assert_eq!(problem(id).await["field"], "Last-Event-ID");
    let half =
        server.request(Method::POST, "/v1/jobs").header("content-type", "multipart/form-data; boundary=b").body("--b\r\n").send().await.unwrap();
    assert_eq!(problem(half).await["code"], "invalid_request");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_is_possible() {
    let server = Server::start(Config::default()).await;
    let picture = server.upload("scene.png", std::fs::read(fixture("image/png/good/scene.png")).unwrap()).await;
    let told = problem(server.send(Method::POST, "/v1/jobs", &json!({"input": {"upload": picture}, "to": "mp4"})).await).await;
    let allowed: Vec<_> = told["allowed"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(allowed.contains(&"webp") && allowed.contains(&"jpeg") && !allowed.contains(&"mp4"), "{told}");
    assert_eq!(told["given"], "mp4");
    let wrong = server.request(Method::DELETE, "/v1/queues").send().await.unwrap();
    assert_eq!(wrong.headers()["allow"], "GET,HEAD");
    assert_eq!(problem(wrong).await["code"], "method_not_allowed");
    assert_eq!(server.request(Method::HEAD, "/v1/queues").send().await.unwrap().status(), 200);
    let queues = problem(server.get("/v1/queues/gone").await).await;
    assert!(queues["allowed"].as_array().unwrap().contains(&json!("video")), "{queues}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_beyond_every_queues_limit_is_too_large() {
    let config = ["video", "audio", "image", "document", "archive", "cleanup", "default"];
    let config = config.into_iter().fold(Config::default(), |config, queue| config.queue(queue, "input_max = \"64KiB\""));
    let server = Server::start(config).await;
    assert_eq!(server.request(Method::POST, "/v1/uploads").body(vec![b'a'; 64 * 1024]).send().await.unwrap().status(), 201);
    let told = problem(server.request(Method::POST, "/v1/uploads").body(vec![b'a'; 4 << 20]).send().await.unwrap()).await;
    assert_eq!((&told["code"], &told["allowed"]), (&json!("too_large"), &json!(["64KiB"])));
    server.stop();
}
