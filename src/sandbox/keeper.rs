//! Keeps one kind of zygote: asks the fork server for it, speaks with it, replaces one that is worn out or was lost.
//!
//! A zygote's children die with it, and it dies with the fork server.

use super::fork_server::{ForkServer, bury};
use super::launch::{Answer, HOME_PREFIX, Launched, Line, Request};
use super::probe::Measured;
use super::wire::{self, Launch, Told};
use super::{Exit, LaunchError};
use crate::limits::Size;
use rustix::process::{Signal, pidfd_send_signal};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// How often a launch is tried again when its zygote dies under it.
const TRIES: u32 = 3;
/// A zygote that could not warm up is not started again before this.
const UNFIT_FOR: Duration = Duration::from_secs(5);

/// When a zygote is worn out: a fresh one takes its place, and it ends with the last of its children.
#[derive(Debug, Clone, Copy)]
pub struct Wear {
    /// Children it may have had.
    pub jobs_max: u64,
    /// What it may hold in memory beyond what it held at its first child.
    pub growth_max: Size,
}

impl Default for Wear {
    fn default() -> Self {
        Wear { jobs_max: 10_000, growth_max: Size::mib(256) }
    }
}

/// The thread that keeps the zygotes of one kind: the running one, and those that only see their last children off.
pub(super) struct Keeper {
    line: Arc<Line>,
    fork_server: Arc<ForkServer>,
    wear: Wear,
    running: Option<Running>,
    retired: Vec<Running>,
    unfit: Option<(Instant, String)>,
    /// In a row, while they warmed up.
    deaths: u32,
    next_id: u64,
}

struct Running {
    /// Its home and place for temporary files, removed when it has ended.
    _home: TempDir,
    /// What the fork server has forked.
    process: Option<OwnedFd>,
    /// The process that forks: the same, or its successor in a pid namespace.
    zygote: Option<OwnedFd>,
    socket: OwnedFd,
    measured: Option<Measured>,
    measuring: Vec<Answer<Measured>>,
    /// Asked for, not yet forked. The child's socket is kept, to try again with another zygote.
    pending: HashMap<u64, (OwnedFd, Answer<Launched>, u32)>,
    children: HashMap<u64, (Arc<OwnedFd>, oneshot::Sender<Exit>)>,
    jobs: u64,
    /// Held in memory at its first child, and at its last.
    memory: Option<(u64, u64)>,
}

/// Why a zygote is of no use any more.
enum Lost {
    Died,
    Unfit(String),
}

impl Keeper {
    pub fn new(line: Arc<Line>, fork_server: Arc<ForkServer>, wear: Wear) -> Keeper {
        Keeper { line, fork_server, wear, running: None, retired: Vec::new(), unfit: None, deaths: 0, next_id: 0 }
    }

    pub fn keep(mut self) {
        while !self.line.closing.load(Ordering::Acquire) {
            let zygotes = self.retired.iter().chain(&self.running).map(|r| r.socket.as_fd());
            let Ok(ready) = wire::readable(&std::iter::once(self.line.wake.as_fd()).chain(zygotes).collect::<Vec<_>>(), -1) else { break };
            // From the last to the first, as those heard may go.
            for at in (0..self.retired.len()).rev().filter(|at| ready.get(at + 1) == Some(&true)) {
                self.hear_retired(at);
            }
            if self.running.is_some() && ready.last() == Some(&true) && ready.len() > 1 {
                self.hear();
            }
            if ready.first() == Some(&true) {
                let _ = rustix::io::read(&self.line.wake, &mut [0u8; 8]);
                self.take_requests();
            }
        }
        self.running.take().into_iter().chain(std::mem::take(&mut self.retired)).for_each(|zygote| self.lose(zygote, "the service is stopping"));
    }

    fn take_requests(&mut self) {
        loop {
            let Some(request) = self.line.queue().pop_front() else { return };
            if let Err(reason) = self.start() {
                let error = LaunchError::Unavailable(self.line.which.as_str(), reason);
                match request {
                    Request::Launch { answer, .. } => drop(answer.send(Err(error))),
                    Request::Measure(answer) => drop(answer.send(Err(error))),
                }
                continue;
            }
            let Some(running) = &mut self.running else { continue };
            match request {
                Request::Measure(answer) => match &running.measured {
                    Some(measured) => drop(answer.send(Ok(measured.clone()))),
                    None => running.measuring.push(answer),
                },
                Request::Launch { socket, answer, tries } => {
                    self.next_id += 1;
                    running.jobs += 1;
                    let sent = wire::send(running.socket.as_fd(), &Launch { id: self.next_id }, Some(socket.as_fd()));
                    running.pending.insert(self.next_id, (socket, answer, tries));
                    if sent.is_err() {
                        self.running.take().into_iter().for_each(|lost| self.lose(lost, "it does not answer"));
                    }
                }
            }
        }
    }

