//! The attempts under way in this process: what the heartbeat tells the store about them, and how they are ended.

use crate::convert::Level;
use crate::job::{CancelMode, Disclosure, Lease, LogLine, Media};
use crate::progress::Progress;
use crate::store::{PoolPresence, Renewal};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Why an attempt is being ended from outside. The first one wins, but for a soft time limit that was not heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Cancelled,
    SoftTimeLimit,
    HardTimeLimit,
    Stalled,
    Interrupted,
    LeaseLost,
}

/// One attempt under way.
pub struct RunningAttempt {
    pub lease: Lease,
    queue: String,
    cause: Mutex<Option<Cause>>,
    /// Asks the converter to stop.
    pub stop: CancellationToken,
    /// Kills the child.
    pub kill: CancellationToken,
    news: Mutex<News>,
    /// What the input gives away, once it was looked into.
    disclosed: OnceLock<BTreeSet<Disclosure>>,
    /// Budgets in milliseconds; a live change arrives with the heartbeat.
    limits: Mutex<(u64, u64)>,
}

/// What the store has not been told yet.
#[derive(Default)]
struct News {
    progress: Option<Progress>,
    outputs: BTreeMap<String, Progress>,
    media: Option<Media>,
    log: Vec<LogLine>,
}

/// Log lines that may wait for the next heartbeat; a flood beyond it is dropped.
const LOG_WAITING_MAX: usize = 500;
const MESSAGE_MAX_CHARS: usize = 2000;

impl RunningAttempt {
    pub fn new(lease: Lease, queue: &str, soft_ms: u64, hard_ms: u64) -> Arc<Self> {
        Arc::new(RunningAttempt {
            lease,
            queue: queue.to_owned(),
            cause: Mutex::default(),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            news: Mutex::default(),
            disclosed: OnceLock::new(),
            limits: Mutex::new((soft_ms, hard_ms)),
        })
    }

    /// Ends the attempt for `cause`, unless it is being ended for another one already.
    pub fn end(&self, cause: Cause) {
        let mut first = lock(&self.cause);
        if first.is_none() || (*first, cause) == (Some(Cause::SoftTimeLimit), Cause::HardTimeLimit) {
            *first = Some(cause);
        }
        drop(first);
        match cause {
            Cause::Cancelled | Cause::SoftTimeLimit | Cause::Interrupted => self.stop.cancel(),
            Cause::HardTimeLimit | Cause::Stalled | Cause::LeaseLost => self.kill.cancel(),
        }
    }

    pub fn cancel(&self, mode: CancelMode) {
        self.end(Cause::Cancelled);
        if mode == CancelMode::Kill {
            self.kill.cancel();
        }
    }

    pub fn cause(&self) -> Option<Cause> {
        *lock(&self.cause)
    }

    /// Soft and hard budget in milliseconds.
    pub fn limits(&self) -> (u64, u64) {
        *lock(&self.limits)
    }

    pub fn set_limits(&self, soft_ms: u64, hard_ms: u64) {
        *lock(&self.limits) = (soft_ms, hard_ms);
    }

    /// Progress of the output `group`, which is number `n` of `total` that this attempt makes, counted from 0.
    pub fn progress(&self, group: &str, (n, total): (usize, usize), elapsed_s: f64, progress: Progress) {
        let mut progress = progress.tamed();
        let share = (n as f64 * 100.0 + progress.percent) / total.max(1) as f64;
        progress.eta_s = (share >= 1.0).then(|| elapsed_s * (100.0 - share) / share);
        let mut news = lock(&self.news);
        news.progress = Some(Progress { percent: share.min(99.9), ..progress.clone() });
        news.outputs.insert(group.to_owned(), progress);
    }

    pub fn media(&self, media: Media) {
        if let Some(found) = &media.discloses {
            let _ = self.disclosed.set(found.clone());
        }
        lock(&self.news).media = Some(media);
    }

    /// What the input gives away; none: not known.
    pub fn disclosed(&self) -> Option<&BTreeSet<Disclosure>> {
        self.disclosed.get()
    }

