//! Puts outputs where a site expects them: beside the input, or at the path it gives, and only below an output root.

use super::desk::Task;
use super::settings::ResultShape;
use crate::blobs::Blobs;
use crate::job::{Record, State};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Why an output could not be put where it belongs.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The site's to put right.
    #[error("{0}")]
    NotAllowed(String),
    /// Ours; it may be better later.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Blobs(#[from] crate::blobs::BlobError),
}

/// The result of a job that succeeded, once its outputs are in place.
pub async fn deliver(task: &Task, record: &Record, blobs: &dyn Blobs, roots: &[PathBuf]) -> Result<Value, PlaceError> {
    let job = &record.job;
    let done: Vec<_> = job.outputs.iter().filter(|o| o.state == State::Succeeded).collect();
    let folder = target(task, roots).await?;
    let (mut outputs, mut paths) = (Vec::new(), Vec::new());
    for output in &done {
        let path = match (&folder, record.artifacts.get(&output.name)) {
            (Some(target), Some(key)) => {
                let path = path_of(task, target, &output.name, done.len() > 1);
                copy(blobs, key, &path, roots).await?;
                Some(path.display().to_string())
            }
            _ => None,
        };
        outputs.push(json!({
            "name": output.name, "path": path, "url": output.url, "format": output.format, "size_bytes": output.size_bytes,
            "sha256": output.sha256, "media": output.media, "warnings": output.warnings,
        }));
        paths.extend(path);
    }
    let first = done.first();
    let seconds = job.finished_at.zip(job.started_at).map(|(end, start)| end.duration_since(start).as_secs_f64());
    Ok(match task.shape {
        ResultShape::Path => json!(paths.first()),
        ResultShape::Dict => json!({
            "status": "success", "task_id": task.given.get("task_id"), "job_id": job.id, "input_path": task.input,
            "output_path": paths.first(), "output_paths": paths, "output_format": first.map(|o| o.format), "output_size": first.and_then(|o| o.size_bytes),
            "sha256": first.and_then(|o| o.sha256.as_ref()), "url": first.and_then(|o| o.url.as_ref()), "outputs": outputs, "partial": job.partial,
            "duration_s": seconds,
        }),
    })
}

/// Where the first output goes; a name alone is a folder's. None: nowhere, the blob store has it.
enum Target {
    Exactly(PathBuf),
    In(PathBuf),
}

async fn target(task: &Task, roots: &[PathBuf]) -> Result<Option<Target>, PlaceError> {
    if let Some(path) = &task.output {
        let folder = path.parent().unwrap_or(Path::new("/"));
        if !is_below(folder, roots).await {
            return Err(PlaceError::NotAllowed(format!("{} is not in a folder below one of outputs.roots", path.display())));
        }
        return Ok(Some(if tokio::fs::metadata(path).await.is_ok_and(|m| m.is_dir()) {
            Target::In(path.clone())
        } else {
            Target::Exactly(path.clone())
        }));
    }
    match task.input.as_deref().and_then(Path::parent) {
        Some(folder) if is_below(folder, roots).await => Ok(Some(Target::In(folder.to_owned()))),
        _ => Ok(None),
    }
}

/// After links are followed.
async fn is_below(folder: &Path, roots: &[PathBuf]) -> bool {
    let Ok(real) = tokio::fs::canonicalize(folder).await else { return false };
    roots.iter().any(|root| real.starts_with(root.canonicalize().as_deref().unwrap_or(root)))
}

/// Several outputs have a folder of their own; an output never takes the place of its input.
fn path_of(task: &Task, target: &Target, name: &str, several: bool) -> PathBuf {
    let (name, input) = (Path::new(name), task.input.as_deref());
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = name.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    match target {
        Target::Exactly(path) if several => path.with_extension("").join(name),
        Target::Exactly(path) => path.clone(),
        Target::In(folder) if several => folder.join(format!("{}_outputs", input.map(stem).unwrap_or_default())).join(name),
        Target::In(folder) => {
            let path = folder.join(name);
            if Some(path.as_path()) == input { folder.join(format!("{}_converted{extension}", stem(name))) } else { path }
        }
    }
}

/// Whole or not at all: written beside its place, then moved there.
async fn copy(blobs: &dyn Blobs, key: &str, path: &Path, roots: &[PathBuf]) -> Result<(), PlaceError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    tokio::fs::create_dir_all(folder).await?;
    if !is_below(folder, roots).await {
        return Err(PlaceError::NotAllowed(format!("{} leads out of outputs.roots", folder.display())));
    }
    let fetched = blobs.fetch(key).await?;
    let (from, path, folder) = (fetched.path().to_owned(), path.to_owned(), folder.to_owned());
    let copied = tokio::task::spawn_blocking(move || {
        let mut file = tempfile::Builder::new().prefix(".millrace-").tempfile_in(&folder)?;
        std::io::copy(&mut std::fs::File::open(from)?, file.as_file_mut())?;
        // As a file that the site had made itself.
        std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|e| e.error)?;
        std::fs::File::open(&folder)?.sync_all()
    });
    copied.await.map_err(std::io::Error::other)??;
    Ok(())
}
