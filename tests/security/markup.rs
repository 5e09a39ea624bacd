//! Markup in what clients send: the page shows it as the text that it is.

use crate::support::browser::Browser;
use crate::support::direct::fixture;
use crate::support::server::{Config, Server, text_of};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write;

/// Obeyed, it would be elements, and the second would ask for a file and mark the window.
const MARKUP: &str = "<x-hurt>\"'</x-hurt><img src=x onerror='window.hurt=1'>";

/// A zip with a file that cannot become a picture and has such a name.
fn zip() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("<x-hurt>.txt", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"a word").unwrap();
    zip.finish().unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_in_any_text_of_a_client_is_text_in_every_view() {
    let config = Config::default().variable("WEBHOOKS_SECRET", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX").variable("WEBHOOKS_ALLOW_PRIVATE", "true");
    let server = Server::start(config).await;
    let fields = json!({"to": "webp", "metadata": {MARKUP: MARKUP}, "context": {"note": MARKUP}, "unique_key": MARKUP, "fairness_key": MARKUP,
        "webhook": {"url": format!("http://127.0.0.1:1/{MARKUP}")}});
    let done = server.submit(&format!("{MARKUP}.png"), std::fs::read(fixture("image/png/good/scene.png")).unwrap(), fields).await;
    let lost =
        server.submit(&format!("{MARKUP}.png"), &b"\x89PNG\r\n\x1a\n and no picture"[..], json!({"to": "webp", "metadata": {"a": MARKUP}})).await;
    assert_eq!((&server.ended(&done).await["state"], &server.ended(&lost).await["state"]), (&json!("succeeded"), &json!("failed")));
    let album = server.upload(&format!("{MARKUP}.zip"), zip()).await;
    let steps = json!({"a": {"input": {"upload": album}, "to": "files"}, "b": {"foreach": "a", "to": "mp4"}});
    let sent =
        server.send(Method::POST, "/v1/pipelines?wait=60s", &json!({"steps": steps, "context": {"note": MARKUP}, "on_failure": "continue"})).await;
    let pipeline = text_of(&sent.json::<Value>().await.unwrap(), "id");
    let url = format!("{}/", server.url());
    let seen = tokio::task::spawn_blocking(move || {
        let mut browser = Browser::start(1280, 900);
        browser.open(&url);
        browser.until("document.querySelector('#link').dataset.state === 'up'");
        let job = |id: &str| (format!("#/jobs/{id}"), "document.querySelector('main').textContent.includes('<x-hurt>')");
        let there = |hash: &str, ready| (hash.to_owned(), ready);
        let views = [
            there("#/", "document.querySelector('#recent .job[data-state=failed]')"),
            there("#/jobs", "document.querySelector('.view-body .jobs .job:nth-child(3)')"),
            job(&done),
            job(&lost),
            there("#/pipelines", "document.querySelector('.view-body .job[data-state]')"),
            (format!("#/pipelines/{pipeline}"), "document.querySelector('.graph .node:nth-of-type(2)')"),
            there("#/letters", "document.querySelector('.view-body tbody tr, .view-body .letter, .search select')"),
            there("#/queues", "document.querySelector('.tune-card[data-family=archive]')"),
            there("#/workers", "document.querySelector('.view-body tbody tr')"),
            there("#/schedules", "document.querySelector('.view-body tbody tr')"),
            there(&format!("#/jobs/{MARKUP}"), "document.querySelector('main')"),
        ];
        for (hash, ready) in views {
            browser.value(&format!("location.hash = {}", json!(hash)));
            browser.until(&format!("Boolean({ready})"));
            let obeyed = browser.value("document.querySelectorAll('x-hurt, img[src=x]').length + (window.hurt ?? 0)");
            assert_eq!(obeyed, 0, "{hash}");
        }
        // It would have been seen.
        browser.value("document.querySelector('main').insertAdjacentHTML('beforeend', '<x-hurt></x-hurt>')");
        assert_eq!(browser.value("document.querySelectorAll('x-hurt').length"), 1);
        browser.requested()
    });
    let asked = seen.await.unwrap();
    assert!(!asked.iter().any(|url| url.ends_with("/x")), "{asked:?}");
    server.stop();
}
