//! The namespaces a zygote moves into once, and the pid namespace it makes for each child.

use super::sys::{self, Fork};
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What could be had on this host.
#[derive(Debug, Default)]
pub struct Isolation {
    pub user: bool,
    pub net: bool,
    pub ipc: bool,
    pub uts: bool,
    pub mount: bool,
    /// The zygote's own pid namespace, to come back to after each fork; none: no pid namespaces here.
    own_pids: Option<OwnedFd>,
}

impl Isolation {
    /// Leaves the host's network, users (unless root), mounts, IPC objects and names. Must be called with one thread.
    /// Without root this forks once: the caller goes on as the first process of a pid namespace, its parent only waits for it.
    pub fn enter() -> Isolation {
        let mut here = Isolation::default();
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if !uid.is_root() {
            here.user = sys::unshare(UnshareFlags::NEWUSER).is_ok();
            if here.user {
                let (uid, gid) = (uid.as_raw(), gid.as_raw());
                // Own ids stay what they are, so that files keep their owner.
                let mapped = std::fs::write("/proc/self/setgroups", "deny")
                    .and_then(|()| std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")))
                    .and_then(|()| std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")));
                here.user = mapped.is_ok();
            }
        }
        here.net = sys::unshare(UnshareFlags::NEWNET).is_ok();
        here.ipc = sys::unshare(UnshareFlags::NEWIPC).is_ok();
        here.uts = sys::unshare(UnshareFlags::NEWUTS).is_ok();
        // Later mounts of the host still come in, none goes out.
        here.mount =
            sys::unshare(UnshareFlags::NEWNS).is_ok() && mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).is_ok();
        if here.user && sys::unshare(UnshareFlags::NEWPID).is_ok() {
            wait_for_successor();
        }
        here.own_pids = open("/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        let works = here.fork(|| sys::exit(0)).and_then(sys::reap).is_ok();
        if !works {
            here.own_pids = None;
        }
        here
    }

    pub fn pid(&self) -> bool {
        self.own_pids.is_some()
    }

    /// For tests of hosts that have none.
    #[cfg(feature = "testing")]
    pub fn without_pid_namespaces(mut self) -> Self {
        self.own_pids = None;
        self
    }

    /// Forks a child that runs `child`, as the first process of a new pid namespace where there are some.
    pub fn fork(&self, child: impl FnOnce()) -> std::io::Result<i32> {
        if self.own_pids.is_some() {
            sys::unshare(UnshareFlags::NEWPID)?;
        }
        let forked = sys::fork();
        if let Ok(Fork::Child) = forked {
            child();
            sys::exit(sys::EXIT_SETUP);
        }
        if let Some(own) = &self.own_pids {
            move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
        }
        match forked? {
            Fork::Parent(pid) => Ok(pid),
            Fork::Child => Ok(0),
        }
    }
}

/// Forks; the parent stays behind, ends as its child ends, and takes it along when it is killed itself.
fn wait_for_successor() {
    match sys::fork() {
        Ok(Fork::Child) => {
            let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        }
        Ok(Fork::Parent(pid)) => {
            // The successor's sockets must not be held open here.
            close_standard_and_all();
            let status = sys::reap(pid).ok().flatten().and_then(|(_, reaped)| reaped.exit_status());
            sys::exit(status.unwrap_or(1));
        }
        Err(_) => sys::exit(1),
    }
}

fn close_standard_and_all() {
    if let Ok(null) = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = sys::close_all_but(&[null.as_raw_fd()]);
    }
}
