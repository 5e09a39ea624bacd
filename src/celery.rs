//! The Celery edge: Millrace as a worker on a site's Redis broker. A site keeps its `delay()` and `AsyncResult`, and stops its workers.
//!
//! One task, one line: [`gateway`] takes a message (one script: it stands in `unacked` before anybody sees it) -> [`accept`] reads it
//! ([`wire`], [`body`]), finds what its name means ([`tasks`]) and submits it through the intake, under a key that makes a second time
//! the same job -> the message's lease is renewed while the job waits and runs -> [`watch`] tells of its start and progress -> [`settle`]
//! puts outputs in their [`place`], then writes the result ([`results`]), sends what follows ([`canvas`]) and ends the message, in one
//! script where both are on one server ([`finish`]).
//!
//! Who dies at any point leaves the message in `unacked`; the others give it back within ten seconds, under a fresh delivery tag, and
//! whoever takes it finds the job it stands for. [`control`] answers `celery inspect` and `celery control`, [`events`] feeds Flower,
//! and [`outlet`] sends what schedules send.

mod accept;
mod answers;
mod body;
mod broker;
mod canvas;
mod control;
mod desk;
mod events;
mod finish;
mod gateway;
mod keys;
mod orders;
mod outlet;
mod place;
mod repr;
mod results;
mod settings;
mod settle;
mod tasks;
mod watch;
mod wire;

pub use outlet::Outlet;
pub use settings::{Direction, ResultShape, Settings, TaskSettings};

use crate::clock::SharedClock;
use crate::intake::Intake;
use crate::link::{Address, Link};
use broker::Broker;
use canvas::Routes;
use desk::Desk;
use events::{Events, Ticks};
use keys::Keys;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tasks::Table;
use tokio::sync::{Notify, watch as channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::Message;

/// Revoked ids are kept for so long, and so many of them.
const REVOKED_FOR_S: u64 = 3 * 3600;
const REVOKED_MAX: i64 = 50_000;
/// What is being accepted or settled when the service stops has this long.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What all parts of the edge share.
pub struct Edge {
    node: String,
    settings: Settings,
    broker: Arc<Broker>,
    table: Table,
    routes: Routes,
    intake: Arc<Intake>,
    output_roots: Vec<PathBuf>,
    clock: SharedClock,
    desk: Desk,
    events: Events,
    ticks: Arc<Ticks>,
    consumed: RwLock<BTreeSet<String>>,
    revoked: RwLock<BTreeSet<String>>,
    /// Ended tasks by name, and names that nobody knows.
    totals: Mutex<BTreeMap<String, u64>>,
    unknown: Mutex<BTreeSet<String>>,
    started: Instant,
    /// There may be something to take.
    wake: Notify,
    /// Told after each look at the queues: was there room, and nothing to take?
    looked: channel::Sender<bool>,
    stop: CancellationToken,
    work: TaskTracker,
}

/// The running edge.
pub struct Running(Arc<Edge>);

/// What the edge works with.
pub struct Site {
    pub intake: Arc<Intake>,
    pub clock: SharedClock,
    pub input_roots: Vec<PathBuf>,
    pub output_roots: Vec<PathBuf>,
}

impl Running {
    /// Connects to the broker and begins to take; None without a broker.
    pub async fn start(settings: &Settings, site: Site) -> Result<Option<Running>, String> {
        let Some(broker_url) = &settings.broker_url else { return Ok(None) };
        let messages = Address::parse(broker_url).map_err(|e| format!("celery.broker_url: {e}"))?;
        let results = Address::parse(settings.result_backend.as_ref().unwrap_or(broker_url)).map_err(|e| format!("celery.result_backend: {e}"))?;
        let databases = (messages.database(), results.database());
        let one_server = messages.is_same_server(&results).then_some(databases);
        let node = settings.node();
        let keys = Keys::new(settings, databases.0, format!("{node}:{}", uuid::Uuid::now_v7().simple()));
        let link = |address| Link::new(address, broker::load_all);
        let mut broker = Broker { messages: link(messages), results: link(results), keys, result_expires: settings.result_expires, one_server };
        if one_server.is_some() && databases.0 != databases.1 && !broker.can_select(databases.1).await {
            tracing::info!("scripts may not change their database on this broker: tasks end in two steps");
            broker.one_server = None;
        }
        let broker = Arc::new(broker);
        broker.renew().await.map_err(|e| format!("celery.broker_url: {e}"))?;
        let ticks = Arc::<Ticks>::default();
        let edge = Arc::new(Edge {
            events: Events::start(broker.clone(), node.clone(), ticks.clone()),
            node,
            table: Table::new(settings.table()?, site.input_roots),
            routes: Routes::new(settings)?,
            settings: settings.clone(),
            broker,
            intake: site.intake,
            output_roots: site.output_roots,
            clock: site.clock,
            desk: Desk::default(),
            ticks,
            consumed: RwLock::new(settings.queues.iter().cloned().collect()),
            revoked: RwLock::default(),
            totals: Mutex::default(),
            unknown: Mutex::default(),
            started: Instant::now(),
            wake: Notify::new(),
            looked: channel::channel(false).0,
            stop: CancellationToken::new(),
            work: TaskTracker::new(),
        });
        edge.clone().begin().await.map_err(|e| format!("celery.broker_url: {e}"))?;
        tracing::info!(node = edge.node, queues = settings.queues.join(","), "takes tasks from Celery's broker");
        Ok(Some(Running(edge)))
    }

    /// Takes nothing more; what is not settled is given back.
    pub async fn stop(self) {
        let edge = self.0;
        edge.events.worker("worker-offline", edge.heartbeat());
        edge.stop.cancel();
        edge.work.close();
        if tokio::time::timeout(STOP_WITHIN, edge.work.wait()).await.is_err() {
            tracing::warn!("some tasks of Celery were still being accepted or settled; others take them over");
        }
        if let Err(error) = edge.broker.leave().await {
            tracing::warn!(%error, "messages could not be given back; other processes do that in some seconds");
        }
    }
}

impl Edge {
    async fn begin(self: Arc<Self>) -> crate::link::Result<()> {
        for queue in &self.settings.queues {
            self.bind(queue).await?;
            self.broker.unpark(queue).await?;
        }
        self.load_revoked().await?;
        self.events.worker("worker-online", self.heartbeat());
        self.clone().spawn_gateway();
        let (watching, answering) = (self.clone(), self.clone());
        let news = self.intake.store.notices();
        let after = self.intake.store.last_event().await.unwrap_or(0);
        self.work.spawn(watching.watch(news, after));
        self.work.spawn(answering.listen());
        Ok(())
    }

    fn consumed(&self) -> Vec<String> {
        self.consumed.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn is_revoked(&self, message: &Message) -> bool {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner).contains(&message.id)
    }

    fn count(&self, task: &str) {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner).entry(task.to_owned()).or_default() += 1;
    }

    /// Is this the first time that this name is not known?
    fn unknown(&self, task: &str) -> bool {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).insert(task.to_owned())
    }
}
