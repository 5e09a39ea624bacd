//! Runs a pipeline again where it has failed.
//!
//! What has failed or was cancelled is queued again as it is, items that could not become jobs are tried once more, and steps that
//! have not had their turn have it. A step that has read what a failed one left out (`on_failure: continue`) would have read something
//! else: its jobs are removed, and it begins from nothing.

use super::next::{LOST, jobs_in};
use super::{Pipeline, Redo, Taken, advance, view};
use crate::failure::{Refusal, RefusalKind};
use crate::intake::{Intake, store as refusal};
use crate::job::{JobId, PipelineId, State};
use crate::pipeline::PipelineView;
use crate::store::{Filter, StepCounts, StoreError};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Jobs read at once.
const PAGE: usize = 200;

/// Lets an ended pipeline go on.
pub async fn retry(intake: &Intake, id: PipelineId, now: Timestamp) -> Result<PipelineView, Refusal> {
    loop {
        let mut pipeline = Pipeline::find(intake, id).await.map_err(refusal)?;
        let counts = intake.store.step_counts(id).await.map_err(refusal)?;
        pipeline.check_retry(&counts)?;
        pipeline.reopen(&counts, now);
        let row = pipeline.next_row().map_err(refusal)?;
        if intake.store.put_pipeline(row, Vec::new(), None, now).await.map_err(refusal)? {
            break;
        }
    }
    advance(intake, id, now).await.map_err(refusal)?;
    view::read(intake, id).await.map_err(refusal)
}

impl Pipeline {
    fn check_retry(&self, counts: &StepCounts) -> Result<(), Refusal> {
        let state = self.row.state;
        let conflict = |text: String| Err(Refusal::new(RefusalKind::Conflict, text).given(state.as_str()));
        if !matches!(state, State::Failed | State::Cancelled) && !self.document.partial {
            return conflict(format!("The pipeline is {}: nothing of it has failed for good.", state.as_str()));
        }
        let known = |counts: &StepCounts| counts.values().flat_map(|states| states.values()).sum::<u64>();
        if self.document.counts.as_ref().is_some_and(|before| known(before) > known(counts)) {
            return conflict("Records of the pipeline's jobs are gone: send it again as a new one.".into());
        }
        Ok(())
    }

    fn reopen(&mut self, counts: &StepCounts, now: Timestamp) {
        let document = &mut self.document;
        let is_lost = |name: &str, taken: &Taken| !taken.lost.is_empty() || counts.get(name).is_some_and(|states| jobs_in(states, &LOST) > 0);
        let lost: BTreeSet<String> = document.steps.iter().filter(|(name, taken)| is_lost(name, taken)).map(|(name, _)| name.clone()).collect();
        let mut anew = BTreeSet::new();
        loop {
            let reads = |source: &str| lost.contains(source) || anew.contains(source);
            let steps = document.request.steps.iter().filter(|(name, step)| !anew.contains(*name) && step.source().is_some_and(reads));
            let more: Vec<String> = steps.map(|(name, _)| name.clone()).collect();
            if more.is_empty() {
                break;
            }
            anew.extend(more);
        }
        for (name, taken) in &mut document.steps {
            if anew.contains(name) {
                *taken = Taken::default();
            } else if !taken.lost.is_empty() {
                taken.again.append(&mut taken.lost);
                taken.errors.clear();
                taken.all = false;
            }
        }
        let again = lost.difference(&anew).cloned().collect();
        document.redo = Some(Redo { again, anew, at: now });
        (document.cancel, document.partial, document.counts) = (None, false, None);
        (self.row.state, self.row.finished_at) = (State::Running, None);
    }
}

/// Does what a retry has ordered. Whoever is killed in the middle of it leaves the order to the next one.
pub async fn redo(intake: &Intake, mut pipeline: Pipeline, now: Timestamp) -> Result<bool, StoreError> {
    let Some(Redo { again, anew, at }) = pipeline.document.redo.take() else { return Ok(true) };
    for step in &anew {
        for id in jobs_of(intake, &pipeline, step, None, at).await? {
            // Gone already, or begun again by hand: both are fine.
            match intake.remove(id).await {
                Ok(()) | Err(StoreError::NotFound(_) | StoreError::WrongState(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    for step in &again {
        for state in LOST {
            for id in jobs_of(intake, &pipeline, step, Some(state), at).await? {
                match intake.store.retry(id, now).await {
                    Ok(_) | Err(StoreError::NotFound(_) | StoreError::WrongState(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    let row = pipeline.next_row()?;
    intake.store.put_pipeline(row, Vec::new(), None, now).await?;
    Ok(true)
}

/// A step's jobs made until then.
async fn jobs_of(intake: &Intake, pipeline: &Pipeline, step: &str, state: Option<State>, until: Timestamp) -> Result<Vec<JobId>, StoreError> {
    let mut ids: Vec<JobId> = Vec::new();
    loop {
        let (before, pipeline, step) = (ids.last().copied(), Some(pipeline.row.id), Some(step.to_owned()));
        let filter = Filter { pipeline, step, state, until: Some(until), before, limit: PAGE, ..Filter::default() };
        let page = intake.store.list(filter).await?;
        ids.extend(page.iter().map(|job| job.id));
        if page.len() < PAGE {
            return Ok(ids);
        }
    }
}
