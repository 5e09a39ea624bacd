//! The processes that hold pools, and the orders they are given.

use super::Result;
use crate::job::JobId;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A worker that has said nothing for this long is gone.
pub const WORKER_GONE_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Worker)]
pub struct Presence {
    /// Host and process, as in the attempts it makes.
    pub id: String,
    pub host: String,
    pub pid: u32,
    pub version: String,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Its last word.
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
    pub state: WorkerState,
    /// Given, and not yet taken.
    pub order: Option<WorkerOrder>,
    pub queues: Vec<PoolPresence>,
    /// Resident memory of the process itself, without its children.
    pub memory_bytes: u64,
    /// The measured level of its jail, 0 to 4.
    pub sandbox_level: u8,
}

/// One pool of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = WorkerPool)]
pub struct PoolPresence {
    pub queue: String,
    pub slots: u32,
    pub running: Vec<JobId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    Running,
    /// Leases nothing more; idle once nothing of its runs.
    Draining,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerOrder {
    /// Lease nothing more and let what runs end; stay idle until restarted.
    Drain,
    /// Give what runs back, end the zygotes, start pools and zygotes anew.
    Restart,
}

/// The list of workers.
#[async_trait::async_trait]
pub trait Workers {
    /// Keeps what a worker says of itself instead of what it said before, with `seen_at` as `now`; its `order` is not looked at.
    async fn announce(&self, presence: Presence, now: Timestamp) -> Result<()>;
    /// Takes away the order that this worker was given, if there is one: each is heard once.
    async fn take_order(&self, worker: &str) -> Result<Option<WorkerOrder>>;
    /// Forgets a worker with its order; one that is not there is no fault.
    async fn leave(&self, worker: &str) -> Result<()>;
    /// Those who spoke less than [`WORKER_GONE_AFTER`] ago, by id, each with the order it has not taken yet.
    async fn workers(&self, now: Timestamp) -> Result<Vec<Presence>>;
    /// Gives a worker an order instead of one it has not taken yet, and tells by [`Notice::Worker`](super::Notice::Worker). Not
    /// found: it is not among [`Workers::workers`].
    async fn order(&self, worker: &str, order: WorkerOrder, now: Timestamp) -> Result<Presence>;
}
