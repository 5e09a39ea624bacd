//! The port to the engine's state: one verb per transition, each atomic, each given the time.
//!
//! ```text
//! insert -> queued --lease--> running --finish--> succeeded | failed | cancelled | queued (retry)
//!              ^                 |----release--> queued (interrupted; nothing counted)
//!              |                 |----reap-----> queued (lease lost) | failed (third time)
//!              `--retry-- failed | cancelled          cancel: queued -> cancelled at once; running -> asked
//! ```
//!
//! Every verb that speaks for an attempt is fenced by its [`Lease`]: a stale worker's call changes nothing.

use crate::failure::Failure;
use crate::format::Format;
use crate::job::{CancelMode, Event, Job, JobId, Lease, LogLine, Media, Output, PipelineId, Record, State, Upload};
use crate::limits::{Rate, Span};
use crate::progress::Progress;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::sync::broadcast;
use utoipa::ToSchema;

mod access;
mod document;
mod history;
mod outbox;
mod pipelines;
pub mod redis;
mod reuse;
pub mod sqlite;
pub mod transition;
mod tuning;
mod words;
mod workers;

pub use access::{AUDIT_KEPT, Access, Audit};
pub use history::{History, Measure, Step, Stretch, Sums};
pub use outbox::{DELIVERIES_KEPT, Delivery, DeliveryFilter, DeliveryState, Due, Letter, Outbox, Settled, Target, Told, Try};
pub use pipelines::{PipelineFilter, PipelineRow, Pipelines, StepCounts};
pub use reuse::Reuse;
pub use tuning::Tuning;
pub use workers::{PoolPresence, Presence, WORKER_GONE_AFTER, WorkerOrder, WorkerState, Workers};

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The transition is not possible from this state.
    #[error("the job is {}", .0.as_str())]
    WrongState(State),
    /// A job is to wait for one that is not there.
    #[error("there is no job {0} to wait for")]
    UnknownDependency(JobId),
    /// The same idempotency key came with another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    #[error("the storage is full")]
    Full,
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// The attempt's lease is not ours any more; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLost;

/// A job to insert.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub record: Record,
    /// `Idempotency-Key` and a digest of the request; remembered for 24 h.
    pub idempotency: Option<(String, String)>,
}

/// What became of one inserted job.
#[derive(Debug, Clone, PartialEq)]
pub enum Inserted {
    New(Job),
    /// The idempotency key, or the unique key of a job that has not ended, was known: this is the job it stands for.
    Existing(Job),
}

impl Inserted {
    pub fn job(&self) -> &Job {
        match self {
            Inserted::New(job) | Inserted::Existing(job) => job,
        }
    }
}

/// Asks for work.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    pub queue: String,
    pub worker: String,
    pub max: usize,
    /// The limit in the queue's file; a live setting goes before it.
    pub rate_limit: Option<Rate>,
    /// Until when the leases hold.
    pub until: Timestamp,
    pub sandbox_level: u8,
}

/// A heartbeat for one attempt: carries what is new, brings back what the worker must know.
#[derive(Debug, Clone)]
pub struct Renewal {
    pub lease: Lease,
    pub progress: Option<Progress>,
    /// Progress of single outputs, by their group.
    pub outputs: Vec<(String, Progress)>,
    /// The input, as measured in the jail.
    pub media: Option<Media>,
    pub log: Vec<LogLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    Held { cancel: Option<CancelMode>, soft_time_limit: Span, hard_time_limit: Span },
    Lost,
}

