//! The way in: a request is checked in full before anything is kept, and its bytes are kept before its row is.
//!
//! queue open? -> input found -> bytes sniffed against the claim -> converter found -> preset merged -> options checked by
//! the converter's own types -> `store.insert`

mod found;
mod input_ref;
mod outputs;
mod owner;
mod plan;
mod request;
mod reuse;
mod telling;
mod url;

pub use found::Found;
pub use input_ref::InputRef;
pub use outputs::{safe_name, unused as unused_name};
pub use owner::{idempotency, is_open};
pub use plan::{Plan, PlannedOutput};
pub use request::{OutputRequest, Owner, Request};
pub use telling::Telling;

use crate::blobs::{BlobError, Blobs, Staging};
use crate::failure::{Refusal, RefusalKind};
use crate::format::{self, Format, Sample};
use crate::job::{Asked, Input, Job, JobId, OnPartial, Record, Site, Source, State, Stats, Upload};
use crate::limits::Size;
use crate::outbound::Outbound;
use crate::progress::Progress;
use crate::queue::{Queue, Queues};
use crate::store::{Inserted, NewJob, Store, StoreError, Tuning, transition};
use crate::trace;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// How long an upload waits for jobs that use it.
const UPLOAD_KEPT: SignedDuration = SignedDuration::from_hours(24);

pub struct Intake {
    pub store: Arc<dyn Store>,
    pub blobs: Arc<dyn Blobs>,
    pub staging: Staging,
    pub queues: Arc<Queues>,
    /// Folders that `{"path": ...}` may read; empty: none.
    pub input_roots: Vec<PathBuf>,
    /// What the keys of `{"blob": ...}` must begin with; empty: none.
    pub input_blobs: Vec<String>,
    /// Fetches `{"url": ...}`; none: nothing does.
    pub outbound: Option<Arc<Outbound>>,
    pub telling: Telling,
}

impl Intake {
    /// The largest upload that any queue takes.
    pub fn upload_max(&self) -> Size {
        self.queues.iter().map(|(_, q)| q.limits.input_max).max().unwrap_or(Size(0))
    }

    /// Keeps a stream of bytes as an upload: hashed and counted on the way, durable before its row is written.
    pub async fn receive(&self, name: &str, bytes: impl AsyncRead + Unpin, now: Timestamp) -> Result<Upload, Refusal> {
        let upload = self.receive_up_to(Size(u64::MAX), name, bytes, now).await?;
        self.store.put_upload(upload.clone()).await.map_err(store)?;
        Ok(upload)
    }

    /// The same, without its row.
    async fn receive_up_to(&self, max: Size, name: &str, mut bytes: impl AsyncRead + Unpin, now: Timestamp) -> Result<Upload, Refusal> {
        let max = max.min(self.upload_max());
        let id = uuid::Uuid::now_v7().simple().to_string();
        let folder = self.staging.for_upload(&id).map_err(storage)?;
        let path = folder.path().join("bytes");
        let mut file = tokio::fs::File::create(&path).await.map_err(|e| storage(e.into()))?;
        let (mut hash, mut size, mut chunk) = (Sha256::new(), 0u64, vec![0; 256 * 1024]);
        loop {
            let n = bytes.read(&mut chunk).await.map_err(|e| Refusal::new(RefusalKind::InvalidRequest, "The upload broke off.").given(e))?;
            if n == 0 {
                break;
            }
            size += n as u64;
            if size > max.0 {
                return Err(too_large(size, max));
            }
            hash.update(&chunk[..n]);
            file.write_all(&chunk[..n]).await.map_err(|e| storage(e.into()))?;
        }
        file.flush().await.map_err(|e| storage(e.into()))?;
        let format = sniff(&path, name).await?;
        let upload = upload(id, name, (size, hex::encode(hash.finalize())), format, now);
        self.blobs.publish(&path, &upload.blob_key()).await.map_err(storage)?;
        Ok(upload)
    }

