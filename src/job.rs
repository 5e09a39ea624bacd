//! The job: what a client asked for, as the API shows it, and the private facts the engine keeps beside it.

mod id;
mod privacy;
mod streams;
mod told;

pub use id::{JobId, PipelineId};
pub use privacy::{Disclosure, Receipt};
pub use streams::{PlannedStream, StreamPlan, Treatment};
pub use told::{HookKind, Occasion, Site, Webhook};

use crate::failure::Failure;
use crate::format::Format;
use crate::limits::Span;
use crate::progress::Progress;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl State {
    pub const ALL: [State; 5] = [State::Queued, State::Running, State::Succeeded, State::Failed, State::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }

    pub fn parse(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|s| s.as_str() == name)
    }

    pub fn is_terminal(self) -> bool {
        matches!(self, State::Succeeded | State::Failed | State::Cancelled)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelMode {
    /// The converter is asked to stop and may tidy up.
    Soft,
    /// The child and everything it started is killed.
    Kill,
}

/// What to do when some of several outputs fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnPartial {
    /// The job fails.
    #[default]
    Fail,
    /// The job succeeds with `partial: true`.
    Keep,
}

/// Measured facts of a file; what does not apply is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Media {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// As displayed, after rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames of an animation or a film.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<u64>,
    /// Files within an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Total size of those files, unpacked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpacked_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Stream>,
    /// Of a preview: its ThumbHash in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbhash: Option<String>,
    /// Of a preview: the colour most of it has, as `#rrggbb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<String>,
    /// Titles, authors, tags and such, by the format's own key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What it gives away beside what it is for; absent where nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discloses: Option<BTreeSet<Disclosure>>,
}

/// One stream of a film or song.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Stream {
    /// `video`, `audio`, `subtitle`, `attachment` or `data`.
    pub kind: String,
    pub codec: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// Hz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
}

/// The file a job reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Input {
    /// As the client named it; display only.
    pub name: String,
    pub size_bytes: u64,
    pub sha256: String,
    pub format: Format,
    #[serde(default)]
    pub media: Media,
}

/// How an output was proven before it counted as done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    pub passed: bool,
    /// One line per thing looked at: what was expected, what was found.
    pub checks: Vec<Check>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    pub name: String,
    pub expected: String,
    pub found: String,
    pub passed: bool,
}

/// One requested result. A result made of many files has one entry per file once it is done, all with the same `group`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Output {
    /// File name; unique within the job.
    pub name: String,
    /// The request's own name for this result.
    pub group: String,
    pub converter: String,
    pub to: Format,
    pub preset: Option<String>,
    pub options: Value,
    pub state: State,
    pub progress: Progress,
    pub error: Option<Failure>,
    pub size_bytes: Option<u64>,
    pub sha256: Option<String>,
    /// Measured from the finished bytes; `to` until then.
    pub format: Format,
    #[serde(default)]
    pub media: Media,
    pub verification: Option<Verification>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The share of a broken input that came through, above 0 and at most 1: of a film's time, an archive's bytes, a pdf's pages, a
    /// picture's rows. Absent where the input was whole, or nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<f64>,
    /// What the input gave away, and what of it is gone; absent where one of the two cannot be looked into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// Where to download it; null until ready and again after `keep_outputs` has passed.
    pub url: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ready_at: Option<Timestamp>,
}

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// From 1; only grows; the fencing token.
    pub number: u32,
    pub worker: String,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// `succeeded`, `interrupted` or a failure code; null while running.
    pub cause: Option<String>,
    pub cpu_ms: u64,
    pub memory_peak_bytes: u64,
    /// The most that its files took in the staging folder, looked at four times a second: 0 for one that ended before.
    #[serde(default)]
    pub scratch_peak_bytes: u64,
    /// The measured level of the jail, 0 to 4.
    pub sandbox_level: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    pub items_total: u64,
    pub items_done: u64,
    pub items_failed: u64,
    pub errors: Vec<ItemError>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ItemError {
    pub item: String,
    pub error: Failure,
}

