//! The process that holds the pools: leases jobs, runs each attempt in a jailed child, proves and publishes what came out.

mod attempt;
mod heartbeat;
mod pool;
mod publish;
mod running;
mod verdict;
mod verify;

use crate::blobs::{Blobs, Staging};
use crate::clock::SharedClock;
use crate::queue::Queues;
use crate::sandbox::Launcher;
use crate::store::Store;
use heartbeat::Heartbeat;
use jiff::SignedDuration;
use pool::Pool;
pub use pool::PoolSpec;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a lease holds without a heartbeat.
pub const LEASE: SignedDuration = SignedDuration::from_secs(30);
/// A worker without a confirmed heartbeat for this long ends its own children: its leases are about to be somebody else's.
const CONFIRM_WITHIN: Duration = Duration::from_secs(25);
/// Between two looks at progress, settings and lost leases.
const TICK: Duration = Duration::from_secs(1);

/// What a worker works with.
pub struct Engine {
    pub store: Arc<dyn Store>,
    pub blobs: Arc<dyn Blobs>,
    pub launcher: Arc<dyn Launcher>,
    pub staging: Staging,
    pub queues: Arc<Queues>,
    pub clock: SharedClock,
    /// Shown in each attempt's record.
    pub name: String,
    /// The measured level of this host's jail.
    pub sandbox_level: u8,
    /// Threads a converter may start.
    pub threads: usize,
}

/// A running worker.
pub struct Worker {
    drain: CancellationToken,
    running: Arc<running::Running>,
    tasks: TaskTracker,
}

impl Worker {
    /// Starts these pools, the heartbeat and the reaper.
    pub fn start(engine: Arc<Engine>, pools: &[PoolSpec]) -> Worker {
        let (drain, tasks, running) = (CancellationToken::new(), TaskTracker::new(), Arc::new(running::Running::default()));
        for spec in pools {
            let pool = Pool::new(engine.clone(), spec, running.clone(), drain.clone());
            tasks.spawn(pool.run());
        }
        tasks.spawn(Heartbeat::new(engine, running.clone(), drain.clone()).run());
        Worker { drain, running, tasks }
    }

    /// Stops leasing, interrupts what runs (it goes back without a failure counted) and waits until all is given back.
    pub async fn drain(self) {
        self.drain.cancel();
        self.running.interrupt();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
