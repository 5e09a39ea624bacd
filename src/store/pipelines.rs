//! Pipelines as the store keeps them: a document that its maker alone reads, and the jobs that say they belong to it.

use super::{Letter, NewJob, PurgePolicy, Result};
use crate::job::{PipelineId, State};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A pipeline's row.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineRow {
    pub id: PipelineId,
    /// From 1; one more with each change.
    pub version: u64,
    /// `running` until it has ended.
    pub state: State,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// The token that sent it.
    pub owner: Option<String>,
    /// What it is about, as JSON.
    pub document: String,
}

impl PipelineRow {
    /// Small facts for its event.
    pub fn detail(&self) -> serde_json::Value {
        serde_json::json!({"pipeline": self.id, "state": self.state})
    }
}

/// What to list; every field narrows.
#[derive(Debug, Clone, Default)]
pub struct PipelineFilter {
    pub state: Option<State>,
    /// Sent by this token.
    pub owner: Option<String>,
    /// Newest first, below this one.
    pub before: Option<PipelineId>,
    pub limit: usize,
}

impl PurgePolicy {
    /// Pipelines that ended before this may go, once none of their jobs is left.
    pub fn pipelines_before(&self) -> Option<Timestamp> {
        self.records_before.values().max().copied()
    }
}

/// A pipeline's jobs by step and state.
pub type StepCounts = BTreeMap<String, BTreeMap<State, u64>>;

/// While a pipeline runs, a purge leaves its jobs and their outputs alone; its row goes after the last of its jobs.
#[async_trait::async_trait]
pub trait Pipelines {
    /// Keeps the first version of a pipeline, unless its `Idempotency-Key` (with a digest of the request; remembered for 24 h) stands
    /// for one. Returns the id of the one that is there.
    async fn begin_pipeline(&self, pipeline: PipelineRow, idempotency: Option<(String, String)>, now: Timestamp) -> Result<PipelineId>;
    /// Keeps a version, inserts jobs and writes what is to be told, in one transaction, if the row that is there has the version
    /// before this one (version 1: if none is there). Says whether it was so; else nothing has changed: of two processes that see the same step end, one
    /// goes on, and of two that see the last one end, one tells it.
    async fn put_pipeline(&self, pipeline: PipelineRow, jobs: Vec<NewJob>, letter: Option<Letter>, now: Timestamp) -> Result<bool>;
    async fn pipeline(&self, id: PipelineId) -> Result<PipelineRow>;
    /// Newest first.
    async fn pipelines(&self, filter: PipelineFilter) -> Result<Vec<PipelineRow>>;
    /// Jobs that are there now: a record that was purged does not count.
    async fn step_counts(&self, id: PipelineId) -> Result<StepCounts>;
}