    /// Sees to it that a zygote runs that is not worn out.
    fn start(&mut self) -> Result<(), String> {
        if let Some(worn) = self.running.take_if(|running| running.is_worn(&self.wear)) {
            tracing::debug!(zygote = self.line.which.as_str(), jobs = worn.jobs, "a worn-out zygote is replaced");
            if worn.is_childless() { self.lose(worn, "it is worn out") } else { self.retired.push(worn) }
        }
        if self.running.is_some() {
            return Ok(());
        }
        if let Some((_, reason)) = self.unfit.as_ref().filter(|(since, _)| since.elapsed() < UNFIT_FOR) {
            return Err(reason.clone());
        }
        let home = tempfile::Builder::new().prefix(&format!("{HOME_PREFIX}{}-", std::process::id())).tempdir().map_err(|e| e.to_string())?;
        let socket = self.fork_server.bear(self.line.which, home.path()).map_err(|e| format!("the fork server: {e}"))?;
        self.running = Some(Running::new(home, socket));
        Ok(())
    }

    fn hear(&mut self) {
        let Some(mut zygote) = self.running.take() else { return };
        match zygote.hear(self.line.which.as_str()) {
            Ok(()) => {
                if zygote.measured.is_some() {
                    (self.unfit, self.deaths) = (None, 0);
                }
                self.running = Some(zygote);
            }
            Err(Lost::Died) => self.lose(zygote, "it died"),
            Err(Lost::Unfit(reason)) => {
                self.unfit = Some((Instant::now(), reason.clone()));
                self.lose(zygote, &reason);
            }
        }
    }

    fn hear_retired(&mut self, at: usize) {
        let mut zygote = self.retired.swap_remove(at);
        match zygote.hear(self.line.which.as_str()) {
            Ok(()) if !zygote.is_childless() => self.retired.push(zygote),
            _ => self.lose(zygote, "it died"),
        }
    }

    /// Buries a zygote and its children; launches that were not answered go back to the queue.
    fn lose(&mut self, lost: Running, reason: &str) {
        drop(lost.socket);
        lost.process.iter().chain(&lost.zygote).for_each(bury);
        let level = lost.measured.as_ref().map_or(0, |m| m.level);
        // One that was never born went down with its fork server; one that dies young may have been killed.
        self.deaths += u32::from(lost.measured.is_none() && lost.process.is_some());
        let unfit = self.deaths >= TRIES;
        if unfit && self.unfit.is_none() {
            self.unfit = Some((Instant::now(), format!("the zygote ended while warming up: {reason}")));
        }
        for (pidfd, ended) in lost.children.into_values() {
            bury(&pidfd);
            let _ = ended.send(Exit::lost(level));
        }
        let error = || LaunchError::Unavailable(self.line.which.as_str(), reason.to_owned());
        lost.measuring.into_iter().for_each(|answer| drop(answer.send(Err(error()))));
        for (socket, answer, tries) in lost.pending.into_values() {
            if tries < TRIES && !unfit {
                self.line.push(Request::Launch { socket, answer, tries: tries + 1 });
            } else {
                let _ = answer.send(Err(error()));
            }
        }
    }
}

impl Running {
    fn new(home: TempDir, socket: OwnedFd) -> Running {
        Running {
            _home: home,
            process: None,
            zygote: None,
            socket,
            measured: None,
            measuring: Vec::new(),
            pending: HashMap::new(),
            children: HashMap::new(),
            jobs: 0,
            memory: None,
        }
    }

    fn is_worn(&self, wear: &Wear) -> bool {
        self.jobs >= wear.jobs_max || self.memory.is_some_and(|(first, last)| last.saturating_sub(first) > wear.growth_max.0)
    }

    fn is_childless(&self) -> bool {
        self.children.is_empty() && self.pending.is_empty() && self.measuring.is_empty()
    }

    fn hear(&mut self, name: &'static str) -> Result<(), Lost> {
        match wire::receive::<Told>(self.socket.as_fd()) {
            Ok(Some((Told::Born, pidfd))) => self.process = pidfd,
            Ok(Some((Told::Ready(measured), pidfd))) => {
                self.zygote = pidfd;
                self.measuring.drain(..).for_each(|answer| drop(answer.send(Ok(measured.clone()))));
                self.measured = Some(measured);
            }
            Ok(Some((Told::Launched { id, memory_bytes }, Some(pidfd)))) => {
                self.memory = Some((self.memory.map_or(memory_bytes, |(first, _)| first), memory_bytes));
                if let Some((_, answer, _)) = self.pending.remove(&id) {
                    let (pidfd, (ended, exit)) = (Arc::new(pidfd), oneshot::channel());
                    self.children.insert(id, (pidfd.clone(), ended));
                    if let Err(Ok(unwanted)) = answer.send(Ok(Launched { pidfd, exit })) {
                        let _ = pidfd_send_signal(&*unwanted.pidfd, Signal::KILL);
                    }
                }
            }
            Ok(Some((Told::Refused { id, reason }, _))) => {
                if let Some((_, answer, _)) = self.pending.remove(&id) {
                    let _ = answer.send(Err(LaunchError::Unavailable(name, reason)));
                }
            }
            Ok(Some((Told::Exited { id, exit }, _))) => {
                if let Some((_, ended)) = self.children.remove(&id) {
                    let _ = ended.send(exit);
                }
            }
            Ok(Some((Told::Unfit(reason), _))) => return Err(Lost::Unfit(reason)),
            Ok(Some((Told::Launched { .. }, None)) | None) | Err(_) => return Err(Lost::Died),
        }
        Ok(())
    }
}
