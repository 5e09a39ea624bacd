//! Jobs that read a file and make nothing of it.

use jiff::Timestamp;
use millrace::format::Format;
use millrace::intake::engine_job;
use millrace::job::{Input, Media, Source};
use millrace::queue::Queues;
use millrace::store::NewJob;

/// The queue they are in.
pub const QUEUE: &str = "archive";

/// Makes jobs of one kind.
pub struct Mould {
    queues: Queues,
    format: Format,
    source: Source,
}

impl Mould {
    pub fn new(source: Source) -> Result<Mould, String> {
        let format = Format::from_file_name("input.zip").ok_or("zip is no format")?;
        Ok(Mould { queues: Queues::load(&[])?, format, source })
    }

    /// A job that is due now. Without outputs: what is measured is the engine, not the disk that outputs are published to.
    pub fn job(&self, name: String, now: Timestamp) -> NewJob {
        let mut record = engine_job(&self.queues, "archive.list", now);
        record.job.queue = QUEUE.into();
        record.job.unique_key = None;
        record.job.from = Some(self.format);
        record.job.input = Some(Input { name, size_bytes: 1, sha256: "0".repeat(64), format: self.format, media: Media::default() });
        record.source = Some(self.source.clone());
        NewJob { record, idempotency: None }
    }

    pub fn many(&self, n: usize, now: Timestamp) -> Vec<NewJob> {
        (0..n).map(|n| self.job(format!("film-{n}.zip"), now)).collect()
    }
}
