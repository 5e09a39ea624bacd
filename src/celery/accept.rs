//! From a message to a job: read, understood, submitted as any other request, under a key that makes a second time the same job.

use super::Edge;
use super::broker::Taken;
use super::desk::Task;
use super::results::{self, Exception, Outcome};
use super::tasks::{Call, Work};
use super::wire::{Message, Unreadable};
use crate::failure::{Refusal, RefusalKind};
use crate::intake::{self, Request};
use crate::job::{Job, JobId};
use crate::store::{Filter, Inserted, NewJob};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Between two tries when the store or the disk is not there or full.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// What a request may have under `metadata`, with room for our own.
const METADATA_MAX: usize = 12 << 10;
const KEY_MAX: usize = 190;

impl Edge {
    pub async fn accept(self: Arc<Self>, taken: Taken) {
        let message = match Message::read(&taken.tag, &taken.queue, &taken.raw) {
            Ok(message) => message,
            Err(unreadable) => return self.bury(&taken, unreadable).await,
        };
        let now = self.clock.now();
        let Some(call) = self.table.read(&message, self.broker.keys.priority(message.priority), now) else {
            return self.park(&taken, &message).await;
        };
        self.events.received(&message);
        let refusal = |outcome: Outcome, message: Message| {
            let nothing = Call { work: Work::Engine(String::new()), result: Default::default(), given: Map::new(), input: None, output: None };
            (Arc::new(Task::new(message, &nothing)), outcome)
        };
        let early = if self.is_revoked(&message) {
            Some(Outcome::Revoked { reason: "revoked", terminated: false, expired: false })
        } else if message.expires.is_some_and(|at| at <= now) {
            Some(Outcome::Revoked { reason: "expired", terminated: false, expired: true })
        } else {
            None
        };
        let (task, outcome) = match (early, call) {
            (Some(outcome), _) => refusal(outcome, message),
            (None, Err(wrong)) => refusal(Outcome::wrong(&wrong), message),
            (None, Ok(call)) => {
                let task = Arc::new(Task::new(message, &call));
                self.desk.add(task.clone());
                return self.submit(task, call.work).await;
            }
        };
        self.desk.add(task.clone());
        self.settle(&task, outcome, 0.0).await;
    }

    async fn submit(self: Arc<Self>, task: Arc<Task>, work: Work) {
        loop {
            match self.job(&task, &work).await {
                Ok(inserted) => return self.attach(&task, &inserted).await,
                Err(refusal) if matches!(refusal.kind, RefusalKind::Unavailable | RefusalKind::InsufficientStorage) => {
                    tracing::warn!(%refusal, task = task.message.id, "a task cannot be submitted now; trying again");
                }
                Err(refusal) => return self.settle(&task, results::refused(&refusal), 0.0).await,
            }
            if self.pause(TRY_AGAIN).await.is_none() {
                return;
            }
        }
    }

    /// The job that a task stands for: a new one, or the one it became when its message was taken before.
    async fn job(&self, task: &Task, work: &Work) -> Result<Inserted, Refusal> {
        let message = &task.message;
        if message.redelivered
            && let Some(job) = self.known(message).await?
        {
            return Ok(Inserted::Existing(job));
        }
        let key = short(&format!("celery:{}:{}", message.id, message.first_tag));
        match work {
            Work::Convert(request) => {
                let request =
                    Request { unique_key: Some(short(&format!("celery:{}", message.id))), metadata: self.metadata(task), ..(**request).clone() };
                self.intake.submit(request, Some(key), self.clock.now()).await
            }
            Work::Engine(name) => {
                let now = self.clock.now();
                let mut record = intake::engine_job(&self.intake.queues, name, now);
                record.job.metadata = self.metadata(task);
                record.job.run_at = message.eta.unwrap_or(now);
                let job = NewJob { record, idempotency: Some((key, name.clone())) };
                let inserted = self.intake.store.insert(vec![job], now).await.map_err(intake::store)?;
                inserted.into_iter().next().ok_or_else(|| Refusal::new(RefusalKind::Unavailable, "The store gave no answer."))
            }
        }
    }

