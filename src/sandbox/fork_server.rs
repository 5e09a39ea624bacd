//! The fork server: forks zygotes on request, so that none has to load this binary and its libraries again, which takes tens
//! of milliseconds.
//!
//! The binary forks it first thing in `main`: while there is one thread, and before a secret of the configuration is in its
//! memory. Should it die, a new one is executed. Zygotes die with it, and it dies with the service.

use super::sys::{self, Fork};
use super::wire::{self, Birth, Told};
use super::{Registry, zygote};
use crate::convert::Zygote;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, set_parent_process_death_signal, waitid};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The argument that makes this binary a fork server, with its socket as standard input.
pub const ROLE: &str = "fork-server";

/// All the environment there is below this server: nothing of the service's own.
const ENVIRONMENT: [(&str, &str); 3] = [("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("TZ", "UTC")];

/// The service's hold on its fork server. Dropping it ends the server and every zygote.
pub struct ForkServer {
    exe: PathBuf,
    environment: Vec<(String, String)>,
    running: Mutex<Option<Server>>,
}

struct Server {
    socket: OwnedFd,
    process: OwnedFd,
}

impl ForkServer {
    /// Forks the server off this process, which must have one thread. Where that fails, it is executed when it is needed.
    pub fn fork(registry: &Registry) -> ForkServer {
        let server = wire::pair().and_then(|(ours, theirs)| match sys::fork()? {
            Fork::Parent(pid) => Ok(Server { socket: ours, process: pidfd(pid)? }),
            Fork::Child => {
                drop(ours);
                let _ = sys::forget_start().and_then(|()| serve(theirs, registry));
                sys::exit(0)
            }
        });
        ForkServer { exe: "/proc/self/exe".into(), environment: Vec::new(), running: Mutex::new(server.ok()) }
    }

    /// A server that is executed when it is needed: `exe` is this binary. Tests take walls down by the environment.
    pub fn executed(exe: impl Into<PathBuf>, environment: &[(&str, &str)]) -> ForkServer {
        let environment = environment.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        ForkServer { exe: exe.into(), environment, running: Mutex::new(None) }
    }

    /// Asks for a zygote that keeps its files in `home`; returns the socket it will be heard on.
    pub(super) fn bear(&self, which: Zygote, home: &Path) -> io::Result<OwnedFd> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (ours, theirs) = wire::pair()?;
        let birth = Birth { which, home: home.to_owned() };
        if let Some(server) = &*running
            && wire::send(server.socket.as_fd(), &birth, Some(theirs.as_fd())).is_ok()
        {
            return Ok(ours);
        }
        // Dropping the old one first buries it.
        *running = None;
        let server = running.insert(self.execute()?);
        wire::send(server.socket.as_fd(), &birth, Some(theirs.as_fd()))?;
        Ok(ours)
    }

    fn execute(&self) -> io::Result<Server> {
        let (ours, theirs) = wire::pair()?;
        let child = Command::new(&self.exe)
            .arg(ROLE)
            .env_clear()
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Server { socket: ours, process: pidfd(child.id().cast_signed())? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        bury(&self.process);
    }
}

/// The role of a process that was executed to be a fork server.
pub fn main(registry: &Registry) {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(io::Error::from);
    if let Err(error) = socket.and_then(|socket| serve(socket, registry)) {
        let _ = io::Write::write_all(&mut io::stderr(), format!("fork server: {error}\n").as_bytes());
    }
}

/// Forks zygotes until the service is gone.
fn serve(socket: OwnedFd, registry: &Registry) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The service stops in its own order; a signal to the whole group or terminal must not cut its children down first.
    let _ = rustix::process::setsid();
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].into_iter().for_each(sys::ignore);
    std::env::set_current_dir("/")?;
    sys::set_environment(&ENVIRONMENT);
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    drop(null);
    let mut zygotes: Vec<OwnedFd> = Vec::new();
    loop {
        let ready = wire::readable(&std::iter::once(&socket).chain(&zygotes).collect::<Vec<_>>(), -1)?;
        let mut ready = ready.into_iter();
        let asked = ready.next() == Some(true);
        zygotes.retain(|zygote| ready.next() != Some(true) || waitid(WaitId::PidFd(zygote.as_fd()), WaitIdOptions::EXITED).is_err());
        if !asked {
            continue;
        }
        let Some((birth, Some(theirs))) = wire::receive::<Birth>(socket.as_fd())? else { return Ok(()) };
        match sys::fork()? {
            Fork::Parent(pid) => {
                let zygote = pidfd(pid)?;
                // Where this cannot be told, the service is gone or has given up on it.
                let _ = wire::send(theirs.as_fd(), &Told::Born, Some(zygote.as_fd()));
                zygotes.push(zygote);
            }
            Fork::Child => {
                drop((socket, zygotes));
                sys::set_home(&birth.home);
                zygote::main(birth.which, theirs, registry);
                sys::exit(0)
            }
        }
    }
}

/// Kills a process, waits for its end, and reaps it if it is this process's own.
pub(super) fn bury(pidfd: &OwnedFd) {
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    let _ = wire::readable(&[pidfd.as_fd()], 5000);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("no pid"))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}
