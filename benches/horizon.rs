//! What the store's verbs cost with many jobs queued.

use crate::jobs::{Mould, QUEUE};
use crate::{Failed, open};
use jiff::{SignedDuration, Timestamp};
use millrace::failure::{Code, Failure};
use millrace::format::Format;
use millrace::job::{JobId, Lease, Source, State};
use millrace::store::{Filter, Finish, LeaseRequest, PurgePolicy, Store};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// `redis://...` or a database's file; empty.
    #[arg(long)]
    store: String,
    #[arg(long, default_value_t = 1_000_000)]
    jobs: usize,
}

/// Jobs queued when a lease is measured for comparison.
const FEW: usize = 1_000;
const BULK: usize = 500;
/// Leases, and pages of each kind, that are timed.
const LEASES: usize = 300;
const PAGES: usize = 10;
/// Jobs that have ended before the purge.
const ENDED: usize = 10_000;
const FAILED: usize = 5;
/// Records in one step of a purge, as the cleanup asks for.
const PURGED: usize = 100;

pub async fn measure(args: &Args) -> Result<serde_json::Value, Failed> {
    let store = open(&args.store).await?;
    let mould = Mould::new(Source::Path("/dev/null".into()))?;
    let used_before = used_bytes(&args.store).await?;
    fill(&*store, &mould, FEW).await?;
    let filled = Timestamp::now();
    let few = leases(&*store).await?;
    let begun = Instant::now();
    fill(&*store, &mould, args.jobs).await?;
    let inserted = args.jobs as f64 / begun.elapsed().as_secs_f64();
    let used = (used_bytes(&args.store).await? - used_before) as f64 / (args.jobs + FEW) as f64;
    let many = leases(&*store).await?;
    end_some(&*store).await?;
    let pages = pages(&*store, filled).await?;
    let (purged, meanwhile) = purge(&store).await?;
    Ok(json!({
        "jobs": args.jobs, "inserted_per_s": inserted, "bytes_per_queued_job": used,
        "lease_ms": {"few": few.told(), "many": many.told(), "ratio": many.at(0.5) / few.at(0.5)},
        "pages_ms": pages,
        "purge": {"records_per_s": purged, "lease_ms_meanwhile": meanwhile.told()},
    }))
}

/// Milliseconds.
struct Times(Vec<f64>);

