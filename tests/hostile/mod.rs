//! The hostile round: mutations of every fixture and bombs of many formats, through the jail of a real service. Whatever a file is, its
//! job ends in time with a stable code, within its memory, and leaves nothing behind; the service goes on as if nothing had been.
//!
//! `cargo test` plays a few mutations of each fixture; `scripts/hostile --mutations N --seed S` as many as wanted.

mod bombs;
mod mutate;

use crate::support::server::{Config, Server, text_of};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const FAMILIES: [&str; 5] = ["video", "audio", "image", "document", "archive"];
/// Jobs that are under way at the same time, most of them in their queue.
const IN_FLIGHT: usize = 12;
/// What each queue allows.
const QUEUE: &str = "concurrency = 2\nsoft_time_limit = \"20s\"\nhard_time_limit = \"25s\"\nmax_attempts = 1\nmemory_max = \"1GiB\"";
const MEMORY_MAX_BYTES: u64 = 1 << 30;
const HARD_LIMIT_MS: i64 = 25_000;
/// How late a hard limit may come: DESIGN allows a second, a loaded machine looks later.
const LATE_MS: i64 = 5_000;
/// What a process holds that its wall does not count: programs and libraries.
const PROGRAM_BYTES: u64 = 512 << 20;
/// What a hostile file may come to; neither `internal` nor `worker_lost`: those are the service's own faults.
const CODES: [&str; 11] = [
    "corrupt_input",
    "unsupported_format",
    "unsupported_conversion",
    "limit_exceeded",
    "password_required",
    "policy_violation",
    "tool_failed",
    "out_of_memory",
    "soft_time_limit",
    "hard_time_limit",
    CRASHED,
];
/// A library broke down on it: the file is kept to be studied.
const CRASHED: &str = "crashed";

/// A file that is to be converted into something.
struct Case {
    name: String,
    bytes: Vec<u8>,
    to: String,
}

/// How it went with a case.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// Not taken, by its content.
    Refused(String),
    Failed(String),
    Succeeded,
}

/// The fixtures of one family that convert: format, name and bytes.
fn fixtures(family: &str) -> Vec<(String, String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(family);
    let manifest: toml::Table = std::fs::read_to_string(root.join("MANIFEST.toml")).unwrap().parse().unwrap();
    let files = manifest["file"].as_array().unwrap().iter().filter(|file| file["fate"].as_str() == Some("converts"));
    let paths = files.map(|file| file["path"].as_str().unwrap().to_owned());
    let read = |path: String| {
        let name = path.rsplit('/').next().unwrap().to_owned();
        (path.split('/').next().unwrap().to_owned(), name, std::fs::read(root.join(&path)).unwrap())
    };
    let files: Vec<_> = paths.map(read).filter(|(_, _, bytes)| !bytes.is_empty()).collect();
    assert!(!files.is_empty(), "{family} has fixtures");
    files
}

/// `count` mutations of each fixture, each to be converted into something that its format can become.
async fn mutated(server: &Server, seed: u64, count: usize) -> Vec<Case> {
    let formats = server.json("/v1/formats").await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut cases = Vec::new();
    for family in FAMILIES {
        let files = fixtures(family);
        let others: Vec<Vec<u8>> = files.iter().map(|(_, _, bytes)| bytes.clone()).collect();
        for (format, name, bytes) in &files {
            let known = formats["formats"].as_array().unwrap().iter().find(|known| known["id"] == **format);
            let targets = known.unwrap_or_else(|| panic!("{format} is known"))["to"].as_array().unwrap();
            for (what, bytes) in mutate::mutations(bytes, &others, random.random(), count) {
                let to = targets.choose(&mut random).unwrap().as_str().unwrap().to_owned();
                cases.push(Case { name: format!("{what}-{name}"), bytes, to });
            }
        }
    }
    cases
}

