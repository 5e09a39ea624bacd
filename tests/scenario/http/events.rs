//! Events as they happen: in order, resumed without a gap, ended in time.

use crate::support::events::Events;
use crate::support::server::{Config, Server};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_stream_ends_with_the_job_and_resumes_without_loss() {
    let server = Server::start(Config::default()).await;
    let id = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    let path = format!("/v1/jobs/{id}/events");
    let events = Events::listen(&server, &path, None).await;
    assert_eq!(
        (events.header("content-type"), events.header("cache-control"), events.header("x-accel-buffering")),
        ("text/event-stream", "no-store", "no")
    );
    let all: Vec<_> = events.rest().await.into_iter().filter(|told| told.id.is_some()).collect();
    let kinds: Vec<_> = all.iter().map(|told| told.kind.as_str()).collect();
    assert_eq!(kinds, ["queued", "started", "output_ready", "succeeded"]);
    assert!(all.iter().all(|told| told.data["job"] == id.as_str() && told.data["seq"].as_u64() == told.id), "{all:?}");
    let rest = Events::listen(&server, &path, all[1].id).await.rest().await;
    assert_eq!(rest, all[2..]);
    let by_query = Events::listen(&server, &format!("{path}?last_event_id={}", all[2].id.unwrap()), None).await.rest().await;
    assert_eq!(by_query, all[3..]);
    let over = server.request(Method::GET, &path).header("last-event-id", all[3].id.unwrap()).send().await.unwrap();
    assert_eq!(over.status(), 204, "a browser is told not to come back");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_all_tells_progress_and_queues_and_outlives_a_restart() {
    let mut server = Server::start(Config::default()).await;
    let mut events = Events::listen(&server, "/v1/events", None).await;
    events.until(|told| told.kind == "queues").await;
    let id = server.submit("x.attack", "obedient", json!({"to": "noop"})).await;
    let ours = |told: &crate::support::events::Told, kind: &str| told.kind == kind && told.data["job"] == id.as_str();
    events.until(|told| ours(told, "started")).await;
    let progress = events.until(|told| ours(told, "progress") && told.data["progress"]["percent"].as_f64() > Some(0.0)).await;
    assert!(progress.id.is_none() && progress.data["outputs"][0]["name"] == "x.noop", "{progress:?}");
    server.send(Method::PATCH, "/v1/queues/archive", &json!({"concurrency": 3})).await;
    let tuned = events.until(|told| told.kind == "queue").await;
    assert_eq!((&tuned.data["queue"], &tuned.data["detail"]["concurrency"]), (&json!("archive"), &json!(3)));
    events.until(|told| told.kind == "queues" && told.data.as_array().unwrap().iter().any(|q| q["concurrency"] == 3)).await;
    let last = events.last;
    server.restart().await;
    // What happened while nobody listened is told first.
    let mut resumed = Events::listen(&server, "/v1/events", last).await;
    resumed.until(|told| ours(told, "interrupted")).await;
    resumed.until(|told| ours(told, "started")).await;
    server.send(Method::POST, &format!("/v1/jobs/{id}/cancel"), &json!({"mode": "kill"})).await;
    resumed.until(|told| ours(told, "cancelled")).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_and_waits_do_not_hold_up_a_stop() {
    let mut server = Server::start(Config::default()).await;
    let id = server.submit("x.attack", "obedient", json!({"to": "noop"})).await;
    server.until(&format!("/v1/jobs/{id}"), |job| job["state"] == "running").await;
    let mut all = Events::listen(&server, "/v1/events", None).await;
    all.next().await.expect("the stream begins");
    let one = Events::listen(&server, &format!("/v1/jobs/{id}/events"), None).await;
    let wait = tokio::spawn(server.request(Method::GET, &format!("/v1/jobs/{id}?wait=120s")).send());
    // It has to be there to be held up: what comes after the drain has begun is refused.
    let waiting = "millrace_http_requests_under_way{route=\"/v1/jobs/{id}\"} 1";
    while !server.get("/metrics").await.text().await.unwrap().contains(waiting) {
        assert!(!wait.is_finished(), "it waits");
    }
    server.terminate();
    assert!(wait.await.unwrap().unwrap().status().is_success(), "a wait is answered with what there is");
    all.rest().await;
    one.rest().await;
    assert!(!server.log().contains("cut off"), "{}", server.log());
}
