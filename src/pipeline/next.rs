//! What is to be done about a pipeline, decided from its document and the states of its jobs alone.

use super::{OnFailure, Pipeline};
use crate::job::State;
use crate::store::StepCounts;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Its jobs are at it.
    Wait,
    /// Cancel the jobs that are left.
    Stop,
    /// Queue again what a retry has asked for.
    Redo,
    /// Make jobs of this step.
    Begin(String),
    End {
        state: State,
        partial: bool,
    },
}

/// Jobs in one of these states.
pub fn jobs_in(counts: &BTreeMap<State, u64>, states: &[State]) -> u64 {
    states.iter().filter_map(|state| counts.get(state)).sum()
}

pub const LIVE: [State; 2] = [State::Queued, State::Running];
pub const LOST: [State; 2] = [State::Failed, State::Cancelled];

impl Pipeline {
    /// Has become jobs, all of which have ended.
    pub(super) fn is_over(&self, step: &str, counts: &StepCounts) -> bool {
        let live = counts.get(step).map_or(0, |counts| jobs_in(counts, &LIVE));
        live == 0 && self.taken(step).is_some_and(|taken| taken.all)
    }

    pub(super) fn next(&self, counts: &StepCounts) -> Next {
        let request = &self.document.request;
        let in_all = |states: &[State]| counts.values().map(|counts| jobs_in(counts, states)).sum::<u64>();
        let lost = in_all(&LOST) + self.document.steps.values().map(|taken| taken.lost.len() as u64).sum::<u64>();
        let fails = lost > 0 && request.on_failure == OnFailure::Stop;
        if self.document.cancel.is_none() && self.document.redo.is_some() {
            return Next::Redo;
        }
        if self.document.cancel.is_some() || fails {
            let state = if self.document.cancel.is_some() { State::Cancelled } else { State::Failed };
            return if in_all(&LIVE) > 0 { Next::Stop } else { Next::End { state, partial: false } };
        }
        let is_ready = |name: &String| {
            let waits = self.taken(name).is_some_and(|taken| !taken.all);
            waits && request.steps.get(name).is_some_and(|step| step.needs().into_iter().all(|needed| self.is_over(needed, counts)))
        };
        if let Some(step) = request.steps.keys().find(|name| is_ready(name)) {
            return Next::Begin(step.clone());
        }
        if !request.steps.keys().all(|name| self.is_over(name, counts)) {
            return Next::Wait;
        }
        match in_all(&[State::Succeeded]) {
            0 if lost > 0 => Next::End { state: State::Failed, partial: false },
            _ => Next::End { state: State::Succeeded, partial: lost > 0 },
        }
    }
}