/// Submits a case and looks how it ends; a job that breaks a promise is complained of in `Err`.
async fn play(server: &Server, case: &Case) -> Result<Ending, String> {
    let upload = server.upload(&case.name, case.bytes.clone()).await;
    let response = server.send(Method::POST, "/v1/jobs", &json!({"input": {"upload": upload}, "to": case.to})).await;
    let (status, answer) = (response.status().as_u16(), response.json::<Value>().await.map_err(|e| e.to_string())?);
    match (status, answer["code"].as_str()) {
        (202, _) => {}
        (400..=499, Some(code)) => return Ok(Ending::Refused(code.to_owned())),
        _ => return Err(format!("answered {status} {answer}")),
    }
    let job = server.ended(&text_of(&answer, "id")).await;
    for attempt in job["attempts"].as_array().into_iter().flatten() {
        let time = |name: &str| attempt[name].as_str().and_then(|text| text.parse::<Timestamp>().ok()).ok_or(format!("no {name}: {attempt}"));
        let took_ms = time("finished_at")?.as_millisecond() - time("started_at")?.as_millisecond();
        let peak = attempt["memory_peak_bytes"].as_u64().unwrap_or(u64::MAX);
        if took_ms > HARD_LIMIT_MS + LATE_MS || peak > MEMORY_MAX_BYTES + PROGRAM_BYTES {
            return Err(format!("took {took_ms} ms and {peak} bytes: {attempt}"));
        }
    }
    match job["state"].as_str() {
        Some("succeeded") if job["outputs"].as_array().is_some_and(|outputs| !outputs.is_empty()) => Ok(Ending::Succeeded),
        Some("failed") if job["outputs"].as_array().is_none_or(|outputs| outputs.iter().all(|output| output["url"].is_null())) => {
            let code = job["error"]["code"].as_str().unwrap_or_default();
            if code == CRASHED {
                eprintln!("{} to {}: {}", keep(case).display(), case.to, job["error"]);
            }
            if CODES.contains(&code) { Ok(Ending::Failed(code.to_owned())) } else { Err(format!("ended with {}", job["error"])) }
        }
        _ => Err(format!("neither one nor the other: {job}")),
    }
}

/// Plays all cases and tells how each ended. What breaks a promise is kept in a folder and named.
async fn play_all(server: &Server, cases: &[Case]) -> Vec<(String, Ending)> {
    let played = stream::iter(cases).map(async |case| (case, play(server, case).await)).buffer_unordered(IN_FLIGHT);
    let (endings, broken) = played
        .fold((Vec::new(), String::new()), async |(mut endings, mut broken), (case, ending)| {
            match ending {
                Ok(ending) => endings.push((case.name.clone(), ending)),
                Err(complaint) => writeln!(broken, "{} to {}: {complaint}", keep(case).display(), case.to).unwrap(),
            }
            (endings, broken)
        })
        .await;
    assert!(broken.is_empty(), "files that broke a promise:\n{broken}");
    endings
}

/// Puts the file where it can be studied.
fn keep(case: &Case) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(&case.name);
    std::fs::write(&path, &case.bytes).unwrap();
    path
}

async fn service() -> Server {
    let config = FAMILIES.iter().fold(Config::default(), |config, family| config.queue(family, QUEUE));
    Server::start(config).await
}

/// It takes good files of every family as it did before; its end leaves no process and no staging folder.
async fn assert_goes_on(server: Server) {
    for (family, to) in FAMILIES.into_iter().zip(["mp4", "wav", "webp", "pdf", "tar"]) {
        let (_, name, bytes) = fixtures(family).swap_remove(0);
        let id = server.submit(&name, bytes, json!({"to": to})).await;
        assert_eq!(server.ended(&id).await["state"], "succeeded", "{family}");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mutation_of_a_fixture_breaks_a_promise() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_else(|e| panic!("{name}={text}: {e}")));
    let (seed, mutations) = (number("HOSTILE_SEED").unwrap_or(1), number("HOSTILE_MUTATIONS").unwrap_or(1));
    let server = service().await;
    let cases = mutated(&server, seed, usize::try_from(mutations).unwrap()).await;
    let mut endings = BTreeMap::<Ending, usize>::new();
    for (_, ending) in play_all(&server, &cases).await {
        *endings.entry(ending).or_default() += 1;
    }
    eprintln!("seed {seed}: {} files: {endings:?}", cases.len());
    assert!(endings.contains_key(&Ending::Failed("corrupt_input".into())), "the files are broken: {endings:?}");
    assert_goes_on(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bomb_goes_off() {
    let server = service().await;
    let to = |name: &str| {
        if name.ends_with(".pdf") {
            "jpeg"
        } else if name.contains("zeros") {
            "tar"
        } else {
            "webp"
        }
    };
    let cases: Vec<Case> = bombs::bombs().into_iter().map(|(name, bytes)| Case { to: to(&name).to_owned(), name, bytes }).collect();
    let endings = play_all(&server, &cases).await;
    let gone_off: Vec<_> = endings.iter().filter(|(name, ending)| *ending == Ending::Succeeded && !bombs::DEFUSED.contains(&name.as_str())).collect();
    assert!(gone_off.is_empty(), "{gone_off:?} of {endings:?}");
    assert_goes_on(server).await;
}