/// A job, as read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    pub id: JobId,
    pub state: State,
    pub queue: String,
    /// The converter of the first output, as `video.transcode`.
    pub converter: String,
    /// Null for the engine's own jobs.
    pub from: Option<Format>,
    pub to: Option<Format>,
    /// 0 to 9; 9 is taken first.
    pub priority: u8,
    pub attempt: u32,
    pub failures: u32,
    /// Leases lost; the third fails the job.
    pub recoveries: u32,
    pub max_attempts: u32,
    pub retry_delay: Span,
    pub progress: Progress,
    pub input: Option<Input>,
    pub outputs: Vec<Output>,
    pub on_partial: OnPartial,
    /// Succeeded although some outputs failed.
    pub partial: bool,
    /// Nothing was converted for it: an equal job had finished, and its outputs were copied. Absent where that is not so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reused: bool,
    pub stats: Stats,
    pub error: Option<Failure>,
    pub attempts: Vec<Attempt>,
    /// A cancel that was asked for and has not taken effect yet.
    pub cancel: Option<CancelMode>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub run_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    pub soft_time_limit: Span,
    pub hard_time_limit: Span,
    pub webhook: Option<Webhook>,
    pub notify_email: Option<String>,
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// The pipeline it is a part of, and the step there.
    pub pipeline: Option<PipelineId>,
    #[serde(default)]
    pub step: Option<String>,
    /// Jobs that must succeed before this one starts.
    pub after: Vec<JobId>,
    /// Those of `after` that have not succeeded yet; and an equal job that runs or is about to, where the queue lets equal ones
    /// share a run.
    #[serde(default)]
    pub waiting_on: Vec<JobId>,
    pub unique_key: Option<String>,
    pub fairness_key: Option<String>,
}

/// Where the engine finds a job's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A key in the blob store.
    Blob(String),
    /// A file under one of the configured input roots.
    Path(std::path::PathBuf),
    /// Outputs of other jobs, as one zip that is made when the job runs.
    Bundle(Vec<Member>),
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name there; may have folders.
    pub name: String,
    pub format: Format,
    /// A key in the blob store.
    pub key: String,
}

/// A job with what the outside does not see. What is not there is not written: a store reads and writes it with every transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub job: Job,
    pub source: Option<Source>,
    /// The upload the input came from; it is kept while the job needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// Blob keys of the published outputs, by output name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub asked: Asked,
    #[serde(default, skip_serializing_if = "is_default")]
    pub site: Site,
    /// The token that sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Jobs with the same one become the same; none: it shares nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse_key: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What the client set for this one job: the queue's settings and their live changes leave it alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub soft_time_limit: Option<Span>,
    pub hard_time_limit: Option<Span>,
    pub max_attempts: Option<u32>,
    pub retry_delay: Option<Span>,
}

/// A lease: the right to run one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    pub job: JobId,
    pub attempt: u32,
}

/// One line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub attempt: u32,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// `worker` or `child`.
    pub source: String,
    pub message: String,
}

/// Something that happened, in order; the outbox and the event stream are made of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows; what `Last-Event-ID` refers to.
    pub seq: u64,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `queued`, `started`, `output_ready`, `succeeded`, `failed`, `retrying`, `cancelled`, `interrupted`, `queue`, `pipeline`.
    pub kind: String,
    pub job: Option<JobId>,
    pub queue: String,
    /// Small facts about it, as `{"output": "play.mp4"}`.
    pub detail: Value,
}

/// A stored upload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    pub id: String,
    /// As the client named it; display only.
    pub name: String,
    pub size_bytes: u64,
    pub sha256: String,
    /// Told from the bytes; null when nothing known was found.
    pub format: Option<Format>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// The token that sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl Upload {
    pub fn blob_key(&self) -> String {
        format!("uploads/{}", self.id)
    }
}

impl Record {
    /// Whether equal jobs can be answered from it: it has made all that was asked for, and the bytes are there.
    pub fn is_whole(&self) -> bool {
        self.job.state == State::Succeeded && !self.job.partial && !self.artifacts.is_empty()
    }

    /// The blob key of another job's output that this job reads.
    pub fn borrowed(&self) -> Option<&str> {
        match &self.source {
            Some(Source::Blob(key)) if key.starts_with("jobs/") => Some(key),
            _ => None,
        }
    }

    /// The blob key under which this attempt publishes file `index` of its outputs. The attempt number keeps a stale
    /// worker from overwriting its successor's bytes.
    pub fn artifact_key(lease: Lease, index: usize) -> String {
        format!("jobs/{}/{}/{index}", lease.job, lease.attempt)
    }
}
