//! A started `millrace` and all that it starts: seen by its log, ended by its id, and nothing of it may be left.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A killed process and what is below it are gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(20);

pub struct Process {
    child: Child,
    pidfd: OwnedFd,
    log: Arc<Log>,
}

/// What a process has written to standard error.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Default)]
struct Lines {
    text: String,
    is_closed: bool,
}

/// One process below another.
#[derive(Debug, Clone, Copy)]
pub struct Below {
    pub id: u32,
    /// How many steps away: 1 is the fork server, 2 a zygote, the rest are below one.
    pub depth: usize,
    /// It has ended, and its parent has not asked how.
    pub is_zombie: bool,
}

/// `millrace`, or a command that ends in it, without the configuration of whoever runs the tests.
pub fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MILLRACE_")) {
        command.env_remove(name);
    }
    command
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let pidfd = pidfd_open(pid(child.id()), PidfdFlags::empty()).unwrap();
        let (errors, log) = (child.stderr.take().unwrap(), Arc::<Log>::default());
        let writes = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                writes.add(&line);
            }
            writes.close();
        });
        Process { child, pidfd, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().text.clone()
    }

    /// What follows `word` in the log's line that has it; panics when there is none in time.
    pub async fn says(&self, word: &'static str, within: Duration) -> String {
        let log = self.log.clone();
        let said = tokio::task::spawn_blocking(move || log.rest_after(word, within)).await.unwrap();
        said.unwrap_or_else(|| panic!("`{word}` is said in time:\n{}", self.log()))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(pid(self.id()), signal).unwrap();
    }

    pub fn is_alive(&self) -> bool {
        !ends(&self.pidfd, Duration::ZERO)
    }

    pub fn below(&self) -> Vec<Below> {
        Descendants::of(self.id()).0.into_iter().map(|(below, _)| below).collect()
    }

    /// SIGKILL, as a power cut would do it. Returns once the process and all that it started are gone.
    pub fn kill_9(mut self) {
        let started = Descendants::of(self.id());
        // Perhaps it has ended already.
        let _ = kill_process(pid(self.id()), Signal::KILL);
        self.child.wait().unwrap();
        match std::thread::panicking() {
            true => eprintln!("the log of process {}:\n{}", self.id(), self.log()),
            false => started.assert_gone(),
        }
    }

    /// SIGTERM; asserts a clean end in time, with nothing left of what it started. Returns how long that took, and the log.
    pub fn terminate(mut self, within: Duration) -> (Duration, String) {
        let started = Descendants::of(self.id());
        let asked = Instant::now();
        self.signal(Signal::TERM);
        assert!(ends(&self.pidfd, within), "it ends after SIGTERM:\n{}", self.log());
        let (took, status) = (asked.elapsed(), self.child.wait().unwrap());
        assert!(status.success(), "{}:\n{}", how(status), self.log());
        started.assert_gone();
        (took, self.log())
    }
}

impl Log {
    fn add(&self, line: &str) {
        let mut lines = self.lines.lock().unwrap();
        lines.text.push_str(line);
        lines.text.push('\n');
        self.grown.notify_all();
    }

    fn close(&self) {
        self.lines.lock().unwrap().is_closed = true;
        self.grown.notify_all();
    }

    fn rest_after(&self, word: &str, within: Duration) -> Option<String> {
        let waits = |lines: &mut Lines| !lines.text.contains(word) && !lines.is_closed;
        let (lines, _) = self.grown.wait_timeout_while(self.lines.lock().unwrap(), within, waits).unwrap();
        lines.text.lines().find_map(|line| line.split_once(word)).map(|(_, rest)| rest.to_owned())
    }
}

/// Asserts that every process of `millrace` that has come to init is about to go: nobody else would end it.
pub fn assert_no_orphans() {
    let is_ours =
        |seen: &Seen| std::fs::read_link(format!("/proc/{}/exe", seen.id)).is_ok_and(|exe| exe == Path::new(env!("CARGO_BIN_EXE_millrace")));
    let orphans = Seen::all().into_iter().filter(|seen| seen.parent == 1 && is_ours(seen));
    Descendants(orphans.filter_map(|seen| Some((seen.below(0), pidfd_open(pid(seen.id), PidfdFlags::empty()).ok()?))).collect()).assert_gone();
}

/// The processes below one, by descriptor: an id that is used again cannot be mistaken for them.
struct Descendants(Vec<(Below, OwnedFd)>);

impl Descendants {
    fn of(root: u32) -> Descendants {
        let all = Seen::all();
        let (mut found, mut next) = (Vec::new(), vec![(root, 0)]);
        while let Some((above, depth)) = next.pop() {
            for seen in all.iter().filter(|seen| seen.parent == above) {
                next.push((seen.id, depth + 1));
                // Gone in the meantime: nothing to wait for.
                found.extend(pidfd_open(pid(seen.id), PidfdFlags::empty()).ok().map(|fd| (seen.below(depth + 1), fd)));
            }
        }
        Descendants(found)
    }

    fn assert_gone(self) {
        for (Below { id, .. }, pidfd) in self.0 {
            let stat = || std::fs::read_to_string(format!("/proc/{id}/stat"));
            assert!(ends(&pidfd, GONE_WITHIN), "process {id} outlived what started it: {:?}", stat());
        }
    }
}

/// A process as /proc tells of it (proc(5), stat).
struct Seen {
    id: u32,
    parent: u32,
    is_zombie: bool,
}

impl Seen {
    fn all() -> Vec<Seen> {
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| Seen::read(e.file_name().to_str()?.parse().ok()?)).collect()
    }

    fn below(&self, depth: usize) -> Below {
        Below { id: self.id, depth, is_zombie: self.is_zombie }
    }

    fn read(id: u32) -> Option<Seen> {
        let stat = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).ok()?;
        // The name in brackets may hold anything.
        let (state, rest) = stat.rsplit_once(") ")?.1.split_once(' ')?;
        Some(Seen { id, parent: rest.split(' ').next()?.parse().ok()?, is_zombie: state == "Z" })
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed()).unwrap()
}

/// Waits until the process of this descriptor has ended.
fn ends(pidfd: &OwnedFd, within: Duration) -> bool {
    let within = Timespec { tv_sec: within.as_secs().cast_signed(), tv_nsec: within.subsec_nanos().into() };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&within)).unwrap() > 0
}

fn how(status: ExitStatus) -> String {
    format!("it ended with {status}")
}
