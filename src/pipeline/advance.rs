//! Moves a pipeline as far as it can go now.

use super::next::Next;
use super::work::{self, Work};
use super::{Pipeline, StepRequest};
use crate::failure::{Failure, Refusal};
use crate::intake::Intake;
use crate::job::{CancelMode, JobId, PipelineId, State};
use crate::store::{Filter, NewJob, StoreError, Tuning};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Jobs inserted in one transaction.
const TOGETHER: usize = 200;

/// Looks at a pipeline until there is nothing more to do about it for now. Anyone may, at any time.
pub async fn advance(intake: &Intake, id: PipelineId, now: Timestamp) -> Result<(), StoreError> {
    loop {
        let pipeline = Pipeline::find(intake, id).await?;
        if pipeline.row.state.is_terminal() {
            return Ok(());
        }
        // Read after the row: jobs come with a new version of it, so if it still has this one when it is changed, none were missed.
        let counts = intake.store.step_counts(id).await?;
        match pipeline.next(&counts) {
            Next::Wait => return Ok(()),
            Next::Begin(step) => begin(intake, pipeline, &step, now).await?,
            Next::Stop => {
                if !stop(intake, &pipeline, now).await? {
                    return Ok(());
                }
            }
            Next::End { state, partial } => {
                let mut ended = pipeline;
                (ended.row.state, ended.row.finished_at) = (state, Some(now));
                (ended.document.partial, ended.document.counts) = (partial, Some(counts));
                intake.store.put_pipeline(ended.next_row()?, Vec::new(), now).await?;
            }
        }
    }
}

/// Makes jobs of a step, some at a time; ends early when somebody else does the same.
async fn begin(intake: &Intake, mut pipeline: Pipeline, name: &str, now: Timestamp) -> Result<(), StoreError> {
    let Some(step) = pipeline.document.request.steps.get(name).cloned() else { return Ok(()) };
    let from = pipeline.taken(name).map_or(0, |taken| taken.items);
    let work = work::of(intake, &pipeline, name, &step, now).await.map_err(unavailable)?;
    let tunings = intake.store.tunings().await?;
    let mut left = work.into_iter().skip(from).peekable();
    loop {
        let mut jobs = Vec::new();
        for work in left.by_ref().take(TOGETHER) {
            let planned = plan(intake, &pipeline, name, &step, &work, &tunings, now);
            let taken = pipeline.document.steps.entry(name.to_owned()).or_default();
            taken.items += 1;
            match planned {
                Ok(job) => jobs.push(job),
                Err(failure) => taken.refuse(&work.name, failure),
            }
        }
        let all = left.peek().is_none();
        pipeline.document.steps.entry(name.to_owned()).or_default().all = all;
        let row = pipeline.next_row()?;
        if !intake.store.put_pipeline(row.clone(), jobs, now).await? || all {
            return Ok(());
        }
        pipeline.row = row;
    }
}

fn plan(
    intake: &Intake,
    pipeline: &Pipeline,
    name: &str,
    step: &StepRequest,
    work: &Work,
    tunings: &BTreeMap<String, Tuning>,
    now: Timestamp,
) -> Result<NewJob, Failure> {
    let found = work.found.clone()?;
    let mut record = intake.plan_on(step.job(&pipeline.document.request), found, tunings, now).map_err(work::failure)?;
    (record.job.pipeline, record.job.step) = (Some(pipeline.row.id), Some(name.to_owned()));
    Ok(NewJob { record, idempotency: None })
}

/// Cancels the jobs that are left; true: none of them runs any more.
async fn stop(intake: &Intake, pipeline: &Pipeline, now: Timestamp) -> Result<bool, StoreError> {
    let mode = pipeline.document.cancel.unwrap_or(CancelMode::Soft);
    let mut over = true;
    for state in [State::Queued, State::Running] {
        let mut before: Option<JobId> = None;
        loop {
            let filter = Filter { pipeline: Some(pipeline.row.id), state: Some(state), before, limit: TOGETHER, ..Filter::default() };
            let jobs = intake.store.list(filter).await?;
            for job in &jobs {
                // Gone meanwhile is fine.
                match intake.store.cancel(job.id, mode, now).await {
                    Ok(job) => over &= job.state.is_terminal(),
                    Err(StoreError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            before = jobs.last().map(|job| job.id);
            if jobs.len() < TOGETHER {
                break;
            }
        }
    }
    Ok(over)
}

/// Only what may pass keeps a step from being looked at; the next look tries again.
fn unavailable(refusal: Refusal) -> StoreError {
    StoreError::Unavailable(refusal.message)
}
