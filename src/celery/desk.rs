//! The tasks in work: what was taken from the broker and is not settled yet.

use super::settings::ResultShape;
use super::tasks::Call;
use super::wire::Message;
use crate::job::JobId;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A task in work.
pub struct Task {
    pub message: Message,
    pub shape: ResultShape,
    pub given: Map<String, Value>,
    pub input: Option<PathBuf>,
    pub output: Option<PathBuf>,
    state: Mutex<State>,
    /// Held by whoever writes its result: progress never comes after the end.
    pub writing: tokio::sync::Mutex<Written>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    pub job: Option<JobId>,
    pub started_at: Option<Timestamp>,
}

/// What was written of a task.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Written {
    /// The last attempt whose start was told.
    pub started: u32,
    pub percent: f64,
    /// The last attempt whose failure was told.
    pub failed: u32,
    pub ended: bool,
}

#[derive(Default)]
struct Rows {
    by_tag: HashMap<String, Arc<Task>>,
    by_job: HashMap<JobId, Vec<Arc<Task>>>,
    /// Taken, and not understood yet.
    opening: HashSet<String>,
    /// Jobs of no task that something was told of lately; one of them may be attached in a moment. The older half is forgotten next.
    strangers: [HashSet<JobId>; 2],
}

#[derive(Default)]
pub struct Desk {
    rows: Mutex<Rows>,
}

impl Task {
    pub fn new(message: Message, call: &Call) -> Task {
        Task {
            message,
            shape: call.result,
            given: call.given.clone(),
            input: call.input.clone(),
            output: call.output.clone(),
            state: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    pub fn state(&self) -> State {
        *lock(&self.state)
    }

    pub fn started(&self, at: Timestamp) {
        lock(&self.state).started_at.get_or_insert(at);
    }

    /// Its attempt is over, and another one is to come.
    pub fn waits(&self) {
        lock(&self.state).started_at = None;
    }

    /// Is its time still to come?
    pub fn is_for_later(&self, now: Timestamp) -> bool {
        self.message.eta.is_some_and(|eta| eta > now)
    }
}

impl Desk {
    /// A message that is being read.
    pub fn open(&self, tag: &str) {
        lock(&self.rows).opening.insert(tag.to_owned());
    }

    /// A message that became a task.
    pub fn add(&self, task: Arc<Task>) {
        let mut rows = lock(&self.rows);
        rows.opening.remove(&task.message.tag);
        rows.by_tag.insert(task.message.tag.clone(), task);
    }

    /// The job that a task became. True: something was told of it before.
    pub fn attach(&self, task: &Arc<Task>, job: JobId) -> bool {
        lock(&task.state).job = Some(job);
        let mut rows = lock(&self.rows);
        rows.by_job.entry(job).or_default().push(task.clone());
        rows.strangers.iter().any(|strangers| strangers.contains(&job))
    }

    /// Those of these jobs that are of tasks; the others are remembered for a while.
    pub fn ours(&self, jobs: HashSet<JobId>) -> Vec<JobId> {
        let mut rows = lock(&self.rows);
        let (ours, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| rows.by_job.contains_key(job));
        rows.strangers[0].extend(others);
        ours
    }

    /// Forgets the jobs of no task that were told of before the last call.
    pub fn forget_strangers(&self) {
        let rows = &mut *lock(&self.rows);
        rows.strangers.swap(0, 1);
        rows.strangers[0].clear();
    }

    /// A message that is settled, or was put away.
    pub fn close(&self, tag: &str) {
        let mut rows = lock(&self.rows);
        rows.opening.remove(tag);
        let Some(task) = rows.by_tag.remove(tag) else { return };
        if let Some(job) = task.state().job
            && let Some(tasks) = rows.by_job.get_mut(&job)
        {
            tasks.retain(|t| t.message.tag != tag);
            if tasks.is_empty() {
                rows.by_job.remove(&job);
            }
        }
    }

    pub fn of_job(&self, job: JobId) -> Vec<Arc<Task>> {
        lock(&self.rows).by_job.get(&job).cloned().unwrap_or_default()
    }

    pub fn jobs(&self) -> Vec<JobId> {
        lock(&self.rows).by_job.keys().copied().collect()
    }

    pub fn all(&self) -> Vec<Arc<Task>> {
        lock(&self.rows).by_tag.values().cloned().collect()
    }

    pub fn of_id(&self, id: &str) -> Vec<Arc<Task>> {
        self.all().into_iter().filter(|task| task.message.id == id).collect()
    }

    pub fn knows(&self, tag: &str) -> bool {
        let rows = lock(&self.rows);
        rows.by_tag.contains_key(tag) || rows.opening.contains(tag)
    }

    /// Messages that count against the prefetch.
    pub fn held(&self, now: Timestamp) -> usize {
        let rows = lock(&self.rows);
        rows.opening.len() + rows.by_tag.values().filter(|task| !task.is_for_later(now)).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::tasks::Work;
    use super::*;

    fn task() -> Arc<Task> {
        let call = Call { work: Work::Engine(String::new()), result: ResultShape::default(), given: Map::new(), input: None, output: None };
        Arc::new(Task::new(Message { tag: "t".into(), ..Message::default() }, &call))
    }

    #[test]
    fn what_was_told_of_a_job_before_its_task_was_there_is_not_missed() {
        let (desk, early, late, job) = (Desk::default(), JobId::new(), JobId::new(), JobId::new());
        assert!(!desk.attach(&task(), job));
        assert_eq!(desk.ours([early, late, job].into()), [job]);
        assert!(desk.attach(&task(), early));
        desk.forget_strangers();
        assert!(desk.attach(&task(), late), "for a while");
        let other = JobId::new();
        desk.forget_strangers();
        desk.ours([other].into());
        desk.forget_strangers();
        desk.forget_strangers();
        assert!(!desk.attach(&task(), other));
    }
}
