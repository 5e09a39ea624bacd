//! The child: builds its own jail from the inside, then does what its order says.

use super::host::ChildHost;
use super::seccomp::{Filter, Program, deadly_names};
use super::{InputOrder, Order, OutputOrder, Registry, Report, Work, output_folder, policy, sys, wire};
use crate::convert::{Ctx, Depth, Host, Input, Level, Output, Produced};
use crate::failure::{Code, Failure};
use crate::job::StreamPlan;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

/// What the zygote prepared before the fork.
pub struct Prepared<'a> {
    pub registry: &'a Registry,
    pub filter: &'a Filter,
    pub readable: &'a [&'static str],
    /// The zygote's own descriptors, where warmed-up libraries hold others that must stay: what they loaded, and pipes they
    /// wake themselves by, which they make anew within the fork. None: everything is closed.
    pub own_fds: Option<Vec<RawFd>>,
    /// Readable once the zygote is gone.
    pub zygote: &'a OwnedFd,
    /// Whether this process has a pid namespace of its own.
    pub own_pids: bool,
}

/// Longest order accepted: the options of every output are in it.
const ORDER_MAX: usize = 8 << 20;

/// Runs in the forked child and never comes back.
pub fn main(prepared: &Prepared, socket: OwnedFd) -> ! {
    let outcome = detach(prepared, &socket).and_then(|()| {
        let socket = UnixStream::from(socket);
        let host = ChildHost::new(socket.try_clone().map_err(text)?);
        // One that was forked ahead has its jail ready when its order comes.
        let jail = Jail::build(prepared);
        let order = read_order(&socket)?;
        let jailed = jail.and_then(|jail| jail.close(&order, &socket));
        if let Err(reason) = &jailed {
            host.log(Level::Error, &format!("the jail could not be built: {reason}"));
        }
        jailed.map(|()| run(prepared.registry, &order, &host))
    });
    sys::exit(if outcome.is_ok() { 0 } else { sys::EXIT_SETUP })
}

/// Cuts the ties to the zygote's session, files and fate.
pub fn detach(prepared: &Prepared, socket: &OwnedFd) -> Result<(), String> {
    sys::explain_fatal_signals(deadly_names()).map_err(text)?;
    rustix::process::setsid().map_err(text)?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(text)?;
    // The zygote may have died before the line above.
    if wire::readable(&[prepared.zygote.as_fd()], 0).map_err(text)?.contains(&true) {
        return Err("the zygote is gone".into());
    }
    let null = open("/dev/null", OFlags::RDWR, Mode::empty()).map_err(text)?;
    rustix::stdio::dup2_stdin(&null).map_err(text)?;
    rustix::stdio::dup2_stdout(&null).map_err(text)?;
    rustix::stdio::dup2_stderr(&null).map_err(text)?;
    drop(null);
    let mut keep = vec![socket.as_raw_fd()];
    if let Some(own) = &prepared.own_fds {
        keep.extend(descriptors().into_iter().filter(|fd| !own.contains(fd)));
    }
    sys::close_all_but(&keep).map_err(text)
}

/// The descriptors open in this process.
pub fn descriptors() -> Vec<RawFd> {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<RawFd> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The folder itself was open while it was read.
    numbers.into_iter().filter(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok()).collect()
}

fn read_order(mut socket: &UnixStream) -> Result<Order, String> {
    let mut head = [0; 4];
    socket.read_exact(&mut head).map_err(text)?;
    let len = u32::from_le_bytes(head) as usize;
    if len > ORDER_MAX {
        return Err("the order is too long".into());
    }
    let mut body = vec![0; len];
    socket.read_exact(&mut body).map_err(text)?;
    serde_json::from_slice(&body).map_err(text)
}

/// A jail whose door is open still: all of it that no order changes.
pub struct Jail {
    statm: OwnedFd,
    paths: policy::Paths,
    program: Program,
}