/// One output that is ready (or failed) while its job still runs.
#[derive(Debug, Clone)]
pub struct OutputDone {
    /// Position in the job's list when the attempt began.
    pub group: String,
    /// What replaces the entry: one per file.
    pub entries: Vec<Output>,
    /// Blob keys by output name.
    pub artifacts: BTreeMap<String, String>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct Finish {
    pub lease: Lease,
    /// None: succeeded.
    pub failure: Option<Failure>,
    /// When to try again, if at all; decided by the worker from the failure's kind and the queue's settings.
    pub retry_at: Option<Timestamp>,
    pub cpu_ms: u64,
    pub memory_peak_bytes: u64,
    pub scratch_peak_bytes: u64,
    pub sandbox_level: u8,
    /// The input, as measured in the jail, where no heartbeat has carried it.
    pub media: Option<Media>,
    /// The output made last, where [`Leases::output_done`] has not told it: one transaction for both.
    pub output: Option<OutputDone>,
    /// The outputs are those of an equal job.
    pub reused: bool,
    pub log: Vec<LogLine>,
}

/// What to list; every field narrows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub state: Option<State>,
    pub queue: Option<String>,
    pub format: Option<Format>,
    pub pipeline: Option<PipelineId>,
    /// Of the pipeline.
    pub step: Option<String>,
    /// Words that the input's name, the id, the error code or a tag in the metadata begins with.
    pub text: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Sent by this token.
    pub owner: Option<String>,
    /// Newest first, below this one.
    pub before: Option<JobId>,
    pub limit: usize,
}

/// What to do about times that passed while no scheduler ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing: only a time that passed within the last minute counts.
    Skip,
    /// One job for all of them.
    #[default]
    Once,
    /// A job for each.
    All,
}

/// A named cron or interval that submits jobs; exactly one of `cron` and `every` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    pub name: String,
    /// Five fields, names, or `@daily`; evaluated in `time_zone`.
    pub cron: Option<String>,
    /// Between two fires, whatever the clocks on the wall do; counted from the moment it was put.
    #[serde(default)]
    pub every: Option<Span>,
    #[serde(default)]
    pub missed: Missed,
    /// IANA name.
    pub time_zone: String,
    /// The engine's job it submits: `cleanup.purge-staging`, `cleanup.purge-records`, or `celery.send` with `celery`.
    pub converter: String,
    /// The task that `celery.send` sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub celery: Option<CeleryTask>,
    pub enabled: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_fire: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub next_fire: Timestamp,
}

/// A task for whoever consumes one of Celery's queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CeleryTask {
    /// Its name, as `site.tasks.report`.
    pub task: String,
    #[serde(default)]
    pub args: Vec<serde_json::Value>,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub kwargs: serde_json::Map<String, serde_json::Value>,
    /// By `celery.routes`, else `celery.default_queue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
}

/// What the cleanup may remove.
#[derive(Debug, Clone)]
pub struct PurgePolicy {
    /// Outputs of jobs that ended before this lose their bytes; by queue.
    pub outputs_before: BTreeMap<String, Timestamp>,
    /// Records of jobs that ended before this go; by queue.
    pub records_before: BTreeMap<String, Timestamp>,
    /// At most this many jobs and uploads a call; call again while it is reached.
    pub limit: usize,
}

/// What a purge took out of the store; the caller deletes the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purged {
    pub blobs: Vec<String>,
    pub outputs: usize,
    pub records: usize,
    pub uploads: usize,
    pub pipelines: usize,
    /// The limit was reached; there may be more.
    pub more: bool,
}

/// Jobs by queue and state.
pub type Counts = BTreeMap<String, BTreeMap<State, u64>>;

/// Something changed; a wake-up, never the news itself: losing one costs a poll interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A job may be ready in this queue.
    Ready(String),
    /// Progress, state, log or outputs of this job.
    Job(JobId),
    /// A running job was asked to stop.
    Cancel(JobId),
    /// A pipeline, or the end of one of its jobs.
    Pipeline(PipelineId),
    /// A queue's settings.
    Tuning(String),
    /// A worker was given an order.
    Worker(String),
    /// Somebody is to be told something.
    Delivery,
}

#[async_trait::async_trait]
pub trait Store: Jobs + Leases + Reuse + Upkeep + Workers + History + Pipelines + Outbox + Access + Audit + Send + Sync {}

impl<T: Jobs + Leases + Reuse + Upkeep + Workers + History + Pipelines + Outbox + Access + Audit + Send + Sync> Store for T {}

