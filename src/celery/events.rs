//! Events, as Flower and other monitors hear them: sent in order, as many at once as there are.

use super::broker::Broker;
use super::wire::{Message, envelope};
use ::redis::cmd;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// Waiting events; what comes on top of them is dropped: nobody depends on an event.
const WAITING_MAX: usize = 10_000;
const BATCH: usize = 50;

/// The clock of Lamport that all of Celery shares.
#[derive(Default)]
pub struct Ticks(AtomicU64);

impl Ticks {
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// After a message of another process.
    pub fn hear(&self, theirs: u64) {
        self.0.fetch_max(theirs, Ordering::Relaxed);
        self.next();
    }

    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
pub struct Events {
    node: String,
    ticks: Arc<Ticks>,
    waiting: mpsc::Sender<(String, Value)>,
    /// Whether events of tasks are sent.
    pub tasks: Arc<AtomicBool>,
}

impl Events {
    /// Sends until the last clone of it is gone.
    pub fn start(broker: Arc<Broker>, node: String, ticks: Arc<Ticks>) -> Events {
        let (waiting, events) = mpsc::channel(WAITING_MAX);
        tokio::spawn(send(broker, node.clone(), events));
        Events { node, ticks, waiting, tasks: Arc::new(AtomicBool::new(true)) }
    }

    pub fn worker(&self, kind: &str, fields: Value) {
        self.tell(kind, fields);
    }

    /// An event of a task: `task-received` and so on.
    pub fn task(&self, kind: &str, id: &str, fields: Value) {
        if self.tasks.load(Ordering::Relaxed) {
            let mut fields = fields;
            fields["uuid"] = id.into();
            self.tell(kind, fields);
        }
    }

    pub fn received(&self, message: &Message) {
        let Message { task, args_repr, kwargs_repr, root_id, parent_id, retries, eta, expires, .. } = message;
        let fields = json!({
            "name": task, "args": args_repr, "kwargs": kwargs_repr, "root_id": root_id, "parent_id": parent_id, "retries": retries,
            "eta": eta, "expires": expires,
        });
        self.task("task-received", &message.id, fields);
    }

    fn tell(&self, kind: &str, fields: Value) {
        let mut event = fields;
        event["hostname"] = self.node.as_str().into();
        event["utcoffset"] = 0.into();
        event["pid"] = std::process::id().into();
        event["clock"] = self.ticks.next().into();
        event["timestamp"] = now_s().into();
        event["type"] = kind.into();
        // Full, or at its end.
        let _ = self.waiting.try_send((kind.to_owned(), event));
    }
}

async fn send(broker: Arc<Broker>, node: String, mut events: mpsc::Receiver<(String, Value)>) {
    let mut batch = Vec::new();
    while events.recv_many(&mut batch, BATCH).await > 0 {
        let tasks: Vec<Value> = batch.iter().filter(|(kind, _)| kind.starts_with("task-")).map(|(_, event)| event.clone()).collect();
        let workers = batch.drain(..).filter(|(kind, _)| !kind.starts_with("task-"));
        let mut messages: Vec<(String, Value)> = workers.map(|(kind, event)| (kind.replace('-', "."), event)).collect();
        if !tasks.is_empty() {
            messages.push(("task.multi".into(), Value::Array(tasks)));
        }
        for (key, body) in messages {
            let properties = json!({"delivery_mode": 1, "delivery_info": {"exchange": "celeryev", "routing_key": key}, "priority": 0});
            let message = envelope(&body, json!({"hostname": node}), properties);
            let channel = broker.keys.channel(&format!("celeryev/{key}"));
            if let Err(error) = broker.messages.ask_one(cmd("PUBLISH").arg(channel).arg(message)).await {
                tracing::debug!(%error, "an event was not sent");
            }
        }
    }
}

pub fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The load of this machine over 1, 5 and 15 minutes.
pub fn load() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut words = text.split_whitespace().map(|w| w.parse().unwrap_or(0.0));
    std::array::from_fn(|_| words.next().unwrap_or(0.0))
}
