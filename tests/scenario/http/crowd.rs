//! A page that shows a thousand running jobs: what is drawn and what is told stays within bounds.

use crate::support::browser::Browser;
use crate::support::records::new_job;
use crate::support::redis::RedisServer;
use crate::support::server::{Config, Server};
use jiff::{SignedDuration, Timestamp};
use millrace::job::Lease;
use millrace::progress::Progress;
use millrace::store::redis::RedisStore;
use millrace::store::{Jobs, LeaseRequest, Leases, Renewal};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const JOBS: usize = 1000;
/// What the page shows of them at once, with a margin for what waits.
const ROWS_MAX: u64 = 75;
/// Of the whole page, whatever runs.
const ELEMENTS_MAX: u64 = 4000;

/// Jobs that another machine's worker runs, and reports on without end.
struct Crowd {
    store: RedisStore,
    leases: Vec<Lease>,
}

impl Crowd {
    async fn gather(url: &str) -> Crowd {
        let (store, now) = (RedisStore::open(url).await.unwrap(), Timestamp::now());
        let until = now + SignedDuration::from_hours(1);
        let mut leases = Vec::new();
        while leases.len() < JOBS {
            store.insert((0..100).map(|_| new_job(now.as_second())).collect(), now).await.unwrap();
            let request = LeaseRequest { queue: "image".into(), worker: "elsewhere".into(), max: 100, rate_limit: None, until, sandbox_level: 3 };
            leases.extend(store.lease(request, now).await.unwrap().iter().map(|record| Lease { job: record.job.id, attempt: record.job.attempt }));
        }
        Crowd { store, leases }
    }

    async fn report(&self, stop: CancellationToken) {
        let until = Timestamp::now() + SignedDuration::from_hours(1);
        let mut heartbeat = tokio::time::interval(Duration::from_millis(250));
        for percent in (0..100).cycle().map(f64::from) {
            heartbeat.tick().await;
            for leases in self.leases.chunks(100) {
                let progress = Some(Progress { percent, stage: "encode".into(), ..Progress::default() });
                let renewal = |lease: &Lease| Renewal { lease: *lease, progress: progress.clone(), outputs: vec![], media: None, log: vec![] };
                self.store.renew(leases.iter().map(renewal).collect(), until, Timestamp::now()).await.unwrap();
                if stop.is_cancelled() {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_running_jobs_do_not_weigh_the_page_down() {
    let redis = RedisServer::start(&[]);
    let url = redis.url("crowd");
    let crowd = Crowd::gather(&url).await;
    let server = Server::start(Config::default().variable("STORE", &url)).await;
    let (stop, page) = (CancellationToken::new(), format!("{}/", server.url()));
    let reported = stop.clone();
    let reports = tokio::spawn(async move { crowd.report(reported).await });
    let seen = tokio::task::spawn_blocking(move || {
        let mut browser = Browser::start(1280, 900);
        browser.open(&page);
        browser.until("document.querySelectorAll('#under-way .job').length >= 50");
        // News comes, is drawn, and there are never more rows than that.
        browser.until("document.querySelector('#under-way progress').value > 0");
        browser.value("window.most = 0; new MutationObserver(() => { window.most = Math.max(window.most, document.querySelectorAll('.job').length); }).observe(document.body, { childList: true, subtree: true, characterData: true })");
        browser.until("window.most > 0 && document.querySelector('#under-way progress').value > 20");
        let home = browser.value("[window.most, document.querySelectorAll('*').length]");
        browser.value("location.hash = '#/jobs?state=running'");
        browser.until("document.querySelectorAll('.view-body .jobs .job').length === 50");
        browser.until("document.querySelector('.view-body .jobs progress').value > 0");
        let jobs = browser.value("[window.most, document.querySelectorAll('*').length]");
        // It still does what it is told.
        browser.value("location.hash = '#/queues'");
        browser.until("document.querySelector('.tune-card[data-family=image]')");
        assert_eq!(browser.complaints(), Vec::<String>::new());
        [home, jobs]
    });
    for seen in seen.await.unwrap() {
        let (rows, elements) = (seen[0].as_u64().unwrap(), seen[1].as_u64().unwrap());
        assert!((1..=2 * ROWS_MAX).contains(&rows) && elements <= ELEMENTS_MAX, "{rows} rows, {elements} elements");
    }
    stop.cancel();
    reports.await.unwrap();
    server.stop();
}
