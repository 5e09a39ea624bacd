//! How the page looks: measured by axe in dark and light, and held against pictures that somebody has looked at.

use crate::support::browser::Browser;
use crate::support::clients;
use crate::support::direct::fixture;
use crate::support::picture;
use crate::support::server::{Config, Server, text_of};
use serde_json::{Value, json};

/// What axe calls a serious or critical fault, with what it is about.
const FAULTS: &str = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations
  .filter((fault) => ['serious', 'critical'].includes(fault.impact))
  .flatMap((fault) => fault.nodes.map((node) => `${fault.id}: ${node.target.join(' ')}: ${node.failureSummary}`)))";

/// Takes out of the page what is different each time (figures, times, ids, drawings of load) and what is on each machine: its fonts.
const STEADY: &str = "(() => {
  document.body.style.fontFamily = 'Noto Sans';
  for (const part of document.querySelectorAll('code, pre, .id, .log, .route b')) part.style.fontFamily = 'DejaVu Sans Mono';
  for (const time of document.querySelectorAll('time')) { time.removeAttribute('datetime'); time.textContent = 'then'; }
  for (const part of document.querySelectorAll('.charts, .log, .facts')) part.style.visibility = 'hidden';
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replace(/[0-9a-f]{8}/g, '00000000').replace(/[0-9]+/g, '0');
})()";

/// A service with something on each of its pages, none of which changes any more.
struct Site {
    server: Server,
    job: String,
    pipeline: String,
}

impl Site {
    async fn start() -> Site {
        // Nothing listens there: what is told waits for its next try.
        let config =
            Config::default().variable("WEBHOOKS_SECRET", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX").variable("WEBHOOKS_ALLOW_PRIVATE", "true");
        let server = Server::start(config).await;
        let picture = std::fs::read(fixture("image/png/good/scene.png")).unwrap();
        let job = server.submit("scene.png", picture, json!({"to": "webp", "webhook": {"url": "http://127.0.0.1:1/hook"}})).await;
        server.ended(&job).await;
        let lost = server.submit("x.attack", "panic", json!({"to": "noop", "max_attempts": 1})).await;
        server.ended(&lost).await;
        let album = server.upload("album.zip", std::fs::read(fixture("archive/zip/good/mixed.zip")).unwrap()).await;
        let steps = json!({"unpack": {"input": {"upload": album}, "to": "files"}, "list": {"input": {"upload": album}, "to": "json"},
            "pack": {"input": {"step": "unpack"}, "after": ["list"], "to": "tar.gz"}});
        let sent = server.send(reqwest::Method::POST, "/v1/pipelines?wait=60s", &json!({"steps": steps})).await;
        let pipeline = sent.json::<Value>().await.unwrap();
        assert_eq!(pipeline["state"], "succeeded", "{pipeline}");
        server.send(reqwest::Method::POST, "/v1/queues/archive/pause", &json!({})).await;
        server.submit("waits.txt", "hello", json!({"to": "noop"})).await;
        Site { job, pipeline: text_of(&pipeline, "id"), server }
    }

    /// Each view, and what it has once it is there.
    fn views(&self) -> Vec<(&'static str, String, &'static str)> {
        vec![
            ("home", "#/".into(), "#recent .job a.download"),
            ("jobs", "#/jobs".into(), ".view-body .jobs .job:nth-child(6)"),
            ("job", format!("#/jobs/{}", self.job), ".preview img"),
            ("pipelines", "#/pipelines".into(), ".view-body .job[data-state=succeeded]"),
            ("pipeline", format!("#/pipelines/{}", self.pipeline), ".graph .node:nth-of-type(3)"),
            ("queues", "#/queues".into(), ".tune-card[data-family=archive][data-paused]"),
            ("workers", "#/workers".into(), ".view-body tbody tr"),
            ("schedules", "#/schedules".into(), ".view-body tbody tr:nth-child(2)"),
            ("letters", "#/letters".into(), ".search select"),
        ]
    }

    /// Runs a test in a browser that shows the site.
    async fn seen(&self, test: impl FnOnce(&mut Browser) + Send + 'static) {
        let url = format!("{}/", self.server.url());
        let run = move || {
            let mut browser = Browser::start(1280, 900);
            // Nothing moves that need not.
            browser.prefer("prefers-reduced-motion", "reduce");
            browser.open(&url);
            browser.until("document.querySelector('#link').dataset.state === 'up'");
            test(&mut browser);
        };
        tokio::task::spawn_blocking(run).await.unwrap();
    }
}

fn go(browser: &mut Browser, hash: &str, has: &str) {
    browser.value(&format!("location.hash = {}", json!(hash)));
    browser.until(&format!("document.querySelector({}) && document.getAnimations().every((a) => a.playState !== 'running')", json!(has)));
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_no_serious_fault_in_any_view() {
    let site = Site::start().await;
    let views = site.views();
    site.seen(move |browser| {
        let axe = clients::folder().join("node/node_modules/axe-core/axe.min.js");
        browser.value(&(std::fs::read_to_string(axe).unwrap() + "; true"));
        // It sees what it is here for.
        browser.value("document.querySelector('#search').insertAdjacentHTML('afterend', '<input id=bare>')");
        assert!(browser.value(FAULTS).to_string().contains("label: #bare"));
        browser.value("document.querySelector('#bare').remove()");
        let mut faults = Vec::new();
        for scheme in ["light", "dark"] {
            browser.prefer("prefers-color-scheme", scheme);
            for (name, hash, has) in &views {
                go(browser, hash, has);
                let found = browser.value(FAULTS);
                faults.extend(found.as_array().unwrap().iter().map(|fault| format!("{name}, {scheme}: {}", fault.as_str().unwrap())));
            }
        }
        browser.value("document.querySelector('#access').showModal()");
        faults.extend(browser.value(FAULTS).as_array().unwrap().iter().map(|fault| format!("the token's dialog: {fault}")));
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    })
    .await;
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_views_look_as_they_were_looked_at() {
    let site = Site::start().await;
    let views = site.views();
    site.seen(move |browser| {
        let mut differing = Vec::new();
        for (scheme, wanted) in [("light", &["home", "jobs", "pipeline", "queues"][..]), ("dark", &["home", "jobs"])] {
            browser.prefer("prefers-color-scheme", scheme);
            for (name, hash, has) in views.iter().filter(|(name, ..)| wanted.contains(name)) {
                go(browser, hash, has);
                browser.value(STEADY);
                differing.extend(picture::differs(&format!("{name}-{scheme}"), &browser.picture()));
            }
        }
        browser.resize(390, 800);
        let (_, hash, has) = &views[0];
        go(browser, hash, has);
        browser.value(STEADY);
        differing.extend(picture::differs("home-phone", &browser.picture()));
        assert!(differing.is_empty(), "{differing:#?}");
    })
    .await;
    site.server.stop();
}
