//! A worker that was stopped past its lease and goes on as if nothing had been: what another one has done meanwhile stays as it is.

use crate::support::redis::RedisServer;
use crate::support::s3::{BUCKET, PREFIX, S3Server};
use crate::support::server::{Config, DEADLINE, Server, text_of};
use crate::support::sink::{Asked, Sink};
use crate::support::worker::Worker;
use jiff::{SignedDuration, Timestamp};
use millrace::blobs::local::LocalBlobs;
use millrace::blobs::s3::S3Blobs;
use millrace::blobs::{Blobs, Cache, Staging};
use millrace::cleanup::{self, PURGE_STAGING};
use millrace::job::{Event, JobId, LogLine, Record, State};
use millrace::queue::Queues;
use millrace::store::redis::RedisStore;
use millrace::store::{DeliveryFilter, Store};
use rustix::process::Signal;
use serde_json::json;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Each is published for itself, so that a publication takes its time.
const FILES: usize = 800;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A service, one worker, and somebody who looks at rows and bytes without taking part.
struct Site {
    server: Server,
    first: Worker,
    /// The webhook of its jobs.
    sink: Sink,
    /// Where rows and bytes are.
    shared: Config,
    store: Arc<dyn Store>,
    blobs: Arc<dyn Blobs>,
    folder: tempfile::TempDir,
    _redis: RedisServer,
}

