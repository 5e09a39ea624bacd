//! A pipeline, as read.

use super::next::jobs_in;
use super::{OnFailure, Pipeline};
use crate::failure::Failure;
use crate::intake::Intake;
use crate::job::{CancelMode, JobId, PipelineId, State, Webhook};
use crate::store::{Filter, StepCounts, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Errors shown of one pipeline.
const ERRORS_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Pipeline)]
pub struct PipelineView {
    pub id: PipelineId,
    /// `running`, `succeeded`, `failed` or `cancelled`.
    pub state: State,
    /// Succeeded although something failed.
    pub partial: bool,
    pub on_failure: OnFailure,
    pub stats: PipelineStats,
    pub steps: BTreeMap<String, StepView>,
    /// The first hundred; none in a list.
    pub errors: Vec<PipelineError>,
    /// A cancel that was asked for.
    pub cancel: Option<CancelMode>,
    pub priority: Option<u8>,
    pub webhook: Option<Webhook>,
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    pub fairness_key: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

/// Jobs by their state, with the items that could not become jobs among the failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PipelineStats {
    /// As far as known: a step has no jobs before its time.
    pub total: u64,
    pub queued: u64,
    pub running: u64,
    pub done: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// Ended jobs of each step, all steps counting the same.
    pub percent: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// For other steps.
    Waiting,
    Running,
    Over,
    /// The pipeline ended before it began.
    Skipped,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    pub state: StepState,
    /// The steps it waits for, or has waited for.
    pub needs: Vec<String>,
    pub stats: PipelineStats,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PipelineError {
    pub step: String,
    /// The name of the file it was about.
    pub item: String,
    /// None: it never became a job.
    pub job: Option<JobId>,
    pub error: Failure,
}

pub async fn read(intake: &Intake, id: PipelineId) -> Result<PipelineView, StoreError> {
    whole(intake, Pipeline::find(intake, id).await?).await
}

pub async fn whole(intake: &Intake, pipeline: Pipeline) -> Result<PipelineView, StoreError> {
    let errors = errors(intake, &pipeline).await?;
    Ok(PipelineView { errors, ..brief(intake, pipeline).await? })
}

/// Without its errors.
pub async fn brief(intake: &Intake, pipeline: Pipeline) -> Result<PipelineView, StoreError> {
    let counts = match &pipeline.document.counts {
        Some(counts) => counts.clone(),
        None => intake.store.step_counts(pipeline.row.id).await?,
    };
    let steps: BTreeMap<String, StepView> =
        pipeline.document.request.steps.keys().map(|name| (name.clone(), step(&pipeline, name, &counts))).collect();
    let Pipeline { row, document } = pipeline;
    let mut stats = steps.values().fold(PipelineStats::default(), |sum, step| sum.plus(&step.stats));
    let percents: f64 = steps.values().map(|step| step.stats.percent).sum();
    stats.percent = if row.state == State::Succeeded { 100.0 } else { rounded(percents / steps.len().max(1) as f64) };
    Ok(PipelineView {
        id: row.id,
        state: row.state,
        partial: document.partial,
        on_failure: document.request.on_failure,
        stats,
        steps,
        errors: Vec::new(),
        cancel: document.cancel,
        priority: document.request.priority,
        webhook: document.request.webhook,
        context: document.request.context,
        metadata: document.request.metadata,
        fairness_key: document.request.fairness_key,
        created_at: row.created_at,
        finished_at: row.finished_at,
    })
}

fn step(pipeline: &Pipeline, name: &str, counts: &StepCounts) -> StepView {
    let taken = pipeline.taken(name).cloned().unwrap_or_default();
    let jobs = counts.get(name).cloned().unwrap_or_default();
    let of = |state: State| jobs_in(&jobs, &[state]);
    let mut stats = PipelineStats {
        total: jobs.values().sum::<u64>() + taken.lost.len() as u64,
        queued: of(State::Queued),
        running: of(State::Running),
        done: of(State::Succeeded),
        failed: of(State::Failed) + taken.lost.len() as u64,
        cancelled: of(State::Cancelled),
        percent: 0.0,
    };
    let is_over = pipeline.is_over(name, counts);
    let ended = stats.total - stats.queued - stats.running;
    stats.percent = if is_over { 100.0 } else { rounded(100.0 * ended as f64 / stats.total.max(1) as f64) };
    let state = match (taken.all, is_over) {
        (_, true) => StepState::Over,
        (false, _) if taken.items == 0 && pipeline.row.state.is_terminal() => StepState::Skipped,
        (false, _) if taken.items == 0 => StepState::Waiting,
        _ => StepState::Running,
    };
    let needs = pipeline.document.request.steps.get(name).map(|step| step.needs().into_iter().map(str::to_owned).collect()).unwrap_or_default();
    StepView { state, needs, stats }
}

async fn errors(intake: &Intake, pipeline: &Pipeline) -> Result<Vec<PipelineError>, StoreError> {
    let mut errors = Vec::new();
    for (step, taken) in &pipeline.document.steps {
        let refused = taken.errors.iter().cloned();
        errors.extend(refused.map(|e| PipelineError { step: step.clone(), item: e.item, job: None, error: e.error }));
    }
    let filter = Filter { pipeline: Some(pipeline.row.id), state: Some(State::Failed), limit: ERRORS_MAX, ..Filter::default() };
    for job in intake.store.list(filter).await? {
        let item = job.input.map(|input| input.name).unwrap_or_default();
        errors.extend(job.error.map(|error| PipelineError { step: job.step.unwrap_or_default(), item, job: Some(job.id), error }));
    }
    errors.truncate(ERRORS_MAX);
    Ok(errors)
}

impl PipelineStats {
    fn plus(self, other: &PipelineStats) -> PipelineStats {
        PipelineStats {
            total: self.total + other.total,
            queued: self.queued + other.queued,
            running: self.running + other.running,
            done: self.done + other.done,
            failed: self.failed + other.failed,
            cancelled: self.cancelled + other.cancelled,
            percent: 0.0,
        }
    }
}

fn rounded(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}
