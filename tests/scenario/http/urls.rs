//! Inputs by address. What may not be reached is in tests/security/ssrf.rs.

use crate::support::command::millrace;
use crate::support::direct::fixture;
use crate::support::server::{Config, Server, text_of};
use crate::support::sink::{Asked, Sink, redirect, status};
use axum::body::Body;
use axum::response::Response;
use reqwest::Method;
use serde_json::{Value, json};

/// A site with one picture, an address that leads to it, and nothing else.
async fn site() -> Sink {
    Sink::answering(|asked: &Asked| match asked.uri.path() {
        "/photos/my%20scene.png" => {
            let mut response = Response::new(Body::from(std::fs::read(fixture("image/png/good/scene.png")).unwrap()));
            if asked.uri.query() == Some("named") {
                response.headers_mut().insert("content-disposition", "attachment; filename=\"other.png\"".parse().unwrap());
            }
            response
        }
        "/moved" => redirect("/photos/my%20scene.png"),
        _ => status(404),
    })
    .await
}

fn open() -> Config {
    Config::default().variable("INPUTS_URL_ALLOW_PRIVATE", "true")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_fetched_and_converted() {
    let (site, server) = (site().await, Server::start(open()).await);
    for (path, name) in [("/photos/my%20scene.png", "my scene.png"), ("/moved", "my scene.png"), ("/photos/my%20scene.png?named", "other.png")] {
        let body = json!({"input": {"url": site.url(path)}, "to": "webp"});
        let job: Value = server.send(Method::POST, "/v1/jobs?wait=60s", &body).await.json().await.unwrap();
        assert_eq!((text_of(&job, "state"), text_of(&job["input"], "name")), ("succeeded".into(), name.into()), "{job}");
    }
    let steps = json!({"steps": {"small": {"input": {"url": site.url("/moved")}, "to": "webp"}, "pack": {"input": {"step": "small"}, "to": "png"}}});
    let pipeline: Value = server.send(Method::POST, "/v1/pipelines?wait=60s", &steps).await.json().await.unwrap();
    assert_eq!(pipeline["state"], "succeeded", "{pipeline}");
    let probed: Value = server.send(Method::POST, "/v1/probe", &json!({"input": {"url": site.url("/moved")}})).await.json().await.unwrap();
    assert!(probed["media"]["width"].as_u64() > Some(0), "{probed}");
    let folder = tempfile::tempdir().unwrap();
    let (out, url, server_url) = (folder.path().join("out.webp").to_str().unwrap().to_owned(), site.url("/moved"), server.url().to_owned());
    let submitted = tokio::task::spawn_blocking(move || {
        millrace(folder.path(), &["submit", &url, "--to", "webp", "--out", &out], &[("MILLRACE_URL", &server_url)])
    });
    let submitted = submitted.await.unwrap();
    assert_eq!(submitted.exit, 0, "{}", submitted.complaint);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_fetched_is_said_and_nothing_is_kept() {
    let (site, server) = (site().await, Server::start(open().variable("INPUTS_URL_MAX_BYTES", "1KiB")).await);
    let closed = Server::start(Config::default()).await;
    let asked = site.asked().len();
    for (server, url, to, status, code) in [
        (&server, site.url("/nothing"), "webp", 422, "input_unavailable"),
        (&server, site.url("/moved"), "webp", 413, "too_large"),
        (&server, "ftp://example.org/a".into(), "webp", 422, "invalid_request"),
        (&server, "http://user:secret@127.0.0.1/a".into(), "webp", 422, "invalid_request"),
        (&server, "http://127.0.0.1:1/a".into(), "webp", 422, "input_unavailable"),
        (&closed, site.url("/moved"), "webp", 422, "invalid_request"),
    ] {
        let response = server.send(Method::POST, "/v1/jobs", &json!({"input": {"url": url}, "to": to})).await;
        let (given, problem) = (response.status().as_u16(), response.json::<Value>().await.unwrap());
        assert!(given == status && problem["code"] == code && problem["field"] == "input.url", "{url}: {given} {problem}");
    }
    assert_eq!(site.asked().len() - asked, 3, "the last one was not asked");
    let unknown = server.send(Method::POST, "/v1/jobs", &json!({"input": {"url": site.url("/moved")}, "preset": "none"})).await;
    assert_eq!((unknown.status().as_u16(), site.asked().len() - asked), (422, 3), "nothing is fetched for a request that is wrong");
    for server in [server, closed] {
        assert_eq!(server.json("/v1/jobs").await["jobs"], json!([]));
        server.stop();
    }
}
