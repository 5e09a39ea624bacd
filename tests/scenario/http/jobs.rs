//! Submitting, following and ending jobs.

use crate::support::direct::fixture;
use crate::support::server::{Config, Server, text_of};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_comes_back_with_its_jobs_after_a_stop_and_after_a_kill() {
    let mut server = Server::start(Config::default()).await;
    let id = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    assert_eq!(server.ended(&id).await["state"], "succeeded");
    server.restart().await;
    assert_eq!(server.json(&format!("/v1/jobs/{id}")).await["state"], "succeeded");
    server.kill_9();
    server.restart().await;
    assert_eq!(server.json(&format!("/v1/jobs/{id}")).await["state"], "succeeded");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_submitted_as_json_and_as_a_form() {
    let server = Server::start(Config::default()).await;
    let id = server.submit("a.txt", "hello", json!({"to": "noop", "metadata": {"upload_id": 42}, "priority": 7})).await;
    let job = server.ended(&id).await;
    assert_eq!((&job["state"], &job["metadata"]["upload_id"], &job["priority"]), (&json!("succeeded"), &json!(42), &json!(7)));
    let part = reqwest::multipart::Part::bytes(std::fs::read(fixture("image/png/good/scene.png")).unwrap()).file_name("scene.png");
    let job = r#"{"outputs": [{"name": "small", "to": "webp", "options": {"width": 32}}, {"name": "plain", "to": "jpeg"}]}"#;
    let form = reqwest::multipart::Form::new().part("file", part).text("job", job);
    let response = server.request(Method::POST, "/v1/jobs?wait=60s").multipart(form).send().await.unwrap();
    assert_eq!(response.status(), 202);
    let job: Value = response.json().await.unwrap();
    let names: Vec<_> = job["outputs"].as_array().unwrap().iter().map(|o| text_of(o, "name")).collect();
    assert_eq!((text_of(&job, "state"), names), ("succeeded".into(), vec!["small.webp".to_owned(), "plain.jpg".to_owned()]));
    assert_eq!(job["outputs"][0]["media"]["width"], 32);
    let found = server.json("/v1/jobs?text=scene&state=succeeded&limit=1").await;
    assert_eq!((&found["jobs"][0]["id"], &found["cursor"]), (&job["id"], &job["id"]));
    let page = server.json(&format!("/v1/jobs?limit=1&cursor={}", text_of(&job, "id"))).await;
    assert_eq!(text_of(&page["jobs"][0], "id"), id);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_stands_for_one_job() {
    let server = Server::start(Config::default()).await;
    let upload = server.upload("a.txt", "hello").await;
    let submit = |to: &'static str, key: &'static str| {
        let body = json!({"input": {"upload": upload}, "to": "noop", "metadata": {"wanted": to}});
        server.request(Method::POST, "/v1/jobs").header("Idempotency-Key", key).json(&body).send()
    };
    let (first, again) = (submit("noop", "k").await.unwrap(), submit("noop", "k").await.unwrap());
    assert_eq!((first.status().as_u16(), again.status().as_u16()), (202, 200));
    let (first, again): (Value, Value) = (first.json().await.unwrap(), again.json().await.unwrap());
    assert_eq!(first["id"], again["id"]);
    let other = submit("other", "k").await.unwrap();
    let (status, problem) = (other.status(), other.json::<Value>().await.unwrap());
    assert!(status == 422 && problem["code"] == "idempotency_mismatch", "{status} {problem}");
    let fresh: Value = submit("noop", "k2").await.unwrap().json().await.unwrap();
    assert_ne!(fresh["id"], first["id"]);
    for id in [&first, &fresh] {
        server.ended(&text_of(id, "id")).await;
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_brings_converted_bytes() {
    let server = Server::start(Config::default()).await;
    let bytes = std::fs::read(fixture("image/png/good/scene.png")).unwrap();
    let ask = |query: &str, bytes: Vec<u8>| server.request(Method::POST, &format!("/v1/convert?{query}")).body(bytes).send();
    let response = ask("to=jpg&name=scene.png&options=%7B%22width%22%3A48%7D", bytes.clone()).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()), (200, "image/jpeg"));
    assert!(response.headers()["content-disposition"].to_str().unwrap().contains("scene.jpg"));
    let picture = response.bytes().await.unwrap();
    assert_eq!(&picture[..3], b"\xff\xd8\xff");
    let put = server.request(Method::PUT, "/v1/convert?to=webp").body(bytes.clone()).send().await.unwrap();
    assert_eq!(put.headers()["content-type"], "image/webp");
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::bytes(bytes).file_name("scene.png"));
    let response = server.request(Method::POST, "/v1/convert?preset=thumb-320").multipart(form).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "image/webp");
    let broken = ask("to=noop&name=x.attack&wait=60s", b"huge-report".to_vec()).await.unwrap();
    let (status, job) = (broken.status(), broken.json::<Value>().await.unwrap());
    assert!(status == 422 && job["state"] == "failed", "{status} {job}");
    let slow = ask("to=noop&name=x.attack&wait=100ms", b"obedient".to_vec()).await.unwrap();
    let (status, job) = (slow.status(), slow.json::<Value>().await.unwrap());
    assert_eq!(status, 202, "{job}");
    server.send(Method::POST, &format!("/v1/jobs/{}/cancel", text_of(&job, "id")), &json!({"mode": "kill"})).await;
    server.ended(&text_of(&job, "id")).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_retried_read_and_removed() {
    let server = Server::start(Config::default()).await;
    let id = server.submit("x.attack", "obedient", json!({"to": "noop"})).await;
    let path = format!("/v1/jobs/{id}");
    server.until(&path, |job| job["state"] == "running").await;
    let early = server.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(early.status(), 409, "a running job is not removed");
    let asked: Value = server.request(Method::POST, &format!("{path}/cancel")).send().await.unwrap().json().await.unwrap();
    assert!(asked["state"] == "cancelled" || asked["cancel"] == "soft", "{asked}");
    assert_eq!(server.ended(&id).await["error"]["code"], "cancelled");
    assert_eq!(server.send(Method::POST, &format!("{path}/retry"), &json!({})).await.status(), 200);
    server.until(&path, |job| job["state"] == "running" && job["attempt"] == 2).await;
    server.send(Method::POST, &format!("{path}/cancel"), &json!({"mode": "kill"})).await;
    let job = server.ended(&id).await;
    assert_eq!((&job["state"], job["attempts"].as_array().unwrap().len()), (&json!("cancelled"), 2));
    let log = server.json(&format!("{path}/log")).await;
    assert!(log.as_array().unwrap().iter().any(|line| line["message"].as_str().unwrap().contains("attempt 2")), "{log}");
    assert_eq!(server.request(Method::DELETE, &path).send().await.unwrap().status(), 204);
    assert_eq!(server.get(&path).await.status(), 404);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_another_across_queues_and_fails_with_it() {
    let server = Server::start(Config::default()).await;
    let first = server.submit("x.attack", "obedient", json!({"to": "noop"})).await;
    let second = server.submit("a.txt", "hello", json!({"to": "noop", "queue": "default", "after": [first]})).await;
    let third = server.submit("a.txt", "hello", json!({"to": "noop", "after": [second]})).await;
    server.until(&format!("/v1/jobs/{first}"), |job| job["state"] == "running").await;
    let waiting = server.json(&format!("/v1/jobs/{second}")).await;
    assert_eq!((&waiting["state"], &waiting["after"], &waiting["waiting_on"]), (&json!("queued"), &json!([first]), &json!([first])));
    server.send(Method::POST, &format!("/v1/jobs/{first}/cancel"), &json!({"mode": "soft"})).await;
    for id in [&second, &third] {
        let failed = server.ended(id).await;
        assert_eq!((&failed["error"]["code"], &failed["attempt"]), (&json!("dependency_failed"), &json!(0)), "{failed}");
    }
    let good = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    let after = server.submit("a.txt", "hello", json!({"to": "noop", "queue": "default", "after": [good]})).await;
    assert_eq!(server.ended(&after).await["state"], "succeeded");
    assert_eq!(server.json(&format!("/v1/jobs/{good}")).await["state"], "succeeded");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_probed_wherever_it_lies() {
    let server = Server::start(Config::default()).await;
    let bytes = std::fs::read(fixture("image/png/good/scene.png")).unwrap();
    let raw: Value = server.request(Method::POST, "/v1/probe?name=scene.png").body(bytes.clone()).send().await.unwrap().json().await.unwrap();
    assert_eq!((&raw["format"], raw["size_bytes"].as_u64()), (&json!("png"), Some(bytes.len() as u64)));
    assert!(raw["media"]["width"].as_u64() > Some(0) && raw["error"].is_null(), "{raw}");
    let named = server.send(Method::POST, "/v1/probe", &json!({"input": {"upload": raw["upload"]}})).await.json::<Value>().await.unwrap();
    assert_eq!((&named["media"], &named["sha256"], &named["upload"]), (&raw["media"], &raw["sha256"], &Value::Null));
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::bytes(bytes).file_name("scene.png"));
    let formed: Value = server.request(Method::POST, "/v1/probe").multipart(form).send().await.unwrap().json().await.unwrap();
    assert_eq!(formed["media"], raw["media"]);
    let broken = std::fs::read(fixture("image/jpeg/broken/huge.jpg")).unwrap();
    let told: Value = server.request(Method::POST, "/v1/probe?name=huge.jpg").body(broken).send().await.unwrap().json().await.unwrap();
    assert!(told["format"] == "jpeg" && (told["media"].is_null() != told["error"].is_null()), "{told}");
    server.stop();
}
