//! The Celery edge on an engine without its jail, until it is told to end: what of a task's time is the way through Millrace.

use crate::{Failed, launchers, open};
use millrace::blobs::Staging;
use millrace::blobs::local::LocalBlobs;
use millrace::celery::{Running, Settings, Site};
use millrace::clock::SystemClock;
use millrace::intake::{Intake, Telling};
use millrace::queue::Queues;
use millrace::worker::{Engine, Experience, LEASE, PoolSpec, Room, Worker};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Duration, Instant};

/// The queue of Celery and of Millrace that is worked on.
const QUEUE: &str = "archive";

#[derive(clap::Args)]
pub struct Args {
    /// Celery's broker, and its result backend.
    #[arg(long)]
    broker: String,
    /// `redis://...`, which is to be empty, or a database's file.
    #[arg(long)]
    store: String,
    /// Where the inputs are.
    #[arg(long)]
    inputs: PathBuf,
    #[arg(long, default_value_t = 50)]
    slots: u32,
    #[arg(long, default_value_t = 100)]
    prefetch: usize,
    #[arg(long, default_value = ".")]
    data_dir: PathBuf,
}

pub async fn serve(args: &Args) -> Result<serde_json::Value, Failed> {
    let mut end = signal(SignalKind::terminate())?;
    let store = open(&args.store).await?;
    let folder = tempfile::Builder::new().prefix("millrace-measure-").tempdir_in(std::path::absolute(&args.data_dir)?)?;
    let blobs = Arc::new(LocalBlobs::fleeting(&folder.path().join("blobs"))?);
    let staging = Staging::open(&folder.path().join("staging"))?;
    let (queues, clock) = (Arc::new(Queues::load(&[])?), Arc::new(SystemClock));
    let engine = Engine {
        store: store.clone(),
        blobs: blobs.clone(),
        launcher: launchers::launcher(None, tokio::sync::mpsc::unbounded_channel().0)?,
        staging: staging.clone(),
        queues: queues.clone(),
        pieces: folder.path().join("tus"),
        clock: clock.clone(),
        name: "measure".into(),
        sandbox_level: 0,
        threads: 1,
        meters: Arc::default(),
        experience: Experience::default(),
        room: Room::on(&staging),
        lease: LEASE,
        task_queues: None,
    };
    let worker = Worker::start(Arc::new(engine), &[PoolSpec { queue: QUEUE.into(), slots: Some(args.slots) }]);
    let roots = vec![args.inputs.canonicalize()?];
    let (input_blobs, telling) = (Vec::new(), Telling::default());
    let intake = Arc::new(Intake { store, blobs, staging, queues, input_roots: roots.clone(), input_blobs, outbound: None, telling });
    let settings = Settings { broker_url: Some(args.broker.clone()), queues: vec![QUEUE.into()], prefetch: args.prefetch, ..Settings::default() };
    let edge = Running::start(&settings, Site { intake, clock, input_roots: roots, output_roots: Vec::new() }).await?;
    end.recv().await;
    if let Some(edge) = edge {
        edge.stop().await;
    }
    worker.drain().await;
    Ok(json!({}))
}

#[derive(clap::Args)]
pub struct FarArgs {
    /// `host:port`.
    #[arg(long)]
    to: String,
    #[arg(long)]
    listen: String,
    /// What each answer is late by.
    #[arg(long, default_value_t = 2)]
    ms: u64,
}

/// Makes a server a distant one: passes all on, and answers later.
pub async fn far(args: FarArgs) -> Result<serde_json::Value, Failed> {
    let listener = TcpListener::bind(&args.listen).await?;
    let late = Duration::from_millis(args.ms);
    loop {
        let (near, _) = listener.accept().await?;
        let to = args.to.clone();
        tokio::spawn(async move {
            let Ok(there) = TcpStream::connect(to).await else { return };
            let _ = (near.set_nodelay(true), there.set_nodelay(true));
            let ((near_in, near_out), (there_in, there_out)) = (near.into_split(), there.into_split());
            tokio::spawn(pass(near_in, there_out, Duration::ZERO));
            pass(there_in, near_out, late).await;
        });
    }
}

async fn pass(mut from: impl tokio::io::AsyncRead + Unpin, mut to: impl tokio::io::AsyncWrite + Unpin + Send + 'static, late: Duration) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (send, mut sent) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(1024);
    tokio::spawn(async move {
        while let Some((at, bytes)) = sent.recv().await {
            if !late.is_zero() {
                tokio::time::sleep_until(at).await;
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut chunk = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut chunk).await {
        if send.send((Instant::now() + late, chunk[..n].to_vec())).await.is_err() {
            return;
        }
    }
}
