//! The zygote: warm, single-threaded, forks one child per order and reaps it.
//!
//! The fork server forks it; what it loads then stays its own.

use super::child::{self, Prepared};
use super::isolate::Isolation;
use super::probe::{Measured, measure_here};
use super::seccomp::Filter;
use super::sys::{self, Reaped};
use super::wire::{self, Launch, Told};
use super::{End, Exit, Registry};
use crate::convert::{Warmth, Zygote};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_child_subreaper, set_parent_process_death_signal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Serves children until the launcher is gone.
pub fn main(which: Zygote, socket: OwnedFd, registry: &Registry) {
    match Zygoted::start(which, socket, registry) {
        Ok(mut zygote) => zygote.serve(),
        Err(reason) => {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("zygote {}: {reason}\n", which.as_str()).as_bytes());
        }
    }
}

struct Zygoted<'a> {
    socket: OwnedFd,
    registry: &'a Registry,
    warmth: &'static Warmth,
    isolation: Isolation,
    filter: Filter,
    measured: Measured,
    /// What was open before the libraries came.
    before: Vec<RawFd>,
    /// Whether they hold descriptors of their own.
    inherited: bool,
    own: OwnedFd,
    children: Vec<Running>,
}

struct Running {
    id: u64,
    pid: i32,
    pidfd: OwnedFd,
}

/// Nothing was asked for this long: time to load what is seldom needed.
const IDLE_AFTER_MS: i32 = 50;