impl Jail {
    /// Gives every privilege away and prepares the rest.
    pub fn build(prepared: &Prepared) -> Result<Jail, String> {
        let statm = open("/proc/self/statm", OFlags::RDONLY, Mode::empty()).map_err(text)?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(text)?;
        if prepared.own_pids {
            super::pids::bound();
        }
        policy::drop_capabilities()?;
        rustix::thread::set_no_new_privs(true).map_err(text)?;
        let own_pid = rustix::process::getpid().as_raw_nonzero().get() as u32;
        Ok(Jail { statm, paths: policy::Paths::new(prepared.readable)?, program: prepared.filter.program(own_pid) })
    }

    /// Everything that cannot be undone, the strictest last.
    pub fn close(self, order: &Order, socket: &UnixStream) -> Result<(), String> {
        sys::set_home(&order.staging);
        std::env::set_current_dir(&order.staging).map_err(text)?;
        policy::limit_resources(&order.limits, order.threads)?;
        self.paths.restrict(&order.input.path, &order.staging)?;
        sys::explain_from(socket.as_raw_fd(), self.statm.into_raw_fd(), order.limits.memory_max.0);
        self.program.install()
    }
}

fn run(registry: &Registry, order: &Order, host: &ChildHost) {
    let input = input(&order.input);
    let ctx = Ctx { limits: &order.limits, threads: order.threads.max(1), scratch: &order.staging, host };
    match &order.work {
        Work::Convert(outputs) => {
            // What cannot be measured is the converter's to refuse, in its own words.
            if let Ok(media) = guarded(|| (registry.probe)(input.format.family())(&ctx, &input, Depth::Header)) {
                host.report(Report::Probed(Ok(media)));
            }
            for wanted in outputs {
                host.begin(wanted.index);
                let result = guarded(|| convert(registry, &ctx, &input, wanted, &order.staging));
                host.output(wanted.index, result);
            }
        }
        Work::Probe(depth) => {
            let probe = (registry.probe)(input.format.family());
            host.report(Report::Probed(guarded(|| probe(&ctx, &input, *depth))));
        }
        Work::Plan(outputs) => {
            let probe = (registry.probe)(input.format.family());
            host.report(Report::Probed(guarded(|| probe(&ctx, &input, Depth::Header))));
            for wanted in outputs {
                let result = guarded(|| plan(registry, &ctx, &input, wanted)).map(StreamPlan::tamed);
                host.report(Report::Planned { output: wanted.index, result });
            }
        }
    }
}

fn convert(registry: &Registry, ctx: &Ctx, input: &Input, wanted: &OutputOrder, staging: &Path) -> Result<Produced, Failure> {
    ctx.check()?;
    let converter = (registry.by_id)(&wanted.converter)
        .ok_or_else(|| Failure::new(Code::UnsupportedConversion, format!("There is no converter `{}`.", wanted.converter)))?;
    let dir = output_folder(staging, wanted.index);
    // Staging that has served before has one already, an empty one.
    std::fs::create_dir_all(&dir).map_err(|e| Failure::internal(format!("{}: {e}", dir.display())))?;
    let output = Output { dir, format: wanted.to, name: wanted.name.clone() };
    (converter.run)(ctx, input, &wanted.options, &output)
}

fn plan(registry: &Registry, ctx: &Ctx, input: &Input, wanted: &OutputOrder) -> Result<StreamPlan, Failure> {
    match (registry.by_id)(&wanted.converter).and_then(|converter| converter.plan) {
        Some(plan) => plan(ctx, input, &wanted.options, wanted.to),
        None => Ok(StreamPlan::default()),
    }
}

/// A panic is the converter's fault, not the service's.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    static LAST: Mutex<String> = Mutex::new(String::new());
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut last) = LAST.lock() {
            *last = info.to_string();
        }
    }));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let words = LAST.lock().map(|last| last.clone()).unwrap_or_default();
        Err(Failure::new(Code::Crashed, "The conversion broke down on this file.").detail(words))
    })
}

fn input(order: &InputOrder) -> Input {
    Input { path: order.path.clone(), format: order.format, name: order.name.clone(), size_bytes: order.size_bytes }
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}
