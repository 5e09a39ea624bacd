//! From what a client names as its input to bytes that were looked at.

use super::{InputRef, Intake, Owner, digest, is_open, not_found, safe_name, sniff, storage};
use crate::failure::{Refusal, RefusalKind};
use crate::format::Format;
use crate::job::{Input, Media, Output, Record, Source, Upload};
use jiff::Timestamp;
use std::path::Path;

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