impl<'a> Zygoted<'a> {
    fn start(which: Zygote, socket: OwnedFd, registry: &'a Registry) -> Result<Self, String> {
        let text = |e: rustix::io::Errno| e.to_string();
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(text)?;
        rustix::process::umask(Mode::from_raw_mode(0o077));
        let warmth = (registry.warmth)(which);
        match Self::warm(warmth) {
            Ok((isolation, filter, measured, before, inherited)) => {
                // Orphans come here to be killed where no pid namespace does it.
                set_child_subreaper(Some(rustix::process::getpid())).map_err(text)?;
                let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).map_err(text)?;
                let zygote = Zygoted { socket, registry, warmth, isolation, filter, measured, before, inherited, own, children: Vec::new() };
                zygote.tell(&Told::Ready(zygote.measured.clone()), Some(zygote.own.as_fd()))?;
                Ok(zygote)
            }
            Err(reason) => {
                let _ = wire::send(socket.as_fd(), &Told::Unfit(reason.clone()), None);
                Err(reason)
            }
        }
    }

    fn warm(warmth: &Warmth) -> Result<(Isolation, Filter, Measured, Vec<RawFd>, bool), String> {
        // Namespaces first: a process with threads may not change its users, and what is loaded below is measured with them.
        let isolation = Isolation::enter();
        #[cfg(feature = "testing")]
        let isolation = if tested("shared-pids") { isolation.without_pid_namespaces() } else { isolation };
        #[cfg(feature = "testing")]
        let filter = Filter::new(tested("fork"));
        #[cfg(not(feature = "testing"))]
        let filter = Filter::new(false);
        let measured = measure_here(&isolation, &filter);
        let before = child::descriptors();
        quietly(warmth.warm)?;
        let inherited = child::descriptors().iter().any(|fd| !before.contains(fd));
        Ok((isolation, filter, measured, before, inherited))
    }

    fn serve(&mut self) {
        let mut idle = Some(self.warmth.idle);
        loop {
            let fds: Vec<BorrowedFd> = std::iter::once(self.socket.as_fd()).chain(self.children.iter().map(|c| c.pidfd.as_fd())).collect();
            let wait_ms = if idle.is_some() { IDLE_AFTER_MS } else { -1 };
            let Ok(ready) = wire::readable(&fds, wait_ms) else { return };
            if !ready.contains(&true) {
                idle.take().into_iter().for_each(|warm| warm());
                continue;
            }
            let mut ready = ready.into_iter();
            let asked = ready.next().unwrap_or(false);
            let ended: Vec<u64> = self.children.iter().zip(ready).filter(|(_, ended)| *ended).map(|(child, _)| child.id).collect();
            for id in ended {
                if self.bury(id).is_err() {
                    return;
                }
            }
            if asked {
                match wire::receive::<Launch>(self.socket.as_fd()) {
                    Ok(Some((launch, Some(socket)))) => {
                        if self.launch(launch.id, socket).is_err() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
        }
    }

    fn launch(&mut self, id: u64, socket: OwnedFd) -> Result<(), String> {
        match self.fork(socket) {
            Ok((pid, pidfd)) => {
                self.children.push(Running { id, pid, pidfd });
                let pidfd = self.children.last().map(|child| child.pidfd.as_fd());
                self.tell(&Told::Launched { id, memory_bytes: sys::resident_bytes() }, pidfd)
            }
            Err(reason) => self.tell(&Told::Refused { id, reason }, None),
        }
    }

    fn fork(&self, socket: OwnedFd) -> Result<(i32, OwnedFd), String> {
        let threads = std::fs::read_dir("/proc/self/task").map_err(|e| e.to_string())?.count();
        if threads > self.warmth.threads {
            return Err(format!("the zygote has {threads} threads, {} are safe to fork with", self.warmth.threads));
        }
        let prepared = Prepared {
            registry: self.registry,
            filter: &self.filter,
            readable: self.warmth.readable,
            own_fds: self.own_fds(),
            zygote: &self.own,
            own_pids: self.isolation.pid(),
        };
        let pid = self.isolation.fork(|| child::main(&prepared, socket)).map_err(|e| format!("fork: {e}"))?;
        let pidfd = Pid::from_raw(pid).ok_or("no pid").and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).map_err(|_| "no pidfd"))?;
        Ok((pid, pidfd))
    }

    fn own_fds(&self) -> Option<Vec<RawFd>> {
        let later = self.children.iter().map(|child| child.pidfd.as_raw_fd()).chain([self.own.as_raw_fd()]);
        self.inherited.then(|| self.before.iter().copied().chain(later).collect())
    }

    /// Reaps an ended child, and whatever it left behind, before its end is told.
    fn bury(&mut self, id: u64) -> Result<(), String> {
        let Some(at) = self.children.iter().position(|child| child.id == id) else { return Ok(()) };
        let Running { pid, pidfd, .. } = self.children.swap_remove(at);
        let reaped = sys::reap(pid).map_err(|e| e.to_string())?;
        drop(pidfd);
        if !self.isolation.pid() {
            self.sweep();
        }
        let Some((_, reaped)) = reaped else { return Ok(()) };
        let exit = Exit {
            end: end(&reaped),
            cpu_ms: reaped.cpu_ms,
            memory_peak_bytes: reaped.memory_peak_bytes,
            scratch_peak_bytes: 0,
            sandbox_level: self.measured.level,
        };
        self.tell(&Told::Exited { id, exit }, None)
    }

    /// Kills orphans, which have become children of this process, until there are none. They may not fork faster than that:
    /// each round takes a whole generation.
    fn sweep(&self) {
        for _ in 0..1000 {
            let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
            let orphans: Vec<Pid> = children
                .split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .filter(|pid| self.children.iter().all(|child| child.pid != *pid))
                .filter_map(Pid::from_raw)
                .collect();
            if orphans.is_empty() {
                return;
            }
            for orphan in orphans {
                let _ = rustix::process::kill_process(orphan, Signal::KILL);
                let _ = sys::reap(orphan.as_raw_nonzero().get());
            }
        }
    }

    fn tell(&self, told: &Told, fd: Option<BorrowedFd>) -> Result<(), String> {
        wire::send(self.socket.as_fd(), told, fd).map_err(|e| e.to_string())
    }
}

/// Libraries talk while they load; the service's log is not the place.
fn quietly(warm: fn() -> Result<(), String>) -> Result<(), String> {
    let stderr = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).map_err(|e| e.to_string())?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|e| e.to_string())?;
    rustix::stdio::dup2_stderr(&null).map_err(|e| e.to_string())?;
    let warmed = warm();
    rustix::stdio::dup2_stderr(&stderr).map_err(|e| e.to_string())?;
    warmed
}

fn end(reaped: &Reaped) -> End {
    match (reaped.exit_status(), reaped.signal()) {
        (Some(0), _) => End::Clean,
        (Some(sys::EXIT_MEMORY), _) => End::OutOfMemory,
        (Some(sys::EXIT_FORBIDDEN), _) | (_, Some(libc::SIGSYS)) => End::Forbidden,
        (Some(status @ 129..=192), _) => End::Signal(status - 128),
        (Some(status), _) => End::Status(status),
        (_, Some(signal)) => End::Signal(signal),
        (None, None) => End::Status(-1),
    }
}

/// Walls that a test took down, to see what stands behind them.
#[cfg(feature = "testing")]
fn tested(wall: &str) -> bool {
    std::env::var("MILLRACE_TEST_JAIL").is_ok_and(|walls| walls.split(',').any(|w| w == wall))
}
