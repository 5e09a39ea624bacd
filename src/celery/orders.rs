//! What `celery control` and Flower's buttons order.

use super::answers::ids_of;
use super::control::Request;
use super::{Edge, REVOKED_FOR_S, REVOKED_MAX};
use crate::job::{CancelMode, JobId};
use crate::limits::{Rate, Span};
use crate::queue::Autoscale;
use crate::store::{Tuning, WorkerOrder};
use ::redis::{Pipeline, cmd};
use serde_json::{Map, Value, json};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

type Arguments = Map<String, Value>;

impl Edge {
    /// Does what is asked; none: nothing is to be said.
    pub async fn obey(self: Arc<Self>, request: Request) -> Option<Value> {
        if let Some(answer) = self.inspected(&request).await {
            return Some(answer);
        }
        let arguments = &request.arguments;
        let number = |name: &str| arguments.get(name).and_then(Value::as_f64);
        Some(match request.method.as_str() {
            "hello" => return self.hello(arguments).await,
            "revoke" | "terminate" => {
                let terminate = request.method == "terminate" || is_true(arguments.get("terminate"));
                self.revoke(&ids_of(arguments.get("task_id")), terminate, is_gentle(arguments)).await
            }
            "revoke_by_stamped_headers" => self.revoke_by_stamps(arguments).await,
            "rate_limit" => self.rate_limit(arguments).await,
            "time_limit" => self.time_limit(arguments).await,
            "pool_grow" => self.grow(number("n").unwrap_or(1.0)).await,
            "pool_shrink" => self.grow(-number("n").unwrap_or(1.0)).await,
            "autoscale" => self.autoscale(number("max"), number("min")).await,
            "add_consumer" => self.add_consumer(arguments).await,
            "cancel_consumer" => self.cancel_consumer(arguments),
            "pool_restart" => {
                self.order(WorkerOrder::Restart).await;
                json!({"ok": "reload started"})
            }
            "shutdown" => {
                tracing::warn!("Celery's remote control orders the end");
                let own = rustix::process::getpid();
                match rustix::process::kill_process(own, rustix::process::Signal::TERM) {
                    Ok(()) => return None,
                    Err(error) => json!({"error": error.to_string()}),
                }
            }
            "enable_events" => self.task_events(true),
            "disable_events" => self.task_events(false),
            "heartbeat" => {
                self.events.worker("worker-heartbeat", self.heartbeat());
                return None;
            }
            "election" => return None,
            other => json!({"error": format!("KeyError('{other}')")}),
        })
    }

    async fn hello(&self, arguments: &Arguments) -> Option<Value> {
        if arguments.get("from_node").is_some_and(|node| node == &self.node) {
            return None;
        }
        let theirs = match arguments.get("revoked") {
            Some(Value::Object(by_id)) => by_id.keys().cloned().collect(),
            list => ids_of(list),
        };
        self.remember_revoked(&theirs).await;
        let ours = self.revoked.read().unwrap_or_else(PoisonError::into_inner).clone();
        Some(json!({"revoked": ours, "clock": self.ticks.next()}))
    }

    async fn revoke(&self, ids: &[String], terminate: bool, gentle: bool) -> Value {
        self.remember_revoked(ids).await;
        let mut terminated = Vec::new();
        for task in ids.iter().flat_map(|id| self.desk.of_id(id)) {
            let is_running = task.state().started_at.is_some();
            if let Some(job) = task.state().job.filter(|_| terminate || !is_running) {
                self.cancel(job, terminate && !gentle).await;
                terminated.push(task.message.id.clone());
            }
        }
        let quoted: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        match (terminate, terminated.is_empty()) {
            (false, _) => json!({"ok": format!("tasks {{{}}} flagged as revoked", quoted.join(", "))}),
            (true, true) => json!({"ok": "terminate: tasks unknown"}),
            (true, false) => json!({"ok": format!("terminate: {}", terminated.join(", "))}),
        }
    }

