//! From what a client names as its input to bytes that were looked at.

use super::{InputRef, Intake, Owner, digest, is_open, not_found, safe_name, sniff, storage, too_large};
use crate::blobs::{BlobError, Range};
use crate::failure::{Refusal, RefusalKind};
use crate::format::{self, Format, Sample};
use crate::job::{Input, Media, Output, Record, Source, Upload};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::path::Path;
use tokio::io::AsyncReadExt;

/// An input that was found and looked at.
#[derive(Debug, Clone)]
pub struct Found {
    pub input: Input,
    pub source: Source,
    pub upload: Option<String>,
    /// The name claims another format than the bytes have.
    pub claimed: Option<Format>,
}

impl Found {
    fn upload(upload: Upload, from: Option<Format>) -> Result<Found, Refusal> {
        let source = Source::Blob(upload.blob_key());
        let format = recognised(from.or(upload.format), &upload.name, upload.size_bytes)?;
        let claimed = mismatch(&upload.name, upload.format);
        let input = Input { name: upload.name, size_bytes: upload.size_bytes, sha256: upload.sha256, format, media: Media::default() };
        Ok(Found { input, source, upload: Some(upload.id), claimed })
    }

    /// An output of another job, if its bytes are there.
    pub fn output(record: &Record, made: &Output) -> Option<Found> {
        let input = Input {
            name: made.name.clone(),
            size_bytes: made.size_bytes.unwrap_or(0),
            sha256: made.sha256.clone().unwrap_or_default(),
            format: made.format,
            media: made.media.clone(),
        };
        let key = record.artifacts.get(&made.name)?;
        Some(Found { input, source: Source::Blob(key.clone()), upload: None, claimed: None })
    }
}

impl Intake {
    /// Finds an input; `from` overrides what its bytes were recognised as. What is another owner's is not there.
    pub async fn find(&self, input: &InputRef, owner: Option<&Owner>, from: Option<Format>, now: Timestamp) -> Result<Found, Refusal> {
        match input {
            InputRef::Upload(id) => {
                let gone = |text: &str| not_found("input.upload", id, text);
                let upload = self.store.upload(id).await.ok().filter(|upload| is_open(upload.owner.as_deref(), owner));
                let upload = upload.ok_or_else(|| gone("There is no such upload; uploads are kept for 24 hours."))?;
                if upload.expires_at < now {
                    return Err(gone("The upload has expired; send the file again."));
                }
                Found::upload(upload, from)
            }
            InputRef::Url(url) => Found::upload(self.fetch(url, owner, now).await?, from),
            InputRef::Path(path) => self.find_path(path, from).await,
            InputRef::Blob(key) => self.find_blob(key, from).await,
            InputRef::Job { job, output } => {
                if let Some(owner) = owner {
                    self.check_own(owner, *job, "input.job").await?;
                }
                let record = self.store.get(*job).await.map_err(|_| not_found("input.job", job, "There is no such job."))?;
                let made = record.job.outputs.iter().find(|o| output.as_ref().is_none_or(|name| *name == o.name));
                let made = made.ok_or_else(|| not_found("input.output", output.as_deref().unwrap_or(""), "The job has no such output."))?;
                let gone = || not_found("input.output", &made.name, "The output is not there (not yet, or not any more).");
                let mut found = Found::output(&record, made).ok_or_else(gone)?;
                found.input.format = from.unwrap_or(found.input.format);
                Ok(found)
            }
            InputRef::Step { step, .. } => {
                Err(Refusal::new(RefusalKind::InvalidRequest, "Only a pipeline has steps.").field("input.step").given(step))
            }
        }
    }

    async fn find_path(&self, path: &Path, from: Option<Format>) -> Result<Found, Refusal> {
        let refuse = |text: &str| not_found("input.path", path.display(), text).allowed(self.input_roots.iter().map(|r| r.display().to_string()));
        let real = tokio::fs::canonicalize(path).await.map_err(|_| refuse("There is no such file below an input root."))?;
        let allowed = self.input_roots.iter().any(|root| real.starts_with(root));
        let meta = tokio::fs::metadata(&real).await.map_err(|_| refuse("There is no such file below an input root."))?;
        if !allowed || !meta.is_file() {
            return Err(refuse("There is no such file below an input root."));
        }
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let sniffed = sniff(&real, &name).await?;
        let format = recognised(from.or(sniffed), &name, meta.len())?;
        let sha256 = digest(&real).await.map_err(|e| storage(e.into()))?;
        let input = Input { name: safe_name(&name), size_bytes: meta.len(), sha256, format, media: Media::default() };
        Ok(Found { claimed: mismatch(&name, sniffed), input, source: Source::Path(real), upload: None })
    }
}

impl Intake {
    /// What the site itself has put beside our blobs. It is read as a whole: its digest is not taken from anybody's word.
    async fn find_blob(&self, key: &str, from: Option<Format>) -> Result<Found, Refusal> {
        let refuse = || {
            let text = "There is no such blob below an allowed folder.";
            not_found("input.blob", key, text).allowed(self.input_blobs.iter().cloned())
        };
        if !self.input_blobs.iter().any(|folder| key.starts_with(folder)) {
            return Err(refuse());
        }
        let told = |error| if matches!(error, BlobError::NotFound(_)) { refuse() } else { storage(error) };
        let mut opened = self.blobs.open(key, None).await.map_err(told)?;
        let (size, max) = (opened.size_bytes, self.upload_max());
        if size > max.0 {
            return Err(too_large(size, max).field("input.blob"));
        }
        let part = async |range: Range| {
            let mut bytes = Vec::new();
            self.blobs.open(key, Some(range)).await.map_err(told)?.bytes.read_to_end(&mut bytes).await.map_err(|e| storage(e.into()))?;
            Ok::<_, Refusal>(bytes)
        };
        let ends = Sample::LEN as u64;
        let (head, tail) = (part(0..size.min(ends)).await?, part(size.saturating_sub(ends)..size).await?);
        let (mut hash, mut chunk) = (Sha256::new(), vec![0; 256 * 1024]);
        loop {
            match opened.bytes.read(&mut chunk).await.map_err(|e| storage(e.into()))? {
                0 => break,
                n => hash.update(&chunk[..n]),
            }
        }
        let name = safe_name(key.rsplit('/').next().unwrap_or(key));
        let sniffed = format::sniff(&Sample { head: &head, tail: &tail, name: &name });
        let (format, claimed) = (recognised(from.or(sniffed), &name, size)?, mismatch(&name, sniffed));
        let input = Input { name, size_bytes: size, sha256: hex::encode(hash.finalize()), format, media: Media::default() };
        Ok(Found { input, source: Source::Blob(key.to_owned()), upload: None, claimed })
    }
}

fn recognised(format: Option<Format>, name: &str, size: u64) -> Result<Format, Refusal> {
    format.ok_or_else(|| {
        let what = if size == 0 { "The file is empty." } else { "The file's content is not of a format that can be converted." };
        Refusal::new(RefusalKind::UnsupportedFormat, what).field("input").given(name)
    })
}

/// Content is trusted; a name that claims something else is reported.
fn mismatch(name: &str, sniffed: Option<Format>) -> Option<Format> {
    Format::from_file_name(name).filter(|claimed| sniffed.is_some_and(|s| s != *claimed))
}
