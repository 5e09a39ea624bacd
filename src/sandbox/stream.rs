//! The service's ear on one child: its reports come out checked, its end only after everything it said was read.

use super::launch::Launched;
use super::wire::{FRAME_MAX, Said, frame, next_frame};
use super::{Child, Control, End, Exit, Order, Report, Usage};
use crate::convert::ProducedFile;
use bytes::BytesMut;
use rustix::process::{Signal, pidfd_send_signal};
use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, oneshot};

/// Reports that may wait for the worker; a child that says more has to wait itself.
const REPORTS_WAITING: usize = 64;
/// Files beyond `entries_max` that one child may name.
const FILES_SPARE: u64 = 10_000;
/// How often staging is measured, and the share of time that may take.
const MEASURE_EVERY: Duration = Duration::from_millis(250);
const MEASURE_SHARE: u32 = 20;

/// Starts listening; the order goes out first, as much of it as has room before anything else.
pub(super) fn attend(launched: Launched, order: &Order) -> io::Result<Child> {
    let mut order_frame = frame(order)?;
    let sent = (&launched.socket).write(&order_frame).unwrap_or(0);
    order_frame.drain(..sent);
    let socket = UnixStream::from_std(launched.socket)?;
    let (reports, received) = mpsc::channel(REPORTS_WAITING);
    let (ended, exit) = oneshot::channel();
    let stop = Arc::new(Stop { wanted: AtomicBool::new(false), notify: Notify::new() });
    let scratch = Arc::new(Scratch::default());
    let control = Hand { pidfd: launched.pidfd.clone(), stop: stop.clone(), scratch: scratch.clone() };
    let watch = tokio::spawn(watch(order.staging.clone(), order.limits.output_max.0, launched.pidfd.clone(), scratch.clone()));
    let ear = Ear {
        pidfd: launched.pidfd,
        reports: Some(reports),
        files: HashMap::new(),
        files_left: order.limits.entries_max.saturating_add(FILES_SPARE),
        forged: false,
        late: Vec::new(),
    };
    tokio::spawn(async move {
        let (exit, late) = ear.listen(socket, order_frame, stop, launched.exit).await;
        watch.abort();
        // An abort comes too late for a watch that has already killed.
        let overfull = watch.await.unwrap_or(false);
        let end = if overfull { End::OutputLimit } else { exit.end };
        let _ = ended.send(Exit { end, scratch_peak_bytes: scratch.peak_bytes.load(Ordering::Relaxed), ..exit });
        if let (Some(reports), late) = late {
            for report in late {
                if reports.send(report).await.is_err() {
                    break;
                }
            }
        }
    });
    Ok(Child { reports: received, exit, control: Box::new(control) })
}

struct Stop {
    wanted: AtomicBool,
    notify: Notify,
}

/// What staging holds, as it was measured.
#[derive(Default)]
struct Scratch {
    bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

struct Hand {
    pidfd: Arc<OwnedFd>,
    stop: Arc<Stop>,
    scratch: Arc<Scratch>,
}

impl Control for Hand {
    fn stop(&self) {
        self.stop.wanted.store(true, Ordering::Release);
        self.stop.notify.notify_one();
    }

    fn kill(&self) {
        // The first process of a pid namespace takes all others along; without one the zygote sweeps.
        let _ = pidfd_send_signal(&*self.pidfd, Signal::KILL);
    }

    fn usage(&self) -> Option<Usage> {
        Some(Usage { scratch_bytes: self.scratch.bytes.load(Ordering::Relaxed), ..usage(&self.pidfd)? })
    }
}

struct Ear {
    pidfd: Arc<OwnedFd>,
    reports: Option<mpsc::Sender<Report>>,
    files: HashMap<usize, Vec<ProducedFile>>,
    files_left: u64,
    forged: bool,
    late: Vec<Report>,
}

impl Ear {
    async fn listen(
        mut self,
        mut socket: UnixStream,
        order: Vec<u8>,
        stop: Arc<Stop>,
        exit: oneshot::Receiver<Exit>,
    ) -> (Exit, (Option<mpsc::Sender<Report>>, Vec<Report>)) {
        let (mut from, mut to) = socket.split();
        let mut exit = exit;
        let mut ended: Option<Exit> = None;
        let mut buffer = BytesMut::with_capacity(8 * 1024);
        let orders = async {
            let _ = to.write_all(&order).await;
            while !stop.wanted.load(Ordering::Acquire) {
                stop.notify.notified().await;
            }
            let _ = to.write_all(&[1]).await;
            std::future::pending::<()>().await;
        };
        tokio::pin!(orders);
        loop {
            tokio::select! {
                gone = &mut exit, if ended.is_none() => ended = Some(gone.unwrap_or_else(|_| Exit::lost(0))),
                read = from.read_buf(&mut buffer) => {
                    if !matches!(read, Ok(n) if n > 0) {
                        break;
                    }
                    while let Some(report) = self.next(&mut buffer) {
                        self.pass(report, &mut exit, &mut ended).await;
                    }
                }
                () = &mut orders => {}
            }
        }
        let exit = match ended {
            Some(exit) => exit,
            None => exit.await.unwrap_or_else(|_| Exit::lost(0)),
        };
        let end = if self.forged && exit.end != End::ZygoteLost { End::Forbidden } else { exit.end };
        (Exit { end, ..exit }, (self.reports, self.late))
    }

