//! The only place that builds things, in the order they start; they stop in the reverse order.

mod keepers;
mod store_time;

use crate::blobs::{Links, Staging};
use crate::celery;
use crate::clock::SharedClock;
use crate::config::{Config, StorePlace};
use crate::convert::Zygote;
use crate::converters;
use crate::format::Format;
use crate::intake::{Intake, Telling};
use crate::notify::{LetterMeters, Mail, Notifier, Webhooks};
use crate::outbound::SystemResolver;
use crate::pipeline::Driver;
use crate::probe::Prober;
use crate::sandbox::probe::Measured;
use crate::sandbox::{ForkServer, Launcher, Wear, Zygotes, orphans};
use crate::schedule::{Scheduler, TaskQueues};
use crate::store::Store;
use crate::tus::Tus;
use crate::worker::{Engine, Experience, PoolSpec, Renewable, Room, Worker};
use jiff::Timestamp;
use keepers::Keepers;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Where uploads in pieces are kept, in the data folder.
const PIECES: &str = "tus";

/// The service without its edges.
pub struct App {
    pub intake: Arc<Intake>,
    pub engine: Arc<Engine>,
    pub prober: Arc<Prober>,
    pub tus: Arc<Tus>,
    /// Where the bytes have addresses of their own.
    pub links: Option<Arc<dyn Links>>,
    /// What is counted of letters.
    pub letters: Arc<LetterMeters>,
    pub clock: SharedClock,
    worker: Worker,
    stop: CancellationToken,
    /// What goes on beside the worker.
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Only one process at a time works in a data folder.
    _lock: std::fs::File,
}

/// What an [`App`] is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To stay: with schedules.
    Service,
    /// To stay, for the jobs of a shared store.
    Work,
    /// For one command's files; what it keeps is gone with it, so nothing waits for the disk. The zygote that the first of
    /// them needs is warmed up while the rest is made ready.
    Errand(Zygote),
}

impl Purpose {
    /// An errand whose first file has this name.
    pub fn errand(first: &Path) -> Purpose {
        let format = Format::from_file_name(&first.to_string_lossy());
        Purpose::Errand(format.map_or(Zygote::Archive, |f| converters::family(f.family()).zygote))
    }
}

