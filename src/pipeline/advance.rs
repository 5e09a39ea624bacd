//! Moves a pipeline as far as it can go now.

use super::next::Next;
use super::retry::redo;
use super::work::{self, Work};
use super::{Pipeline, StepRequest, view};
use crate::failure::{Failure, Refusal};
use crate::intake::Intake;
use crate::job::{CancelMode, JobId, PipelineId, State};
use crate::store::{Filter, Letter, NewJob, StoreError, Tuning};
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
        let goes_on = match pipeline.next(&counts) {
            Next::Wait => false,
            Next::Redo => redo(intake, pipeline, now).await?,
            Next::Begin(step) => begin(intake, pipeline, &step, now).await?,
            Next::Stop => stop(intake, &pipeline, now).await?,
            Next::End { state, partial } => {
                let mut ended = pipeline;
                // As exact as it is kept: what is told of it is what is read later.
                let at = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
                (ended.row.state, ended.row.finished_at) = (state, Some(at));
                (ended.document.partial, ended.document.counts, ended.document.redo) = (partial, Some(counts), None);
                end(intake, ended, now).await?
            }
        };
        if !goes_on {
            return Ok(());
        }
    }
}

/// Keeps how it ended, and what is told of it.
async fn end(intake: &Intake, ended: Pipeline, now: Timestamp) -> Result<bool, StoreError> {
    let row = ended.next_row()?;
    let (id, state) = (row.id, row.state);
    let letter = match ended.document.request.webhook.clone() {
        Some(webhook) => {
            let told = serde_json::to_value(view::whole(intake, ended).await?).map_err(|e| StoreError::Unavailable(e.to_string()))?;
            Letter::of_pipeline(id, state, &webhook, told, now)
        }
        None => None,
    };
    intake.store.put_pipeline(row, Vec::new(), letter, now).await?;
    Ok(true)
}

/// Makes jobs of a step, some at a time; ends early when somebody else does the same. False: its owner may have no more jobs for now.
async fn begin(intake: &Intake, mut pipeline: Pipeline, name: &str, now: Timestamp) -> Result<bool, StoreError> {
    let Some(step) = pipeline.document.request.steps.get(name).cloned() else { return Ok(true) };
    if room(intake, &pipeline).await? == 0 {
        return Ok(false);
    }
    let taken = pipeline.taken(name).cloned().unwrap_or_default();
    let work = work::of(intake, &pipeline, name, &step, now).await.map_err(unavailable)?;
    let tunings = intake.store.tunings().await?;
    let mut left = work.into_iter().enumerate().filter(|(place, _)| *place >= taken.items || taken.again.contains(place)).peekable();
    loop {
        let together = room(intake, &pipeline).await?.min(TOGETHER);
        if together == 0 && left.peek().is_some() {
            return Ok(false);
        }
        let mut jobs = Vec::new();
        for (place, work) in left.by_ref().take(together) {
            let planned = plan(intake, &pipeline, name, &step, &work, &tunings, now);
            let taken = pipeline.document.steps.entry(name.to_owned()).or_default();
            taken.take(place);
            match planned {
                Ok(job) => jobs.push(job),
                Err(failure) => taken.refuse(place, &work.name, failure),
            }
        }
        let all = left.peek().is_none();
        pipeline.document.steps.entry(name.to_owned()).or_default().all = all;
        let row = pipeline.next_row()?;
        if !intake.store.put_pipeline(row.clone(), jobs, None, now).await? || all {
            return Ok(true);
        }
        pipeline.row = row;
    }
}

/// How many more jobs its owner may have now.
async fn room(intake: &Intake, pipeline: &Pipeline) -> Result<usize, StoreError> {
    let Some(owner) = &pipeline.document.owner else { return Ok(usize::MAX) };
    let room = intake.room(owner).await.map_err(unavailable)?;
    Ok(usize::try_from(room).unwrap_or(usize::MAX))
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
    let step = work.part.as_ref().map_or(step.clone(), |part| step.with_part(part));
    let mut record =
        intake.plan_on(step.job(&pipeline.document.request, pipeline.document.owner.as_ref()), found, tunings, now).map_err(work::failure)?;
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
