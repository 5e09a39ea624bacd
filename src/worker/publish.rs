//! From a child's word to a published output: nothing it says counts until it was measured here or in a fresh child.

use super::running::RunningAttempt;
use super::{Engine, verify};
use crate::blobs::{BlobError, StagingFolder};
use crate::convert::{Depth, Looks, Produced, ProducedFile};
use crate::converters;
use crate::failure::{Code, Failure};
use crate::format::Format;
use crate::intake;
use crate::job::{JobId, Media, Output, Receipt, Record, State, Verification};
use crate::limits::Limits;
use crate::probe;
use crate::sandbox::{self, InputOrder, Order, Work};
use crate::store::OutputDone;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tracing::Instrument;

/// A proof takes no longer than this.
const PROOF_LIMIT: crate::limits::Span = crate::limits::Span::from_secs(300);

/// Bytes of a ThumbHash, as its maker says.
const THUMBHASH_MAX: usize = 25;

/// One output of an attempt on its way out.
pub struct Publisher<'a> {
    pub engine: &'a Engine,
    pub attempt: &'a RunningAttempt,
    pub limits: &'a Limits,
    pub staging: &'a StagingFolder,
    /// Counts the files of the attempt: the last part of their blob keys.
    pub files: &'a AtomicUsize,
}

impl Publisher<'_> {
    /// Checks, proves and publishes what a converter made of `planned`; a failure becomes the entry's own.
    pub async fn output(&self, record: &Record, planned: &Output, index: usize, result: Result<Produced, Failure>) -> OutputDone {
        let made = match result {
            Ok(produced) => self.files_of(record, planned, index, produced).await,
            Err(failure) => Err(failure),
        };
        match made {
            Ok((entries, artifacts)) => OutputDone { group: planned.group.clone(), entries, artifacts },
            Err(failure) => {
                let failed =
                    Output { state: State::Failed, error: Some(Failure { attempt: self.attempt.lease.attempt, ..failure }), ..planned.clone() };
                OutputDone { group: planned.group.clone(), entries: vec![failed], artifacts: BTreeMap::new() }
            }
        }
    }

    async fn files_of(
        &self,
        record: &Record,
        planned: &Output,
        index: usize,
        produced: Produced,
    ) -> Result<(Vec<Output>, BTreeMap<String, String>), Failure> {
        let folder = sandbox::output_folder(self.staging.path(), index);
        let total: u64 = produced.files.iter().filter_map(|f| regular(&folder, f).ok()).map(|(_, size)| size).sum();
        if total > self.limits.output_max.0 {
            return Err(Failure::limit(format!("The result is larger than the {} allowed.", self.limits.output_max)).stage("publish"));
        }
        if produced.files.is_empty() {
            return Err(Failure::new(Code::ToolFailed, "The conversion made no file.").stage("publish"));
        }
        let single = produced.files.len() == 1;
        let (mut entries, mut artifacts): (Vec<Output>, BTreeMap<String, String>) = Default::default();
        for file in &produced.files {
            let (path, size) = regular(&folder, file)?;
            let name = name(record, planned, &entries, single, &file.name);
            let (media, verification) = self.prove(&path, size, file).instrument(tracing::info_span!("prove")).await?;
            let media = with_looks(media, produced.looks.as_ref());
            let sha256 = intake::digest(&path).await.map_err(|e| Failure::internal(e).stage("publish"))?;
            let key = Record::artifact_key(self.attempt.lease, self.files.fetch_add(1, Ordering::Relaxed));
            self.engine.blobs.publish(&path, &key).await.map_err(storage)?;
            self.engine.meters.published(&record.job.queue, size);
            artifacts.insert(name.clone(), key);
            let mut warnings = planned.warnings.clone();
            warnings.extend(produced.warnings.iter().take(50).cloned());
            entries.push(Output {
                url: Some(url(self.attempt.lease.job, &name)),
                name,
                state: State::Succeeded,
                error: None,
                size_bytes: Some(size),
                sha256: Some(sha256),
                format: file.format,
                recovered: file.expect.recovered.filter(|share| verify::is_share(*share)),
                receipt: Receipt::new(self.attempt.disclosed(), &media),
                media,
                verification,
                warnings,
                ready_at: Some(self.engine.clock.now()),
                progress: crate::progress::Progress { percent: 100.0, stage: "done".into(), ..Default::default() },
                ..planned.clone()
            });
        }
        Ok((entries, artifacts))
    }

    /// Has a fresh jailed child measure the file, and holds that against what was expected.
    async fn prove(&self, path: &Path, size: u64, file: &ProducedFile) -> Result<(Media, Option<Verification>), Failure> {
        if !file.expect.probe {
            return Ok((Media::default(), None));
        }
        let sniffed = intake::sniff(path, &format!("x.{}", file.format.extension())).await.map_err(|e| Failure::internal(e).stage("verify"))?;
        let media = match has_prober(file.format) {
            true => self.probe(path, size, file.format).await?,
            false => Media::default(),
        };
        let verification = verify::verify(&file.expect, file.format, sniffed, &media);
        match verification.checks.iter().find(|c| !c.passed) {
            None => Ok((media, Some(verification))),
            Some(check) => Err(Failure::new(Code::ToolFailed, "The finished file did not pass its check and was discarded.")
                .stage("verify")
                .detail(format!("{}: expected {}, found {}", check.name, check.expected, check.found))),
        }
    }

    async fn probe(&self, path: &Path, size: u64, format: Format) -> Result<Media, Failure> {
        let staging = tempfile::tempdir_in(self.staging.path()).map_err(|e| storage(e.into()))?;
        let order = Order {
            zygote: converters::family(format.family()).zygote,
            work: Work::Probe(Depth::Proof),
            input: InputOrder { path: path.to_owned(), format, name: "output".into(), size_bytes: size },
            staging: staging.path().to_owned(),
            limits: Limits { soft_time_limit: PROOF_LIMIT, hard_time_limit: PROOF_LIMIT, ..self.limits.clone() },
            threads: self.engine.threads,
        };
        probe::run(&*self.engine.launcher, order).await.map_err(|f| f.stage("verify"))
    }
}

