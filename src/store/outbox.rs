//! The port to what is to be told: a letter is written in the transaction that changes its job, and stays until it was delivered
//! or given up. So nothing that has happened goes untold, and nothing is told that has not: a stale worker's verbs change nothing
//! and write nothing.

use super::{LeaseLost, Result, document};
use crate::job::{HookKind, Job, JobId, Occasion, PipelineId, Record, State, Webhook};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// How long the log of ended deliveries is kept.
pub const DELIVERIES_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A letter lists no more of a job's outputs: an archive of many thousand files would be told of in megabytes. `stats` has them all.
const OUTPUTS_MAX: usize = 1000;
/// Each of so many parts that is done is progress worth a letter.
const PROGRESS_PARTS: f64 = 10.0;

/// Whom a letter is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Target {
    Webhook {
        url: String,
    },
    /// What the job's queue has configured.
    Hook {
        hook: HookKind,
    },
    /// None: the site's admins.
    Email {
        to: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Pending,
    Delivered,
    /// Given up; it may be replayed.
    Dead,
}

/// One try to deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Try {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub duration_ms: u64,
    /// What was answered, where something was.
    pub status: Option<u16>,
    /// The beginning of what was said, or why nothing was.
    pub answer: Option<String>,
}

/// A letter on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The same for all tries: by it a receiver knows a repetition. Sorts by time.
    pub id: String,
    /// Of what it tells.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub event: Occasion,
    /// Either the job that it tells of, or the pipeline.
    pub job: Option<JobId>,
    #[serde(default)]
    pub pipeline: Option<PipelineId>,
    /// The job's.
    pub queue: String,
    pub target: Target,
    pub state: DeliveryState,
    /// How often somebody took it in hand: the fencing token.
    pub taken: u32,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub replayed_at: Option<Timestamp>,
    /// Oldest first.
    pub tries: Vec<Try>,
}

/// What a letter tells of, as it was then.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Told {
    Job(Box<Job>),
    /// As the API shows it: the store knows nothing of what is in it.
    Pipeline(Value),
}

/// A delivery with what it tells of.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    pub delivery: Delivery,
    pub told: Told,
    /// Its endpoint has said that it wants nothing more.
    pub is_off: bool,
}

/// What came of a delivery that was taken.
#[derive(Debug, Clone)]
pub struct Settled {
    pub delivery: Delivery,
    /// This URL wants nothing more, of any job.
    pub switched_off: Option<String>,
}

/// What to list; every field narrows.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub state: Option<DeliveryState>,
    pub job: Option<JobId>,
    pub pipeline: Option<PipelineId>,
    /// Newest first, below this one.
    pub before: Option<String>,
    pub limit: usize,
}

/// Letters that a change of their job or pipeline has written.
///
/// Every transition of a job writes one for each who wants to hear of it: its webhook, its queue's hooks, its address and the admins'.
/// Progress writes one for each tenth that is done. A pipeline's end writes one for its webhook.
#[async_trait::async_trait]
pub trait Outbox {
    /// Takes up to `max` letters that are due, those due for longest first. Each is the caller's until `until`, and due again then.
    async fn take_due(&self, max: usize, until: Timestamp, now: Timestamp) -> Result<Vec<Due>>;
    /// Keeps what came of a letter; changes nothing when somebody else has taken it since.
    async fn settle(&self, settled: Settled, now: Timestamp) -> Result<std::result::Result<(), LeaseLost>>;
    /// Newest first.
    async fn deliveries(&self, filter: DeliveryFilter) -> Result<Vec<Delivery>>;
    async fn delivery(&self, id: &str) -> Result<Due>;
    /// Makes a letter due at once, as if for the first time, whatever became of it; its endpoint is switched on again.
    async fn replay(&self, id: &str, now: Timestamp) -> Result<Delivery>;
}

/// A letter that a transition writes.
#[derive(Debug, Clone)]
pub struct Letter {
    pub delivery: Delivery,
    pub told: Told,
}

impl Letter {
    /// Of a pipeline that has just ended, if its webhook wants to hear how.
    pub fn of_pipeline(id: PipelineId, state: State, webhook: &Webhook, told: Value, now: Timestamp) -> Option<Letter> {
        let event = Occasion::of(state.as_str()).filter(|event| event.is_last() && webhook.wants(*event))?;
        let target = Target::Webhook { url: webhook.url.clone() };
        Some(Letter { delivery: Delivery { pipeline: Some(id), ..Delivery::new(event, target, now) }, told: Told::Pipeline(told) })
    }
}