    /// The next whole report; a child that sends anything else is killed and no longer heard.
    fn next(&mut self, buffer: &mut BytesMut) -> Option<Report> {
        loop {
            if self.forged {
                buffer.clear();
                return None;
            }
            match next_frame::<Said>(buffer, FRAME_MAX) {
                Ok(None) => return None,
                Ok(Some(Said::Files { output, files })) => match self.files_left.checked_sub(files.len() as u64) {
                    Some(left) => {
                        self.files_left = left;
                        self.files.entry(output).or_default().extend(files);
                    }
                    None => return Some(self.forbid("it names more files than it may make".into())),
                },
                Ok(Some(Said::Report(Report::Output { output, result }))) => {
                    let files = self.files.remove(&output).unwrap_or_default();
                    let result = result.map(|mut produced| {
                        produced.files.extend(files);
                        produced
                    });
                    return Some(Report::Output { output, result });
                }
                Ok(Some(Said::Report(Report::Progress { output, progress }))) => {
                    return Some(Report::Progress { output, progress: progress.tamed() });
                }
                Ok(Some(Said::Report(report))) => return Some(report),
                Err(e) => return Some(self.forbid(format!("it does not keep to the form of reports: {e}"))),
            }
        }
    }

    fn forbid(&mut self, what: String) -> Report {
        self.forged = true;
        let _ = pidfd_send_signal(&*self.pidfd, Signal::KILL);
        Report::Violation(what)
    }

    /// Hands a report on. Once the child has ended, what is left to say is kept, so that its end is not held up.
    async fn pass(&mut self, report: Report, exit: &mut oneshot::Receiver<Exit>, ended: &mut Option<Exit>) {
        let Some(reports) = self.reports.clone() else { return };
        if ended.is_some() {
            self.late.push(report);
            return;
        }
        tokio::select! {
            room = reports.reserve() => match room {
                Ok(room) => room.send(report),
                Err(_) => self.reports = None,
            },
            gone = exit => {
                *ended = Some(gone.unwrap_or_else(|_| Exit::lost(0)));
                self.late.push(report);
            }
        }
    }
}

/// Kills a child that fills staging with twice what it may put out (results and intermediate files), as a resource limit
/// only bounds each file. True when it did.
async fn watch(staging: PathBuf, output_max: u64, pidfd: Arc<OwnedFd>, scratch: Arc<Scratch>) -> bool {
    let mut pause = MEASURE_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let folder = staging.clone();
        let started = Instant::now();
        let used = tokio::task::spawn_blocking(move || folder_bytes(&folder)).await.unwrap_or(0);
        scratch.bytes.store(used, Ordering::Relaxed);
        scratch.peak_bytes.fetch_max(used, Ordering::Relaxed);
        if used > output_max.saturating_mul(2) {
            let _ = pidfd_send_signal(&*pidfd, Signal::KILL);
            return true;
        }
        pause = MEASURE_EVERY.max(started.elapsed() * MEASURE_SHARE);
    }
}

/// Disk space used below this folder; links are not followed.
fn folder_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(kind) if kind.is_dir() => folder_bytes(&entry.path()),
            Ok(kind) => kind.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// CPU time and memory of a living child, by its pid as seen from here.
fn usage(pidfd: &OwnedFd) -> Option<Usage> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid: i32 = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    if pid <= 0 {
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the fields after it are numbers: state is 3, utime 14, stime 15, rss 24.
    let fields: Vec<u64> = stat.rsplit_once(')')?.1.split_ascii_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
    let ticks = fields.get(11)? + fields.get(12)?;
    let cpu_ms = ticks * 1000 / rustix::param::clock_ticks_per_second();
    let used = Usage { cpu_ms, memory_bytes: fields.get(21)? * rustix::param::page_size() as u64, scratch_bytes: 0 };
    // If the child has not ended by now, its pid was not given to somebody else meanwhile.
    let ended = super::wire::readable(&[pidfd.as_fd()], 0).ok()?.contains(&true);
    (!ended).then_some(used)
}
