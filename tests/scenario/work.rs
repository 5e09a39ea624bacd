//! Further machines: processes that share Redis and S3 and nothing else.

use crate::support::command::millrace;
use crate::support::direct::fixture;
use crate::support::redis::RedisServer;
use crate::support::s3::S3Server;
use crate::support::server::{Config, DEADLINE, Server, client, text_of};
use crate::support::worker::Worker;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Redis, S3 and a service that converts nothing itself.
struct Site {
    server: Server,
    /// Where rows and bytes are.
    shared: Config,
    _keepers: (RedisServer, S3Server),
}

impl Site {
    async fn open() -> Site {
        let (redis, s3) = (RedisServer::start(&["appendonly", "yes"]), S3Server::start().await);
        let shared = Config::default().s3(&s3).variable("STORE", &redis.url("site"));
        let server = Server::start(shared.clone().variable("POOLS", "cleanup")).await;
        Site { server, shared, _keepers: (redis, s3) }
    }

    fn worker(&self, queues: &str) -> Worker {
        Worker::start(self.shared.clone(), queues)
    }

    /// Submits an attack that runs until it is asked to stop.
    async fn endless(&self) -> String {
        self.server.submit("x.attack", "obedient", json!({"to": "noop"})).await
    }

    /// The job, once it has been cancelled.
    async fn cancelled(&self, id: &str) -> Value {
        self.server.send(reqwest::Method::POST, &format!("/v1/jobs/{id}/cancel"), &json!({"mode": "kill"})).await;
        let job = self.server.ended(id).await;
        assert_eq!(job["state"], "cancelled", "{job}");
        job
    }

