//! Brings an input's bytes to a local path.

mod bundle;

use crate::blobs::{BlobError, Blobs, Fetched};
use crate::failure::{Code, Failure};
use crate::job::Source;
use std::path::Path;

/// A local path of an input, for as long as the answer is kept. What must be put together first is put into `folder`.
pub async fn fetch(blobs: &dyn Blobs, source: Option<&Source>, folder: &Path) -> Result<Fetched, Failure> {
    match source {
        Some(Source::Blob(key)) => blob(blobs, key).await,
        // Here and now: another thread takes longer to wake than this.
        Some(Source::Path(path)) => std::fs::canonicalize(path).map(Fetched::lasting).map_err(|e| gone(e.to_string())),
        Some(Source::Bundle(members)) => bundle::make(blobs, members, &folder.join("bundle.zip")).await,
        None => Err(gone("the job has no source".into())),
    }
}

async fn blob(blobs: &dyn Blobs, key: &str) -> Result<Fetched, Failure> {
    blobs.fetch(key).await.map_err(|error| match error {
        BlobError::NotFound(_) => gone(error.to_string()),
        BlobError::Full | BlobError::Io(_) => unavailable("The stored input cannot be read at the moment.", error.to_string()),
    })
}

fn unavailable(message: &str, cause: String) -> Failure {
    Failure::new(Code::InputUnavailable, message).stage("fetch").detail(cause)
}

fn gone(cause: String) -> Failure {
    unavailable("The input is not there any more.", cause)
}
