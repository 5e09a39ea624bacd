//! What an admin does at night, in a real browser.

use crate::support::browser::Browser;
use crate::support::direct::fixture;
use crate::support::server::{Config, Server, text_of};
use serde_json::json;

/// 24 bytes that sign letters.
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

fn has(selector: &str, text: &str) -> String {
    format!("[...document.querySelectorAll({})].some((e) => e.innerText.includes({}))", json!(selector), json!(text))
}

/// Presses the button below `selector` that says this.
fn press(browser: &mut Browser, selector: &str, text: &str) {
    let found = format!(
        "[...document.querySelectorAll({})].find((e) => e.innerText.trim() === {} && !e.disabled)",
        json!(format!("{selector} button")),
        json!(text)
    );
    browser.until(&found);
    browser.value(&format!("{found}.click()"));
}

fn agree(browser: &mut Browser) {
    browser.until("document.querySelector('#confirm').open");
    browser.value("document.querySelector('#confirm .primary').click()");
}

fn go(browser: &mut Browser, hash: &str) {
    browser.value(&format!("location.hash = {}", json!(hash)));
}

/// Runs a test in a browser that shows the service; what the browser complains of fails it, but for what the service refuses.
async fn in_browser(server: &Server, test: impl FnOnce(&mut Browser) + Send + 'static) {
    let url = format!("{}/", server.url());
    let complaints = tokio::task::spawn_blocking(move || {
        let mut browser = Browser::start(1280, 900);
        browser.open(&url);
        browser.until("document.querySelector('#link').dataset.state === 'up'");
        test(&mut browser);
        let refused = |complaint: &String| complaint.contains("the server responded with a status of 422");
        browser.complaints().into_iter().filter(|c| !refused(c)).collect::<Vec<_>>()
    });
    let complaints = complaints.await.unwrap();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_is_found_read_and_tried_again() {
    let server = Server::start(Config::default()).await;
    let done = server.submit("scene.png", std::fs::read(fixture("image/png/good/scene.png")).unwrap(), json!({"to": "webp"})).await;
    let lost = server.submit("x.attack", "panic", json!({"to": "noop", "max_attempts": 1})).await;
    for id in [&done, &lost] {
        server.ended(id).await;
    }
    let job = lost.clone();
    in_browser(&server, move |browser| {
        go(browser, "#/jobs?state=failed");
        browser.until("document.querySelectorAll('.view-body .jobs .job').length === 1");
        browser.value("document.querySelector('.view-body .jobs a.name').click()");
        browser.until(&has(".error-box code", "crashed"));
        assert_eq!(browser.value("location.hash"), format!("#/jobs/{job}"));
        browser.until("document.querySelectorAll('.one-job tbody tr').length === 1 && document.querySelectorAll('.log li').length > 0");
        press(browser, ".one-job header", "Retry");
        browser.until("document.querySelectorAll('.one-job tbody tr').length === 2");
        browser.until("document.querySelector('.one-job').dataset.state === 'failed'");
        // A picture that was made is shown; words narrow the search.
        go(browser, "#/jobs?text=scene");
        browser.until("document.querySelectorAll('.view-body .jobs .job').length === 1");
        go(browser, &format!("#/jobs/{done}"));
        browser.until("document.querySelector('.preview img')?.naturalWidth > 0");
        browser.until(&has(".output-words", "checks passed"));
        press(browser, ".one-job header", "Remove");
        browser.until("location.hash === '#/jobs'");
        browser.until("document.querySelectorAll('.view-body .jobs .job').length === 1");
    })
    .await;
    assert_eq!(server.json(&format!("/v1/jobs/{lost}")).await["attempts"].as_array().unwrap().len(), 2);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_are_cancelled_and_a_queue_is_tuned() {
    let server = Server::start(Config::default()).await;
    server.send(reqwest::Method::POST, "/v1/queues/archive/pause", &json!({})).await;
    let mut waiting = Vec::new();
    for name in ["one.txt", "two.txt", "three.txt"] {
        waiting.push(server.submit(name, "hello", json!({"to": "noop"})).await);
    }
    in_browser(&server, |browser| {
        go(browser, "#/jobs?state=queued");
        browser.until("document.querySelectorAll('.view-body .jobs .job').length === 3");
        browser.value("document.querySelectorAll('.jobs .pick input')[0].click(); document.querySelectorAll('.jobs .pick input')[1].click()");
        press(browser, ".bulk", "Cancel");
        browser.until("document.querySelectorAll('.view-body .jobs .job').length === 1");
        go(browser, "#/queues");
        let card = "document.querySelector('.tune-card[data-family=archive]')";
        browser.until(&format!("{card}?.hasAttribute('data-paused')"));
        let set = |n: usize, value: &str| {
            format!("(() => {{ const i = {card}.querySelectorAll('form input:not([type=checkbox])')[{n}]; i.value = '{value}'; i.dispatchEvent(new Event('input', {{bubbles: true}})); }})()")
        };
        // Slots, then the soft limit: the fields stand in the order slots, least, most, soft, hard, starts, attempts.
        browser.value(&set(0, "7"));
        browser.value(&set(3, "20m"));
        press(browser, ".tune-card[data-family=archive]", "Save");
        browser.until(&has(".tune-card[data-family=archive] .told", "soft_time_limit"));
        browser.value(&set(3, "5m"));
        press(browser, ".tune-card[data-family=archive]", "Save");
        browser.until(&has(".tune-card[data-family=archive] .told", "Saved."));
        press(browser, ".tune-card[data-family=archive]", "Cancel all that wait");
        agree(browser);
        browser.until(&has(".tune-card[data-family=archive] .told", "1 cancelled."));
        press(browser, ".tune-card[data-family=archive]", "Resume");
        browser.until(&format!("!{card}.hasAttribute('data-paused')"));
    })
    .await;
    let queue = server.json("/v1/queues/archive").await;
    assert_eq!((&queue["concurrency"], &queue["soft_time_limit"], &queue["paused"]), (&json!(7), &json!("5m"), &json!(false)));
    for id in waiting {
        assert_eq!(server.json(&format!("/v1/jobs/{id}")).await["state"], "cancelled");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_schedules_are_ordered_about() {
    let server = Server::start(Config::default()).await;
    in_browser(&server, |browser| {
        go(browser, "#/workers");
        press(browser, ".view-body", "Drain");
        agree(browser);
        browser.until("document.querySelector('tr[data-state=draining]')");
        press(browser, ".view-body", "Restart");
        agree(browser);
        browser.until("document.querySelector('tr[data-state=running]')");
        go(browser, "#/schedules");
        browser.until("document.querySelectorAll('tbody tr').length === 2");
        let fill = |n: usize, value: &str| format!("document.querySelectorAll('.tune input')[{n}].value = '{value}'");
        browser.value(&fill(0, "often"));
        browser.value(&fill(1, "nonsense"));
        press(browser, ".tune", "Save");
        browser.until("document.querySelector('.told[data-state=bad]')?.innerText.length > 0");
        browser.value(&fill(1, "6h"));
        press(browser, ".tune", "Save");
        browser.until("document.querySelectorAll('tbody tr').length === 3");
        let button = |label: &str| format!("document.querySelector('button[aria-label=\"{label} often\"]')");
        browser.value(&format!("{}.click()", button("Run now")));
        browser.until(&format!("{} && !{}.disabled", button("Turn off"), button("Turn off")));
        browser.value(&format!("{}.click()", button("Turn off")));
        browser.until(&button("Turn on"));
        browser.value(&format!("{}.click()", button("Remove")));
        agree(browser);
        browser.until("document.querySelectorAll('tbody tr').length === 2");
    })
    .await;
    let ran = server.until("/v1/jobs?queue=cleanup", |page| page["jobs"].as_array().is_some_and(|jobs| !jobs.is_empty())).await;
    assert_eq!(ran["jobs"][0]["converter"], "cleanup.purge-staging");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_drawn_and_letters_are_sent_again() {
    // Nothing listens there: what is told waits for its next try.
    let server =
        Server::start(Config::default().environment("MILLRACE_WEBHOOKS_SECRET", SECRET).environment("MILLRACE_WEBHOOKS_ALLOW_PRIVATE", "true")).await;
    let webhook = json!({"url": "http://127.0.0.1:1/hook"});
    let told = server.submit("a.txt", "hello", json!({"to": "noop", "webhook": webhook})).await;
    server.ended(&told).await;
    let album = server.upload("album.zip", std::fs::read(fixture("archive/zip/good/mixed.zip")).unwrap()).await;
    let steps = json!({"unpack": {"input": {"upload": album}, "to": "files"}, "pack": {"input": {"step": "unpack"}, "to": "tar.gz"}});
    let sent = server.send(reqwest::Method::POST, "/v1/pipelines?wait=60s", &json!({"steps": steps})).await;
    let pipeline = sent.json::<serde_json::Value>().await.unwrap();
    assert_eq!(pipeline["state"], "succeeded", "{pipeline}");
    in_browser(&server, |browser| {
        go(browser, "#/pipelines");
        browser.until("document.querySelectorAll('.view-body .job[data-state=succeeded]').length === 1");
        browser.value("document.querySelector('.view-body a.name').click()");
        browser.until(
            "document.querySelectorAll('.graph .node[data-state=over]').length === 2 && document.querySelectorAll('.graph .edge').length === 1",
        );
        browser.value("location.hash = document.querySelector('.graph .node').getAttribute('href')");
        browser.until("document.querySelectorAll('.view-body .jobs .job').length === 1");
        go(browser, "#/letters");
        let choose = "(() => { const s = document.querySelector('.search select'); s.value = ''; s.dispatchEvent(new Event('change')); })()";
        browser.until("document.querySelector('.search select')");
        browser.value(choose);
        browser.until(&has("tbody td", "127.0.0.1:1/hook"));
    })
    .await;
    server.stop();
}

/// Goes on with the Tab key until this is focused.
fn tab_to(browser: &mut Browser, expression: &str) {
    for _ in 0..100 {
        browser.key("Tab");
        if browser.value(&format!("document.activeElement === {expression}")) == true {
            let ring = "getComputedStyle(document.activeElement).outlineStyle !== 'none' && document.activeElement.matches(':focus-visible')";
            assert_eq!(browser.value(ring), true, "{expression}: where the keyboard is can be seen");
            return;
        }
    }
    panic!("{expression} is reached by the keyboard");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mouse_is_needed() {
    let server = Server::start(Config::default()).await;
    server.send(reqwest::Method::POST, "/v1/queues/archive/pause", &json!({})).await;
    let waiting = server.submit("waits.txt", "hello", json!({"to": "noop"})).await;
    let job = waiting.clone();
    in_browser(&server, move |browser| {
        tab_to(browser, "document.querySelector('nav a[href=\"#/queues\"]')");
        browser.key("Enter");
        let card = "document.querySelector('.tune-card[data-family=video]')";
        browser.until(card);
        tab_to(browser, &format!("[...{card}.querySelectorAll('button')].find((b) => b.innerText.trim() === 'Pause')"));
        browser.key("Enter");
        browser.until(&format!("{card}.hasAttribute('data-paused')"));
        go(browser, "#/jobs");
        browser.until("document.querySelector('.view-body .jobs .job')");
        tab_to(browser, "document.querySelector('.view-body .jobs .job a')");
        browser.key("Enter");
        browser.until(&format!("location.hash.endsWith({})", json!(job)));
        browser.until(&has("main button", "Cancel"));
        tab_to(browser, "[...document.querySelectorAll('main button')].find((b) => b.innerText.trim() === 'Cancel')");
        browser.key("Enter");
    })
    .await;
    assert_eq!(server.ended(&waiting).await["state"], "cancelled");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_outlive_the_page_and_the_service() {
    let mut server = Server::start(Config::default()).await;
    fn sum(told: &serde_json::Value, measure: &str) -> f64 {
        told["points"].as_array().unwrap().iter().filter_map(|p| p["queues"]["archive"][measure].as_f64()).sum()
    }
    // It is written down within some seconds, and at once when the service stops.
    for _ in 0..2 {
        let done = server.submit("a.txt", "hello", json!({"to": "noop"})).await;
        server.ended(&done).await;
        if sum(&server.json("/v1/stats").await, "succeeded") == 0.0 {
            server.until("/v1/stats", |told| sum(told, "succeeded") == 1.0).await;
        }
    }
    server.restart().await;
    let told = server.json("/v1/stats?window=1h").await;
    assert_eq!((sum(&told, "succeeded"), sum(&told, "started"), sum(&told, "failed")), (2.0, 2.0, 0.0));
    assert!(sum(&told, "ran_s") > 0.0 && sum(&told, "open_s") > 0.0);
    assert_eq!(told["step_s"], 60);
    assert_eq!(server.json("/v1/stats?window=7d").await["step_s"], 3600);
    let refused = server.get("/v1/stats?window=90d").await;
    assert_eq!(refused.status(), 422);
    assert_eq!(text_of(&refused.json().await.unwrap(), "field"), "window");
    in_browser(&server, |browser| {
        browser.until("document.querySelectorAll('.chart').length === 4 && document.querySelectorAll('.chart rect').length > 0");
        assert_eq!(browser.value("document.querySelector('.chart b').innerText"), "2");
    })
    .await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_speaks_the_readers_language() {
    let server = Server::start(Config::default()).await;
    in_browser(&server, |browser| {
        for (tag, word) in [("ru", "Задания"), ("zh", "任务"), ("tr", "İşler"), ("en", "Jobs")] {
            browser.value(&format!(
                "(() => {{ const s = document.querySelector('#language'); s.value = '{tag}'; s.dispatchEvent(new Event('change')); }})()"
            ));
            browser.until(&has("nav a", word));
            browser.until(&format!("document.documentElement.lang === '{tag}'"));
        }
    })
    .await;
    server.stop();
}
