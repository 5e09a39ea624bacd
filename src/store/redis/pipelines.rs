//! Pipelines: a text each, changed by compare-and-set in the script that inserts jobs.

use super::jobs::{Guard, Insertion};
use super::scripts::PIPELINES;
use super::stored::decode;
use super::{RedisStore, milliseconds};
use crate::job::{PipelineId, State};
use crate::store::{NewJob, PipelineRow, Pipelines, Result, StepCounts, StoreError, document};
use ::redis::cmd;
use jiff::Timestamp;

#[async_trait::async_trait]
impl Pipelines for RedisStore {
    async fn put_pipeline(&self, pipeline: PipelineRow, jobs: Vec<NewJob>, now: Timestamp) -> Result<bool> {
        let ended = pipeline.finished_at.map_or("-".to_owned(), milliseconds);
        let PipelineRow { id, version, state, created_at, document, .. } = pipeline;
        let next = format!("{version} {} {} {} {ended}", self.operation(), state as u8, milliseconds(created_at));
        let guard = Guard { kind: "pipeline", name: id.to_string(), expected: (version - 1).to_string(), next, document };
        Ok(matches!(self.insert_if(Some(guard), jobs, now).await?, Insertion::Done(_)))
    }

    async fn pipeline(&self, id: PipelineId) -> Result<PipelineRow> {
        let key = self.link().key(&format!("pipeline:{id}"));
        let found: Option<String> = decode(self.link().ask_one(cmd("GET").arg(key)).await?)?;
        read(id, &found.ok_or(StoreError::NotFound("pipeline"))?)
    }

    async fn pipelines(&self, state: Option<State>, before: Option<PipelineId>, limit: usize) -> Result<Vec<PipelineRow>> {
        let mut call = PIPELINES.call(self.link().prefix());
        call.arg(limit).arg(before.map(|id| id.to_string()).unwrap_or_default());
        call.arg(state.map(|state| (state as u8).to_string()).unwrap_or_default());
        let found: Vec<String> = decode(self.link().ask_one(&call).await?)?;
        let unreadable = |e| StoreError::Unavailable(format!("an id cannot be read: {e}"));
        found.as_chunks().0.iter().map(|[id, text]| read(id.parse().map_err(unreadable)?, text)).collect()
    }

    async fn step_counts(&self, id: PipelineId) -> Result<StepCounts> {
        let mut counts = StepCounts::new();
        for (name, n) in self.table::<u64>(&format!("steps:{id}")).await? {
            let of = name.split_once(' ').and_then(|(state, step)| Some((*State::ALL.get(state.parse::<usize>().ok()?)?, step)));
            if let Some((state, step)) = of.filter(|_| n > 0) {
                counts.entry(step.to_owned()).or_default().insert(state, n);
            }
        }
        Ok(counts)
    }
}

/// What :pipeline:<id> holds, as shared.lua has it.
fn read(id: PipelineId, text: &str) -> Result<PipelineRow> {
    let parts = text.split_once('\n').and_then(|(head, document)| {
        let mut words = head.split(' ');
        let (version, _, state, created, ended) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        Some(PipelineRow {
            id,
            version: version.parse().ok()?,
            state: *State::ALL.get(state.parse::<usize>().ok()?)?,
            created_at: document::time(created.parse().ok()?),
            finished_at: ended.parse().ok().map(document::time),
            document: document.to_owned(),
        })
    });
    parts.ok_or_else(|| StoreError::Unavailable("a pipeline cannot be read".into()))
}