    /// The upload that this file would be.
    pub async fn describe(&self, id: &str, name: &str, path: &Path, now: Timestamp) -> Result<Upload, Refusal> {
        let size = tokio::fs::metadata(path).await.map_err(|e| storage(e.into()))?.len();
        let sha256 = digest(path).await.map_err(|e| storage(e.into()))?;
        Ok(upload(id.to_owned(), name, (size, sha256), sniff(path, name).await?, now))
    }

    /// Accepts a request as a job, or says what is wrong with it.
    pub async fn submit(&self, request: Request, idempotency_key: Option<String>, now: Timestamp) -> Result<Inserted, Refusal> {
        let idempotency = idempotency_key.map(|key| idempotency(request.owner.as_ref(), &key, &request));
        let span = tracing::info_span!("submit", otel.kind = "producer", messaging.system = "millrace", messaging.operation.type = "send",
            messaging.destination.name = Empty, messaging.message.id = Empty);
        trace::follow(&span, request.context.get(trace::TRACEPARENT).and_then(Value::as_str));
        self.insert(request, idempotency, now).instrument(span).await
    }

    async fn insert(&self, request: Request, idempotency: Option<(String, String)>, now: Timestamp) -> Result<Inserted, Refusal> {
        let owner = request.owner.clone();
        let mut record = self.plan(request, now).await?;
        let span = Span::current();
        span.record("messaging.destination.name", &record.job.queue).record("messaging.message.id", record.job.id.to_string());
        if let Some(name) = trace::name(&span) {
            record.job.context.insert(trace::TRACEPARENT.into(), name.into());
        }
        let after = record.job.after.clone();
        let inserted = self.store.insert(vec![NewJob { record, idempotency }], now).await.map_err(|error| match error {
            StoreError::UnknownDependency(id) => {
                let n = after.iter().position(|a| *a == id).unwrap_or(0);
                store(error).field(format!("after[{n}]"))
            }
            error => store(error),
        })?;
        let inserted = inserted.into_iter().next().ok_or_else(|| Refusal::new(RefusalKind::Unavailable, "The store gave no answer."))?;
        owner::check_inserted(&*self.store, owner.as_ref(), &inserted).await?;
        Ok(inserted)
    }

    /// The job that a request would become.
    pub async fn plan(&self, request: Request, now: Timestamp) -> Result<Record, Refusal> {
        request.check(now)?;
        self.telling.check(&request)?;
        self.check_owner(&request).await?;
        if matches!(request.input, InputRef::Url(_)) {
            // Before anything is fetched.
            self.check_names(&request)?;
        }
        let found = self.find(&request.input, request.owner.as_ref(), request.from, now).await?;
        let tunings = self.store.tunings().await.map_err(store)?;
        self.plan_on(request, found, &tunings, now)
    }

