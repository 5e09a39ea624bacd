//! A zygote and its children, as its keeper knows them.
//!
//! Where launches come close together, the next child is forked before it is wanted: it has cut its ties and waits for its order, so
//! that a launch does not wait for a fork.

use super::super::launch::{Answer, Launched};
use super::super::probe::Measured;
use super::super::wire::{self, Launch, Told};
use super::super::{Exit, LaunchError};
use super::Wear;
use rustix::process::{Signal, pidfd_send_signal};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Launches closer together than this have a child forked ahead; one that is not wanted for this long is let go.
const AHEAD_FOR: Duration = Duration::from_secs(2);

pub struct Brood {
    /// The zygote's home and place for temporary files, removed when it has ended.
    _home: TempDir,
    /// What the fork server has forked.
    pub process: Option<OwnedFd>,
    /// The process that forks: the same, or its successor in a pid namespace.
    pub zygote: Option<OwnedFd>,
    pub socket: OwnedFd,
    pub measured: Option<Measured>,
    pub measuring: Vec<Answer<Measured>>,
    /// Asked for, not yet forked.
    pub pending: HashMap<u64, Pending>,
    pub children: HashMap<u64, (Arc<OwnedFd>, oneshot::Sender<Exit>)>,
    ahead: Option<Ahead>,
    launched_at: Option<Instant>,
    last_id: u64,
    pub jobs: u64,
    /// Held in memory at its first child, and at its last.
    memory: Option<(u64, u64)>,
}

/// A child that is being forked.
pub struct Pending {
    /// Our end of its stream.
    socket: UnixStream,
    /// Who asked for it, and how often before; none: it is forked ahead.
    pub wanted: Option<(Answer<Launched>, u32)>,
}

/// The child that is forked before it is wanted.
enum Ahead {
    Asked(u64),
    Waiting(u64, Launched, Instant),
}

/// Why a zygote is of no use any more.
pub enum Lost {
    Died,
    Unfit(String),
}

impl Brood {
    pub fn new(home: TempDir, socket: OwnedFd) -> Brood {
        Brood {
            _home: home,
            process: None,
            zygote: None,
            socket,
            measured: None,
            measuring: Vec::new(),
            pending: HashMap::new(),
            children: HashMap::new(),
            ahead: None,
            launched_at: None,
            last_id: 0,
            jobs: 0,
            memory: None,
        }
    }

    pub fn is_worn(&self, wear: &Wear) -> bool {
        self.jobs >= wear.jobs_max || self.memory.is_some_and(|(first, last)| last.saturating_sub(first) > wear.growth_max.0)
    }

    pub fn is_childless(&self) -> bool {
        self.children.is_empty() && self.pending.is_empty() && self.measuring.is_empty()
    }

    pub fn measure(&mut self, answer: Answer<Measured>) {
        match &self.measured {
            Some(measured) => drop(answer.send(Ok(measured.clone()))),
            None => self.measuring.push(answer),
        }
    }

    /// Hands out the child that waits, or asks for one. Fails when the zygote does not answer; the answer is among the
    /// pending ones then.
    pub fn launch(&mut self, answer: Answer<Launched>, tries: u32) -> io::Result<()> {
        self.jobs += 1;
        let close = self.launched_at.replace(Instant::now()).is_some_and(|last| last.elapsed() < AHEAD_FOR);
        match self.ahead.take() {
            Some(Ahead::Waiting(_, child, _)) if is_alive(&child.pidfd) => hand_out(answer, child),
            Some(Ahead::Asked(id)) if self.pending.contains_key(&id) => {
                self.pending.entry(id).and_modify(|pending| pending.wanted = Some((answer, tries)));
            }
            _ => drop(self.fork(Some((answer, tries)))?),
        }
        if close {
            self.ahead = Some(Ahead::Asked(self.fork(None)?));
        }
        Ok(())
    }

    fn fork(&mut self, wanted: Option<(Answer<Launched>, u32)>) -> io::Result<u64> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        self.last_id += 1;
        self.pending.insert(self.last_id, Pending { socket: ours, wanted });
        wire::send(self.socket.as_fd(), &Launch { id: self.last_id }, Some(theirs.as_fd()))?;
        Ok(self.last_id)
    }

    /// When the child that waits is to be let go.
    pub fn waits_until(&self) -> Option<Instant> {
        match &self.ahead {
            Some(Ahead::Waiting(_, _, since)) => Some(*since + AHEAD_FOR),
            _ => None,
        }
    }

    /// Ends the child that was forked ahead.
    pub fn let_go(&mut self) {
        if let Some(Ahead::Waiting(_, child, _)) = self.ahead.take() {
            kill(&child);
        }
    }

    pub fn hear(&mut self, name: &'static str) -> Result<(), Lost> {
        match wire::receive::<Told>(self.socket.as_fd()) {
            Ok(Some((Told::Born, pidfd))) => self.process = pidfd,
            Ok(Some((Told::Ready(measured), pidfd))) => {
                self.zygote = pidfd;
                self.measuring.drain(..).for_each(|answer| drop(answer.send(Ok(measured.clone()))));
                self.measured = Some(measured);
            }
            Ok(Some((Told::Launched { id, memory_bytes }, Some(pidfd)))) => {
                self.memory = Some((self.memory.map_or(memory_bytes, |(first, _)| first), memory_bytes));
                self.welcome(id, pidfd);
            }
            Ok(Some((Told::Refused { id, reason }, _))) => {
                if let Some(Pending { wanted: Some((answer, _)), .. }) = self.pending.remove(&id) {
                    let _ = answer.send(Err(LaunchError::Unavailable(name, reason)));
                }
            }
            Ok(Some((Told::Exited { id, exit }, _))) => {
                if let Some((_, ended)) = self.children.remove(&id) {
                    let _ = ended.send(exit);
                }
                self.ahead.take_if(|ahead| matches!(ahead, Ahead::Waiting(waiting, ..) if *waiting == id));
            }
            Ok(Some((Told::Unfit(reason), _))) => return Err(Lost::Unfit(reason)),
            Ok(Some((Told::Launched { .. }, None)) | None) | Err(_) => return Err(Lost::Died),
        }
        Ok(())
    }

    fn welcome(&mut self, id: u64, pidfd: OwnedFd) {
        let Some(Pending { socket, wanted }) = self.pending.remove(&id) else { return };
        let (pidfd, (ended, exit)) = (Arc::new(pidfd), oneshot::channel());
        self.children.insert(id, (pidfd.clone(), ended));
        let child = Launched { socket, pidfd, exit };
        match (wanted, &self.ahead) {
            (Some((answer, _)), _) => hand_out(answer, child),
            (None, Some(Ahead::Asked(asked))) if *asked == id => self.ahead = Some(Ahead::Waiting(id, child, Instant::now())),
            (None, _) => kill(&child),
        }
    }
}

fn hand_out(answer: Answer<Launched>, child: Launched) {
    if let Err(Ok(unwanted)) = answer.send(Ok(child)) {
        kill(&unwanted);
    }
}

fn kill(child: &Launched) {
    let _ = pidfd_send_signal(&*child.pidfd, Signal::KILL);
}

fn is_alive(pidfd: &OwnedFd) -> bool {
    wire::readable(&[pidfd.as_fd()], 0).is_ok_and(|ended| !ended.contains(&true))
}
