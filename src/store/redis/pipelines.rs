//! Pipelines: a text each, changed by compare-and-set in the script that inserts jobs.

use super::jobs::{Guard, Insertion};
use super::scripts::{BEGIN_PIPELINE, PIPELINES};
use super::stored::decode;
use super::{RedisStore, milliseconds};
use crate::job::{PipelineId, State};
use crate::store::{Letter, NewJob, PipelineFilter, PipelineRow, Pipelines, Result, StepCounts, StoreError, document};
use ::redis::cmd;
use jiff::Timestamp;

#[async_trait::async_trait]
impl Pipelines for RedisStore {
    async fn begin_pipeline(&self, pipeline: PipelineRow, idempotency: Option<(String, String)>, now: Timestamp) -> Result<PipelineId> {
        let (key, digest) = idempotency.unwrap_or_default();
        let mut call = BEGIN_PIPELINE.call(self.link().prefix());
        call.arg(milliseconds(now)).arg(pipeline.id.to_string()).arg(self.head(&pipeline)).arg(pipeline.document).arg(key).arg(digest);
        match decode::<String>(self.link().ask_one(&call).await?)?.as_str() {
            "mismatch" => Err(StoreError::IdempotencyMismatch),
            id => id.parse().map_err(unreadable),
        }
    }

    async fn put_pipeline(&self, pipeline: PipelineRow, jobs: Vec<NewJob>, letter: Option<Letter>, now: Timestamp) -> Result<bool> {
        let next = self.head(&pipeline);
        let PipelineRow { id, version, document, .. } = pipeline;
        let guard = Guard { kind: "pipeline", name: id.to_string(), expected: (version - 1).to_string(), next, document, letter };
        Ok(matches!(self.insert_if(Some(guard), jobs, now).await?, Insertion::Done(_)))
    }

    async fn pipeline(&self, id: PipelineId) -> Result<PipelineRow> {
        let key = self.link().key(&format!("pipeline:{id}"));
        let found: Option<String> = decode(self.link().ask_one(cmd("GET").arg(key)).await?)?;
        read(id, &found.ok_or(StoreError::NotFound("pipeline"))?)
    }

    async fn pipelines(&self, filter: PipelineFilter) -> Result<Vec<PipelineRow>> {
        let mut call = PIPELINES.call(self.link().prefix());
        call.arg(filter.limit).arg(filter.before.map(|id| id.to_string()).unwrap_or_default());
        call.arg(filter.state.map(|state| (state as u8).to_string()).unwrap_or_default()).arg(filter.owner.unwrap_or_default());
        let found: Vec<String> = decode(self.link().ask_one(&call).await?)?;
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

impl RedisStore {
    /// How :pipeline:<id> begins.
    fn head(&self, pipeline: &PipelineRow) -> String {
        let PipelineRow { version, state, created_at, finished_at, owner, .. } = pipeline;
        let ended = finished_at.map_or("-".to_owned(), milliseconds);
        format!("{version} {} {} {} {ended} {}", self.operation(), *state as u8, milliseconds(*created_at), owner.as_deref().unwrap_or("-"))
    }
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("an id cannot be read: {error}"))
}

/// What :pipeline:<id> holds, as shared.lua has it.
fn read(id: PipelineId, text: &str) -> Result<PipelineRow> {
    let parts = text.split_once('\n').and_then(|(head, document)| {
        let mut words = head.split(' ');
        let (version, _, state, created, ended) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        let owner = words.next().filter(|owner| *owner != "-");
        Some(PipelineRow {
            id,
            version: version.parse().ok()?,
            state: *State::ALL.get(state.parse::<usize>().ok()?)?,
            created_at: document::time(created.parse().ok()?),
            finished_at: ended.parse().ok().map(document::time),
            owner: owner.map(str::to_owned),
            document: document.to_owned(),
        })
    });
    parts.ok_or_else(|| StoreError::Unavailable("a pipeline cannot be read".into()))
}
