//! The customers: they submit until told to stop. An answer that was lost is asked for again under the same key.

use crate::support::direct::fixture;
use crate::support::server::{DEADLINE, client, text_of};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Jobs that wait or run at a time, about.
const LIVE_MAX: u64 = 24;
/// Of these, jobs that run until they are cancelled, for each client.
const ENDLESS_MAX: usize = 2;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A server that was killed does not say so over every connection.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Noop,
    Picture,
    TwoPictures,
    Archive,
    Files,
    BrokenPicture,
    BrokenArchive,
    /// Runs until it is cancelled, which its client does after a while.
    Endless,
}

const KINDS: [Kind; 8] =
    [Kind::Noop, Kind::Picture, Kind::TwoPictures, Kind::Archive, Kind::Files, Kind::BrokenPicture, Kind::BrokenArchive, Kind::Endless];

/// A job that the service has taken.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub id: String,
    pub kind: Kind,
}

pub struct Load {
    clients: Vec<JoinHandle<Vec<Accepted>>>,
    stop: watch::Sender<bool>,
    /// How many jobs were taken so far.
    taken: watch::Receiver<usize>,
}

impl Load {
    /// Two clients of the service, which is where `address` says; it may move.
    pub fn start(address: &watch::Receiver<String>, random: &mut StdRng) -> Load {
        let (stop, taken) = (watch::Sender::new(false), watch::Sender::new(0));
        let mut one = || {
            let customer =
                Customer { http: client(None), address: address.clone(), random: StdRng::seed_from_u64(random.random()), endless: VecDeque::new() };
            tokio::spawn(customer.submit(stop.subscribe(), taken.clone()))
        };
        Load { clients: vec![one(), one()], taken: taken.subscribe(), stop }
    }

    /// Returns once so many more jobs were taken.
    pub async fn go_on(&mut self, jobs: usize) {
        let until = *self.taken.borrow() + jobs;
        let more = tokio::time::timeout(DEADLINE, self.taken.wait_for(|taken| *taken >= until)).await;
        more.expect("jobs are taken again in time").expect("the clients go on");
    }

    /// All jobs that were taken; every endless one is cancelled.
    pub async fn stop(self) -> Vec<Accepted> {
        self.stop.send_replace(true);
        let mut all = Vec::new();
        for client in self.clients {
            all.extend(client.await.unwrap());
        }
        all
    }
}

/// A site that has its files converted.
struct Customer {
    http: Client,
    address: watch::Receiver<String>,
    random: StdRng,
    endless: VecDeque<String>,
}

impl Customer {
    async fn submit(mut self, stop: watch::Receiver<bool>, taken: watch::Sender<usize>) -> Vec<Accepted> {
        let mut accepted = Vec::new();
        while !*stop.borrow() {
            self.wait_for_room().await;
            let kind = *KINDS.choose(&mut self.random).unwrap();
            let id = self.take(kind).await;
            if kind == Kind::Endless {
                self.endless.push_back(id.clone());
            }
            if self.endless.len() > ENDLESS_MAX {
                self.cancel_oldest().await;
            }
            accepted.push(Accepted { id, kind });
            taken.send_modify(|n| *n += 1);
        }
        while !self.endless.is_empty() {
            self.cancel_oldest().await;
        }
        accepted
    }

    async fn wait_for_room(&self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let queues = self.insist(|http, url| http.get(format!("{url}/v1/queues"))).await;
            let count = |queue: &Value, state: &str| queue["jobs"][state].as_u64().unwrap_or(0);
            let live: u64 = queues.as_array().unwrap().iter().map(|q| count(q, "queued") + count(q, "running")).sum();
            if live < LIVE_MAX {
                return;
            }
            assert!(Instant::now() < deadline, "jobs end again: {queues}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn take(&mut self, kind: Kind) -> String {
        let (name, bytes, mut job) = order(kind);
        let upload = self.insist(|http, url| http.post(format!("{url}/v1/uploads?name={name}")).body(bytes.clone())).await;
        job["input"] = json!({"upload": text_of(&upload, "id")});
        let key = format!("{:032x}", self.random.random::<u128>());
        text_of(&self.insist(|http, url| http.post(format!("{url}/v1/jobs")).header("idempotency-key", &key).json(&job)).await, "id")
    }

    async fn cancel_oldest(&mut self) {
        let Some(id) = self.endless.pop_front() else { return };
        let mode = if self.random.random() { "soft" } else { "kill" };
        self.insist(|http, url| http.post(format!("{url}/v1/jobs/{id}/cancel")).json(&json!({"mode": mode}))).await;
    }

    /// Asks until there is an answer. A refusal is none that anybody here has earned.
    async fn insist(&self, ask: impl Fn(&Client, &str) -> RequestBuilder) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let url = self.address.borrow().clone();
            let failed = match ask(&self.http, &url).timeout(ANSWER_WITHIN).send().await {
                Ok(answer) => {
                    let (status, text) = (answer.status(), answer.text().await);
                    assert!(!status.is_client_error(), "{url}: {status} {text:?}");
                    match text.map(|text| serde_json::from_str(&text)) {
                        Ok(Ok(value)) if status.is_success() => return value,
                        other => format!("{status} {other:?}"),
                    }
                }
                Err(error) => error.to_string(),
            };
            assert!(Instant::now() < deadline, "the service answers in time: {failed}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Name and bytes of the input, and what is asked for.
fn order(kind: Kind) -> (&'static str, Vec<u8>, Value) {
    let file = |path| std::fs::read(fixture(path)).unwrap();
    let png = || file("image/png/good/scene.png");
    match kind {
        Kind::Noop => ("a.txt", b"hello".into(), json!({"to": "noop"})),
        Kind::Picture => ("a.png", png(), json!({"to": "webp", "options": {"width": 64}})),
        Kind::TwoPictures => ("a.png", png(), json!({"outputs": [{"name": "one", "to": "jpeg"}, {"name": "two", "to": "bmp"}]})),
        Kind::Archive => ("a.zip", file("archive/zip/good/mixed.zip"), json!({"to": "tar.zst"})),
        Kind::Files => ("a.zip", file("archive/zip/good/mixed.zip"), json!({"to": "files"})),
        Kind::BrokenPicture => ("a.png", file("image/png/broken/truncated.png"), json!({"to": "webp"})),
        Kind::BrokenArchive => ("a.zip", file("archive/zip/broken/truncated.zip"), json!({"to": "tar"})),
        Kind::Endless => ("a.attack", b"obedient".into(), json!({"to": "noop"})),
    }
}