    /// The same, where the input was found already and the queues' live settings are known.
    pub fn plan_on(&self, request: Request, found: Found, tunings: &BTreeMap<String, Tuning>, now: Timestamp) -> Result<Record, Refusal> {
        let outputs = outputs::plan(&self.queues, &request, &found.input, found.claimed)?;
        let family = outputs.first().map(|o| o.converter.split('.').next().unwrap_or_default().to_owned()).unwrap_or_default();
        let name = request.queue.clone().unwrap_or(family);
        let queue = self.queue(&name)?;
        if found.input.size_bytes > queue.limits.input_max.0 {
            return Err(too_large(found.input.size_bytes, queue.limits.input_max).field("input"));
        }
        let asked = Asked {
            soft_time_limit: request.soft_time_limit,
            hard_time_limit: request.hard_time_limit,
            max_attempts: request.max_attempts,
            retry_delay: request.retry_delay,
        };
        let tuning = tunings.get(&name).cloned().unwrap_or_default();
        let mut job = blank(name, queue, now);
        job.converter = outputs.first().map(|o| o.converter.clone()).unwrap_or_default();
        job.from = Some(found.input.format);
        job.to = outputs.first().map(|o| o.to);
        job.priority = request.priority.unwrap_or(queue.settings.priority);
        job.stats.items_total = outputs.len() as u64;
        job.on_partial = request.on_partial;
        job.run_at = request.run_at.unwrap_or(now);
        job.expires_at = request.expires_at;
        job.after = request.after;
        (job.webhook, job.notify_email) = (request.webhook, request.notify_email);
        (job.context, job.metadata) = (request.context, request.metadata);
        (job.unique_key, job.fairness_key) = (request.unique_key, request.fairness_key);
        job.outputs = outputs;
        job.input = Some(found.input);
        let shares = queue.settings.reuse && !request.owner.as_ref().is_some_and(|owner| owner.alone);
        let reuse_key = if shares { reuse::key(&job, &found.source) } else { None };
        let (site, owner) = (self.telling.site(queue), request.owner.map(|owner| owner.token));
        let mut record = Record { job, source: Some(found.source), upload: found.upload, artifacts: BTreeMap::new(), asked, site, owner, reuse_key };
        transition::tune(&mut record, &tuning);
        Ok(record)
    }

    /// What can be told of a request before its input is there: its queue, its presets, its formats.
    pub fn check_names(&self, request: &Request) -> Result<(), Refusal> {
        outputs::check_names(&self.queues, request)?;
        request.queue.as_deref().map_or(Ok(()), |name| self.queue(name).map(drop))
    }

    /// Finds the bytes a client asks to have probed, without making a job of them.
    pub async fn look_at(&self, input: &InputRef, owner: Option<&Owner>, now: Timestamp) -> Result<(Input, Source), Refusal> {
        self.find(input, owner, None, now).await.map(|found| (found.input, found.source))
    }

    /// Removes an ended job with its outputs.
    pub async fn remove(&self, id: JobId) -> Result<(), StoreError> {
        for key in self.store.remove(id).await? {
            if let Err(error) = self.blobs.delete(&key).await {
                tracing::warn!(%error, key, "an output stays for the cleanup queue");
            }
        }
        Ok(())
    }

    fn queue(&self, name: &str) -> Result<&Queue, Refusal> {
        self.queues.get(name).ok_or_else(|| {
            Refusal::new(RefusalKind::InvalidRequest, format!("There is no queue `{name}`.")).field("queue").given(name).allowed(self.queues.names())
        })
    }
}

fn upload(id: String, name: &str, (size_bytes, sha256): (u64, String), format: Option<Format>, now: Timestamp) -> Upload {
    let expires_at = now.saturating_add(UPLOAD_KEPT).unwrap_or(Timestamp::MAX);
    Upload { id, name: safe_name(name), size_bytes, sha256, format, created_at: now, expires_at, owner: None }
}

/// One of the engine's own jobs, as the schedules submit them.
pub fn engine_job(queues: &Queues, converter: &str, now: Timestamp) -> Record {
    let queue = queues.get("cleanup").cloned().unwrap_or_default();
    let mut job = blank("cleanup".into(), &queue, now);
    job.converter = converter.to_owned();
    // One at a time: a second one that waits would find nothing to do.
    job.unique_key = Some(format!("engine:{converter}"));
    Record {
        job,
        source: None,
        upload: None,
        artifacts: BTreeMap::new(),
        asked: Asked::default(),
        site: Site::default(),
        owner: None,
        reuse_key: None,
    }
}

