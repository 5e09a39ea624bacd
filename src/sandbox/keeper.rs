//! Keeps one kind of zygote: asks the fork server for it, speaks with it, replaces one that is worn out or was lost.
//!
//! A zygote's children die with it, and it dies with the fork server.

mod brood;

use super::fork_server::{ForkServer, bury};
use super::launch::{HOME_PREFIX, Line, Request};
use super::wire;
use super::{Exit, LaunchError};
use crate::limits::Size;
use brood::{Brood, Lost};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

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
    running: Option<Brood>,
    retired: Vec<Brood>,
    unfit: Option<(Instant, String)>,
    /// In a row, while they warmed up.
    deaths: u32,
}

impl Keeper {
    pub fn new(line: Arc<Line>, fork_server: Arc<ForkServer>, wear: Wear) -> Keeper {
        Keeper { line, fork_server, wear, running: None, retired: Vec::new(), unfit: None, deaths: 0 }
    }

    pub fn keep(mut self) {
        while !self.line.closing.load(Ordering::Acquire) {
            let zygotes = self.retired.iter().chain(&self.running).map(|r| r.socket.as_fd());
            let wait_ms = self.let_go_in().map_or(-1, |wait| i32::try_from(wait.as_millis()).unwrap_or(i32::MAX) + 1);
            let Ok(ready) = wire::readable(&std::iter::once(self.line.wake.as_fd()).chain(zygotes).collect::<Vec<_>>(), wait_ms) else { break };
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
            if self.let_go_in().is_some_and(|wait| wait.is_zero()) {
                self.running.iter_mut().for_each(Brood::let_go);
            }
        }
        self.running.take().into_iter().chain(std::mem::take(&mut self.retired)).for_each(|zygote| self.lose(zygote, "the service is stopping"));
    }

    /// How long the child that was forked ahead may still wait.
    fn let_go_in(&self) -> Option<Duration> {
        let until = self.running.as_ref()?.waits_until()?;
        Some(until.saturating_duration_since(Instant::now()))
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
                Request::Measure(answer) => running.measure(answer),
                Request::Launch { answer, tries } => {
                    if running.launch(answer, tries).is_err() {
                        self.running.take().into_iter().for_each(|lost| self.lose(lost, "it does not answer"));
                    }
                }
            }
        }
    }

    /// Sees to it that a zygote runs that is not worn out.
    fn start(&mut self) -> Result<(), String> {
        if let Some(mut worn) = self.running.take_if(|running| running.is_worn(&self.wear)) {
            tracing::debug!(zygote = self.line.which.as_str(), jobs = worn.jobs, "a worn-out zygote is replaced");
            worn.let_go();
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
        self.running = Some(Brood::new(home, socket));
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
    fn lose(&mut self, lost: Brood, reason: &str) {
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
        for (answer, tries) in lost.pending.into_values().filter_map(|pending| pending.wanted) {
            if tries < TRIES && !unfit {
                self.line.push(Request::Launch { answer, tries: tries + 1 });
            } else {
                let _ = answer.send(Err(error()));
            }
        }
    }
}
