//! The process that holds the pools: leases jobs, runs each attempt in a jailed child, proves and publishes what came out.

mod attempt;
mod autoscale;
mod chronicle;
mod experience;
mod gauge;
mod heartbeat;
mod line;
mod load;
mod meters;
mod pool;
mod presence;
mod publish;
mod renewable;
mod reuse;
mod room;
mod running;
mod shift;
mod verdict;
mod verify;
mod watch;
mod watchdog;

use crate::blobs::{Blobs, Staging};
use crate::clock::SharedClock;
use crate::limits::Span;
use crate::queue::Queues;
use crate::schedule::TaskQueues;
use crate::store::Store;
pub use experience::Experience;
use jiff::Timestamp;
pub use meters::Meters;
pub use pool::PoolSpec;
pub use renewable::Renewable;
pub use room::{Amount, Gauge, Room};
use shift::Shifts;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a lease holds without a heartbeat, as shipped.
pub const LEASE: Span = Span::from_secs(30);
/// A shorter one could not be renewed twice before its end.
pub const LEASE_MIN: Span = Span::from_secs(3);
/// Between two looks at progress, settings and lost leases.
const TICK: Duration = Duration::from_secs(1);

/// What a worker works with.
pub struct Engine {
    pub store: Arc<dyn Store>,
    pub blobs: Arc<dyn Blobs>,
    pub launcher: Arc<Renewable>,
    pub staging: Staging,
    pub queues: Arc<Queues>,
    /// This process's uploads that are not whole yet.
    pub pieces: PathBuf,
    pub clock: SharedClock,
    /// Shown in each attempt's record.
    pub name: String,
    /// The measured level of this host's jail.
    pub sandbox_level: u8,
    /// Threads a converter may start.
    pub threads: usize,
    pub meters: Arc<Meters>,
    /// What attempts have taken of late.
    pub experience: Experience,
    /// Memory and scratch space for further ones.
    pub room: Arc<Room>,
    /// How long a lease holds without a heartbeat.
    pub lease: Span,
    /// Where schedules send tasks of Celery's.
    pub task_queues: Option<Arc<dyn TaskQueues>>,
}

impl Engine {
    /// The end of a lease that is taken or renewed at `now`.
    fn lease_until(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.lease.duration()).unwrap_or(Timestamp::MAX)
    }

    /// A lease without news is renewed this often.
    fn renew_every(&self) -> Duration {
        self.lease.duration() / 3
    }

    /// A worker without a confirmed heartbeat for this long ends its own children: its leases are about to be somebody else's.
    fn confirm_within(&self) -> Duration {
        self.lease.duration() * 5 / 6
    }
}

/// A running worker.
pub struct Worker {
    stop: CancellationToken,
    shifts: JoinHandle<()>,
}

impl Worker {
    /// Starts these pools, the heartbeat and the reaper.
    pub fn start(engine: Arc<Engine>, pools: &[PoolSpec]) -> Worker {
        let stop = CancellationToken::new();
        let shifts = Shifts { engine, pools: pools.to_vec(), running: Arc::default(), stop: stop.clone() };
        Worker { stop, shifts: tokio::spawn(shifts.run()) }
    }

    /// Stops leasing, interrupts what runs (it goes back without a failure counted) and waits until all is given back.
    pub async fn drain(self) {
        self.stop.cancel();
        // An error would be its own panic, logged already.
        let _ = self.shifts.await;
    }
}