    pub fn log(&self, at: Timestamp, level: Level, source: &str, message: &str) {
        let mut news = lock(&self.news);
        if news.log.len() < LOG_WAITING_MAX {
            let message = message.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).take(MESSAGE_MAX_CHARS).collect();
            news.log.push(LogLine { at, attempt: self.lease.attempt, level: level.as_str().into(), source: source.into(), message });
        }
    }

    /// What no heartbeat has carried yet and the end of the attempt must: the input's measures and the last lines.
    pub fn take_rest(&self) -> (Option<Media>, Vec<LogLine>) {
        let news = std::mem::take(&mut *lock(&self.news));
        (news.media, news.log)
    }

    /// What is new since the last call, if anything is.
    fn take_news(&self) -> Option<Renewal> {
        let news = std::mem::take(&mut *lock(&self.news));
        let any = news.progress.is_some() || news.media.is_some() || !news.log.is_empty();
        any.then(|| self.renewal(news))
    }

    fn renewal(&self, news: News) -> Renewal {
        Renewal { lease: self.lease, progress: news.progress, outputs: news.outputs.into_iter().collect(), media: news.media, log: news.log }
    }
}

/// Every attempt under way.
#[derive(Default)]
pub struct Running {
    attempts: Mutex<HashMap<Lease, Arc<RunningAttempt>>>,
    /// Slots by queue.
    slots: Mutex<BTreeMap<String, u32>>,
    /// An attempt that begins after the interruption has begun is interrupted too.
    draining: AtomicBool,
    /// Told whenever an attempt is over.
    ended: Notify,
}

impl Running {
    pub fn add(self: &Arc<Self>, attempt: Arc<RunningAttempt>) -> Enrolled {
        lock(&self.attempts).insert(attempt.lease, attempt.clone());
        if self.draining.load(Ordering::SeqCst) {
            attempt.end(Cause::Interrupted);
        }
        Enrolled { all: self.clone(), lease: attempt.lease }
    }

    /// Returns once no attempt is under way.
    pub async fn emptied(&self) {
        loop {
            // Armed before the look.
            let ended = self.ended.notified();
            if lock(&self.attempts).is_empty() {
                return;
            }
            ended.await;
        }
    }

    pub fn get(&self, lease: Lease) -> Option<Arc<RunningAttempt>> {
        lock(&self.attempts).get(&lease).cloned()
    }

    fn all(&self) -> Vec<Arc<RunningAttempt>> {
        lock(&self.attempts).values().cloned().collect()
    }

    /// Renewals for attempts with news, or for all.
    pub fn renewals(&self, all: bool) -> Vec<Renewal> {
        let attempts = self.all();
        attempts.iter().filter_map(|a| a.take_news().or_else(|| all.then(|| a.renewal(News::default())))).collect()
    }

    pub fn set_slots(&self, queue: &str, n: u32) {
        let mut slots = lock(&self.slots);
        if slots.get(queue) != Some(&n) {
            slots.insert(queue.to_owned(), n);
        }
    }

    /// The pools of this process and what runs in them.
    pub fn pools(&self) -> Vec<PoolPresence> {
        let attempts = self.all();
        let running = |queue: &str| {
            let mut running: Vec<_> = attempts.iter().filter(|a| a.queue == queue).map(|a| a.lease.job).collect();
            running.sort();
            running
        };
        lock(&self.slots).iter().map(|(queue, slots)| PoolPresence { queue: queue.clone(), slots: *slots, running: running(queue) }).collect()
    }

    /// What begins from now on is not interrupted.
    pub fn resume(&self) {
        self.draining.store(false, Ordering::SeqCst);
    }

    pub fn interrupt(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.all().iter().for_each(|a| a.end(Cause::Interrupted));
    }

    pub fn lose_all(&self) {
        self.all().iter().for_each(|a| a.end(Cause::LeaseLost));
    }
}

/// Takes an attempt off the list when it goes away.
pub struct Enrolled {
    all: Arc<Running>,
    lease: Lease,
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        lock(&self.all.attempts).remove(&self.lease);
        self.all.ended.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
