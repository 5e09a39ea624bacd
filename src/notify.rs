//! Tells people and programs what becomes of jobs: takes letters from the outbox, delivers each at least once, and tries for a day.
//!
//! [`webhook`] asks URLs that clients name, [`hook`] runs what a queue's file names, [`email`] writes mails.

pub mod email;
mod hook;
mod meters;
mod schedule;
mod secret;
mod webhook;
mod words;

pub use email::{Mail, MailSettings};
pub use meters::LetterMeters;
pub use secret::Secrets;
pub use webhook::{WebhookSettings, Webhooks};

use crate::clock::SharedClock;
use crate::job::HookKind;
use crate::queue::Queues;
use crate::store::{Delivery, DeliveryState, Due, Notice, Settled, Store, Target, Try};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Deliveries under way at a time.
const UNDER_WAY_MAX: usize = 64;
/// Between two looks, should a notice be lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Keeping what came of a try takes no longer.
const LEASE_BEYOND_TRY: Duration = Duration::from_secs(10);
/// What is under way when the service stops may take so long; what is cut off is delivered again.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// What a try came to.
#[derive(Debug)]
pub struct Tried {
    pub end: End,
    pub status: Option<u16>,
    pub answer: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Delivered,
    /// To be tried again by the schedule.
    Failed,
    /// Not tried at all; at this time, then.
    Postponed(Timestamp),
    /// No other try would do better.
    Hopeless,
    /// The same, and nothing more is to be sent to this URL.
    SwitchedOff(String),
}

impl Tried {
    pub fn failed(why: impl std::fmt::Display) -> Tried {
        Tried { end: End::Failed, status: None, answer: Some(why.to_string()) }
    }

    fn is_put_off(&self) -> bool {
        matches!(self.end, End::Postponed(_))
    }
}

pub struct Notifier {
    pub store: Arc<dyn Store>,
    pub clock: SharedClock,
    pub queues: Arc<Queues>,
    pub webhooks: Arc<Webhooks>,
    /// None: no mail is configured; letters that wait for one die.
    pub mail: Option<Mail>,
    pub meters: Arc<LetterMeters>,
}

impl Notifier {
    /// Delivers until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let notifier = Arc::new(self);
        let mut notices = notifier.store.notices();
        let mut under_way = JoinSet::new();
        while !stop.is_cancelled() {
            let taken = match notifier.take(UNDER_WAY_MAX.saturating_sub(under_way.len())).await {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::warn!(%error, "letters cannot be taken");
                    Vec::new()
                }
            };
            for some in taken {
                let notifier = notifier.clone();
                under_way.spawn(async move { notifier.deliver(some).await });
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = written(&mut notices), if under_way.len() < UNDER_WAY_MAX => {}
                _ = under_way.join_next(), if !under_way.is_empty() => {}
                () = stop.cancelled() => {}
            }
        }
        // What does not end in time is due again when its lease has run out.
        let _ = tokio::time::timeout(DRAIN_WITHIN, async { while under_way.join_next().await.is_some() {} }).await;
    }

    /// What is due, in the parts that are delivered together.
    async fn take(&self, max: usize) -> Result<Vec<Vec<Due>>, crate::store::StoreError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let until = now.saturating_add(self.webhooks.timeout() + LEASE_BEYOND_TRY).unwrap_or(Timestamp::MAX);
        let (mails, others): (Vec<Due>, Vec<Due>) =
            self.store.take_due(max, until, now).await?.into_iter().partition(|due| matches!(due.delivery.target, Target::Email { .. }));
        let mut parts: Vec<Vec<Due>> = others.into_iter().map(|due| vec![due]).collect();
        parts.extend(email::by_reader(mails));
        Ok(parts)
    }

    /// Tries to deliver these together, and keeps what came of it.
    async fn deliver(&self, some: Vec<Due>) {
        let (begun, at) = (Instant::now(), self.clock.now());
        let timeout = self.webhooks.timeout();
        let tried = tokio::time::timeout(timeout, self.tried(&some, at)).await;
        let tried = tried.unwrap_or_else(|_| Tried::failed(format!("it took longer than {} ms", timeout.as_millis())));
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        for due in some {
            let settled = settled(due.delivery, &tried, at, duration_ms);
            if settled.delivery.state == DeliveryState::Dead {
                tracing::warn!(delivery = settled.delivery.id, answer = tried.answer, "a letter is given up; it can be replayed");
            }
            self.meters.settled(&settled.delivery, &tried);
            match self.store.settle(settled, self.clock.now()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => tracing::debug!("a letter was taken by somebody else meanwhile"),
                Err(error) => tracing::warn!(%error, "what came of a letter cannot be kept; it is delivered again"),
            }
        }
    }

    async fn tried(&self, some: &[Due], now: Timestamp) -> Tried {
        let Some(due) = some.first() else { return Tried::failed("nothing to tell") };
        match &due.delivery.target {
            Target::Webhook { url } => self.webhooks.send(due, url, now).await,
            Target::Hook { hook } => match self.hook(&due.delivery.queue, *hook) {
                Some(url) if hook::is_url(url) => self.webhooks.send_trusted(due, url, now).await,
                Some(command) => hook::run(command, &webhook::body(due)).await,
                None => Tried { end: End::Hopeless, status: None, answer: Some("the queue has no such hook any more".into()) },
            },
            Target::Email { to } => match &self.mail {
                Some(mail) => mail.send(to.as_deref(), some, now).await,
                None => Tried { end: End::Hopeless, status: None, answer: Some("no mail is configured (email.smtp)".into()) },
            },
        }
    }

    fn hook(&self, queue: &str, kind: HookKind) -> Option<&str> {
        self.queues.get(queue)?.settings.hooks.get(kind)
    }
}

/// The letter after a try.
fn settled(mut delivery: Delivery, tried: &Tried, at: Timestamp, duration_ms: u64) -> Settled {
    if let End::Postponed(until) = tried.end {
        delivery.next_try = Some(until);
        return Settled { delivery, switched_off: None };
    }
    delivery.tries.push(Try { at, duration_ms, status: tried.status, answer: tried.answer.clone() });
    let again = (tried.end == End::Failed).then(|| schedule::next(&delivery, at)).flatten();
    delivery.next_try = again;
    delivery.state = match (&tried.end, again) {
        (End::Delivered, _) => DeliveryState::Delivered,
        (_, Some(_)) => DeliveryState::Pending,
        (_, None) => DeliveryState::Dead,
    };
    let switched_off = if let End::SwitchedOff(url) = &tried.end { Some(url.clone()) } else { None };
    Settled { delivery, switched_off }
}

/// Returns when there are letters, or may be.
async fn written(notices: &mut broadcast::Receiver<Notice>) {
    loop {
        match notices.recv().await {
            Ok(Notice::Delivery) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