fn blank(queue: String, settings: &Queue, now: Timestamp) -> Job {
    Job {
        id: JobId::new(),
        state: State::Queued,
        queue,
        converter: String::new(),
        from: None,
        to: None,
        priority: settings.settings.priority,
        attempt: 0,
        failures: 0,
        recoveries: 0,
        max_attempts: settings.settings.max_attempts,
        retry_delay: settings.settings.retry_delay,
        progress: Progress::default(),
        input: None,
        outputs: Vec::new(),
        on_partial: OnPartial::Fail,
        partial: false,
        reused: false,
        stats: Stats::default(),
        error: None,
        attempts: Vec::new(),
        cancel: None,
        created_at: now,
        run_at: now,
        started_at: None,
        finished_at: None,
        expires_at: None,
        soft_time_limit: settings.limits.soft_time_limit,
        hard_time_limit: settings.limits.hard_time_limit,
        webhook: None,
        notify_email: None,
        context: Map::new(),
        metadata: Map::new(),
        pipeline: None,
        step: None,
        after: Vec::new(),
        waiting_on: Vec::new(),
        unique_key: None,
        fairness_key: None,
    }
}

/// What the bytes of this file are.
pub async fn sniff(path: &Path, name: &str) -> Result<Option<Format>, Refusal> {
    let (head, tail) = ends(path).await.map_err(|e| storage(e.into()))?;
    Ok(format::sniff(&Sample { head: &head, tail: &tail, name }))
}

async fn ends(path: &Path) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut file = tokio::fs::File::open(path).await?;
    let size = file.metadata().await?.len();
    let mut head = Vec::new();
    (&mut file).take(Sample::LEN as u64).read_to_end(&mut head).await?;
    let mut tail = Vec::new();
    file.seek(std::io::SeekFrom::Start(size.saturating_sub(Sample::LEN as u64))).await?;
    file.take(Sample::LEN as u64).read_to_end(&mut tail).await?;
    Ok((head, tail))
}

/// SHA-256 of a file, in hex.
pub async fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let hash = tokio::task::spawn_blocking(move || {
        let (mut hash, mut chunk) = (Sha256::new(), vec![0; 256 * 1024]);
        loop {
            match std::io::Read::read(&mut file, &mut chunk)? {
                0 => return Ok::<_, std::io::Error>(hash.finalize()),
                n => hash.update(&chunk[..n]),
            }
        }
    });
    Ok(hex::encode(hash.await.map_err(std::io::Error::other)??))
}

fn not_found(field: &str, given: impl std::fmt::Display, text: &str) -> Refusal {
    Refusal::new(RefusalKind::NotFound, text).field(field).given(given)
}

fn too_large(size: u64, max: Size) -> Refusal {
    Refusal::new(RefusalKind::TooLarge, format!("The file is larger than the {max} allowed here.")).given(Size(size)).allowed([max.to_string()])
}

/// The cause goes to the log, once, here.
pub fn storage(error: BlobError) -> Refusal {
    tracing::error!(%error, "storage failed at intake");
    match error {
        BlobError::Full => Refusal::new(RefusalKind::InsufficientStorage, "The server's storage is full; try again later."),
        _ => Refusal::new(RefusalKind::Unavailable, "The server's storage does not answer; try again later."),
    }
}

/// A store's error in the edge's words.
pub fn store(error: StoreError) -> Refusal {
    match error {
        StoreError::NotFound(what) => Refusal::new(RefusalKind::NotFound, format!("There is no such {what}.")),
        StoreError::WrongState(state) => Refusal::new(RefusalKind::Conflict, format!("The job is {}.", state.as_str())).given(state.as_str()),
        StoreError::UnknownDependency(id) => {
            Refusal::new(RefusalKind::InvalidRequest, format!("There is no job {id} to wait for.")).field("after").given(id)
        }
        StoreError::IdempotencyMismatch => Refusal::new(RefusalKind::IdempotencyMismatch, "This Idempotency-Key was used for another request."),
        StoreError::Full => Refusal::new(RefusalKind::InsufficientStorage, "The server's storage is full; try again later."),
        StoreError::Unavailable(cause) => {
            tracing::error!(cause, "the store failed");
            Refusal::new(RefusalKind::Unavailable, "The server's store does not answer; try again later.")
        }
    }
}
