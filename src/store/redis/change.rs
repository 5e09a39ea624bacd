//! Commits changed records: compare the version, write everything that hangs on the record, or learn of the newer one.

use super::outbox::{add_letters, watch};
use super::scripts::COMMIT;
use super::stored::{self, Stored, decode, is_nothing};
use super::{RedisStore, milliseconds};
use crate::job::{JobId, LogLine, Record, State};
use crate::store::outbox::letters;
use crate::store::transition::{self, Kind};
use crate::store::{Letter, Result, StoreError, document, words};
use ::redis::{Cmd, Pipeline, Value};
use jiff::Timestamp;

/// Changes in one script, which holds the server for about a millisecond.
const TOGETHER: usize = 50;
/// How often a record may change under a verb's hands.
const TRIES: usize = 50;

/// What a change to a record tells beside itself.
#[derive(Default)]
pub struct Change {
    events: Vec<(Kind, serde_json::Value)>,
    letters: Vec<Letter>,
    log: Vec<LogLine>,
    reindexed: bool,
    asks_to_stop: bool,
}

/// What became of a commit.
pub enum Outcome {
    Done,
    /// Done, and jobs that waited for this one are to be told.
    Ended,
    /// The record is a newer one; nothing was written.
    Newer(Box<Stored>),
    Gone,
}

impl Change {
    /// A transition with its event and its letters; searches find the error code from now on.
    pub fn transition(record: &Record, kind: Kind, now: Timestamp) -> Change {
        let reindexed = record.job.error.is_some() && record.job.state.is_terminal();
        Change { reindexed, ..Change::event(record, kind, transition::detail(record), now) }
    }

    /// What has just become of a record, with this event.
    pub fn event(record: &Record, kind: Kind, detail: serde_json::Value, now: Timestamp) -> Change {
        Change { events: vec![(kind, detail)], letters: letters(record, kind, now), ..Change::default() }
    }

    /// The same, with what is told before it.
    pub fn after(mut self, mut first: Change) -> Change {
        first.events.append(&mut self.events);
        first.letters.append(&mut self.letters);
        Change { events: first.events, letters: first.letters, ..self }
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
    /// Commits changes made on these versions, each for itself, in one round trip; tells those who waited for a job that ended.
    pub async fn commit(&self, changes: &[(Stored, Change)], now: Timestamp) -> Result<Vec<Outcome>> {
        let mut outcomes = self.commit_only(changes, now).await?;
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Ended)) {
            self.tell().await?;
        }
        outcomes.iter_mut().filter(|outcome| matches!(outcome, Outcome::Ended)).for_each(|outcome| *outcome = Outcome::Done);
        Ok(outcomes)
    }

    pub async fn commit_only(&self, changes: &[(Stored, Change)], now: Timestamp) -> Result<Vec<Outcome>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let calls = changes.chunks(TOGETHER).map(|some| self.commit_call(some, now)).collect::<Result<Vec<_>>>()?;
        let mut outcomes = Vec::with_capacity(changes.len());
        for answer in self.link().ask(|_| pipeline(&calls)).await? {
            outcomes.extend(read_outcomes(answer)?);
        }
        Ok(outcomes)
    }

    pub fn commit_call<'a>(&self, changes: impl IntoIterator<Item = &'a (Stored, Change)>, now: Timestamp) -> Result<Cmd> {
        let mut call = COMMIT.call(self.link().prefix());
        call.arg(milliseconds(now)).arg(self.operation());
        for (stored, change) in changes {
            add_change(&mut call, stored, change)?;
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
                Some(Outcome::Done | Outcome::Ended) => {
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
            let words = if change.reindexed { words::of(&stored.record) } else { stored.words };
            self.held().put(Stored { version: stored.version + 1, words, record: stored.record.clone() });
        }
        stored.record
    }
}

/// One change's arguments, as commit.lua lists them.
fn add_change(call: &mut Cmd, stored: &Stored, change: &Change) -> Result<()> {
    let (record, id) = (&stored.record, stored.id());
    call.arg(id.to_string()).arg(stored.version).arg(record.job.state as u8).arg(record.job.attempt).arg(stored::rest(record)?);
    call.arg(match change.reindexed {
        true => Stored::body(&words::of(record), record)?,
        false => Stored::body(&stored.words, record)?,
    });
    call.arg(if change.reindexed { "1" } else { "" });
    call.arg(if change.asks_to_stop { format!("cancel {id}") } else { String::new() });
    call.arg(change.events.len());
    for (kind, detail) in &change.events {
        call.arg(kind).arg(document::text(detail)?);
    }
    call.arg(change.log.len());
    for line in &change.log {
        call.arg(document::text(line)?);
    }
    call.arg(watch(record)?);
    add_letters(call, &change.letters)
}

pub fn pipeline(calls: &[Cmd]) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for call in calls {
        pipeline.add_command(call.clone());
    }
    pipeline
}

/// What one call of commit.lua came to.
pub fn read_outcomes(answer: Value) -> Result<Vec<Outcome>> {
    let answers: Vec<Value> = decode(answer)?;
    answers.into_iter().map(outcome).collect()
}

fn outcome(answer: Value) -> Result<Outcome> {
    if is_nothing(&answer) {
        return Ok(Outcome::Gone);
    }
    if let Value::BulkString(text) = &answer {
        return match &text[..] {
            b"done" => Ok(Outcome::Done),
            b"ended" => Ok(Outcome::Ended),
            b"taken" => Err(StoreError::Unavailable("another job that has not ended holds the unique key".into())),
            _ => Err(decode(answer).map_or_else(|error| error, |text: String| unknown_dependency(&text))),
        };
    }
    Ok(Stored::read(answer)?.map_or(Outcome::Gone, |stored| Outcome::Newer(Box::new(stored))))
}

/// The answer `unknown <id>`.
pub fn unknown_dependency(answer: &str) -> StoreError {
    match answer.strip_prefix("unknown ").and_then(|id| id.parse().ok()) {
        Some(id) => StoreError::UnknownDependency(id),
        None => StoreError::Unavailable(format!("an answer cannot be read: {answer}")),
    }
}