/// What a child says a preview looks like: no more than a few bytes of it.
fn with_looks(media: Media, looks: Option<&Looks>) -> Media {
    let Some(Looks { thumbhash, colour }) = looks.filter(|looks| looks.thumbhash.len() <= THUMBHASH_MAX) else { return media };
    Media { thumbhash: Some(STANDARD.encode(thumbhash)), colour: Some(format!("#{}", hex::encode(colour))), ..media }
}

/// Text and listings have no prober of their own; their bytes are sniffed and counted.
fn has_prober(format: Format) -> bool {
    !matches!(format.id(), "json" | "noop" | "files" | "bin")
}

/// A regular file directly in the output's folder; whatever else a child left there is not touched.
fn regular(folder: &Path, file: &ProducedFile) -> Result<(PathBuf, u64), Failure> {
    let refuse = || Failure::new(Code::PolicyViolation, "The converter left something that is not a file.").stage("publish");
    let plain = !file.file.is_empty() && Path::new(&file.file).components().count() == 1 && !file.file.starts_with('.');
    let path = folder.join(&file.file);
    let meta = std::fs::symlink_metadata(&path).map_err(|e| refuse().detail(e))?;
    if plain && meta.is_file() && meta.nlink() == 1 { Ok((path, meta.len())) } else { Err(refuse()) }
}

/// A name with folders, as files from an archive have: each part made harmless.
fn relative_name(name: &str) -> String {
    let parts: Vec<String> = name.split('/').filter(|p| !p.is_empty()).map(intake::safe_name).collect();
    if parts.is_empty() { "file".into() } else { parts.join("/") }
}

/// What a file of an output is called: as planned where it is the only one, else as it was `made`, and never as another of the job.
pub fn name(record: &Record, planned: &Output, entries: &[Output], single: bool, made: &str) -> String {
    let name = if single && !planned.to.extension().is_empty() { planned.name.clone() } else { relative_name(made) };
    let taken = |n: &str| entries.iter().any(|e| e.name == n) || record.job.outputs.iter().any(|o| o.group != planned.group && o.name == n);
    intake::unused_name(&name, taken)
}

/// Where an output is downloaded.
pub fn url(job: JobId, name: &str) -> String {
    format!("/v1/jobs/{job}/outputs/{}", url_path(name))
}

fn url_path(name: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    name.bytes().map(|b| if keep(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

fn storage(error: BlobError) -> Failure {
    let message = match error {
        BlobError::Full => "The server's storage is full.",
        _ => "The result could not be stored.",
    };
    Failure::new(Code::Internal, message).stage("publish").detail(error)
}
