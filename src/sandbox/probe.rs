//! Measures the jail: a throw-away child goes into it and tries what is forbidden.

use super::child::{self, Jail, Prepared};
use super::isolate::Isolation;
use super::seccomp::Filter;
use super::sys::{self, Fork};
use super::{InputOrder, Order, Registry, Work, pids, policy};
use crate::convert::{Depth, Zygote};
use crate::format::Format;
use crate::limits::{Limits, Size};
use rustix::net::{AddressFamily, SocketType};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// How strong the jail of this host's children really is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// 4: Landlock, seccomp, own network, own pids and a cgroup; 3: Landlock, seccomp and resource limits; 2: seccomp and resource
    /// limits; 1: resource limits; 0: nothing.
    pub level: u8,
    pub facets: Vec<Facet>,
}

/// One wall of the jail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facet {
    pub name: String,
    /// Whether the forbidden act was really refused.
    pub holds: bool,
    /// What was seen.
    pub note: String,
}

const MEMORY_MAX: Size = Size::mib(256);

/// Measures this host, from a process that has one thread. The process itself stays as it was.
pub fn measure() -> Measured {
    let Ok((mut ours, theirs)) = UnixStream::pair() else { return nothing("no socket pair") };
    match sys::fork() {
        Ok(Fork::Child) => {
            drop(ours);
            let measured = measure_here(&Isolation::enter(), &Filter::new(false));
            let sent = serde_json::to_vec(&measured).ok().and_then(|body| (&theirs).write_all(&body).ok());
            sys::exit(i32::from(sent.is_none()))
        }
        Ok(Fork::Parent(pid)) => {
            drop(theirs);
            let mut body = Vec::new();
            let _ = ours.read_to_end(&mut body);
            let _ = sys::reap(pid);
            serde_json::from_slice(&body).unwrap_or_else(|e| nothing(&e.to_string()))
        }
        Err(e) => nothing(&e.to_string()),
    }
}

/// Measures the jail of this zygote's children.
pub(super) fn measure_here(isolation: &Isolation, filter: &Filter) -> Measured {
    let folder = std::env::temp_dir().join(format!("millrace-probe-{}-{}", std::process::id(), rustix::process::getpid().as_raw_nonzero()));
    let measured = measure_in(&folder, isolation, filter).unwrap_or_else(|reason| nothing(&reason));
    let _ = std::fs::remove_dir_all(&folder);
    measured
}

fn measure_in(folder: &Path, isolation: &Isolation, filter: &Filter) -> Result<Measured, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    std::fs::create_dir_all(folder.join("staging")).map_err(|e| format!("{}: {e}", folder.display()))?;
    std::fs::write(folder.join("input"), b"input").map_err(|e| text(&e))?;
    std::fs::write(folder.join("canary"), b"canary").map_err(|e| text(&e))?;
    let zygote = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).map_err(|e| text(&e))?;
    let (mut ours, theirs) = UnixStream::pair().map_err(|e| text(&e))?;
    let theirs = OwnedFd::from(theirs);
    let registry =
        Registry { warmth: |_| &NO_WARMTH, by_id: |_| None, probe: |_| |_, _, _| Err(crate::failure::Failure::internal("no converters here")) };
    let prepared = Prepared { registry: &registry, filter, readable: &[], own_fds: None, zygote: &zygote, own_pids: isolation.pid() };
    let order = order(folder, Format::parse("bin").ok_or("no format for bytes")?);
    let pid = isolation
        .fork(|| {
            let facets = try_everything(&prepared, theirs, &order, folder);
            sys::exit(i32::from(facets.is_err()))
        })
        .map_err(|e| text(&e))?;
    let mut body = Vec::new();
    let read = ours.read_to_end(&mut body);
    let _ = sys::reap(pid);
    read.map_err(|e| text(&e))?;
    let mut facets: Vec<Facet> = serde_json::from_slice(&body).map_err(|_| format!("the probe broke off: {}", String::from_utf8_lossy(&body)))?;
    facets.push(facet("users", isolation.user, if isolation.user { "own user namespace" } else { "no own user namespace (not wanted for root)" }));
    facets.push(facet("cgroup", false, "no delegated cgroup v2"));
    let holds = |name: &str| facets.iter().any(|f| f.name == name && f.holds);
    let level = match (holds("landlock"), holds("seccomp"), holds("rlimits")) {
        (true, true, true) if ["network", "pids", "cgroup"].iter().all(|f| holds(f)) => 4,
        (true, true, true) => 3,
        (false, true, true) => 2,
        (_, _, true) => 1,
        _ => 0,
    };
    Ok(Measured { level, facets })
}