    pub async fn cancel(&self, job: JobId, kill: bool) {
        let mode = if kill { CancelMode::Kill } else { CancelMode::Soft };
        if let Err(error) = self.intake.store.cancel(job, mode, self.clock.now()).await {
            tracing::warn!(%error, %job, "a revoked task cannot be cancelled");
        }
    }

    async fn revoke_by_stamps(&self, arguments: &Arguments) -> Value {
        let wanted: Vec<(String, Vec<Value>)> = match arguments.get("headers") {
            Some(Value::Object(map)) => map.iter().map(|(name, value)| (name.clone(), listed(value))).collect(),
            Some(Value::Array(pairs)) => {
                pairs.iter().filter_map(Value::as_str).filter_map(|p| p.split_once('=')).map(|(n, v)| (n.to_owned(), vec![json!(v)])).collect()
            }
            _ => Vec::new(),
        };
        let is_meant =
            |stamps: &Arguments| wanted.iter().any(|(name, values)| stamps.get(name).is_some_and(|v| listed(v).iter().any(|v| values.contains(v))));
        let ids: Vec<String> = self.desk.all().iter().filter(|t| is_meant(&t.message.stamps)).map(|t| t.message.id.clone()).collect();
        let terminate = is_true(arguments.get("terminate"));
        self.revoke(&ids, terminate, is_gentle(arguments)).await;
        let headers = super::repr::repr(arguments.get("headers").unwrap_or(&Value::Null));
        json!({"ok": format!("headers {headers} flagged as revoked{}", if terminate { "" } else { ", but not terminated" })})
    }

