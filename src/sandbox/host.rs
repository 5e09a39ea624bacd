//! The child's side of a converter's surroundings: reports go up the socket, a byte that comes down it means stop.

use super::Report;
use super::wire::{FILES_PER_FRAME, FRAME_MAX, Said, frame};
use crate::convert::{Host, Level, Produced};
use crate::failure::Failure;
use crate::progress::Progress;
use rustix::net::{RecvFlags, recv};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

const PROGRESS_EVERY_MS: u64 = 100;
const STOP_POLL_MS: u64 = 5;
const LOG_LINES_MAX: usize = 500;
const LOG_LINE_BYTES: usize = 2000;
const WARNINGS_MAX: usize = 200;
const WARNING_CHARS: usize = 300;

/// Talks to the launcher on behalf of a converter.
pub struct ChildHost {
    socket: UnixStream,
    writing: Mutex<()>,
    started: Instant,
    output: AtomicUsize,
    next_progress_ms: AtomicU64,
    next_poll_ms: AtomicU64,
    stop: AtomicBool,
    lines: AtomicUsize,
}

impl ChildHost {
    pub fn new(socket: UnixStream) -> Self {
        ChildHost {
            socket,
            writing: Mutex::new(()),
            started: Instant::now(),
            output: AtomicUsize::new(0),
            next_progress_ms: AtomicU64::new(0),
            next_poll_ms: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            lines: AtomicUsize::new(0),
        }
    }

    /// The output that progress belongs to from now on.
    pub fn begin(&self, output: usize) {
        self.output.store(output, Ordering::Relaxed);
        self.next_progress_ms.store(0, Ordering::Relaxed);
    }

    /// Reports an output's result; a long list of files goes ahead of it in parts.
    pub fn output(&self, output: usize, mut result: Result<Produced, Failure>) {
        if let Ok(produced) = &mut result {
            let files = std::mem::take(&mut produced.files);
            for part in files.chunks(FILES_PER_FRAME) {
                self.say(&Said::Files { output, files: part.to_vec() });
            }
            let more = produced.warnings.len().saturating_sub(WARNINGS_MAX);
            produced.warnings.truncate(WARNINGS_MAX);
            for warning in &mut produced.warnings {
                *warning = warning.chars().take(WARNING_CHARS).collect();
            }
            if more > 0 {
                produced.warnings.push(format!("{more} more warnings"));
            }
        }
        self.report(Report::Output { output, result });
    }

    pub fn report(&self, report: Report) {
        self.say(&Said::Report(report));
    }

    fn say(&self, said: &Said) {
        let Ok(bytes) = frame(said) else { return };
        if bytes.len() > FRAME_MAX + 4 {
            return;
        }
        let _turn = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A launcher that is gone has taken this process's reason to live; the zygote sees to its end.
        let _ = (&self.socket).write_all(&bytes);
    }

    fn due(&self, at: &AtomicU64, every_ms: u64) -> bool {
        let now = self.started.elapsed().as_millis() as u64;
        let next = at.load(Ordering::Relaxed);
        now >= next && at.compare_exchange(next, now + every_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Host for ChildHost {
    fn progress(&self, progress: Progress) {
        if self.due(&self.next_progress_ms, PROGRESS_EVERY_MS) {
            self.report(Report::Progress { output: self.output.load(Ordering::Relaxed), progress });
        }
    }

    fn log(&self, level: Level, message: &str) {
        if self.lines.fetch_add(1, Ordering::Relaxed) < LOG_LINES_MAX {
            let end = (0..=LOG_LINE_BYTES.min(message.len())).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
            self.report(Report::Log { level, message: message.get(..end).unwrap_or_default().to_owned() });
        }
    }

    fn stop_requested(&self) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            return true;
        }
        if !self.due(&self.next_poll_ms, STOP_POLL_MS) {
            return false;
        }
        // A byte is the request; the end of the stream means that nobody waits for the result.
        let stop = !matches!(recv(&self.socket, &mut [0u8; 1], RecvFlags::DONTWAIT), Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR));
        if stop {
            self.stop.store(true, Ordering::Relaxed);
        }
        stop
    }
}
