//! `kill -9` of children, zygotes, the fork server and the service itself while two hundred jobs run: each accepted job ends once, its output
//! is there exactly if it succeeded, and nothing is left behind.

use crate::support::direct::fixture;
use crate::support::server::{Config, DEADLINE, Server, text_of};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

const JOBS: usize = 200;
/// Between two kills this many jobs are submitted, at most.
const BETWEEN_KILLS: usize = 12;
const SEED: u64 = 20;

/// How many steps away from the service they are.
const FORK_SERVER: RangeInclusive<usize> = 1..=1;
const ZYGOTES: RangeInclusive<usize> = 2..=2;
const CHILDREN: RangeInclusive<usize> = 3..=9;

/// Kills something that `server` has started, so many steps away; false when nothing was there.
fn kill_one(server: &Server, random: &mut StdRng, steps: RangeInclusive<usize>) -> bool {
    let candidates: Vec<u32> = server.processes().into_iter().filter(|below| steps.contains(&below.depth)).map(|below| below.id).collect();
    let Some(victim) = candidates.choose(random) else { return false };
    kill_process(Pid::from_raw(victim.cast_signed()).unwrap(), Signal::KILL).is_ok()
}

/// The processes that fork children, fork server apart.
fn zygotes(server: &Server) -> BTreeSet<u32> {
    server.processes().into_iter().filter(|below| ZYGOTES.contains(&below.depth)).map(|below| below.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worn_out_zygote_is_replaced_while_jobs_run() {
    let server = Server::start(Config::default().queue("archive", "concurrency = 1").variable("SANDBOX_MAX_JOBS_PER_ZYGOTE", "3")).await;
    let mut seen = zygotes(&server);
    for n in 0..7 {
        let id = submit(&server, 3 * n + 2).await;
        assert_eq!(server.ended(&id).await["state"], "succeeded");
        seen.extend(zygotes(&server));
    }
    assert!(seen.len() >= 3, "each zygote had at most three children: {seen:?}");
    assert_eq!(zygotes(&server).len(), 1, "worn-out ones are gone");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_fork_server_leaves_its_place_to_one_process() {
    let server = Server::start(Config::default()).await;
    for n in 0..2 {
        let id = submit(&server, 3 * n + 2).await;
        assert_eq!(server.ended(&id).await["state"], "succeeded");
        let depths = |wanted: RangeInclusive<usize>| server.processes().into_iter().filter(|below| wanted.contains(&below.depth)).count();
        assert_eq!((depths(FORK_SERVER), depths(ZYGOTES)), (1, 1), "{:?}", server.processes());
        assert!(kill_one(&server, &mut StdRng::seed_from_u64(SEED), FORK_SERVER));
        let deadline = Instant::now() + DEADLINE;
        while !server.processes().is_empty() {
            assert!(Instant::now() < deadline, "what it leaves is reaped, wanted or not: {:?}", server.processes());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    server.stop();
}

/// A picture, a zip or a no-op, by turns.
async fn submit(server: &Server, n: usize) -> String {
    let (name, file, to) = match n % 3 {
        0 => ("a.png", "image/png/good/scene.png", "webp"),
        1 => ("a.zip", "archive/zip/good/mixed.zip", "tar.zst"),
        _ => return server.submit("a.txt", "hello", json!({"to": "noop"})).await,
    };
    server.submit(name, std::fs::read(fixture(file)).unwrap(), json!({"to": to})).await
}

/// The bytes are there, and are the ones that were proven, exactly if the job succeeded.
async fn assert_outputs(server: &Server, job: &Value) {
    let succeeded = job["state"] == "succeeded";
    for output in job["outputs"].as_array().unwrap() {
        assert_eq!(output["state"] == "succeeded", succeeded, "{job}");
        let response = server.get(&format!("/v1/jobs/{}/outputs/{}", text_of(job, "id"), text_of(output, "name"))).await;
        assert_eq!(response.status() == 200, succeeded, "{job}");
        if succeeded {
            let bytes = response.bytes().await.unwrap();
            assert_eq!(hex::encode(Sha256::digest(&bytes)), text_of(output, "sha256"), "{job}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_every_job_ends_once() {
    let quick = "retry_delay = \"50ms\"\nretry_delay_max = \"200ms\"\nmax_attempts = 20";
    let config = ["image", "archive"].into_iter().fold(Config::default(), |config, queue| config.queue(queue, quick));
    let mut server = Server::start(config).await;
    let mut random = StdRng::seed_from_u64(SEED);
    let (mut accepted, mut killed) = (Vec::new(), [0; 4]);
    while accepted.len() < JOBS {
        for _ in 0..random.random_range(1..=BETWEEN_KILLS) {
            accepted.push(submit(&server, accepted.len()).await);
        }
        match random.random_range(0..8) {
            0 => {
                server.kill_9();
                server.restart().await;
                killed[3] += 1;
            }
            1 => killed[2] += usize::from(kill_one(&server, &mut random, FORK_SERVER)),
            2 | 3 => killed[1] += usize::from(kill_one(&server, &mut random, ZYGOTES)),
            _ => killed[0] += usize::from(kill_one(&server, &mut random, CHILDREN)),
        }
    }
    assert!(killed.iter().all(|n| *n > 0), "children, zygotes, the fork server and the service were killed: {killed:?}");
    let mut succeeded = 0;
    for id in &accepted {
        let job = server.ended(id).await;
        let given_up = job["error"]["code"] == "worker_lost" && job["recoveries"] == 3;
        assert!(job["state"] == "succeeded" || given_up, "{job}");
        succeeded += usize::from(job["state"] == "succeeded");
        assert_outputs(&server, &job).await;
    }
    assert!(succeeded > JOBS * 9 / 10, "{succeeded} succeeded");
    assert_eq!(accepted.iter().collect::<BTreeSet<_>>().len(), accepted.len());
    let queues = server.json("/v1/queues").await;
    let live = |state: &str| queues.as_array().unwrap().iter().filter_map(|q| q["jobs"][state].as_u64()).sum::<u64>();
    assert_eq!((live("queued"), live("running")), (0, 0));
    server.stop();
}
