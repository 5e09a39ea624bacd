//! Ends and leases of many slots in one round trip: what is asked for while rounds are under way goes with the next one, as in
//! SQLite's group commit.

use super::RedisStore;
use super::change::{Change, Outcome, pipeline, read_outcomes};
use super::leases::{Fenced, Leased, finished, leased, repeatable};
use super::stored::Stored;
use crate::job::{Job, Record};
use crate::link::LinkError;
use crate::store::{Finish, LeaseRequest, Leases, Result, StoreError, transition};
use ::redis::Value;
use jiff::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// One is worked at by the server while the answers of the other are read.
const ROUNDS_MAX: usize = 2;
/// Slots in one round, which holds the server for about a millisecond.
const TURNS_MAX: usize = 25;

type Answer = Result<(Fenced<Job>, Vec<Record>)>;

/// A slot's end and what it asks for.
struct Turn {
    end: Finish,
    request: LeaseRequest,
    now: Timestamp,
    answer: oneshot::Sender<Answer>,
}

#[derive(Default)]
pub struct Rounds(Mutex<Table>);

#[derive(Default)]
struct Table {
    waiting: Vec<Turn>,
    under_way: usize,
}

impl Rounds {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True: somebody must begin a further row of rounds.
    fn enter(&self, turn: Turn) -> bool {
        let mut table = self.lock();
        table.waiting.push(turn);
        let begins = table.under_way < ROUNDS_MAX;
        table.under_way += usize::from(begins);
        begins
    }

    /// Those who go together: they ask for the same, and another one's lease serves them as well. None: this row of rounds is over.
    fn next(&self) -> Option<Vec<Turn>> {
        let mut table = self.lock();
        let Some(first) = table.waiting.first().map(|turn| turn.request.clone()) else {
            table.under_way -= 1;
            return None;
        };
        let mut turns = 0;
        let goes = |turn: &mut Turn| {
            let goes = turns < TURNS_MAX && asks_the_same(&turn.request, &first);
            turns += usize::from(goes);
            goes
        };
        Some(table.waiting.extract_if(.., goes).collect())
    }
}

fn asks_the_same(one: &LeaseRequest, other: &LeaseRequest) -> bool {
    let asked = |r: &LeaseRequest| (r.rate_limit, r.sandbox_level);
    one.queue == other.queue && one.worker == other.worker && asked(one) == asked(other)
}

impl RedisStore {
    pub async fn take_turn(&self, end: Finish, request: LeaseRequest, now: Timestamp) -> Answer {
        let (answer, answered) = oneshot::channel();
        if self.rounds().enter(Turn { end, request, now, answer }) {
            let store = self.clone();
            tokio::spawn(async move {
                while let Some(turns) = store.rounds().next() {
                    store.round(turns).await;
                }
            });
        }
        answered.await.map_err(|_| StoreError::Unavailable("the round was not finished".into()))?
    }

    async fn round(&self, turns: Vec<Turn>) {
        let Some(now) = turns.iter().map(|turn| turn.now).max() else { return };
        let (mut together, mut changes) = (Vec::with_capacity(turns.len()), Vec::with_capacity(turns.len()));
        for turn in turns {
            match self.held().take(turn.end.lease.job).filter(|stored| transition::is_held(&stored.record, turn.end.lease)) {
                Some(mut stored) => {
                    let change = finished(&mut stored.record, &turn.end, turn.now);
                    changes.push((stored, change));
                    together.push(turn);
                }
                // It must be read first.
                None => drop(tokio::spawn(alone(self.clone(), turn))),
            }
        }
        match self.ends_and_leases(&together, changes, now).await {
            Ok((ended, records)) => {
                let mut records = records.into_iter();
                for (turn, ended) in together.into_iter().zip(ended) {
                    let taken = records.by_ref().take(turn.request.max).collect();
                    // Nobody waits any more: its lease runs out.
                    let _ = turn.answer.send(ended.map(|job| (job, taken)));
                }
            }
            Err(error) => together.into_iter().for_each(|turn| drop(turn.answer.send(Err(error.clone())))),
        }
    }

    /// Each turn's end, and the records leased for all of them.
    async fn ends_and_leases(
        &self,
        turns: &[Turn],
        changes: Vec<(Stored, Change)>,
        now: Timestamp,
    ) -> Result<(Vec<Result<Fenced<Job>>>, Vec<Record>)> {
        let Some(first) = turns.first() else { return Ok(Default::default()) };
        let until = turns.iter().map(|turn| turn.request.until).max().unwrap_or(first.request.until);
        let request = LeaseRequest { max: turns.iter().map(|turn| turn.request.max).sum(), until, ..first.request.clone() };
        let (commit, lease) = (self.commit_call(&changes, now)?, self.lease_call(&request, now)?);
        let answers = match self.link().ask(|repeated| pipeline(&[commit.clone(), repeatable(&lease, repeated)])).await {
            // Full memory refuses the lease alone. The commit, repeated, is known to be done.
            Err(LinkError::Full) => self.link().ask(|_| pipeline(std::slice::from_ref(&commit))).await?,
            answers => answers?,
        };
        let mut answers = answers.into_iter();
        let outcomes = read_outcomes(answers.next().unwrap_or(Value::Nil))?;
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Ended)) {
            self.tell().await?;
        }
        let mut ended = Vec::with_capacity(turns.len());
        for ((turn, (stored, _)), outcome) in turns.iter().zip(changes).zip(outcomes) {
            ended.push(match outcome {
                Outcome::Done | Outcome::Ended => Ok(Ok(stored.record.job)),
                Outcome::Newer(_) | Outcome::Gone => self.finish(turn.end.clone(), turn.now).await,
            });
        }
        let records = match answers.next().map(leased).transpose()? {
            Some(Leased::Records(found)) => self.hold(found),
            Some(Leased::Expired(expired)) => {
                self.expire(expired, now).await?;
                self.lease(request, now).await?
            }
            None => Vec::new(),
        };
        Ok((ended, records))
    }
}

async fn alone(store: RedisStore, turn: Turn) {
    let both = async { Ok((store.finish(turn.end, turn.now).await?, store.lease(turn.request, turn.now).await?)) };
    // Nobody waits any more: its lease runs out.
    let _ = turn.answer.send(both.await);
}
