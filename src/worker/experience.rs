//! What attempts have taken of late, in this process and, before its time, elsewhere: what the next one like them is expected to take.

use crate::forecast::{Past, Prediction, Wanted, predict};
use crate::format::Format;
use crate::job::{Job, State};
use crate::store::{self, Filter, Store};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Jobs of one kind that are kept: enough to tell, and few enough to ask before every attempt.
const KEPT: usize = 16;
/// Jobs that are looked through for them, once for each kind.
const LOOKED_THROUGH: usize = 100;

/// Queue, input's format, first output's.
type Kind = (String, Format, Format);

#[derive(Default)]
pub struct Experience {
    /// The newest last.
    past: Mutex<HashMap<Kind, VecDeque<Past>>>,
}

impl Experience {
    /// The store is asked only for what is seen for the first time.
    pub async fn expects(&self, store: &dyn Store, job: &Job) -> Option<Prediction> {
        let (kind, wanted) = (kind(job)?, Wanted::by(job)?);
        if !self.lock().contains_key(&kind) {
            match told(store, &kind).await {
                Ok(past) => drop(self.lock().entry(kind.clone()).or_insert(past)),
                // Nothing is known then; it is no reason not to run.
                Err(error) => tracing::debug!(%error, "what jobs took could not be looked up"),
            }
        }
        predict(&wanted, self.lock().get_mut(&kind)?.make_contiguous())
    }

    /// Takes note of a job that has ended.
    pub fn learn(&self, job: &Job) {
        let (Some(kind), Some(taught)) = (kind(job), Past::of(job)) else { return };
        let mut all = self.lock();
        let past = all.entry(kind).or_default();
        past.push_back(taught);
        past.drain(..past.len().saturating_sub(KEPT));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, VecDeque<Past>>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kind(job: &Job) -> Option<Kind> {
    Some((job.queue.clone(), job.from?, job.to?))
}

async fn told(store: &dyn Store, (queue, from, to): &Kind) -> store::Result<VecDeque<Past>> {
    let (state, queue, format) = (Some(State::Succeeded), Some(queue.clone()), Some(*from));
    let jobs = store.list(Filter { state, queue, format, limit: LOOKED_THROUGH, ..Filter::default() }).await?;
    let of_kind = jobs.iter().filter(|job| job.to == Some(*to)).filter_map(Past::of).take(KEPT);
    Ok(of_kind.collect::<Vec<_>>().into_iter().rev().collect())
}