impl Site {
    async fn with_s3(s3: &S3Server) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache"), 1 << 20).unwrap();
        let blobs = S3Blobs::open(BUCKET, PREFIX, s3.variables(), cache).await.unwrap();
        Site::open(Config::default().s3(s3), Arc::new(blobs), folder).await
    }

    async fn with_a_folder() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("blobs");
        let blobs = LocalBlobs::open(&shared).unwrap();
        Site::open(Config::default().variable("BLOBS", shared.to_str().unwrap()), Arc::new(blobs), folder).await
    }

    async fn open(config: Config, blobs: Arc<dyn Blobs>, folder: tempfile::TempDir) -> Site {
        let redis = RedisServer::start(&[]);
        let shared = config.variable("STORE", &redis.url("stale")).variable("LEASE", "3s");
        let serve = shared.clone().variable("POOLS", "cleanup").variable("WEBHOOKS_SECRET", SECRET).variable("WEBHOOKS_ALLOW_PRIVATE", "true");
        let (server, sink) = (Server::start(serve).await, Sink::start().await);
        let first = Worker::start(shared.clone(), "archive:1");
        first.ready().await;
        let store = Arc::new(RedisStore::open(&redis.url("stale")).await.unwrap());
        Site { server, first, sink, shared, store, blobs, folder, _redis: redis }
    }

    /// Another worker, who takes the job once the first one's lease is lost.
    async fn second(&self) -> Worker {
        let second = Worker::start(self.shared.clone(), "archive:1");
        second.ready().await;
        second
    }

    async fn told(&self, id: JobId) -> (Record, Vec<Event>, Vec<LogLine>, Vec<String>) {
        let events = self.store.events(0, Some(id), 1000).await.unwrap();
        let letters = self.store.deliveries(DeliveryFilter { limit: 100, ..DeliveryFilter::default() }).await.unwrap();
        let letters = letters.into_iter().map(|letter| letter.id).collect();
        (self.store.get(id).await.unwrap(), events, self.store.log(id, 0).await.unwrap(), letters)
    }

    async fn is_there(&self, key: &str) -> bool {
        self.blobs.open(key, None).await.is_ok()
    }

    /// The blobs of a job's attempt.
    async fn published(&self, id: JobId, attempt: u32) -> usize {
        let begin = format!("jobs/{id}/{attempt}/");
        self.blobs.list_stale(Timestamp::MAX).await.unwrap().iter().filter(|key| key.starts_with(&begin)).count()
    }

    /// Lets the first worker go on; returns once it has nothing under way any more.
    async fn first_goes_on(&self) {
        self.first.signal(Signal::CONT);
        let (staging, deadline) = (self.first.data_dir().join("staging"), Instant::now() + DEADLINE);
        while std::fs::read_dir(&staging).unwrap().count() > 0 {
            assert!(Instant::now() < deadline, "it gives up:\n{}", self.first.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn purge(&self) {
        let staging = Staging::open(&self.folder.path().join("staging")).unwrap();
        let later = Timestamp::now() + SignedDuration::from_hours(2);
        cleanup::run(&self.store, &self.blobs, &staging, &Queues::load(&[]).unwrap(), Path::new("none"), PURGE_STAGING, later).await.unwrap();
    }
}

fn content(n: usize) -> String {
    format!("This is file {n}.\0")
}

fn many_files() -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for n in 0..FILES {
        archive.start_file(format!("{n}.bin"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content(n).as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The first worker is stopped in the middle of its publication, the second one does the job, the first one goes on.
async fn stopped_while_it_publishes(site: Site) {
    let webhook = json!({"url": site.sink.url("/")});
    let id: JobId = site.server.submit("a.zip", many_files(), json!({"to": "files", "webhook": webhook})).await.parse().unwrap();
    let deadline = Instant::now() + DEADLINE;
    while !site.is_there(&format!("jobs/{id}/1/0")).await {
        assert!(Instant::now() < deadline, "it publishes:\n{}", site.first.log());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    site.first.signal(Signal::STOP);
    let before = site.published(id, 1).await;
    assert!(before < FILES, "it was not in the middle of its publication");

    let second = site.second().await;
    let job = site.server.ended(&id.to_string()).await;
    assert_eq!((&job["state"], text_of(&job["attempts"][1], "worker")), (&json!("succeeded"), second.name()), "{}", second.log());
    let told = site.told(id).await;
    site.first_goes_on().await;
    assert!(site.told(id).await == told, "a stale worker changed something");
    let letters: Vec<_> = site.sink.asked_for(1).await.iter().map(Asked::json).collect();
    assert_eq!((letters.len(), &letters[0]["event"], &letters[0]["job"]["attempt"]), (1, &json!("succeeded"), &json!(2)));

    let (record, ..) = told;
    assert_eq!((record.job.attempt, record.artifacts.len()), (2, FILES));
    site.purge().await;
    assert_eq!((site.published(id, 1).await, site.published(id, 2).await), (0, FILES));
    for n in [0, FILES - 1] {
        let answer = site.server.get(&format!("/v1/jobs/{id}/outputs/{n}.bin")).await;
        assert_eq!(answer.text().await.unwrap(), content(n));
    }
    second.terminate();
    site.first.terminate();
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_worker_publishes_nothing_into_s3() {
    let s3 = S3Server::start().await;
    stopped_while_it_publishes(Site::with_s3(&s3).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_worker_publishes_nothing_into_a_folder() {
    stopped_while_it_publishes(Site::with_a_folder().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_worker_neither_renews_nor_ends_what_another_one_runs() {
    let site = Site::with_a_folder().await;
    let id = site.server.submit("x.attack", "obedient", json!({"to": "noop"})).await;
    let path = format!("/v1/jobs/{id}");
    site.server.until(&path, |job| job["state"] == "running" && job["progress"]["current"] == 1).await;
    site.first.signal(Signal::STOP);
    let second = site.second().await;
    site.server.until(&path, |job| job["state"] == "running" && job["attempt"] == 2).await;
    // Its child has reported progress all the while.
    site.first_goes_on().await;
    let id: JobId = id.parse().unwrap();
    let (record, events, ..) = site.told(id).await;
    let last = record.job.attempts.last().unwrap();
    assert_eq!((record.job.state, last.number, &last.worker), (State::Running, 2, &second.name()));
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["queued", "started", "retrying", "started"]);
    site.server.send(reqwest::Method::POST, &format!("{path}/cancel"), &json!({"mode": "kill"})).await;
    assert_eq!(site.server.ended(&id.to_string()).await["attempt"], 2);
    second.terminate();
    site.first.terminate();
    site.server.stop();
}
