//! The service's side: keeps the zygotes alive and hands their children out.
//!
//! Each zygote has one thread here that starts it, speaks with it and reaps it. A zygote dies with that thread
//! (PDEATHSIG follows threads), and its children die with the zygote.

use super::probe::Measured;
use super::wire::{self, Launch, Told};
use super::{Child, Exit, LaunchError, Launcher, Order, stream};
use crate::convert::Zygote;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, set_child_subreaper, waitid};
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// How often a launch is tried again when its zygote dies under it.
const TRIES: u32 = 3;
/// A zygote that could not warm up is not started again before this.
const UNFIT_FOR: Duration = Duration::from_secs(5);

/// Names of zygotes' homes, before the service's pid.
const HOME_PREFIX: &str = "millrace-zygote-";

/// The zygotes of this service: the one [`Launcher`] there is. Dropping it ends them and every child.
pub struct Zygotes {
    lines: HashMap<Zygote, Arc<Line>>,
    threads: Vec<JoinHandle<()>>,
}

/// A launched child as its zygote's thread tells of it.
pub(super) struct Launched {
    pub pidfd: Arc<OwnedFd>,
    pub exit: oneshot::Receiver<Exit>,
}

type Answer<T> = oneshot::Sender<Result<T, LaunchError>>;

enum Request {
    Launch { socket: OwnedFd, answer: Answer<Launched>, tries: u32 },
    Measure(Answer<Measured>),
}

/// What callers and a zygote's thread share.
struct Line {
    which: Zygote,
    requests: Mutex<VecDeque<Request>>,
    wake: OwnedFd,
    closing: AtomicBool,
}

impl Zygotes {
    /// `exe` is this binary (`/proc/self/exe`), whose role `zygote` is [`super::zygote::main`]. Nothing is started before it is
    /// needed; [`Zygotes::measured`] warms one up ahead of time.
    pub fn new(exe: impl Into<PathBuf>) -> std::io::Result<Zygotes> {
        Zygotes::with_environment(exe, &[])
    }

    /// As [`Zygotes::new`], with more environment for the zygotes: tests take walls down by it.
    pub fn with_environment(exe: impl Into<PathBuf>, environment: &[(&str, &str)]) -> std::io::Result<Zygotes> {
        let exe = exe.into();
        let environment: Vec<(String, String)> = environment.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        // Children of a killed zygote are reaped here, so that their end is known and no zombie stays.
        set_child_subreaper(Some(rustix::process::getpid()))?;
        clear_homes();
        let (mut lines, mut threads) = (HashMap::new(), Vec::new());
        for which in Zygote::ALL {
            let line = Arc::new(Line {
                which,
                requests: Mutex::default(),
                wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
                closing: AtomicBool::new(false),
            });
            let (exe, environment, kept) = (exe.clone(), environment.clone(), line.clone());
            let keep = move || Keeper { line: kept, exe, environment, running: None, unfit: None, next_id: 0 }.keep();
            threads.push(std::thread::Builder::new().name(format!("zygote-{}", which.as_str())).spawn(keep)?);
            lines.insert(which, line);
        }
        Ok(Zygotes { lines, threads })
    }

    /// Starts this zygote if need be, and tells how strong its children's jail was measured to be.
    pub async fn measured(&self, which: Zygote) -> Result<Measured, LaunchError> {
        self.ask(which, Request::Measure).await
    }