impl Times {
    fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(((sorted.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or_default()
    }

    fn told(&self) -> serde_json::Value {
        json!({"p50": self.at(0.5), "p99": self.at(0.99), "max": self.at(1.0)})
    }

    /// Times one more.
    async fn time<T>(&mut self, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        self.0.push(begun.elapsed().as_secs_f64() * 1e3);
        done
    }
}

async fn fill(store: &dyn Store, mould: &Mould, jobs: usize) -> Result<(), Failed> {
    for _ in (0..jobs).step_by(BULK) {
        store.insert(mould.many(BULK, Timestamp::now()), Timestamp::now()).await?;
    }
    Ok(())
}

fn request(max: usize) -> LeaseRequest {
    let until = Timestamp::now().saturating_add(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MAX);
    LeaseRequest { queue: QUEUE.into(), worker: "measure".into(), max, rate_limit: None, until, sandbox_level: 0 }
}

async fn leases(store: &dyn Store) -> Result<Times, Failed> {
    let mut times = Times(Vec::new());
    for _ in 0..LEASES {
        times.time(store.lease(request(1), Timestamp::now())).await?;
    }
    Ok(times)
}

/// A few fail, many succeed.
async fn end_some(store: &dyn Store) -> Result<(), Failed> {
    let mut ended = 0;
    while ended < ENDED {
        let leased = store.lease(request(100), Timestamp::now()).await?;
        let ends = leased.iter().map(|record| {
            ended += 1;
            let failure = (ended <= FAILED).then(|| Failure::new(Code::Crashed, "The converter crashed on this file."));
            let lease = Lease { job: record.job.id, attempt: record.job.attempt };
            let end = Finish {
                lease,
                failure,
                retry_at: None,
                cpu_ms: 0,
                memory_peak_bytes: 0,
                scratch_peak_bytes: 0,
                sandbox_level: 0,
                media: None,
                output: None,
                reused: false,
                log: vec![],
            };
            store.finish(end, Timestamp::now())
        });
        futures::future::try_join_all(ends.collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// The slowest page of each kind.
async fn pages(store: &dyn Store, oldest: Timestamp) -> Result<BTreeMap<&'static str, f64>, Failed> {
    let oldest = Some(oldest);
    let all = Filter { limit: 50, ..Filter::default() };
    let newest = store.list(Filter { limit: 500, ..all.clone() }).await?;
    let before: Option<JobId> = newest.last().map(|job| job.id);
    let text = |text: &str| Filter { text: Some(text.into()), ..all.clone() };
    let zip = Format::from_file_name("x.zip");
    let kinds = [
        ("newest", all.clone()),
        ("further down", Filter { before, ..all.clone() }),
        ("of a state", Filter { state: Some(State::Queued), ..all.clone() }),
        ("of a queue, state and format", Filter { state: Some(State::Succeeded), queue: Some(QUEUE.into()), format: zip, ..all.clone() }),
        ("of a rare state in a full queue", Filter { state: Some(State::Failed), queue: Some(QUEUE.into()), ..all.clone() }),
        ("of a format that is not there", Filter { format: Format::from_file_name("x.mkv"), ..all.clone() }),
        ("from before the others", Filter { until: oldest, ..all.clone() }),
        ("with a rare word", text("film-499")),
        ("with a frequent word", text("film")),
        ("with frequent words, further down", Filter { before, ..text("film zip list") }),
        ("with a beginning of many words", text("film 4")),
        ("with a frequent word, of a rare state", Filter { state: Some(State::Failed), ..text("film") }),
        ("with frequent words that are not together", text("499 498")),
        ("with a word that is not there", text("opera")),
        ("with the beginning of every id", text("01")),
    ];
    let mut slowest = BTreeMap::new();
    for (kind, filter) in kinds {
        let mut times = Times(Vec::new());
        for _ in 0..PAGES {
            times.time(store.list(filter.clone())).await?;
        }
        slowest.insert(kind, times.at(1.0));
    }
    Ok(slowest)
}

/// Records a second, and the leases meanwhile.
async fn purge(store: &Arc<dyn Store>) -> Result<(f64, Times), Failed> {
    let policy = PurgePolicy { outputs_before: BTreeMap::new(), records_before: BTreeMap::from([(QUEUE.to_owned(), Timestamp::MAX)]), limit: PURGED };
    let begun = Instant::now();
    let purger = store.clone();
    let purging = tokio::spawn(async move {
        let mut records = 0;
        loop {
            let purged = purger.purge(policy.clone(), Timestamp::now()).await?;
            records += purged.records;
            if !purged.more {
                return Ok::<_, millrace::store::StoreError>(records);
            }
        }
    });
    let mut times = Times(Vec::new());
    while !purging.is_finished() {
        times.time(store.lease(request(1), Timestamp::now())).await?;
    }
    Ok((purging.await?? as f64 / begun.elapsed().as_secs_f64(), times))
}

/// Memory of the server, or the database's file with its journal.
async fn used_bytes(store: &str) -> Result<i64, Failed> {
    if !store.starts_with("redis") {
        let size = |file: String| std::fs::metadata(file).map_or(0, |meta| meta.len() as i64);
        return Ok(size(store.to_owned()) + size(format!("{store}-wal")));
    }
    let mut connection = redis::Client::open(store)?.get_multiplexed_async_connection().await?;
    let info: String = redis::cmd("INFO").arg("memory").query_async(&mut connection).await?;
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).ok_or("the server does not tell its memory")?;
    Ok(used.trim().parse()?)
}
