//! Tasks that Millrace sends of its own: those of schedules. Each goes out once, whatever becomes of the one who sends it: the broker
//! keeps the job's id, and a second attempt sends nothing.

use super::broker::{self, SEND};
use super::canvas::{Routes, Sender};
use super::keys::Keys;
use super::settings::Settings;
use super::tasks::Table;
use super::wire::Message;
use crate::job::JobId;
use crate::link::{Address, Link};
use crate::schedule::TaskQueues;
use crate::store::CeleryTask;
use serde_json::json;

/// No attempt of a job comes later than this.
const REMEMBERED_S: u64 = 7 * 86_400;

pub struct Outlet {
    broker: Link,
    keys: Keys,
    table: Table,
    routes: Routes,
    node: String,
}

impl Outlet {
    /// It connects when there is something to send; none without a broker.
    pub fn open(settings: &Settings) -> Result<Option<Outlet>, String> {
        let Some(url) = &settings.broker_url else { return Ok(None) };
        let address = Address::parse(url).map_err(|e| format!("celery.broker_url: {e}"))?;
        Ok(Some(Outlet {
            keys: Keys::new(settings, address.database(), String::new()),
            table: Table::new(settings.table()?, Vec::new()),
            routes: Routes::new(settings)?,
            node: settings.node(),
            broker: Link::new(address, broker::load_all),
        }))
    }
}

#[async_trait::async_trait]
impl TaskQueues for Outlet {
    async fn send(&self, id: JobId, task: &CeleryTask) -> Result<String, String> {
        let CeleryTask { task, args, kwargs, queue } = task;
        let signature = json!({"task": task, "args": args, "kwargs": kwargs, "options": {"task_id": id.0, "queue": queue}});
        let nobody = Message::default();
        let sender = Sender { keys: &self.keys, table: &self.table, routes: &self.routes, node: &self.node, parent: &nobody };
        for push in sender.first(&signature).pushes {
            let mut call = SEND.call(&[self.keys.sent(&id.to_string()), push.list.clone()]);
            self.broker.ask_one(call.arg(&push.message).arg(REMEMBERED_S)).await.map_err(|e| e.to_string())?;
        }
        Ok(queue.clone().unwrap_or_else(|| self.routes.queue(task, self.table.queue(task))))
    }
}
