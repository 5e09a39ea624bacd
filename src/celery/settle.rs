//! The end of a task: its result, what follows from it, and the message's own end. Whatever of it a crash leaves undone is done again
//! when the message is taken anew: the job it stands for is known by then, and has ended.

use super::Edge;
use super::broker::Part;
use super::canvas::{Sender, Sent};
use super::desk::Task;
use super::finish::{Body, Ending, Finished};
use super::place::{self, PlaceError};
use super::results::{self, Exception, Outcome};
use super::wire::Message;
use crate::failure::Failure;
use crate::job::{Record, State};
use crate::link::LinkError;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Between two tries to reach a server.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Somebody who has said that a chord is his has sent its body by then.
const BUSY_MAX: u32 = 35;

impl Edge {
    /// Ends the task of a job that has ended.
    pub async fn settle_job(self: &Arc<Self>, task: &Arc<Task>, record: &Record) {
        let Some(outcome) = self.outcome(task, record).await else { return };
        let runtime = record.job.finished_at.zip(record.job.started_at).map_or(0.0, |(end, start)| end.duration_since(start).as_secs_f64());
        self.settle(task, outcome, runtime).await;
    }

    /// None: the service stops before it can be told.
    async fn outcome(&self, task: &Task, record: &Record) -> Option<Outcome> {
        let job = &record.job;
        match job.state {
            State::Cancelled => {
                let terminated = job.attempt > 0;
                Some(Outcome::Revoked { reason: if terminated { "terminated" } else { "revoked" }, terminated, expired: false })
            }
            State::Failed => match &job.error {
                Some(Failure { code: crate::failure::Code::Expired, .. }) => {
                    Some(Outcome::Revoked { reason: "expired", terminated: false, expired: true })
                }
                Some(failure) => Some(results::failed(failure, job.hard_time_limit.as_millis() / 1000)),
                None => Some(results::failed(&Failure::internal("the job failed without saying why"), 0)),
            },
            _ if job.outputs.is_empty() => Some(Outcome::Success(json!({"status": "success", "job_id": job.id}))),
            _ => loop {
                match place::deliver(task, record, &*self.intake.blobs, &self.output_roots).await {
                    Ok(value) => return Some(Outcome::Success(value)),
                    Err(PlaceError::NotAllowed(message)) => {
                        let exception = Exception::new("PermissionError", "builtins", message);
                        return Some(Outcome::Failure { exception, traceback: None });
                    }
                    Err(PlaceError::Blobs(crate::blobs::BlobError::NotFound(key))) => {
                        let message = format!("The output is not there any more: {key}");
                        return Some(Outcome::Failure { exception: Exception::new("FileNotFoundError", "builtins", message), traceback: None });
                    }
                    Err(error) => tracing::warn!(%error, task = task.message.id, "an output cannot be put in its place; trying again"),
                }
                self.pause(TRY_AGAIN).await?;
            },
        }
    }

    /// Ends a task that became no job, or whose job has ended.
    pub async fn settle(self: &Arc<Self>, task: &Arc<Task>, outcome: Outcome, runtime: f64) {
        let mut written = task.writing.lock().await;
        if written.ended {
            return;
        }
        loop {
            match self.finish(&task.message, &outcome).await {
                Ok(settled) => {
                    if !settled {
                        tracing::warn!(task = task.message.id, "the message was somebody else's by the time its task ended");
                    }
                    break;
                }
                Err(error) => tracing::warn!(%error, task = task.message.id, "a result cannot be written; trying again"),
            }
            if self.pause(TRY_AGAIN).await.is_none() {
                // The message stays in work: whoever takes it next finds the job.
                return;
            }
        }
        written.ended = true;
        drop(written);
        self.desk.close(&task.message.tag);
        self.count(&task.message.task);
        self.tell_end(&task.message, &outcome, runtime);
        self.wake.notify_one();
    }

    fn tell_end(&self, message: &Message, outcome: &Outcome, runtime: f64) {
        let id = &message.id;
        match outcome {
            Outcome::Success(value) => self.events.task("task-succeeded", id, json!({"result": super::repr::repr(value), "runtime": runtime})),
            Outcome::Failure { exception, traceback } => {
                self.events.task("task-failed", id, json!({"exception": exception.repr(), "traceback": traceback}));
            }
            Outcome::Revoked { terminated, expired, .. } => {
                let signum = terminated.then_some(9);
                self.events.task("task-revoked", id, json!({"terminated": terminated, "signum": signum, "expired": expired}));
            }
        }
    }

