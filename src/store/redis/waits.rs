//! Jobs that wait for others, as [`Jobs::insert`](crate::store::Jobs::insert) has it.
//!
//! The script that ends a job notes the end while there are jobs that wait for it; who called it tells them next, and where that
//! was cut short the reaper does. A record says itself whether it was told, so telling twice changes nothing.
//!
//! All keys lie in one slot, so that script could reach the dependents as well. It does not tell them because what they become is
//! for [`transition`] to say: a dependent that fails gets an error, letters and an event made of its record, and no script writes
//! records (Lua's JSON turns `[]` into `{}` and rounds numbers). What is promised holds all the same: the end is noted with the job's
//! own, in one step, and until a dependent is told it is `queued`, waits, and is nobody's to lease.

use super::RedisStore;
use super::change::{Change, Outcome};
use super::scripts::{ENDS, TOLD};
use super::stored::{Stored, decode};
use crate::job::{JobId, Record, State};
use crate::store::{Result, StoreError, document, transition};
use ::redis::Value;
use futures::future::BoxFuture;
use jiff::Timestamp;

/// Dependents that one verb tells of ends.
const TOLD_MAX: usize = 1000;
/// Dependents read and told in one step.
const STEP: usize = 200;

/// An end and some of those who waited for it.
struct End {
    id: JobId,
    state: State,
    at: Timestamp,
    waiting: Vec<Stored>,
}

impl RedisStore {
    /// Tells dependents of the ends that were noted; theirs are noted in turn, so a chain needs no recursion.
    /// It commits changes, and a commit tells: hence the box.
    pub fn tell(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut left = TOLD_MAX;
            while left > 0 {
                let Some(end) = self.first_end(left.min(STEP)).await? else { return Ok(()) };
                left = left.saturating_sub(end.waiting.len().max(1));
                self.tell_of(end).await?;
            }
            Ok(())
        })
    }

    async fn first_end(&self, limit: usize) -> Result<Option<End>> {
        let mut answer: Vec<Value> = decode(self.link().ask_one(ENDS.call(self.link().prefix()).arg(limit)).await?)?;
        if answer.len() < 3 {
            return Ok(None);
        }
        let waiting = super::read_all(answer.split_off(3))?;
        let [id, state, at] = answer.try_into().map_err(|_| StoreError::Unavailable("an end cannot be read".into()))?;
        let (id, state, at): (String, usize, i64) = (decode(id)?, decode(state)?, decode(at)?);
        let id = id.parse().map_err(|e| StoreError::Unavailable(format!("an id cannot be read: {e}")))?;
        let state = *State::ALL.get(state).ok_or_else(|| StoreError::Unavailable("a state cannot be read".into()))?;
        Ok(Some(End { id, state, at: document::time(at), waiting }))
    }

    async fn tell_of(&self, end: End) -> Result<()> {
        let ids: Vec<String> = end.waiting.iter().map(|stored| stored.id().to_string()).collect();
        let tell = |record: &mut Record| told(record, end.id, end.state, end.at);
        let mut changes = Vec::with_capacity(end.waiting.len());
        for mut stored in end.waiting {
            changes.extend(tell(&mut stored.record).map(|change| (stored, change)));
        }
        let outcomes = self.commit_only(&changes, end.at).await?;
        for ((stored, _), outcome) in changes.iter().zip(outcomes) {
            if matches!(outcome, Outcome::Newer(_)) {
                // Somebody else had it in hands; gone is as good as told.
                match self.change(stored.id(), end.at, |record| tell(record).ok_or(())).await {
                    Ok(_) | Err(StoreError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let mut call = TOLD.call(self.link().prefix());
        call.arg(end.id.to_string()).arg(end.state as u8).arg(ids);
        self.link().ask_one(&call).await?;
        Ok(())
    }
}

/// Applies an end to a job that waits for it; none when it does not, or not any more.
fn told(record: &mut Record, dependency: JobId, state: State, at: Timestamp) -> Option<Change> {
    if record.job.state != State::Queued || !record.job.waiting_on.contains(&dependency) {
        return None;
    }
    let ended = transition::dependency_ended(record, dependency, state, at);
    Some(ended.map_or_else(Change::default, |kind| Change::transition(record, kind, at)))
}