static NO_WARMTH: crate::convert::Warmth = crate::convert::Warmth { warm: || Ok(()), idle: || (), readable: &[], threads: 1 };

/// Runs in the throw-away child.
fn try_everything(prepared: &Prepared, socket: OwnedFd, order: &Order, folder: &Path) -> Result<(), String> {
    child::detach(prepared, &socket)?;
    let socket = UnixStream::from(socket);
    let (network, version) = (network(), policy::landlock_version());
    let confined = Jail::build(prepared).and_then(|jail| jail.close(order, &socket));
    let facets = match confined {
        Ok(()) => vec![landlock(folder, version), seccomp(), rlimits(), network, own_pids()],
        Err(reason) => vec![facet("landlock", false, &reason), facet("seccomp", false, &reason), facet("rlimits", false, &reason)],
    };
    let body = serde_json::to_vec(&facets).map_err(|e| e.to_string())?;
    (&socket).write_all(&body).map_err(|e| e.to_string())
}

/// Without a route nothing can be sent; looked at before seccomp, which would hide it.
fn network() -> Facet {
    let connected = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)
        .and_then(|socket| rustix::net::connect(&socket, &SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9))));
    let alone =
        std::fs::read_to_string("/proc/net/dev").is_ok_and(|devices| devices.lines().skip(2).all(|line| line.trim_start().starts_with("lo:")));
    match connected {
        Err(e) if alone => facet("network", true, &format!("no way out: {e}")),
        Err(e) => facet("network", false, &format!("no route now ({e}), but the host's devices are seen")),
        Ok(()) => facet("network", false, "the host's network is seen; sockets are refused by seccomp only"),
    }
}

fn landlock(folder: &Path, version: i32) -> Facet {
    let read = std::fs::read(folder.join("canary"));
    let written = std::fs::write(folder.join("new"), b"");
    let allowed = std::fs::read(folder.join("input")).and_then(|_| std::fs::write(folder.join("staging/own"), b""));
    match (read, written, allowed) {
        (Err(e), Err(_), Ok(())) => facet("landlock", true, &format!("version {version}; a foreign file: {e}")),
        (_, _, Err(e)) => facet("landlock", false, &format!("its own files: {e}")),
        _ => facet("landlock", false, "a foreign file could be read or written"),
    }
}

fn seccomp() -> Facet {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None);
    let forked = sys::fork();
    if let Ok(Fork::Child) = forked {
        sys::exit(0);
    }
    match (socket, forked) {
        (Err(e), Err(_)) => facet("seccomp", true, &format!("a socket: {e}")),
        (Ok(_), _) => facet("seccomp", false, "a socket could be opened"),
        (_, Ok(_)) => facet("seccomp", false, "a process could be started"),
    }
}

fn rlimits() -> Facet {
    let mut large: Vec<u8> = Vec::new();
    let reserved = large.try_reserve_exact(MEMORY_MAX.0 as usize + (1 << 20));
    // What nobody looks at is not asked for in an optimised build, and would seem to be granted.
    std::hint::black_box(&large);
    match reserved {
        Err(e) => facet("rlimits", true, &e.to_string()),
        Ok(()) => facet("rlimits", false, "more memory than allowed was given"),
    }
}

fn own_pids() -> Facet {
    let own = rustix::process::getpid().is_init();
    let bound = if pids::namespaced() { "; threads bounded" } else { "" };
    facet("pids", own, if own { format!("own pid namespace{bound}") } else { "the host's processes are seen".into() }.as_str())
}

fn facet(name: &str, holds: bool, note: &str) -> Facet {
    Facet { name: name.into(), holds, note: note.into() }
}

fn nothing(reason: &str) -> Measured {
    Measured { level: 0, facets: vec![facet("jail", false, reason)] }
}

fn order(folder: &Path, format: Format) -> Order {
    let input = folder.join("input");
    Order {
        zygote: Zygote::Archive,
        work: Work::Probe(Depth::Header),
        input: InputOrder { path: input, format, name: String::new(), size_bytes: 5 },
        staging: PathBuf::from(folder).join("staging"),
        limits: Limits { memory_max: MEMORY_MAX, ..Limits::default() },
        threads: 1,
    }
}
