//! What `celery inspect` and Flower ask.

use super::Edge;
use super::control::Request;
use super::desk::Task;
use serde_json::{Map, Value, json};
use std::sync::{Arc, PoisonError};

impl Edge {
    /// Answers a question; none: it is no question that we know.
    pub async fn inspected(&self, request: &Request) -> Option<Value> {
        let now = self.clock.now();
        let is_running = |task: &Arc<Task>| task.state().started_at.is_some();
        let infos = |wanted: &dyn Fn(&Arc<Task>) -> bool| self.desk.all().iter().filter(|t| wanted(t)).map(|t| self.info(t)).collect::<Vec<_>>();
        Some(match request.method.as_str() {
            "ping" => json!({"ok": "pong"}),
            "stats" => self.stats().await,
            "active" | "dump_active" => json!(infos(&is_running)),
            "reserved" | "dump_reserved" => json!(infos(&|t| !is_running(t) && !t.is_for_later(now))),
            "scheduled" | "dump_schedule" => {
                let later = self.desk.all().into_iter().filter(|t| !is_running(t) && t.is_for_later(now));
                later.map(|t| json!({"eta": t.message.eta, "priority": t.message.priority, "request": self.info(&t)})).collect()
            }
            "revoked" | "dump_revoked" => json!(*self.revoked.read().unwrap_or_else(PoisonError::into_inner)),
            "registered" | "dump_tasks" => json!(self.table.names().collect::<Vec<_>>()),
            "active_queues" => self.consumed().iter().map(|queue| queue_info(queue)).collect(),
            "query_task" => {
                let ids = ids_of(request.arguments.get("ids"));
                let found = self.desk.all().into_iter().filter(|t| ids.contains(&t.message.id));
                let state = |t: &Arc<Task>| {
                    if is_running(t) {
                        "active"
                    } else if t.is_for_later(now) {
                        "scheduled"
                    } else {
                        "reserved"
                    }
                };
                Value::Object(found.map(|t| (t.message.id.clone(), json!([state(&t), self.info(&t)]))).collect())
            }
            "conf" | "dump_conf" => self.configuration(),
            "report" => json!({"ok": format!("software -> millrace:{}\nnode -> {}", env!("CARGO_PKG_VERSION"), self.node)}),
            "clock" => json!({"clock": self.ticks.now()}),
            "memsample" | "memdump" => json!(null),
            _ => return None,
        })
    }

    fn info(&self, task: &Task) -> Value {
        let (message, state) = (&task.message, task.state());
        json!({
            "id": message.id, "name": message.task, "args": message.args, "kwargs": message.kwargs, "type": message.task, "hostname": self.node,
            "time_start": state.started_at.map(|at| at.as_millisecond() as f64 / 1000.0), "acknowledged": false,
            "delivery_info": {"exchange": "", "routing_key": message.queue, "priority": message.priority, "redelivered": message.redelivered},
            "worker_pid": state.started_at.map(|_| std::process::id()), "job_id": state.job,
        })
    }

    pub fn processed(&self) -> u64 {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    async fn stats(&self) -> Value {
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let slots = self.slots().await;
        let broker = self.settings.broker_url.as_deref().unwrap_or_default();
        let (hostname, port, database) = place(broker);
        json!({
            "total": totals, "pid": std::process::id(), "clock": self.ticks.now().to_string(), "uptime": self.started.elapsed().as_secs(),
            "pool": {"implementation": "millrace", "max-concurrency": slots, "processes": [std::process::id()]},
            "broker": {
                "hostname": hostname, "port": port, "transport": "redis", "virtual_host": database, "userid": null, "ssl": broker.starts_with("rediss"),
                "login_method": null, "connect_timeout": 4, "heartbeat": 0, "alternates": [], "failover_strategy": "round-robin",
                "transport_options": {}, "insist": false, "uri_prefix": null,
            },
            "prefetch_count": self.settings.prefetch, "rusage": {}, "parked": unknown,
        })
    }

    /// The slots of the queues, as set now.
    async fn slots(&self) -> u64 {
        let tunings = self.intake.store.tunings().await.unwrap_or_default();
        let slots = |(name, queue): (&str, &crate::queue::Queue)| {
            u64::from(tunings.get(name).and_then(|t| t.concurrency).unwrap_or(queue.settings.concurrency))
        };
        self.intake.queues.iter().map(slots).sum()
    }

    fn configuration(&self) -> Value {
        let settings = &self.settings;
        let mut conf = Map::new();
        conf.insert("broker_url".into(), masked(settings.broker_url.as_deref()).into());
        conf.insert("result_backend".into(), masked(settings.result_backend.as_deref().or(settings.broker_url.as_deref())).into());
        conf.insert("task_default_queue".into(), settings.default_queue.as_str().into());
        conf.insert("result_expires".into(), (settings.result_expires.as_millis() / 1000).into());
        conf.insert("worker_prefetch_multiplier".into(), settings.prefetch.into());
        conf.insert("task_acks_late".into(), true.into());
        conf.insert("task_track_started".into(), true.into());
        let options = json!({"visibility_timeout": settings.visibility_timeout.as_millis() / 1000, "priority_steps": settings.priority_steps});
        conf.insert("broker_transport_options".into(), options);
        Value::Object(conf)
    }
}

/// One id or a list of them.
pub fn ids_of(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn queue_info(queue: &str) -> Value {
    json!({
        "name": queue, "exchange": {"name": queue, "type": "direct", "durable": true}, "routing_key": queue, "durable": true, "exclusive": false,
        "auto_delete": false, "no_ack": false, "alias": null, "bindings": [], "no_declare": null, "expires": null, "message_ttl": null,
        "max_length": null, "max_length_bytes": null, "max_priority": null, "queue_arguments": null, "binding_arguments": null, "consumer_arguments": null,
    })
}

/// Without what stands before the @.
fn masked(url: Option<&str>) -> String {
    let url = url.unwrap_or_default();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://********@{host}"),
        _ => url.to_owned(),
    }
}

fn place(url: &str) -> (String, u16, String) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let (host, database) = rest.split_once('/').unwrap_or((rest, "0"));
    let (host, port) = host.rsplit_once(':').unwrap_or((host, "6379"));
    (host.to_owned(), port.parse().unwrap_or(6379), database.split(['?', '#']).next().unwrap_or("0").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_told() {
        assert_eq!(masked(Some("redis://u:secret@h:1/2")), "redis://********@h:1/2");
        assert_eq!(place("redis://u:p@h:1/2"), ("h".into(), 1, "2".into()));
        assert_eq!(place("redis://h"), ("h".into(), 6379, "0".into()));
    }
}