    async fn until_running(&self, id: &str, attempt: u64) -> Value {
        self.server.until(&format!("/v1/jobs/{id}"), |job| job["state"] == "running" && job["attempt"] == attempt).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_on_other_machines_convert_what_the_service_takes() {
    let site = Site::open().await;
    let workers = [site.worker("image"), site.worker("archive:1,document")];
    let mut worked = BTreeSet::new();
    for (name, file, to) in [("a.png", "image/png/good/scene.png", "webp"), ("a.zip", "archive/zip/good/mixed.zip", "tar.zst")] {
        let id = site.server.submit(name, std::fs::read(fixture(file)).unwrap(), json!({"to": to})).await;
        let job = site.server.ended(&id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        worked.insert(text_of(&job["attempts"][0], "worker"));
        let bytes = site.server.get(&text_of(&job["outputs"][0], "url")).await.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, job["outputs"][0]["size_bytes"].as_u64().unwrap());
    }
    assert_eq!(worked, workers.iter().map(Worker::name).collect());
    workers.into_iter().for_each(Worker::terminate);
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_has_its_own_slots_and_leaves_others_their_leases() {
    let site = Site::open().await;
    // The queue is set to two slots; these are three of one process.
    let first = site.worker("archive:3");
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(site.endless().await);
    }
    for id in &jobs {
        assert_eq!(site.until_running(id, 1).await["attempts"][0]["worker"], first.name());
    }
    let waiting = site.endless().await;
    // One that starts meanwhile takes what waits, and nothing that runs.
    let second = site.worker("archive:4");
    assert_eq!(site.until_running(&waiting, 1).await["attempts"][0]["worker"], second.name());
    for id in &jobs {
        assert_eq!(site.server.json(&format!("/v1/jobs/{id}")).await["attempt"], 1);
    }
    // One that is drained gives back what it ran; no failure is counted.
    let name = second.name();
    first.terminate();
    for id in &jobs {
        let job = site.until_running(id, 2).await;
        assert_eq!((&job["failures"], text_of(&job["attempts"][1], "worker")), (&json!(0), name.clone()), "{job}");
    }
    for id in jobs.iter().chain([&waiting]) {
        site.cancelled(id).await;
    }
    second.terminate();
    site.server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_wrong_takes_no_lease_and_loses_none() {
    let clock = tempfile::NamedTempFile::new().unwrap();
    for offset in ["+10m", "-10m"] {
        std::fs::write(clock.path(), offset).unwrap();
        let site = Site::open().await;
        let (right, held) = (site.worker("archive:1"), site.endless().await);
        site.until_running(&held, 1).await;
        let wrong = Worker::start(site.shared.clone().clock(clock.path()), "archive:1");
        // Each tells by its progress of a heartbeat, after which the reaper has gone round.
        for _ in 0..2 {
            let id = site.endless().await;
            let job = site.server.until(&format!("/v1/jobs/{id}"), |job| job["progress"]["current"] == 1).await;
            assert_eq!((&job["attempt"], text_of(&job["attempts"][0], "worker")), (&json!(1), wrong.name()), "{job}");
            assert_eq!(site.cancelled(&id).await["attempt"], 1);
        }
        let job = site.cancelled(&held).await;
        assert_eq!((&job["attempt"], &job["recoveries"]), (&json!(1), &json!(0)), "{offset}: {job}");
        [right, wrong].into_iter().for_each(Worker::terminate);
        site.server.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_tells_how_it_is_where_it_is_told_to() {
    const TOKEN: &str = "a token of the workers";
    let site = Site::open().await;
    let worker = Worker::start(site.shared.clone().variable("WORK_LISTEN", "127.0.0.1:0").variable("AUTH_TOKEN", TOKEN), "archive");
    let (url, stranger, admin) = (worker.url().await, client(None), client(Some(TOKEN)));
    let cancelled = site.endless().await;
    site.until_running(&cancelled, 1).await;
    site.cancelled(&cancelled).await;
    for (path, client, status) in
        [("healthz", &stranger, 200), ("readyz", &stranger, 200), ("metrics", &stranger, 401), ("v1/jobs", &admin, 404), ("metrics", &admin, 200)]
    {
        assert_eq!(client.get(format!("{url}/{path}")).send().await.unwrap().status(), status, "{path}");
    }
    // The end is counted a moment after the store has it.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let told = admin.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
        assert!(told.contains("millrace_build_info{version=") && told.contains("millrace_sandbox_level ") && told.ends_with("# EOF\n"), "{told}");
        if told
            .lines()
            .any(|l| l.starts_with("millrace_attempts_ended_total{") && l.contains("archive") && l.contains("cancelled") && l.ends_with(" 1"))
        {
            break;
        }
        assert!(Instant::now() < deadline, "{told}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let address = url.trim_start_matches("http://").to_owned();
    let ask = move || millrace(tempfile::tempdir().unwrap().path(), &["healthcheck", "--listen", &address], &[]).exit;
    let ask_again = ask.clone();
    assert_eq!(tokio::task::spawn_blocking(ask).await.unwrap(), 0);
    worker.terminate();
    assert_eq!(tokio::task::spawn_blocking(ask_again).await.unwrap(), 5);
    site.server.stop();
}

#[test]
fn a_worker_wants_a_shared_store_and_shared_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").to_string_lossy().into_owned();
    for (args, exit, word) in [
        (&["work"][..], 2, "sqlite"),
        (&["work", "--store", "redis://127.0.0.1:1/0"], 2, "local"),
        (&["work", "--store", "mysql://h", "--blobs", "s3://media/x"], 2, "mysql"),
        (&["work", "--store", "redis://127.0.0.1:1/0", "--blobs", "s3://media"], 2, "prefix"),
        (&["work", "--store", "redis://127.0.0.1:1/0", "--blobs", "s3://media/x", "--listen", "0.0.0.0:0"], 2, "auth.token"),
        (&["work", "--store", "redis://127.0.0.1:1/0", "--blobs", "s3://media/x", "--queues", "vidio"], 5, "vidio"),
        (&["work", "--store", "redis://127.0.0.1:1/0", "--blobs", "s3://media/x", "--data-dir", &data], 5, "store does not answer"),
    ] {
        let done = millrace(folder.path(), args, &[]);
        assert_eq!(done.exit, exit, "{args:?}: {}", done.complaint);
        assert!(done.complaint.contains(word), "{args:?}: {}", done.complaint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_of_a_service_is_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(Config::default()).await;
    let listen = server.url().strip_prefix("http://").unwrap().to_owned();
    let check = || millrace(folder.path(), &["healthcheck"], &[("MILLRACE_LISTEN", &listen)]);
    let healthy = tokio::task::block_in_place(check);
    assert_eq!((healthy.exit, healthy.complaint.as_str()), (0, ""));
    server.terminate();
    let gone = tokio::task::block_in_place(check);
    assert_eq!(gone.exit, 5);
    assert!(gone.complaint.contains("no server"), "{}", gone.complaint);
}
