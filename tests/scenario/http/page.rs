//! The page, in a real browser.

use crate::support::browser::Browser;
use crate::support::direct::fixture;
use crate::support::server::{Config, DEADLINE, Server, text_of};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

/// Markup as a name: shown it is text, obeyed it would ask for `/x` and mark the window.
const HOSTILE: &str = "<img src=x onerror='window.hurt=1'>&amp;.png";

fn text_in(selector: &str, text: &str) -> String {
    format!("[...document.querySelectorAll({})].some((e) => e.innerText.includes({}))", json!(selector), json!(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_jobs_and_converts_what_is_dropped() {
    let server = Server::start(Config::default()).await;
    let done = server.submit("scene & sea.png", std::fs::read(fixture("image/png/good/scene.png")).unwrap(), json!({"to": "webp"})).await;
    let lost = server.submit("x.attack", "panic", json!({"to": "noop", "max_attempts": 1})).await;
    for id in [&done, &lost] {
        server.ended(id).await;
    }
    let running = server.submit("long.attack", "obedient", json!({"to": "noop"})).await;
    let folder = tempfile::tempdir().unwrap();
    let dropped = folder.path().join(HOSTILE);
    std::fs::copy(fixture("image/png/good/scene.png"), &dropped).unwrap();
    let url = format!("{}/", server.url());
    let (complaints, requested) = tokio::task::spawn_blocking(move || {
        let mut browser = Browser::start(1280, 900);
        browser.open(&url);
        // What is there.
        browser.until(&text_in("#recent .name", "scene & sea.png"));
        browser.until("document.querySelectorAll('#queues .queue').length === 7");
        browser.until("document.querySelector('#link').dataset.state === 'up'");
        browser.until(&text_in("#recent .job[data-state=failed] .trouble", "crashed"));
        browser.until("document.querySelector('#recent .job[data-state=succeeded] a.download')");
        // What moves.
        browser.until(&text_in("#under-way .name", "long.attack"));
        browser.until("document.querySelector('#under-way progress').value > 0");
        browser.value("document.querySelector('#under-way .actions button').click()");
        browser.until(&text_in("#recent .job[data-state=cancelled] .name", "long.attack"));
        // A queue is paused and resumed.
        let card = "document.querySelector('#queues [data-family=video]')";
        browser.value(&format!("{card}.querySelector('button').click()"));
        browser.until(&format!("{card}.hasAttribute('data-paused')"));
        browser.value(&format!("{card}.querySelector('button').click()"));
        browser.until(&format!("!{card}.hasAttribute('data-paused')"));
        // A file with a bad name is dropped, converted and given back.
        browser.drop_files("#drop", &[&dropped]);
        browser.until("document.querySelector('#files .file[data-state=ready] select')");
        assert_eq!(browser.value("document.querySelector('#files .name').textContent"), HOSTILE);
        browser.value("document.querySelector('#files .choice button').click()");
        browser.until("document.querySelector('#files .file[data-state=succeeded] a.download')");
        let bytes = "fetch(document.querySelector('#files a.download').href).then((r) => r.blob()).then((b) => b.type)";
        assert_eq!(browser.value(bytes), "image/webp");
        assert_eq!(browser.value("window.hurt === undefined && document.querySelectorAll('main img').length === 0"), true);
        // It is dark where that is wished for, and fits a telephone.
        let brightness = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))";
        assert!(browser.value(brightness).as_u64() > Some(200));
        browser.prefer("prefers-color-scheme", "dark");
        assert!(browser.value(brightness).as_u64() < Some(60));
        browser.resize(375, 800);
        browser.until("document.documentElement.scrollWidth <= 375");
        (browser.complaints(), browser.requested())
    })
    .await
    .unwrap();
    assert!(complaints.is_empty(), "{complaints:?}");
    assert!(requested.iter().all(|asked| asked.starts_with(server.url()) || asked.starts_with("blob:")), "{requested:?}");
    assert_eq!(server.ended(&running).await["state"], "cancelled");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_for_the_token_and_comes_back_after_a_stop() {
    let token = "0123456789abcdef0123";
    let mut server = Server::start(Config::default().token(token)).await;
    let id = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    server.ended(&id).await;
    let url = format!("{}/", server.url());
    let mut browser = tokio::task::spawn_blocking(move || {
        let mut browser = Browser::start(1280, 900);
        browser.open(&url);
        browser.until("document.querySelector('#access').open");
        browser.value(&format!("document.querySelector('#token').value = '{token}'; document.querySelector('#access-form').requestSubmit()"));
        browser.until(&text_in("#recent .name", "a.txt"));
        assert_eq!(browser.value("sessionStorage.length + localStorage.length"), 1);
        browser.value("document.querySelector('#recent a.download').click()");
        browser
    })
    .await
    .unwrap();
    // The download is the browser's own business; the server tells that it was let in by the link.
    let let_in = "millrace_http_requests_total{route=\"/v1/jobs/{id}/outputs/{*name}\",method=\"GET\",status=\"200\"} 1";
    let deadline = Instant::now() + DEADLINE;
    while !server.get("/metrics").await.text().await.unwrap().contains(let_in) {
        assert!(Instant::now() < deadline, "the output is downloaded in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.terminate();
    tokio::task::spawn_blocking(move || {
        browser.until("!document.querySelector('#notice').hidden && document.querySelector('#link').dataset.state === 'down'")
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_offers_nothing_that_its_token_may_not_do() {
    let server = Server::start(Config::default().token("0123456789abcdef0123")).await;
    let id = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
    server.ended(&id).await;
    let made =
        server.send(Method::POST, "/v1/tokens", &json!({"name": "reader", "scopes": ["read"]})).await.json::<serde_json::Value>().await.unwrap();
    let tokens = [(text_of(&made, "secret"), false), ("0123456789abcdef0123".to_owned(), true)];
    let url = format!("{}/", server.url());
    let look = move || {
        for (token, offered) in tokens {
            let mut browser = Browser::start(1280, 900);
            browser.open(&url);
            browser.until("document.querySelector('#access').open");
            browser.value(&format!("document.querySelector('#token').value = '{token}'; document.querySelector('#access-form').requestSubmit()"));
            browser.until("document.body.dataset.scopes && document.querySelector('#recent .job .actions button')");
            // Where each control is, and that it is there at all.
            for (place, control) in [
                ("#/", "#queues button"),
                ("#/", "#recent .job .actions button"),
                ("#/", ".intake"),
                ("#/queues", ".tune-card header button"),
                ("#/queues", ".tune-card [type=submit]"),
                ("#/workers", ".view-body tbody .actions"),
                ("#/schedules", ".view-body tbody .actions"),
                ("#/schedules", ".tune-card"),
            ] {
                browser.value(&format!("location.hash = '{place}'"));
                browser.until(&format!("document.querySelector('{control}')"));
                assert_eq!(browser.value(&format!("document.querySelector('{control}').checkVisibility()")), offered, "{place} {control}");
            }
        }
    };
    tokio::task::spawn_blocking(look).await.unwrap();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_files_may_do_no_more_than_they_need() {
    let server = Server::start(Config::default()).await;
    for path in ["/", "/page/page.js", "/page/style.css", "/page/mark.svg"] {
        let response = server.get(path).await;
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"), "{path}: {policy}");
        let etag = response.headers()["etag"].clone();
        let again = server.request(Method::GET, path).header("if-none-match", etag).send().await.unwrap();
        assert_eq!(again.status(), 304, "{path}");
    }
    let page = server.get("/").await.text().await.unwrap();
    assert!(
        !page.contains("<style") && !page.contains(" style=") && !page.contains("onclick") && !page.contains("http://") && !page.contains("https://")
    );
    server.stop();
}