impl App {
    /// Opens the data folder, starts the zygotes, the pools of all queues and, for a service, the schedules.
    pub async fn start(config: &Config, purpose: Purpose, fork_server: ForkServer) -> Result<App, String> {
        let queues = Arc::new(config.queues()?);
        let data = &config.data_dir;
        std::fs::create_dir_all(data).map_err(|e| format!("data_dir {}: {e}", data.display()))?;
        let lock = lock(data)?;
        tokio::spawn(orphans::reap());
        let wear = config.sandbox.wear();
        let launcher = Arc::new(Zygotes::new(fork_server, wear).map_err(|e| e.to_string())?);
        let measuring = tokio::spawn(measure(launcher.clone(), purpose));
        let Keepers { store, blobs, links, clock } = match purpose {
            Purpose::Service | Purpose::Work => Keepers::open(config).await?,
            Purpose::Errand(_) => Keepers::fleeting(data)?,
        };
        let staging = Staging::open(&data.join("staging")).map_err(|e| e.to_string())?;
        clear(&staging)?;
        if config.store == StorePlace::Sqlite {
            recover(&*store, &*clock).await?;
        }
        let measured = measuring.await.map_err(|e| e.to_string())??;
        if measured.level < config.sandbox.floor {
            return Err(format!(
                "the jail reaches level {} here, sandbox.floor asks for {}; see `millrace doctor`",
                measured.level, config.sandbox.floor
            ));
        }
        let engine = Arc::new(Engine {
            store: store.clone(),
            blobs: blobs.clone(),
            launcher: Renewable::new(launcher, move || fresh_zygotes(wear)),
            staging: staging.clone(),
            queues: queues.clone(),
            pieces: data.join(PIECES),
            clock: clock.clone(),
            name: format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id()),
            sandbox_level: measured.level,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
            meters: Arc::default(),
            experience: Experience::default(),
            room: Room::on(&staging),
            lease: config.lease,
            task_queues: celery::Outlet::open(&config.celery)?.map(|outlet| Arc::new(outlet) as Arc<dyn TaskQueues>),
        });
        let prober = Arc::new(Prober {
            launcher: engine.launcher.clone(),
            blobs: blobs.clone(),
            staging: staging.clone(),
            queues: queues.clone(),
            threads: engine.threads,
        });
        let pools: Vec<PoolSpec> = match config.pools.is_empty() {
            true => queues.names().map(|queue| PoolSpec { queue: queue.to_owned(), slots: None }).collect(),
            false => config.pools.clone(),
        };
        let worker = Worker::start(engine.clone(), &pools);
        let stop = CancellationToken::new();
        let (mut tasks, mut telling, letters) = (Vec::new(), Telling::default(), Arc::new(LetterMeters::default()));
        let outbound = match purpose {
            Purpose::Service => Some(Arc::new(config.inputs.url.outbound()?)),
            Purpose::Work | Purpose::Errand(_) => None,
        };
        if purpose == Purpose::Service {
            let scheduler = Scheduler { store: store.clone(), queues: queues.clone(), clock: clock.clone(), time_zone: config.time_zone.clone() };
            scheduler.install().await?;
            tasks.push(tokio::spawn(scheduler.run(stop.clone())));
            let (webhooks, mail) = (Arc::new(Webhooks::new(&config.webhooks, Arc::new(SystemResolver))?), Mail::new(&config.email)?);
            telling = Telling { webhooks: Some(webhooks.clone()), mail: mail.is_some(), admins: !config.email.to.is_empty() };
            let notifier = Notifier { store: store.clone(), clock: clock.clone(), queues: queues.clone(), webhooks, mail, meters: letters.clone() };
            tasks.push(tokio::spawn(notifier.run(stop.clone())));
        }
        let intake = Arc::new(Intake {
            store,
            blobs,
            staging,
            queues,
            input_roots: config.inputs.roots.clone(),
            input_blobs: config.inputs.blobs.clone(),
            outbound,
            telling,
        });
        let tus = Tus::open(intake.clone(), clock.clone(), &data.join(PIECES)).map_err(|e| format!("{}: {e}", data.join(PIECES).display()))?;
        if purpose == Purpose::Service {
            tasks.push(tokio::spawn(Driver { intake: intake.clone(), clock: clock.clone() }.run(stop.clone())));
        }
        Ok(App { intake, engine, prober, tus: Arc::new(tus), links, letters, clock, worker, stop, tasks, _lock: lock })
    }

    /// Stops submitting and leasing; what runs goes back to its queue.
    pub async fn stop(self) {
        self.stop.cancel();
        // Letters of what the worker gives back are delivered by whoever starts next.
        self.worker.drain().await;
        for task in self.tasks {
            // An error would be its own panic, logged already.
            let _ = task.await;
        }
    }
}

/// Zygotes that take nothing over: their fork server is executed anew.
fn fresh_zygotes(wear: Wear) -> Result<Arc<dyn Launcher>, String> {
    let zygotes = Zygotes::new(ForkServer::executed("/proc/self/exe", &[]), wear).map_err(|e| e.to_string())?;
    Ok(Arc::new(zygotes))
}

/// What the jail is worth here. A zygote that cannot start closes its own family only.
async fn measure(launcher: Arc<Zygotes>, purpose: Purpose) -> Result<Measured, String> {
    if let Purpose::Errand(first) = purpose
        && let Ok(measured) = launcher.measured(first).await
    {
        return Ok(measured);
    }
    launcher.measured(Zygote::Archive).await.map_err(|e| e.to_string())
}

fn lock(data: &Path) -> Result<std::fs::File, String> {
    let file = std::fs::File::create(data.join("lock")).map_err(|e| format!("{}: {e}", data.display()))?;
    let taken = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    taken.map_err(|_| format!("another process works in {}; give each one a --data-dir of its own", data.display()))?;
    Ok(file)
}

/// The lock is ours, so whatever an earlier process staged here is nobody's.
fn clear(staging: &Staging) -> Result<(), String> {
    for leftover in staging.list_stale(Timestamp::MAX).map_err(|e| e.to_string())? {
        staging.remove(&leftover).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The database is in our folder, so whatever an earlier process ran is over: its leases are taken back at once. In a shared
/// store they may be another process's, and are only taken back when they have run out.
async fn recover(store: &dyn Store, clock: &dyn crate::clock::Clock) -> Result<(), String> {
    let lost = store.reap(Timestamp::MAX, clock.now()).await.map_err(|e| e.to_string())?;
    if !lost.is_empty() {
        tracing::warn!(jobs = lost.len(), "jobs were running when the service last stopped; they are queued again");
    }
    Ok(())
}
