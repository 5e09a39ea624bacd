//! No-op jobs through a store and a pool.

use crate::jobs::{Mould, QUEUE};
use crate::{Failed, launchers, open};
use jiff::Timestamp;
use millrace::blobs::local::LocalBlobs;
use millrace::blobs::{Blobs, Staging};
use millrace::clock::SystemClock;
use millrace::job::{Source, State};
use millrace::queue::Queues;
use millrace::store::Store;
use millrace::worker::{Engine, Experience, LEASE, PoolSpec, Room, Worker};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

#[derive(clap::Args)]
pub struct Args {
    /// `redis://...`, which is to be empty, or a database's file.
    #[arg(long)]
    store: String,
    /// The millrace whose jail the jobs run in; without it they run in none.
    #[arg(long)]
    jail: Option<PathBuf>,
    /// Jobs of the run through.
    #[arg(long, default_value_t = 20_000)]
    jobs: usize,
    #[arg(long, default_value_t = 50)]
    slots: u32,
    /// Seconds of the run whose latency is measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value = ".")]
    data_dir: PathBuf,
}

/// Jobs put in one by one, and in one call.
const SINGLES: usize = 2_000;
const BULK: usize = 100;
/// Between two looks at whether all jobs are done.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Of the throughput, while the latency is measured.
const LOAD: f64 = 0.1;

pub async fn measure(args: &Args) -> Result<serde_json::Value, Failed> {
    let store = open(&args.store).await?;
    let folder = tempfile::Builder::new().prefix("millrace-measure-").tempdir_in(std::path::absolute(&args.data_dir)?)?;
    let input = folder.path().join("input.zip");
    std::fs::write(&input, "0")?;
    // An upload, as most inputs are.
    let (blobs, upload) = (LocalBlobs::fleeting(&folder.path().join("blobs"))?, "uploads/input");
    blobs.publish(&input, upload).await?;
    let mould = Mould::new(Source::Blob(upload.into()))?;
    let single = one_by_one(&*store, &mould).await?;
    let bulk = in_bulk(&*store, &mould, args.jobs.saturating_sub(SINGLES)).await?;
    let (started, mut starts) = unbounded_channel();
    let staging = Staging::open(&folder.path().join("staging"))?;
    let engine = Engine {
        store: store.clone(),
        blobs: Arc::new(blobs),
        launcher: launchers::launcher(args.jail.as_deref(), started)?,
        room: Room::on(&staging),
        staging,
        queues: Arc::new(Queues::load(&[])?),
        pieces: folder.path().join("tus"),
        clock: Arc::new(SystemClock),
        name: "measure".into(),
        sandbox_level: 0,
        threads: 1,
        meters: Arc::default(),
        experience: Experience::default(),
        lease: LEASE,
        task_queues: None,
    };
    let begun = Instant::now();
    let worker = Worker::start(Arc::new(engine), &[PoolSpec { queue: QUEUE.into(), slots: Some(args.slots) }]);
    until_done(&*store).await?;
    let through = args.jobs as f64 / begun.elapsed().as_secs_f64();
    while starts.try_recv().is_ok() {}
    let latency = latency(&store, &mould, &mut starts, through * LOAD, args.seconds).await?;
    worker.drain().await;
    Ok(json!({"single_per_s": single, "bulk_per_s": bulk, "through_per_s": through, "latency_ms": latency}))
}

/// One client that waits for each answer; jobs a second.
async fn one_by_one(store: &dyn Store, mould: &Mould) -> Result<f64, Failed> {
    let begun = Instant::now();
    for job in mould.many(SINGLES, Timestamp::now()) {
        store.insert(vec![job], Timestamp::now()).await?;
    }
    Ok(SINGLES as f64 / begun.elapsed().as_secs_f64())
}

async fn in_bulk(store: &dyn Store, mould: &Mould, jobs: usize) -> Result<f64, Failed> {
    let begun = Instant::now();
    for first in (0..jobs).step_by(BULK) {
        store.insert(mould.many(BULK.min(jobs - first), Timestamp::now()), Timestamp::now()).await?;
    }
    Ok(jobs as f64 / begun.elapsed().as_secs_f64())
}

async fn until_done(store: &dyn Store) -> Result<(), Failed> {
    loop {
        let counts = store.counts().await?;
        let of = |state| counts.get(QUEUE).and_then(|states| states.get(&state)).copied().unwrap_or(0);
        if of(State::Failed) > 0 {
            return Err("jobs failed".into());
        }
        if of(State::Queued) + of(State::Running) == 0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// From before a job's submission to its start, as the name of its input has the former. A steady stream of so many a second.
async fn latency(
    store: &Arc<dyn Store>,
    mould: &Mould,
    starts: &mut UnboundedReceiver<String>,
    per_s: f64,
    seconds: u64,
) -> Result<serde_json::Value, Failed> {
    let (begun, jobs) = (Instant::now(), (per_s * seconds as f64).max(1.0) as usize);
    let since = move || begun.elapsed().as_nanos();
    let mut took_ms = Vec::with_capacity(jobs);
    let mut heard = |name: Option<String>| {
        took_ms.extend(name.and_then(|name| name.parse::<u128>().ok()).map(|sent| (since() - sent) as f64 / 1e6));
        took_ms.len()
    };
    let submit = async {
        for n in 0..jobs {
            tokio::time::sleep_until((begun + Duration::from_secs_f64(n as f64 / per_s)).into()).await;
            let (store, job) = (store.clone(), mould.job(since().to_string(), Timestamp::now()));
            tokio::spawn(async move { store.insert(vec![job], Timestamp::now()).await });
        }
    };
    let (_, ()) = tokio::join!(submit, async { while heard(starts.recv().await) < jobs {} });
    until_done(&**store).await?;
    took_ms.sort_by(f64::total_cmp);
    let at = |share: f64| took_ms[((took_ms.len() - 1) as f64 * share).round() as usize];
    Ok(json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)}))
}
