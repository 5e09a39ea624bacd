//! Commits changed records: compare the version, write everything that hangs on the record, or learn of the newer one.

use super::scripts::COMMIT;
use super::stored::{self, Stored, decode, is_nothing};
use super::{RedisStore, maybe_milliseconds, milliseconds};
use crate::job::{JobId, LogLine, Record, State};
use crate::store::transition::{self, Kind};
use crate::store::{Result, StoreError, document};
use ::redis::{Cmd, Pipeline, Value};
use jiff::Timestamp;

/// How often a record may change under a verb's hands.
const TRIES: usize = 50;

/// What a change to a record tells beside itself.
#[derive(Default)]
pub struct Change {
    events: Vec<(Kind, serde_json::Value)>,
    log: Vec<LogLine>,
    reindexed: bool,
    asks_to_stop: bool,
}

/// What became of a commit.
pub enum Outcome {
    Done,
    /// The record is a newer one; nothing was written.
    Newer(Box<Stored>),
    Gone,
}

impl Change {
    /// A transition with its event; searches find the error code from now on.
    pub fn transition(record: &Record, kind: Kind) -> Change {
        let reindexed = record.job.error.is_some() && record.job.state.is_terminal();
        Change { events: vec![(kind, transition::detail(record))], reindexed, ..Change::default() }
    }

    /// An event that comes before those there are.
    pub fn after(mut self, kind: Kind, detail: serde_json::Value) -> Change {
        self.events.insert(0, (kind, detail));
        self
    }

    pub fn with_log(self, log: &[LogLine]) -> Change {
        Change { log: log.to_vec(), ..self }
    }

    /// Wakes the worker that runs the job.
    pub fn asking_to_stop(self) -> Change {
        Change { asks_to_stop: true, ..self }
    }
}

impl RedisStore {
    /// Commits changes made on these versions, each for itself, in one round trip.
    pub async fn commit(&self, changes: &[(Stored, Change)], now: Timestamp) -> Result<Vec<Outcome>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let operation = self.operation();
        let calls = changes.iter().map(|(stored, change)| self.commit_call(stored, change, &operation, now)).collect::<Result<Vec<_>>>()?;
        let answers = self.link().ask(|_| pipeline(&calls)).await?;
        answers.into_iter().map(outcome).collect()
    }

    pub fn commit_call(&self, stored: &Stored, change: &Change, operation: &str, now: Timestamp) -> Result<Cmd> {
        let (record, job) = (&stored.record, &stored.record.job);
        let words = if change.reindexed { stored::index(record) } else { stored.words.clone() };
        let mut call = COMMIT.call(self.link().prefix());
        call.arg(milliseconds(now)).arg(operation).arg(job.id.to_string()).arg(stored.version);
        call.arg(job.state as u8).arg(milliseconds(job.run_at)).arg(maybe_milliseconds(job.expires_at)).arg(maybe_milliseconds(job.finished_at));
        call.arg(if record.artifacts.is_empty() { "" } else { "1" }).arg(Stored::body(&words, record)?);
        call.arg(if change.reindexed { "1" } else { "" });
        call.arg(if change.asks_to_stop { format!("cancel {}", job.id) } else { String::new() });
        call.arg(change.events.len());
        for (kind, detail) in &change.events {
            call.arg(kind).arg(document::text(detail)?);
        }
        for line in &change.log {
            call.arg(document::text(line)?);
        }
        Ok(call)
    }

    /// Applies a change to the job's record and commits it; applies it again when the record is a newer one. The change's own error
    /// means that there is nothing to commit; it is believed only of a record read just now.
    pub async fn change<E>(
        &self,
        id: JobId,
        now: Timestamp,
        mut apply: impl FnMut(&mut Record) -> std::result::Result<Change, E>,
    ) -> Result<std::result::Result<Record, E>> {
        let mut known = self.held().take(id);
        let is_held = known.is_some();
        let mut is_fresh = false;
        for _ in 0..TRIES {
            let mut stored = match known.take() {
                Some(stored) => stored,
                None => {
                    is_fresh = true;
                    self.read(id).await?
                }
            };
            let change = match apply(&mut stored.record) {
                Ok(change) => change,
                Err(error) if is_fresh => return Ok(Err(error)),
                Err(_) => continue,
            };
            let changes = [(stored, change)];
            match self.commit(&changes, now).await?.pop() {
                Some(Outcome::Done) => {
                    let [(stored, change)] = changes;
                    return Ok(Ok(self.committed(stored, &change, is_held)));
                }
                Some(Outcome::Newer(newer)) => (known, is_fresh) = (Some(*newer), true),
                Some(Outcome::Gone) | None => return Err(StoreError::NotFound("job")),
            }
        }
        Err(StoreError::Unavailable(format!("job {id} changes too often")))
    }

    /// The record as it is now; while the attempt goes on in this process it stays known.
    pub fn committed(&self, stored: Stored, change: &Change, is_held: bool) -> Record {
        if is_held && stored.record.job.state == State::Running {
            let words = if change.reindexed { stored::index(&stored.record) } else { stored.words };
            self.held().put(Stored { version: stored.version + 1, words, record: stored.record.clone() });
        }
        stored.record
    }
}

pub fn pipeline(calls: &[Cmd]) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for call in calls {
        pipeline.add_command(call.clone());
    }
    pipeline
}

pub fn outcome(answer: Value) -> Result<Outcome> {
    if is_nothing(&answer) {
        return Ok(Outcome::Gone);
    }
    if let Value::BulkString(text) = &answer {
        return match &text[..] {
            b"done" => Ok(Outcome::Done),
            b"taken" => Err(StoreError::Unavailable("another job that has not ended holds the unique key".into())),
            _ => decode(answer).and_then(|text: String| Err(StoreError::Unavailable(text))),
        };
    }
    Ok(Stored::read(answer)?.map_or(Outcome::Gone, |stored| Outcome::Newer(Box::new(stored))))
}