    /// The job of a message that was in somebody's hands before. Its input need not be there any more.
    async fn known(&self, message: &Message) -> Result<Option<Job>, Refusal> {
        let filter = Filter { text: Some(message.first_tag.clone()), limit: 10, ..Filter::default() };
        let found = self.intake.store.list(filter).await.map_err(intake::store)?;
        Ok(found.into_iter().find(|job| job.metadata.get("celery_tag") == Some(&json!(message.first_tag))))
    }

    /// The task's own arguments, by which the site finds its job, and the names by which we do.
    fn metadata(&self, task: &Task) -> Map<String, Value> {
        let Task { message, given, .. } = task;
        let fits = serde_json::to_string(given).is_ok_and(|text| text.len() <= METADATA_MAX);
        let mut metadata = if fits { given.clone() } else { Map::new() };
        metadata.insert("celery_id".into(), message.id.as_str().into());
        metadata.insert("celery_task".into(), message.task.as_str().into());
        metadata.insert("celery_tag".into(), message.first_tag.as_str().into());
        if message.ignore_result {
            metadata.insert("celery_ignore_result".into(), true.into());
        }
        metadata
    }

    async fn attach(self: Arc<Self>, task: &Arc<Task>, inserted: &Inserted) {
        let id = inserted.job().id;
        let is_told_of = self.desk.attach(task, id);
        if is_told_of || matches!(inserted, Inserted::Existing(_)) || self.is_revoked(&task.message) {
            // Whatever became of it before we listened for it, or is to become of it.
            self.look(id).await;
        }
    }

    /// Looks at a job and tells what became of it.
    pub async fn look(self: &Arc<Self>, id: JobId) {
        match self.intake.store.get(id).await {
            Ok(record) => self.tell(&record).await,
            Err(crate::store::StoreError::NotFound(_)) => {
                for task in self.desk.of_job(id) {
                    let exception = Exception::new("WorkerLostError", "billiard.exceptions", "The job was removed.");
                    self.settle(&task, Outcome::Failure { exception, traceback: None }, 0.0).await;
                }
            }
            Err(error) => tracing::warn!(%error, %id, "a job cannot be looked at"),
        }
    }

    /// A message that nobody can read: kept, and its task told where it can be.
    async fn bury(&self, taken: &Taken, unreadable: Unreadable) {
        let Unreadable { id, why } = unreadable;
        tracing::error!(queue = taken.queue, why, "a message cannot be read; it is in {}", self.broker.keys.dead());
        let kept = json!({"why": why, "queue": taken.queue, "message": String::from_utf8_lossy(&taken.raw)}).to_string();
        if let Some(id) = id {
            let refused = Message { id, ..Message::default() };
            let exception = Exception::new("ContentDisallowed", "kombu.exceptions", why);
            let document = results::ended(&refused, &Outcome::Failure { exception, traceback: None }, &[], self.clock.now());
            if let Err(error) = self.broker.result(&refused.id, Some(&document), None).await {
                tracing::warn!(%error, "a refusal cannot be told");
            }
        }
        self.away(&taken.tag, &self.broker.keys.dead(), kept.as_bytes()).await;
    }

    /// A task without a name here waits in a list of its own until a process starts that knows it.
    async fn park(&self, taken: &Taken, message: &Message) {
        let list = self.broker.keys.parked(&taken.queue);
        if self.unknown(&message.task) {
            tracing::error!(task = message.task, queue = taken.queue, "no conversion of this name is configured; such tasks are parked in {list}");
        }
        self.away(&taken.tag, &list, &taken.raw).await;
    }

    async fn away(&self, tag: &str, list: &str, kept: &[u8]) {
        while let Err(error) = self.broker.put_away(tag, list, kept).await {
            tracing::warn!(%error, "a message cannot be put away; trying again");
            if self.pause(TRY_AGAIN).await.is_none() {
                return;
            }
        }
        self.desk.close(tag);
        self.wake.notify_one();
    }
}

/// As long as a key may be; a longer one by its hash.
fn short(key: &str) -> String {
    use sha2::{Digest, Sha256};
    if key.len() <= KEY_MAX { key.to_owned() } else { format!("celery:{}", hex::encode(Sha256::digest(key))) }
}
