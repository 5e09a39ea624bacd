//! Workers, seen and ordered about while the service runs.

use crate::support::server::{Config, Server, text_of};
use reqwest::Method;
use serde_json::{Value, json};

async fn order(server: &Server, id: &str, order: &str) -> Value {
    let response = server.send(Method::POST, &format!("/v1/workers/{id}/{order}"), &json!({})).await;
    assert_eq!(response.status(), 202);
    response.json().await.unwrap()
}

/// The jobs that the only worker runs.
fn running(workers: &Value) -> Vec<String> {
    let pools = workers[0]["queues"].as_array().unwrap().iter();
    pools.flat_map(|pool| pool["running"].as_array().unwrap().clone()).map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_drained_and_restarted() {
    let server = Server::start(Config::default().queue("archive", "concurrency = 3")).await;
    let first = server.submit("x.attack", "obedient", json!({"to": "noop"})).await;
    let workers = server.until("/v1/workers", |workers| workers[0]["id"].is_string() && running(workers) == [first.as_str()]).await;
    let (id, worker) = (text_of(&workers[0], "id"), &workers[0]);
    assert_eq!((workers.as_array().unwrap().len(), worker["pid"].as_u64(), &worker["state"]), (1, Some(server.pid().into()), &json!("running")));
    assert!(worker["sandbox_level"].as_u64().unwrap() >= 3 && worker["memory_bytes"].as_u64().unwrap() > 1 << 20, "{worker}");
    let archive = worker["queues"].as_array().unwrap().iter().find(|pool| pool["queue"] == "archive").unwrap();
    assert_eq!(archive["slots"], 3);
    assert_eq!(order(&server, &id, "drain").await["id"], *id);
    server.until("/v1/workers", |workers| workers[0]["state"] == "draining").await;
    // What ran goes on, what comes waits.
    let second = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    assert_eq!(server.json(&format!("/v1/jobs/{first}")).await["state"], "running");
    server.send(Method::POST, &format!("/v1/jobs/{first}/cancel"), &json!({"mode": "soft"})).await;
    assert_eq!(server.ended(&first).await["state"], "cancelled");
    server.until("/v1/workers", |workers| running(workers).is_empty()).await;
    assert_eq!(server.json(&format!("/v1/jobs/{second}")).await["state"], "queued");
    order(&server, &id, "restart").await;
    assert_eq!(server.ended(&second).await["state"], "succeeded");
    let again = server.until("/v1/workers", |workers| workers[0]["state"] == "running").await;
    assert_eq!((&again[0]["id"], &again[0]["pid"]), (&json!(id), &json!(server.pid())), "the process is the same");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_gives_running_jobs_back_and_replaces_the_zygotes() {
    let server = Server::start(Config::default()).await;
    let job = server.submit("x.attack", "obedient", json!({"to": "noop"})).await;
    let workers = server.until("/v1/workers", |workers| workers[0]["id"].is_string() && running(workers) == [job.as_str()]).await;
    let zygotes = |server: &Server| server.processes().into_iter().filter(|below| below.depth == 1).map(|below| below.id).collect::<Vec<_>>();
    let before = zygotes(&server);
    assert!(!before.is_empty());
    order(&server, &text_of(&workers[0], "id"), "restart").await;
    let path = format!("/v1/jobs/{job}");
    let told = server.until(&path, |job| job["attempt"] == 2 && job["state"] == "running").await;
    assert_eq!((&told["attempts"][0]["cause"], &told["failures"]), (&json!("interrupted"), &json!(0)));
    assert!(zygotes(&server).iter().all(|pid| !before.contains(pid)), "the zygotes are others");
    server.send(Method::POST, &format!("{path}/cancel"), &json!({"mode": "kill"})).await;
    server.ended(&job).await;
    assert_eq!(server.send(Method::POST, "/v1/workers/nobody/drain", &json!({})).await.status(), 404);
    server.stop();
}