    async fn ask<T>(&self, which: Zygote, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, LaunchError> {
        let gone = || LaunchError::Unavailable(which.as_str(), "the service is stopping".into());
        let (answer, answered) = oneshot::channel();
        self.lines.get(&which).ok_or_else(gone)?.push(request(answer));
        answered.await.map_err(|_| gone())?
    }
}

#[async_trait::async_trait]
impl Launcher for Zygotes {
    async fn launch(&self, order: Order) -> Result<Child, LaunchError> {
        let unavailable = |e: &dyn std::fmt::Display| LaunchError::Unavailable(order.zygote.as_str(), e.to_string());
        let (ours, theirs) = UnixStream::pair().map_err(|e| unavailable(&e))?;
        ours.set_nonblocking(true).map_err(|e| unavailable(&e))?;
        let socket = OwnedFd::from(theirs);
        let launched = self.ask(order.zygote, |answer| Request::Launch { socket, answer, tries: 0 }).await?;
        stream::attend(ours, launched, &order).map_err(|e| unavailable(&e))
    }
}

impl Drop for Zygotes {
    fn drop(&mut self) {
        for line in self.lines.values() {
            line.closing.store(true, Ordering::Release);
            line.ring();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Line {
    fn push(&self, request: Request) {
        self.queue().push_back(request);
        self.ring();
    }

    fn ring(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that keeps one zygote.
struct Keeper {
    line: Arc<Line>,
    exe: PathBuf,
    environment: Vec<(String, String)>,
    running: Option<Running>,
    unfit: Option<(Instant, String)>,
    next_id: u64,
}

struct Running {
    /// Its home and place for temporary files, removed when it has ended.
    _home: TempDir,
    process: std::process::Child,
    /// The process that forks.
    zygote: Option<OwnedFd>,
    socket: OwnedFd,
    measured: Option<Measured>,
    measuring: Vec<Answer<Measured>>,
    /// Asked for, not yet forked. The child's socket is kept, to try again with another zygote.
    pending: HashMap<u64, (OwnedFd, Answer<Launched>, u32)>,
    children: HashMap<u64, (Arc<OwnedFd>, oneshot::Sender<Exit>)>,
}

impl Keeper {
    fn keep(mut self) {
        while !self.line.closing.load(Ordering::Acquire) {
            let fds: Vec<_> = std::iter::once(self.line.wake.as_fd()).chain(self.running.iter().map(|r| r.socket.as_fd())).collect();
            let Ok(ready) = wire::readable(&fds, -1) else { break };
            if ready.first() == Some(&true) {
                let _ = rustix::io::read(&self.line.wake, &mut [0u8; 8]);
                self.take_requests();
            }
            if ready.get(1) == Some(&true) {
                self.hear();
            }
        }
        self.lose("the service is stopping");
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
                    let id = self.next_id;
                    let sent = wire::send(running.socket.as_fd(), &Launch { id }, Some(socket.as_fd()));
                    running.pending.insert(id, (socket, answer, tries));
                    if sent.is_err() {
                        self.lose("it does not answer");
                    }
                }
            }
        }
    }

    fn start(&mut self) -> Result<(), String> {
        if self.running.is_some() {
            return Ok(());
        }
        if let Some((_, reason)) = self.unfit.as_ref().filter(|(since, _)| since.elapsed() < UNFIT_FOR) {
            return Err(reason.clone());
        }
        let (ours, theirs) = wire::pair().map_err(|e| e.to_string())?;
        let home = tempfile::Builder::new().prefix(&format!("{HOME_PREFIX}{}-", std::process::id())).tempdir().map_err(|e| e.to_string())?;
        let process = Command::new(&self.exe)
            .args([super::zygote::ROLE, self.line.which.as_str()])
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("TZ", "UTC")])
            .envs([("HOME", home.path()), ("TMPDIR", home.path())])
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| format!("{}: {e}", self.exe.display()))?;
        self.running = Some(Running {
            _home: home,
            zygote: None,
            process,
            socket: ours,
            measured: None,
            measuring: Vec::new(),
            pending: HashMap::new(),
            children: HashMap::new(),
        });
        Ok(())
    }

    fn hear(&mut self) {
        let Some(running) = &mut self.running else { return };
        match wire::receive::<Told>(running.socket.as_fd()) {
            Ok(Some((Told::Ready(measured), pidfd))) => {
                running.zygote = pidfd;
                running.measuring.drain(..).for_each(|answer| drop(answer.send(Ok(measured.clone()))));
                running.measured = Some(measured);
                self.unfit = None;
            }
            Ok(Some((Told::Launched { id }, Some(pidfd)))) => {
                if let Some((_, answer, _)) = running.pending.remove(&id) {
                    let (pidfd, (ended, exit)) = (Arc::new(pidfd), oneshot::channel());
                    running.children.insert(id, (pidfd.clone(), ended));
                    if let Err(Ok(unwanted)) = answer.send(Ok(Launched { pidfd, exit })) {
                        let _ = pidfd_send_signal(&*unwanted.pidfd, Signal::KILL);
                    }
                }
            }
            Ok(Some((Told::Refused { id, reason }, _))) => {
                if let Some((_, answer, _)) = running.pending.remove(&id) {
                    let _ = answer.send(Err(LaunchError::Unavailable(self.line.which.as_str(), reason)));
                }
            }
            Ok(Some((Told::Exited { id, exit }, _))) => {
                if let Some((_, ended)) = running.children.remove(&id) {
                    let _ = ended.send(exit);
                }
            }
            Ok(Some((Told::Unfit(reason), _))) => {
                self.unfit = Some((Instant::now(), reason.clone()));
                self.lose(&reason);
            }
            Ok(Some((Told::Launched { .. }, None)) | None) | Err(_) => self.lose("it died"),
        }
    }

    /// Buries the zygote and its children; launches that were not answered go back to the queue.
    fn lose(&mut self, reason: &str) {
        let Some(mut lost) = self.running.take() else { return };
        drop(lost.socket);
        let _ = lost.process.kill();
        let _ = lost.process.wait();
        if let Some(zygote) = &lost.zygote {
            bury(zygote);
        }
        let level = lost.measured.as_ref().map_or(0, |m| m.level);
        if lost.measured.is_none() && self.unfit.is_none() {
            self.unfit = Some((Instant::now(), format!("the zygote ended while warming up: {reason}")));
        }
        for (pidfd, ended) in lost.children.into_values() {
            bury(&pidfd);
            let _ = ended.send(Exit::lost(level));
        }
        let error = || LaunchError::Unavailable(self.line.which.as_str(), reason.to_owned());
        lost.measuring.into_iter().for_each(|answer| drop(answer.send(Err(error()))));
        for (socket, answer, tries) in lost.pending.into_values() {
            if tries < TRIES && lost.measured.is_some() {
                self.line.push(Request::Launch { socket, answer, tries: tries + 1 });
            } else {
                let _ = answer.send(Err(error()));
            }
        }
    }
}

/// Removes what services that were killed left behind; a home of another user stays, as it cannot be removed.
fn clear_homes() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(HOME_PREFIX).and_then(|rest| rest.split('-').next()?.parse::<i32>().ok()).and_then(Pid::from_raw);
        if pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Kills a child whose zygote is gone, waits for its death, and reaps it if it has become this process's own.
fn bury(pidfd: &OwnedFd) {
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    let _ = wire::readable(&[pidfd.as_fd()], 5000);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}