    /// Kept in Redis: a worker that starts later knows them too.
    async fn remember_revoked(&self, ids: &[String]) {
        if ids.is_empty() {
            return;
        }
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).extend(ids.iter().cloned());
        let (key, until) = (self.broker.keys.revoked(), super::events::now_s() + REVOKED_FOR_S as f64);
        let mut keep = Pipeline::new();
        for id in ids {
            keep.cmd("ZADD").arg(&key).arg(until).arg(id);
        }
        keep.cmd("ZREMRANGEBYRANK").arg(&key).arg(0).arg(-REVOKED_MAX - 1).cmd("EXPIRE").arg(&key).arg(REVOKED_FOR_S);
        if let Err(error) = self.broker.messages.ask(|_| keep.clone()).await {
            tracing::warn!(%error, "revoked tasks are not kept");
        }
    }

    pub async fn load_revoked(&self) -> crate::link::Result<()> {
        let command = cmd("ZRANGEBYSCORE").arg(self.broker.keys.revoked()).arg(super::events::now_s()).arg("+inf").clone();
        let known: Vec<String> = self.broker.asked(&command).await?;
        *self.revoked.write().unwrap_or_else(PoisonError::into_inner) = known.into_iter().collect();
        Ok(())
    }

    async fn rate_limit(&self, arguments: &Arguments) -> Value {
        let Some(queue) = arguments.get("task_name").and_then(Value::as_str).and_then(|task| self.table.queue(task)) else {
            return json!({"error": "unknown task"});
        };
        let given = arguments.get("rate_limit").map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).unwrap_or_default();
        let (rate, said) = match given.as_str() {
            "" | "0" | "null" => (None, "rate limit disabled successfully"),
            text => match Rate::parse(text) {
                Ok(rate) => (Some(rate), "new rate limit set successfully"),
                Err(error) => return json!({"error": format!("Invalid rate limit string: {error}")}),
            },
        };
        self.tune(queue, Tuning { rate_limit: Some(rate), ..Tuning::default() }, said).await
    }

    async fn time_limit(&self, arguments: &Arguments) -> Value {
        let Some(queue) = arguments.get("task_name").and_then(Value::as_str).and_then(|task| self.table.queue(task)) else {
            return json!({"error": "unknown task"});
        };
        let span = |name: &str| arguments.get(name).and_then(Value::as_f64).filter(|s| *s > 0.0).map(|s| Span((s * 1000.0) as u64));
        let tuning = Tuning { soft_time_limit: span("soft"), hard_time_limit: span("hard"), ..Tuning::default() };
        self.tune(queue, tuning, "time limits set successfully").await
    }

    async fn tune(&self, queue: &str, tuning: Tuning, said: &str) -> Value {
        match self.intake.store.tune(queue, tuning, self.clock.now()).await {
            Ok(_) => json!({"ok": said}),
            Err(error) => json!({"error": error.to_string()}),
        }
    }

    /// Each queue that has tasks here gets so many slots more.
    async fn grow(&self, by: f64) -> Value {
        let tunings = match self.intake.store.tunings().await {
            Ok(tunings) => tunings,
            Err(error) => return json!({"error": error.to_string()}),
        };
        for queue in self.task_queues() {
            let now = tunings.get(&queue).and_then(|t| t.concurrency).or(self.intake.queues.get(&queue).map(|q| q.settings.concurrency));
            let concurrency = (f64::from(now.unwrap_or(1)) + by).clamp(0.0, 1024.0) as u32;
            let answer = self.tune(&queue, Tuning { concurrency: Some(concurrency), ..Tuning::default() }, "").await;
            if answer.get("error").is_some() {
                return answer;
            }
        }
        json!({"ok": if by < 0.0 { "pool will shrink" } else { "pool will grow" }})
    }

    async fn autoscale(&self, max: Option<f64>, min: Option<f64>) -> Value {
        let (min, max) = (min.unwrap_or(0.0) as u32, max.unwrap_or(1.0) as u32);
        let scale = Autoscale { min, max };
        if !scale.is_sound() {
            return json!({"error": format!("ValueError('min {min} and max {max} are not sound')")});
        }
        for queue in self.task_queues() {
            self.tune(&queue, Tuning { autoscale: Some(Some(scale)), ..Tuning::default() }, "").await;
        }
        json!({"ok": format!("autoscale now max={max} min={min}")})
    }

    fn task_queues(&self) -> std::collections::BTreeSet<String> {
        self.table.names().filter_map(|task| self.table.queue(task)).map(str::to_owned).collect()
    }

    async fn add_consumer(self: &Arc<Self>, arguments: &Arguments) -> Value {
        let Some(queue) = arguments.get("queue").and_then(Value::as_str).filter(|q| !q.is_empty() && !q.contains(['"', '\\', '\u{6}'])) else {
            return json!({"error": "ValueError('queue')"});
        };
        if let Err(error) = self.bind(queue).await {
            return json!({"error": error.to_string()});
        }
        if !self.consumed.write().unwrap_or_else(PoisonError::into_inner).insert(queue.to_owned()) {
            return json!({"ok": format!("already consuming from '{queue}'")});
        }
        self.clone().spawn_waiter(queue.to_owned());
        json!({"ok": format!("add consumer {queue}")})
    }

    fn cancel_consumer(&self, arguments: &Arguments) -> Value {
        let queue = arguments.get("queue").and_then(Value::as_str).unwrap_or_default();
        self.consumed.write().unwrap_or_else(PoisonError::into_inner).remove(queue);
        json!({"ok": format!("no longer consuming from {queue}")})
    }

    fn task_events(&self, wanted: bool) -> Value {
        let before = self.events.tasks.swap(wanted, Ordering::Relaxed);
        let word = if wanted { "enabled" } else { "disabled" };
        json!({"ok": if before == wanted { format!("task events already {word}") } else { format!("task events {word}") }})
    }

    async fn order(&self, order: WorkerOrder) {
        let own = format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id());
        if let Err(error) = self.intake.store.order(&own, order, self.clock.now()).await {
            tracing::warn!(%error, "the worker cannot be given an order");
        }
    }
}

/// Signals that ask, and do not kill: SIGINT and SIGUSR1.
fn is_gentle(arguments: &Arguments) -> bool {
    match arguments.get("signal") {
        Some(Value::String(name)) => ["SIGINT", "INT", "SIGUSR1", "USR1"].contains(&name.as_str()),
        Some(Value::Number(number)) => [Some(2), Some(10)].contains(&number.as_i64()),
        _ => false,
    }
}

/// As Python sees it: Flower says 1.
fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        _ => false,
    }
}

fn listed(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}
