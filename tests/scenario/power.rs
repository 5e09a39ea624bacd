//! The power goes, again and again, on SQLite and local blobs: no job that was taken is lost, no output that counts is less than whole.
//!
//! `cargo test` plays a few cycles; `scripts/powerloss --cycles N --seed S` as many as wanted.

use crate::support::direct::fixture;
use crate::support::loop_disk::{Journal, LoopDisk};
use crate::support::server::{Config, DEADLINE, Server, client, text_of};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const DISK_MIB: u64 = 512;
const CYCLES: u64 = 4;
/// Clients that submit at a time.
const CLIENTS: usize = 3;
/// Jobs that are taken before the power goes, at most.
const JOBS_MAX: usize = 30;

/// Submits until nobody answers any more; returns what was taken.
async fn submit(http: Client, url: String, first: usize, taken: watch::Sender<usize>) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(id) = take(&http, &url, first + ids.len()).await {
        ids.push(id);
        taken.send_modify(|n| *n += 1);
    }
    ids
}

/// One job, by turns of three kinds; none when it was not taken.
async fn take(http: &Client, url: &str, n: usize) -> Option<String> {
    let (name, bytes, to) = match n % 3 {
        0 => ("a.txt", b"hello".to_vec(), "noop"),
        1 => ("a.png", std::fs::read(fixture("image/png/good/scene.png")).unwrap(), "bmp"),
        _ => ("a.zip", std::fs::read(fixture("archive/zip/good/mixed.zip")).unwrap(), "tar.zst"),
    };
    let upload = http.post(format!("{url}/v1/uploads?name={name}")).body(bytes).send().await.ok().filter(|a| a.status() == 201)?;
    let upload: Value = upload.json().await.ok()?;
    let job = json!({"input": {"upload": upload["id"]}, "to": to});
    let answer = http.post(format!("{url}/v1/jobs")).json(&job).send().await.ok().filter(|a| a.status() == 202)?;
    Some(text_of(&answer.json().await.ok()?, "id"))
}

/// The job has ended well, and its output is what was proven.
async fn assert_done(server: &Server, id: &str) {
    let job = server.ended(id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    for output in job["outputs"].as_array().unwrap() {
        let answer = server.get(&text_of(output, "url")).await;
        assert_eq!(answer.status(), 200, "{job}");
        let bytes = answer.bytes().await.unwrap();
        assert!(!bytes.is_empty(), "{job}");
        assert_eq!(hex::encode(Sha256::digest(&bytes)), text_of(output, "sha256"), "{job}");
    }
}

/// What the power cut has left of the database.
fn assert_sound(disk: &LoopDisk) {
    let copy = tempfile::tempdir().unwrap();
    disk.copy_out("millrace.db", copy.path());
    let database = rusqlite::Connection::open(copy.path().join("millrace.db")).unwrap();
    let verdict: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

/// Jobs come in until the power goes at a moment of its own.
async fn lose_power(server: &mut Server, disk: &LoopDisk, random: &mut StdRng) -> Vec<String> {
    let taken = watch::Sender::new(0);
    let submit = |n| tokio::spawn(submit(client(None), server.url().to_owned(), n, taken.clone()));
    let clients: Vec<JoinHandle<Vec<String>>> = (0..CLIENTS).map(submit).collect();
    let wanted = random.random_range(1..=JOBS_MAX);
    let mut seen = taken.subscribe();
    tokio::time::timeout(DEADLINE, seen.wait_for(|n| *n >= wanted)).await.expect("jobs are taken in time").unwrap();
    disk.lose_power(&server.disk(), if random.random() { Journal::Lost } else { Journal::Flushed });
    server.kill_9();
    let mut ids = Vec::new();
    for client in clients {
        ids.extend(client.await.unwrap());
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_lose_no_job_and_no_output() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_else(|e| panic!("{name}={text}: {e}")));
    let (cycles, seed) = (number("POWERLOSS_CYCLES").unwrap_or(CYCLES), number("POWERLOSS_SEED").unwrap_or(1));
    let disk = match LoopDisk::make(DISK_MIB) {
        Ok(disk) => disk,
        Err(why) => {
            // Not by a macro: what those print of a test that passes is not shown.
            writeln!(std::io::stderr(), "SKIPPED power_cuts_lose_no_job_and_no_output: no disk can be mounted here: {why}").unwrap();
            return;
        }
    };
    let (begun, mut random) = (Instant::now(), StdRng::seed_from_u64(seed));
    let mut server = Server::start(Config::default().disk_image(&disk.image())).await;
    let mut accepted = Vec::new();
    for _ in 0..cycles {
        let ids = lose_power(&mut server, &disk, &mut random).await;
        assert_sound(&disk);
        server.restart().await;
        for id in &ids {
            assert_done(&server, id).await;
        }
        accepted.extend(ids);
    }
    for id in &accepted {
        assert_done(&server, id).await;
    }
    server.stop();
    eprintln!(
        "seed {seed}, {:.0?}: {cycles} power cuts, {} jobs taken, all of them done",
        Duration::from_secs(begun.elapsed().as_secs()),
        accepted.len()
    );
}
