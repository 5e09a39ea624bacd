//! The house under fire: one Redis, one S3 server, one service, three workers, each behind a link of its own.

use crate::support::cutter::Cutter;
use crate::support::process::Below;
use crate::support::redis::RedisServer;
use crate::support::s3::S3Server;
use crate::support::server::{Config, DEADLINE, Server};
use crate::support::worker::Worker;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::watch;

pub const PREFIX: &str = "chaos";
pub const WORKERS: usize = 3;
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Retries are quick, and many enough for whatever happens.
const QUEUE: &str = "retry_delay = \"100ms\"\nretry_delay_max = \"400ms\"\nmax_attempts = 20";
/// No clock that is right is off by so much.
const WRONG: SignedDuration = SignedDuration::from_secs(30);
/// Short, so that what was lost is seen soon.
const LEASE: &str = "3s";

pub struct Site {
    pub redis: RedisServer,
    pub s3: S3Server,
    pub api: Server,
    pub api_link: Cutter,
    pub workers: Vec<Machine>,
    /// Where the service is.
    pub address: watch::Sender<String>,
    folder: tempfile::TempDir,
}

pub struct Machine {
    pub worker: Worker,
    pub link: Cutter,
}

impl Machine {
    /// What runs jobs there at the moment.
    pub fn children(&self) -> Vec<Below> {
        self.worker.processes().into_iter().filter(|below| below.depth >= 3 && !below.is_zombie).collect()
    }
}

impl Site {
    pub async fn open() -> Site {
        let redis = RedisServer::start(&["appendonly", "yes", "appendfsync", "always"]);
        let (s3, folder) = (S3Server::start().await, tempfile::tempdir().unwrap());
        std::fs::write(clock_file(folder.path()), "+0").unwrap();
        let api_link = Cutter::before(redis.port).await;
        let api = Server::start(shared(&s3, &api_link).variable("POOLS", "cleanup")).await;
        let mut workers = Vec::new();
        for n in 0..WORKERS {
            let link = Cutter::before(redis.port).await;
            let config = shared(&s3, &link);
            let config = if n == 0 { config.clock(&clock_file(folder.path())) } else { config };
            workers.push(Machine { worker: Worker::start(config, "image:2,archive:3"), link });
        }
        for machine in &workers {
            machine.worker.ready().await;
        }
        let address = watch::Sender::new(api.url().to_owned());
        Site { redis, s3, api, api_link, workers, address, folder }
    }

    pub async fn restart_api(&mut self) {
        self.api.kill_9();
        self.api.restart().await;
        self.address.send_replace(self.api.url().to_owned());
    }

    /// Sets the first worker's clock, and nobody else's, by this offset.
    pub fn set_clock(&self, offset: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(new, clock_file(self.folder.path())).unwrap();
    }

    /// Returns once the first worker has written something at a time that is not ours.
    pub async fn clock_is_wrong(&self) {
        let worker = &self.workers[0].worker;
        let (known, deadline) = (worker.log().len(), Instant::now() + DEADLINE);
        let is_wrong = |line: &str| {
            let written: Option<Timestamp> = line.split(' ').next().and_then(|time| time.parse().ok());
            written.is_some_and(|at| at.duration_since(Timestamp::now()).abs() > WRONG)
        };
        while !worker.log()[known..].lines().any(is_wrong) {
            assert!(Instant::now() < deadline, "the worker has another time:\n{}", worker.log());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A worker that runs a job this moment.
    pub async fn busy_worker(&self, random: &mut StdRng) -> usize {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let busy: Vec<usize> = (0..WORKERS).filter(|n| !self.workers[*n].children().is_empty()).collect();
            if let Some(n) = busy.choose(random) {
                return *n;
            }
            assert!(Instant::now() < deadline, "jobs run");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Returns once no job runs under a lease of this worker.
    pub async fn leases_lost(&self, worker: &str) {
        let is_its = |job: &serde_json::Value| job["attempts"].as_array().and_then(|a| a.last()).is_some_and(|a| a["worker"] == worker);
        self.api.until("/v1/jobs?state=running&limit=200", |list| !list["jobs"].as_array().unwrap().iter().any(is_its)).await;
    }

    /// Returns once nothing runs on this machine any more.
    pub async fn children_gone(&self, machine: usize) {
        let deadline = Instant::now() + DEADLINE;
        while !self.workers[machine].children().is_empty() {
            assert!(Instant::now() < deadline, "a worker without a store ends its children:\n{}", self.workers[machine].worker.log());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

fn shared(s3: &S3Server, link: &Cutter) -> Config {
    let url = format!("redis://127.0.0.1:{}/?prefix={PREFIX}", link.port);
    let config = Config::default().s3(s3).variable("STORE", &url).variable("LEASE", LEASE);
    ["image", "archive"].into_iter().fold(config, |config, queue| config.queue(queue, QUEUE))
}

fn clock_file(folder: &Path) -> PathBuf {
    folder.join("clock")
}
