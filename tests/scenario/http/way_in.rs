//! Who may come in, what is told of each request, and what a slow client may not do.

use crate::support::server::{Config, DEADLINE, Server, client, text_of};
use reqwest::Method;
use serde_json::json;
use std::process::Command;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TOKEN: &str = "0123456789abcdef0123";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_it_guards_and_nothing_else_does() {
    let server = Server::start(Config::default().token(TOKEN)).await;
    let url = |path: &str| format!("{}{path}", server.url());
    let stranger = client(None);
    for path in ["/v1/jobs", "/v1/queues", "/v1/events", "/v1/formats", "/metrics"] {
        let refused = stranger.get(url(path)).send().await.unwrap();
        assert_eq!((refused.status().as_u16(), refused.headers()["www-authenticate"].to_str().unwrap()), (401, "Bearer"), "{path}");
        assert_eq!(stranger.get(url(path)).bearer_auth(&TOKEN[1..]).send().await.unwrap().status(), 401, "{path}");
    }
    for path in ["/healthz", "/readyz", "/", "/page/page.js", "/openapi.json"] {
        assert_eq!(stranger.get(url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(server.get("/v1/jobs").await.status(), 200);
    let foreign = server.request(Method::POST, "/v1/queues/image/pause").header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    assert!(!server.log().contains(TOKEN), "the token is in no log");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_link_opens_one_output_without_the_token() {
    let server = Server::start(Config::default().token(TOKEN)).await;
    let id = server.submit("a b.txt", "hello", json!({"to": "noop"})).await;
    server.ended(&id).await;
    let make = async |body: serde_json::Value| server.send(Method::POST, &format!("/v1/jobs/{id}/links"), &body).await;
    let link: serde_json::Value = make(json!({"output": "a b.noop", "valid_for": "1m"})).await.json().await.unwrap();
    let url = format!("{}{}", server.url(), text_of(&link, "url"));
    let opened = client(None).get(&url).send().await.unwrap();
    assert_eq!((opened.status().as_u16(), opened.text().await.unwrap().as_str()), (200, "ok"));
    for forged in [url.replace("expires=", "expires=9"), url.split_once('?').unwrap().0.to_owned(), url.replace("a%20b", "c")] {
        assert_eq!(client(None).get(&forged).send().await.unwrap().status(), 401, "{forged}");
    }
    assert_eq!(make(json!({"output": "none"})).await.status(), 404);
    assert_eq!(make(json!({"output": "a b.noop", "valid_for": "8d"})).await.status(), 422);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_bent_to_this_address_is_refused() {
    let server = Server::start(Config::default()).await;
    for (host, status) in [("evil.example", 403), ("localhost", 200), ("127.0.0.1:80", 200)] {
        assert_eq!(server.request(Method::GET, "/v1/jobs").header("host", host).send().await.unwrap().status(), status, "{host}");
    }
    server.stop();
}

#[test]
fn the_world_is_not_served_without_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["serve", "--listen", "0.0.0.0:0", "--data-dir"]).arg(folder.path()).env_remove("MILLRACE_AUTH_TOKEN");
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("auth.token"), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_ends_its_head_is_let_go() {
    let server = Server::start(Config::default()).await;
    let mut slow = tokio::net::TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-").await.unwrap();
    let mut told = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, slow.read_to_end(&mut told)).await;
    assert!(ended.is_ok(), "the connection is closed by the server");
    let mut huge = tokio::net::TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap();
    // It may be gone before all is written.
    let _ = huge.write_all(format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Huge: {}\r\n\r\n", "x".repeat(200_000)).as_bytes()).await;
    let mut told = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, huge.read_to_end(&mut told)).await.expect("a head without end is not read on");
    assert!(told.is_empty() || told.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&told));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_counted_and_timed_by_queue() {
    let server = Server::start(Config::default()).await;
    let done = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    assert_eq!(server.ended(&done).await["state"], "succeeded");
    let failed = server.submit("a.zip", "PK\u{3}\u{4} and then nothing", json!({"to": "tar"})).await;
    assert_eq!(server.ended(&failed).await["error"]["code"], "corrupt_input");
    let lines = [
        "millrace_attempts_ended_total{queue=\"archive\",state=\"succeeded\",code=\"\"} 1",
        "millrace_attempts_ended_total{queue=\"archive\",state=\"failed\",code=\"corrupt_input\"} 1",
        "millrace_job_wait_seconds_count{queue=\"archive\"} 2",
        "millrace_job_run_seconds_count{queue=\"archive\"} 2",
        "millrace_blob_published_bytes_total{queue=\"archive\"} ",
        "millrace_leases_lost_total 0",
        "millrace_leases_reaped_total 0",
        "millrace_slots_stalled_total{queue=\"archive\"} 0",
    ];
    // The end of an attempt is counted after the store has it, and so after its client may know.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let metrics = server.get("/metrics").await.text().await.unwrap();
        let Some(missing) = lines.iter().find(|line| !metrics.contains(**line)) else { break };
        assert!(Instant::now() < deadline, "{missing} is told:\n{metrics}");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_named_and_logged_without_their_query() {
    let server = Server::start(Config::default()).await;
    let answered = server.request(Method::GET, "/v1/jobs?text=s3cret").header("x-request-id", "mine-1").send().await.unwrap();
    assert_eq!(answered.headers()["x-request-id"], "mine-1");
    let odd = server.request(Method::GET, "/v1/jobs").header("x-request-id", "a b").send().await.unwrap();
    assert_ne!(odd.headers()["x-request-id"], "a b");
    server.request(Method::POST, "/v1/convert?to=nope&name=s3cret").send().await.unwrap();
    let metrics = server.get("/metrics").await.text().await.unwrap();
    for line in [
        "millrace_jobs{queue=\"video\",state=\"queued\"} 0",
        "millrace_slots{queue=\"video\"} 1",
        "millrace_slots_used{queue=\"video\"} 0",
        "millrace_http_requests_total{route=\"/v1/jobs\",method=\"GET\",status=\"200\"} 2",
        "millrace_http_requests_total{route=\"/v1/convert\",method=\"POST\",status=\"422\"} 1",
        "millrace_http_request_duration_seconds_count{route=\"/v1/jobs\"} 2",
        "millrace_build_info{version=",
        "millrace_sandbox_level ",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is told:\n{metrics}");
    }
    let log = server.log();
    assert!(log.contains("/v1/convert") && !log.contains("s3cret"), "{log}");
    server.stop();
}
