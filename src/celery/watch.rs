//! Follows the jobs of tasks: their start, their progress, their end. Events are read in order from the store; a notice only wakes.

use super::Edge;
use super::desk::Task;
use super::results;
use crate::failure::Failure;
use crate::job::{JobId, Record, State};
use crate::store::Notice;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

/// Between two looks without a notice.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Between two words about one task's progress.
const CALM: Duration = Duration::from_millis(500);
/// All tasks are looked at this often, whatever was told.
const LOOK_AT_ALL: Duration = Duration::from_secs(15);
const BATCH: usize = 200;
/// Events after which a task is told of.
const TOLD: [&str; 5] = ["started", "succeeded", "failed", "cancelled", "retrying"];

impl Edge {
    pub async fn watch(self: Arc<Self>, mut notices: broadcast::Receiver<Notice>, mut after: u64) {
        let (mut news, mut calm_until, mut all_at) = (HashSet::new(), Instant::now(), Instant::now() + LOOK_AT_ALL);
        while !self.stop.is_cancelled() {
            tokio::select! {
                () = hear(&mut notices, &mut news) => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.stop.cancelled() => return,
            }
            after = self.read_events(after).await;
            if Instant::now() >= calm_until && !news.is_empty() {
                calm_until = Instant::now() + CALM;
                self.look_at(std::mem::take(&mut news)).await;
            }
            if Instant::now() >= all_at {
                all_at = Instant::now() + LOOK_AT_ALL;
                self.desk.forget_strangers();
                self.look_at(self.desk.jobs().into_iter().collect()).await;
            }
        }
    }

    /// Tells what happened since; returns the last event's number.
    async fn read_events(self: &Arc<Self>, mut after: u64) -> u64 {
        loop {
            let events = match self.intake.store.events(after, None, BATCH).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(%error, "what happened cannot be read");
                    return after;
                }
            };
            after = events.last().map_or(after, |event| event.seq);
            let is_last = events.len() < BATCH;
            // Several of one job are one look: it sees the last of them.
            self.look_at(events.iter().filter(|event| TOLD.contains(&event.kind.as_str())).filter_map(|event| event.job).collect()).await;
            if is_last {
                return after;
            }
        }
    }

    /// Looks at those of these jobs that belong to tasks, all at once.
    async fn look_at(self: &Arc<Self>, jobs: HashSet<JobId>) {
        let ours = self.desk.ours(jobs);
        futures::future::join_all(ours.into_iter().map(|job| self.look(job))).await;
    }

    /// Tells where a job stands to those who wait for its tasks.
    pub async fn tell(self: &Arc<Self>, record: &Record) {
        for task in self.desk.of_job(record.job.id) {
            match record.job.state {
                State::Queued => self.tell_wait(&task, record).await,
                State::Running => {
                    self.tell_start(&task, record).await;
                    self.tell_progress(&task, record).await;
                }
                State::Succeeded | State::Failed | State::Cancelled => {
                    if record.job.attempt > 0 {
                        self.tell_start(&task, record).await;
                    }
                    let (edge, record) = (self.clone(), record.clone());
                    self.work.spawn(async move { edge.settle_job(&task, &record).await });
                }
            }
        }
    }

    async fn tell_start(&self, task: &Task, record: &Record) {
        let mut written = task.writing.lock().await;
        if written.started == record.job.attempt || written.ended {
            return;
        }
        written.started = record.job.attempt;
        task.started(record.job.started_at.unwrap_or_else(|| self.clock.now()));
        self.events.task("task-started", &task.message.id, json!({}));
        if !record.job.state.is_terminal() {
            let started = json!({"pid": std::process::id(), "hostname": self.node});
            self.write(task, results::going(&task.message, "STARTED", started)).await;
        }
    }

    async fn tell_progress(&self, task: &Task, record: &Record) {
        let job = &record.job;
        let mut written = task.writing.lock().await;
        if !written.ended && job.progress.percent > 0.0 && job.progress.percent != written.percent {
            written.percent = job.progress.percent;
            self.write(task, results::going(&task.message, "PROGRESS", results::progress(&job.progress))).await;
        }
    }

    /// A job that waits, before its first attempt or after one that failed.
    async fn tell_wait(&self, task: &Task, record: &Record) {
        let job = &record.job;
        task.waits();
        if self.is_revoked(&task.message) {
            self.cancel(job.id, false).await;
            return;
        }
        let mut written = task.writing.lock().await;
        if let Some(failure) = job.error.as_ref().filter(|failure| !written.ended && failure.attempt > written.failed) {
            written.failed = failure.attempt;
            self.tell_retry(task, failure, job.hard_time_limit.as_millis() / 1000).await;
        }
    }

    async fn tell_retry(&self, task: &Task, failure: &Failure, hard_limit_s: u64) {
        let outcome = results::failed(failure, hard_limit_s);
        self.write(task, results::retrying(&task.message, &outcome)).await;
        if let results::Outcome::Failure { exception, traceback } = &outcome {
            self.events.task("task-retried", &task.message.id, json!({"exception": exception.repr(), "traceback": traceback}));
        }
    }

    async fn write(&self, task: &Task, document: String) {
        if task.message.ignore_result {
            return;
        }
        if let Err(error) = self.broker.result(&task.message.id, Some(&document), None).await {
            tracing::debug!(%error, "a state was not told");
        }
    }
}

/// Waits for a notice, and takes all that wait with it.
async fn hear(notices: &mut broadcast::Receiver<Notice>, news: &mut HashSet<JobId>) {
    let mut next = notices.recv().await;
    loop {
        match next {
            Ok(Notice::Job(job)) => drop(news.insert(job)),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
        next = match notices.try_recv() {
            Ok(notice) => Ok(notice),
            Err(broadcast::error::TryRecvError::Lagged(n)) => Err(RecvError::Lagged(n)),
            Err(_) => return,
        };
    }
}
