//! The service's side: hands the zygotes' children out. Each kind of zygote has a thread that keeps it, see [`super::keeper`].

use super::fork_server::ForkServer;
use super::keeper::{Keeper, Wear};
use super::probe::Measured;
use super::{Child, Exit, LaunchError, Launcher, Order, stream};
use crate::convert::Zygote;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Pid, set_child_subreaper};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Names of zygotes' homes, before the service's pid.
pub(super) const HOME_PREFIX: &str = "millrace-zygote-";

/// The zygotes of this service: the one [`Launcher`] there is. Dropping it ends them and every child.
pub struct Zygotes {
    lines: HashMap<Zygote, Arc<Line>>,
    threads: Vec<JoinHandle<()>>,
}

/// A launched child as its zygote's thread tells of it.
pub(super) struct Launched {
    /// Our end of its stream: it has its order when that is written there.
    pub socket: UnixStream,
    pub pidfd: Arc<OwnedFd>,
    pub exit: oneshot::Receiver<Exit>,
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, LaunchError>>;

pub(super) enum Request {
    Launch { answer: Answer<Launched>, tries: u32 },
    Measure(Answer<Measured>),
}

/// What callers and a zygote's thread share.
pub(super) struct Line {
    pub which: Zygote,
    requests: Mutex<VecDeque<Request>>,
    pub wake: OwnedFd,
    pub closing: AtomicBool,
}

impl Zygotes {
    /// Nothing is started before it is needed; [`Zygotes::measured`] warms a zygote up ahead of time.
    pub fn new(fork_server: ForkServer, wear: Wear) -> std::io::Result<Zygotes> {
        let fork_server = Arc::new(fork_server);
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
            let (fork_server, kept) = (fork_server.clone(), line.clone());
            let keep = move || Keeper::new(kept, fork_server, wear).keep();
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
        let failed = |e: io::Error| LaunchError::Unavailable(order.zygote.as_str(), e.to_string());
        std::fs::create_dir_all(&order.staging).map_err(failed)?;
        let launched = self.ask(order.zygote, |answer| Request::Launch { answer, tries: 0 }).await?;
        stream::attend(launched, &order).map_err(failed)
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
    pub fn push(&self, request: Request) {
        self.queue().push_back(request);
        self.ring();
    }

    fn ring(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    pub fn queue(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
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