/// What is to be told of this record, which a transition of this kind has just changed.
pub fn letters(record: &Record, kind: &str, now: Timestamp) -> Vec<Letter> {
    let Some(event) = Occasion::of(kind) else { return Vec::new() };
    let delivery = |target| Delivery { job: Some(record.job.id), queue: record.job.queue.clone(), ..Delivery::new(event, target, now) };
    targets(record, event).into_iter().map(|target| Letter { delivery: delivery(target), told: told(record) }).collect()
}

/// What is to be told of this record's progress, which was `before` until now.
pub fn progress_letters(record: &Record, before: f64, now: Timestamp) -> Vec<Letter> {
    let part = |percent: f64| (percent * PROGRESS_PARTS / 100.0).floor();
    if part(record.job.progress.percent) <= part(before) { Vec::new() } else { letters(record, Occasion::Progress.as_str(), now) }
}

/// Whether anybody wants to hear of this.
pub fn is_wanted(record: &Record, event: Occasion) -> bool {
    !targets(record, event).is_empty()
}

fn targets(record: &Record, event: Occasion) -> Vec<Target> {
    let (job, site) = (&record.job, &record.site);
    let mut targets: Vec<Target> = job.webhook.iter().filter(|w| w.wants(event)).map(|w| Target::Webhook { url: w.url.clone() }).collect();
    targets.extend(site.hooks.iter().filter(|hook| hook.wants(event)).map(|hook| Target::Hook { hook: *hook }));
    if event == Occasion::Failed {
        targets.extend(job.notify_email.iter().map(|to| Target::Email { to: Some(to.clone()) }));
        targets.extend(site.admins.then_some(Target::Email { to: None }));
    }
    targets
}

fn told(record: &Record) -> Told {
    let mut job = record.job.clone();
    job.outputs.truncate(OUTPUTS_MAX);
    Told::Job(Box::new(job))
}

impl Told {
    pub fn job(&self) -> Option<&Job> {
        match self {
            Told::Job(job) => Some(job),
            Told::Pipeline(_) => None,
        }
    }

    /// What a keeper has written of what this delivery tells.
    pub fn read(delivery: &Delivery, text: &str) -> Result<Told> {
        Ok(if delivery.pipeline.is_some() { Told::Pipeline(document::parse(text)?) } else { Told::Job(document::parse(text)?) })
    }
}

impl Delivery {
    /// Of nothing yet.
    fn new(event: Occasion, target: Target, now: Timestamp) -> Delivery {
        Delivery {
            id: Delivery::new_id(),
            at: now,
            event,
            job: None,
            pipeline: None,
            queue: String::new(),
            target,
            state: DeliveryState::Pending,
            taken: 0,
            next_try: Some(now),
            replayed_at: None,
            tries: Vec::new(),
        }
    }

    pub fn new_id() -> String {
        format!("msg_{}", uuid::Uuid::now_v7().simple())
    }

    /// The id that sorts before all of this time.
    pub fn first_id(at: Timestamp) -> String {
        format!("msg_{:012x}", at.as_millisecond().max(0))
    }

    /// The id of what it tells of.
    pub fn about(&self) -> String {
        self.job.map(|id| id.to_string()).or(self.pipeline.map(|id| id.to_string())).unwrap_or_default()
    }

    pub fn is_pending(&self) -> bool {
        self.state == DeliveryState::Pending
    }

    /// The URL it goes to, if that is its client's.
    pub fn url(&self) -> Option<&str> {
        match &self.target {
            Target::Webhook { url } => Some(url),
            Target::Hook { .. } | Target::Email { .. } => None,
        }
    }

    /// Somebody takes it in hand.
    pub fn take(&mut self, until: Timestamp) {
        self.taken += 1;
        self.next_try = Some(until);
    }

    pub fn replay(&mut self, now: Timestamp) {
        // Whoever has it in hand has lost it.
        self.taken += 1;
        self.state = DeliveryState::Pending;
        (self.next_try, self.replayed_at) = (Some(now), Some(now));
    }
}

impl DeliveryFilter {
    /// The id of what they are to tell of.
    pub fn about(&self) -> Option<String> {
        self.job.map(|id| id.to_string()).or(self.pipeline.map(|id| id.to_string()))
    }
}

impl DeliveryState {
    pub const ALL: [DeliveryState; 3] = [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Dead];

    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "dead",
        }
    }

    pub fn parse(name: &str) -> Option<DeliveryState> {
        DeliveryState::ALL.into_iter().find(|s| s.as_str() == name)
    }
}