    /// False: the message was not ours any more.
    async fn finish(&self, message: &Message, outcome: &Outcome) -> Result<bool, LinkError> {
        let sender = Sender { keys: &self.broker.keys, table: &self.table, routes: &self.routes, node: &self.node, parent: message };
        let Sent { pushes, chords, children } = match outcome {
            Outcome::Success(value) => sender.after_success(value),
            Outcome::Failure { .. } => sender.after_failure(),
            Outcome::Revoked { .. } => Sent::default(),
        };
        let mut ending = Ending {
            tag: message.tag.clone(),
            id: message.id.clone(),
            document: (!message.ignore_result).then(|| results::ended(message, outcome, &children, self.clock.now())),
            part: part(message, outcome),
            others: if matches!(outcome, Outcome::Success(_)) { Vec::new() } else { self.rest_of_the_chain(message, outcome) },
            chords,
            pushes,
        };
        let (mut body, mut tries) = (None, 0);
        loop {
            match self.broker.finish(&ending, body.as_ref()).await? {
                Finished::Ended => return Ok(true),
                Finished::Lost => return Ok(false),
                Finished::Complete(parts) => body = self.chord_body(message, &sender, &parts),
                Finished::Changed => body = None,
                Finished::Busy if tries < BUSY_MAX => {
                    (tries, body) = (tries + 1, None);
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                Finished::Busy => ending.part = None,
            }
        }
    }

    /// What the body of a chord comes to whose last part is there; when a part failed, the body's own failure and its errbacks.
    fn chord_body(&self, message: &Message, sender: &Sender<'_>, parts: &[String]) -> Option<Body> {
        let (body, made_of) = (message.embed.chord.as_ref()?, parts.len());
        let mut values = Vec::new();
        for part in parts {
            let Ok(Value::Array(part)) = serde_json::from_str::<Value>(part) else { continue };
            let [_, id, state, value] = &part[..] else { continue };
            if state == "SUCCESS" {
                values.push(value.clone());
                continue;
            }
            let text = format!("Dependency {} raised {}", id.as_str().unwrap_or_default(), super::repr::repr(value));
            let outcome = Outcome::Failure { exception: Exception::new("ChordError", "celery.exceptions", text), traceback: None };
            let documents = self.failed_unrun(message, body, &outcome).into_iter().collect();
            return Some(Body { made_of, documents, pushes: sender.failed_body(body).pushes });
        }
        Some(Body { made_of, documents: Vec::new(), pushes: sender.body(body, values).pushes })
    }

    /// What would have followed in the chain fails with it, so that nobody waits for it.
    fn rest_of_the_chain(&self, message: &Message, outcome: &Outcome) -> Vec<(String, String)> {
        message.embed.chain.iter().filter_map(|signature| self.failed_unrun(message, signature, outcome)).collect()
    }

    /// The id and the result of a task that will not run because of this one.
    fn failed_unrun(&self, message: &Message, signature: &Value, outcome: &Outcome) -> Option<(String, String)> {
        let id = signature["options"]["task_id"].as_str()?.to_owned();
        let unrun = Message { id: id.clone(), root_id: message.root_id.clone(), ..Message::default() };
        Some((id, results::ended(&unrun, outcome, &[], self.clock.now())))
    }

    /// Waits; none when the service stops meanwhile.
    pub async fn pause(&self, time: Duration) -> Option<()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Some(()),
            () = self.stop.cancelled() => None,
        }
    }
}

fn part(message: &Message, outcome: &Outcome) -> Option<Part> {
    let (Some(_), Some(group)) = (&message.embed.chord, &message.group) else { return None };
    let index = message.group_index.map_or("None".into(), |i| i.to_string());
    let part = json!([1, message.id, outcome.state(), outcome.result()]).to_string();
    Some(Part { group: group.clone(), member: format!("{}:{index}", message.id), index: message.group_index, part })
}
