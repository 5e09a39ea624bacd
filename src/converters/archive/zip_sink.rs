//! Writes zip: small entries are compressed by several threads and put in order, large ones stream through.

use super::entry::{Entry, Kind};
use super::fault;
use super::sink::Sink;
use crate::failure::Failure;
use ::zip::result::{ZipError, ZipResult};
use ::zip::write::FileOptions;
use ::zip::{AesMode, CompressionMethod, DateTime, PreparedZipFile, ZipWriter};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

/// Up to this size an entry is held in memory and compressed on its own.
const SMALL: u64 = 4 << 20;
/// As small as the usual zlib makes it at its default, 6, and still faster.
const DEFLATE_LEVEL: u8 = 7;

struct Job {
    path: String,
    options: Recipe,
    data: Vec<u8>,
    done: SyncSender<ZipResult<PreparedZipFile>>,
}

/// Options without borrowed parts, to cross threads.
#[derive(Clone)]
struct Recipe {
    mode: u32,
    modified: Option<DateTime>,
    level: u8,
    password: Option<Arc<str>>,
    large: bool,
}

impl Recipe {
    fn options(&self) -> FileOptions<'_, 'static, ()> {
        let mut options = FileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(i64::from(self.level)))
            .unix_permissions(self.mode)
            .large_file(self.large);
        // The earliest date the format can hold stands for none.
        options = options.last_modified_time(self.modified.unwrap_or_default());
        match &self.password {
            Some(password) => options.with_aes_encryption(AesMode::Aes256, password),
            None => options,
        }
    }
}

pub struct ZipSink {
    writer: ZipWriter<BufWriter<File>>,
    level: u8,
    password: Option<Arc<str>>,
    jobs: Option<SyncSender<Job>>,
    waiting: VecDeque<Receiver<ZipResult<PreparedZipFile>>>,
    waiting_max: usize,
    workers: Vec<std::thread::JoinHandle<()>>,
}

impl ZipSink {
    pub fn create(path: &Path, level: Option<u8>, password: Option<&str>, threads: usize) -> Result<ZipSink, Failure> {
        let file = File::create(path).map_err(fault::writing)?;
        let threads = threads.clamp(1, 16);
        let (jobs, inbox) = sync_channel::<Job>(threads);
        let inbox = Arc::new(Mutex::new(inbox));
        let mut workers = Vec::new();
        for _ in 0..threads {
            let inbox = inbox.clone();
            let worker = move || {
                while let Some(job) = next(&inbox) {
                    let prepared = PreparedZipFile::from_data(&job.path, job.options.options(), &job.data);
                    let _ = job.done.send(prepared);
                }
            };
            workers.push(std::thread::Builder::new().name("deflate".into()).spawn(worker).map_err(Failure::internal)?);
        }
        Ok(ZipSink {
            writer: ZipWriter::new(BufWriter::with_capacity(256 << 10, file)),
            level: level.unwrap_or(DEFLATE_LEVEL),
            password: password.map(Arc::from),
            jobs: Some(jobs),
            waiting: VecDeque::new(),
            waiting_max: threads * 2,
            workers,
        })
    }

    /// Writes finished entries, in order, until at most `leave` are on their way.
    fn drain(&mut self, leave: usize) -> Result<(), Failure> {
        while self.waiting.len() > leave {
            let Some(first) = self.waiting.pop_front() else { break };
            let prepared = first.recv().map_err(Failure::internal)?.map_err(failure)?;
            self.writer.add_prepared_file(prepared).map_err(failure)?;
        }
        Ok(())
    }
}

fn next(inbox: &Mutex<Receiver<Job>>) -> Option<Job> {
    inbox.lock().ok()?.recv().ok()
}

fn failure(error: ZipError) -> Failure {
    match error {
        ZipError::Io(e) => fault::writing(e),
        other => Failure::internal(other),
    }
}

/// The date in the format's own calendar, which begins in 1980.
fn calendar(seconds: i64) -> Option<DateTime> {
    let t = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let small = |v: i8| u8::try_from(v).ok();
    DateTime::from_date_and_time(
        u16::try_from(t.year()).ok()?,
        small(t.month())?,
        small(t.day())?,
        small(t.hour())?,
        small(t.minute())?,
        small(t.second())?,
    )
    .ok()
}

impl Sink for ZipSink {
    fn add(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<Option<String>, Failure> {
        let mut recipe = Recipe {
            mode: entry.mode.unwrap_or(if entry.is_folder() { 0o755 } else { 0o644 }) & 0o777,
            modified: entry.modified.and_then(calendar),
            level: self.level,
            password: self.password.clone(),
            large: entry.size.is_none_or(|size| size >= ::zip::ZIP64_BYTES_THR / 2),
        };
        match &entry.kind {
            // Encryption is done by the writer itself.
            Kind::File if recipe.password.is_none() && entry.size.is_some_and(|size| size <= SMALL) => {
                recipe.large = false;
                let mut content = Vec::with_capacity(entry.size.unwrap_or(0) as usize);
                data.read_to_end(&mut content).map_err(fault::writing)?;
                self.drain(self.waiting_max)?;
                let (done, result) = sync_channel(1);
                let job = Job { path: entry.path.clone(), options: recipe, data: content, done };
                self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(|| Failure::internal("no deflate threads"))?;
                self.waiting.push_back(result);
                return Ok(None);
            }
            _ => self.drain(0)?,
        }
        match &entry.kind {
            Kind::File => {
                self.writer.start_file(&entry.path, recipe.options()).map_err(failure)?;
                let mut block = vec![0; 256 << 10];
                loop {
                    match data.read(&mut block) {
                        Ok(0) => break,
                        Ok(n) => self.writer.write_all(block.get(..n).unwrap_or_default()).map_err(fault::writing)?,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(fault::writing(e)),
                    }
                }
            }
            Kind::Folder => {
                recipe.password = None;
                self.writer.add_directory(&entry.path, recipe.options()).map_err(failure)?;
            }
            Kind::Symlink(target) => self.writer.add_symlink(&entry.path, target, recipe.options()).map_err(failure)?,
            Kind::Hardlink(target) => {
                let relative = relative(&entry.path, target);
                self.writer.add_symlink(&entry.path, relative, recipe.options()).map_err(failure)?;
                return Ok(Some(format!("`{}` was a second name of `{}` and became a link to it.", fault::shown(&entry.path), fault::shown(target))));
            }
        }
        Ok(None)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        self.drain(0)?;
        self.jobs = None;
        for worker in self.workers.drain(..) {
            worker.join().map_err(|_| Failure::internal("a deflate thread is gone"))?;
        }
        self.writer.finish().map_err(failure)?.flush().map_err(fault::writing)
    }
}

/// The way from an entry to another, as a symbolic link says it.
pub fn relative(from: &str, to: &str) -> String {
    let up = from.split('/').count() - 1;
    "../".repeat(up) + to
}
