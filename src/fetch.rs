//! Brings an input's bytes to a local path.

use crate::blobs::{BlobError, Blobs, Fetched};
use crate::failure::{Code, Failure};
use crate::job::Source;

/// A local path of an input, for as long as the answer is kept.
pub async fn fetch(blobs: &dyn Blobs, source: Option<&Source>) -> Result<Fetched, Failure> {
    let unavailable = |message: &str, cause: String| Failure::new(Code::InputUnavailable, message).stage("fetch").detail(cause);
    let gone = |cause: String| unavailable("The input is not there any more.", cause);
    match source {
        Some(Source::Blob(key)) => blobs.fetch(key).await.map_err(|error| match error {
            BlobError::NotFound(_) => gone(error.to_string()),
            BlobError::Full | BlobError::Io(_) => unavailable("The stored input cannot be read at the moment.", error.to_string()),
        }),
        Some(Source::Path(path)) => tokio::fs::canonicalize(path).await.map(Fetched::lasting).map_err(|e| gone(e.to_string())),
        None => Err(gone("the job has no source".into())),
    }
}