/// The client's side.
#[async_trait::async_trait]
pub trait Jobs {
    /// Inserts jobs as `queued`, all or none. A known idempotency key or live unique key yields the existing job.
    ///
    /// A job whose `after` names others (of before, or further up in the same list; [`StoreError::UnknownDependency`] else) waits
    /// for them. It is `queued`, with `waiting_on` set to those that have not succeeded, and is not due while there are any:
    /// - One succeeds: it leaves `waiting_on`; with the last one `run_at` becomes that moment, unless it is later, and
    ///   [`Notice::Ready`] tells.
    /// - One fails, is cancelled or expires: the job fails as `dependency_failed` without an attempt, and those that wait for it
    ///   in turn. `waiting_on` stays as it was.
    /// - One that has ended before counts at once: the job is due, or fails when it is inserted or retried.
    ///
    /// All this happens in the transaction that ends the other job, for up to 1,000 jobs; further ones are told, at the same
    /// moment as to their record, by the next [`Leases::reap`]s, 1,000 each. That holds whether or not the record of the ended
    /// job is still there.
    ///
    /// A job with a reuse key may wait in the same way for an equal one in flight: see [`Reuse`].
    async fn insert(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Inserted>>;
    async fn get(&self, id: JobId) -> Result<Record>;
    /// Newest first.
    async fn list(&self, filter: Filter) -> Result<Vec<Job>>;
    /// A queued job is cancelled at once; a running one is asked (`kill` outranks `soft`); an ended one is left as it is.
    async fn cancel(&self, id: JobId, mode: CancelMode, now: Timestamp) -> Result<Job>;
    /// Queues a failed or cancelled job again, with its failures and recoveries forgotten; outputs already done are kept. It
    /// waits for what is left in `waiting_on`, as if it were inserted now ([`StoreError::UnknownDependency`] when a record is gone).
    async fn retry(&self, id: JobId, now: Timestamp) -> Result<Job>;
    /// Removes an ended job; returns the blobs that nobody needs any more.
    async fn remove(&self, id: JobId) -> Result<Vec<String>>;
    /// The job's log from line `from` on, oldest first.
    async fn log(&self, id: JobId, from: usize) -> Result<Vec<LogLine>>;
    /// Events after number `after`, oldest first: of one job, or of all.
    async fn events(&self, after: u64, job: Option<JobId>, limit: usize) -> Result<Vec<Event>>;
    /// The number of the last event; 0 before the first one.
    async fn last_event(&self) -> Result<u64>;
    /// Wakes on every change made through this process.
    fn notices(&self) -> broadcast::Receiver<Notice>;
}

/// The worker's side.
#[async_trait::async_trait]
pub trait Leases {
    /// Takes up to `max` jobs that are due: best priority first, then by turn, then by id; each becomes `running` with its attempt
    /// counted up. Jobs past `expires_at` are failed as `expired` on the way. A paused queue yields nothing.
    ///
    /// *Turns* keep one site's thousand jobs from starving another's one (start-time fair queuing, by `fairness_key`; jobs without
    /// one share one). They count for themselves among the jobs of one queue and priority, from 1:
    /// - A queued job has no turn until it is *promoted*. `lease`, and [`Jobs::insert`] of a job that is due, begin by promoting
    ///   what has become due (`run_at <= now`) in the queue, in order of `run_at`, then id; then what is inserted gets its turn, in
    ///   the order of the list. At most 1,000 are promoted a call: while more are due, the next calls go on with them, and a job
    ///   that is inserted meanwhile waits among them.
    /// - Turn = max(highest turn leased, last turn given to this key) + 1. Jobs of one key are so taken in order of age, and a key
    ///   that comes later stands where the line is now, not behind it.
    /// - A job that leaves `queued` loses its turn; queued again, it is promoted anew.
    /// - A key's last turn may be forgotten once it is not above the highest one leased, and is when
    ///   [`Upkeep::purge_queue`] has emptied the queue.
    ///
    /// Under a rate limit no more are taken than [`Rate::allows`]; what is taken, and nothing else, moves the queue's last start
    /// to [`Rate::last`]. It is one time for all workers, which outlives a change of the rate and a time without one.
    async fn lease(&self, request: LeaseRequest, now: Timestamp) -> Result<Vec<Record>>;
    /// When the rate limit lets the queue's next job start, if that is after `now`. `rate_limit` is the file's, as in a lease.
    async fn next_start(&self, queue: &str, rate_limit: Option<Rate>, now: Timestamp) -> Result<Option<Timestamp>>;
    /// Extends leases, stores progress and log, brings back cancel requests and changed limits.
    async fn renew(&self, renewals: Vec<Renewal>, until: Timestamp, now: Timestamp) -> Result<Vec<Renewed>>;
    /// Records outputs that are ready while the job still runs.
    async fn output_done(&self, lease: Lease, done: OutputDone, now: Timestamp) -> Result<std::result::Result<(), LeaseLost>>;
    /// Ends an attempt, with its event in the same transaction. Repeating it is `LeaseLost`.
    async fn finish(&self, finish: Finish, now: Timestamp) -> Result<std::result::Result<Job, LeaseLost>>;
    /// Ends an attempt and takes work for the slot it leaves: [`finish`](Leases::finish), then [`lease`](Leases::lease), in one round
    /// trip. A lost lease does not keep the slot from new work.
    async fn finish_and_lease(
        &self,
        finish: Finish,
        request: LeaseRequest,
        now: Timestamp,
    ) -> Result<(std::result::Result<Job, LeaseLost>, Vec<Record>)>;
    /// Gives an interrupted attempt back; no failure is counted.
    async fn release(&self, lease: Lease, log: Vec<LogLine>, now: Timestamp) -> Result<std::result::Result<(), LeaseLost>>;
    /// Takes back leases that run out before `limit`: queued again, or failed as `worker_lost` the third time. Returns the
    /// leases lost. `limit` is `now` as a rule; a process that knows to be the only one takes all back at its start.
    async fn reap(&self, limit: Timestamp, now: Timestamp) -> Result<Vec<Lease>>;
}

/// The engine's own side.
#[async_trait::async_trait]
pub trait Upkeep {
    async fn counts(&self) -> Result<Counts>;
    /// By queue, when the queued job that comes due first did so, or will. One that waits for others does not count.
    async fn due_since(&self) -> Result<BTreeMap<String, Timestamp>>;
    /// Live settings by queue.
    async fn tunings(&self) -> Result<BTreeMap<String, Tuning>>;
    /// Sets the fields given, keeps the others. A waiting job gets them when it is leased, a running one sees changed time
    /// limits at its next heartbeat; what a client set for its own job stays.
    async fn tune(&self, queue: &str, tuning: Tuning, now: Timestamp) -> Result<Tuning>;
    /// Cancels every queued job of a queue; returns how many.
    async fn purge_queue(&self, queue: &str, now: Timestamp) -> Result<u64>;
    async fn put_upload(&self, upload: Upload) -> Result<()>;
    async fn upload(&self, id: &str) -> Result<Upload>;
    async fn schedules(&self) -> Result<Vec<Schedule>>;
    async fn put_schedule(&self, schedule: Schedule) -> Result<()>;
    async fn delete_schedule(&self, name: &str) -> Result<()>;
    /// Moves a schedule from `expected` to `next` and inserts its jobs, in one transaction; false, and nothing is changed, when
    /// `next_fire` is not `expected` any more. `last_fire` becomes `now`, unless there are no jobs. Times count by the millisecond.
    async fn fire(&self, name: &str, expected: Timestamp, next: Timestamp, jobs: Vec<NewJob>, now: Timestamp) -> Result<bool>;
    /// Forgets what is past its time, never what belongs to a job that has not ended.
    async fn purge(&self, policy: PurgePolicy, now: Timestamp) -> Result<Purged>;
    /// Of these blob keys, those that no record points at.
    async fn orphans(&self, keys: Vec<String>) -> Result<Vec<String>>;
    /// Is this attempt still running under a lease?
    async fn is_live(&self, lease: Lease) -> Result<bool>;
}
