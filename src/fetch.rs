//! Brings an input's bytes to a local path.

use crate::blobs::Blobs;
use crate::failure::{Code, Failure};
use crate::job::Source;
use std::path::{Path, PathBuf};

/// The local path of an input; what has to be copied for it goes below `cache`.
pub async fn fetch(blobs: &dyn Blobs, source: Option<&Source>, cache: &Path) -> Result<PathBuf, Failure> {
    let unavailable = |cause: String| Failure::new(Code::InputUnavailable, "The input is not there any more.").stage("fetch").detail(cause);
    match source {
        Some(Source::Blob(key)) => blobs.fetch(key, cache).await.map_err(|e| unavailable(e.to_string())),
        Some(Source::Path(path)) => tokio::fs::canonicalize(path).await.map_err(|e| unavailable(e.to_string())),
        None => Err(unavailable("the job has no source".into())),
    }
}
