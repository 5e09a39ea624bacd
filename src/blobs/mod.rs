//! The port to stored bytes. Keys are made by the engine from ids (`uploads/<id>`, `jobs/<id>/<attempt>/<n>`), never from
//! a client's text; what a site puts beside them, in folders that its configuration names, is only read. A published blob is complete and durable; it is written once and never changed.

use jiff::Timestamp;
use std::any::Any;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncRead;

mod cache;
pub mod local;
pub mod s3;
mod staging;

pub use cache::{Cache, SizeKnown};
pub use staging::{Leftover, Staging, StagingFolder};

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("no such blob: {0}")]
    NotFound(String),
    #[error("the storage is full")]
    Full,
    #[error("storage: {0}")]
    Io(String),
}

impl From<std::io::Error> for BlobError {
    fn from(e: std::io::Error) -> Self {
        match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => BlobError::Full,
            _ => BlobError::Io(e.to_string()),
        }
    }
}

/// Bytes `start` up to `end` (exclusive) of a blob.
pub type Range = std::ops::Range<u64>;

/// An open blob.
pub struct Opened {
    /// Size of the whole blob.
    pub size_bytes: u64,
    /// The bytes asked for.
    pub bytes: Box<dyn AsyncRead + Send + Unpin>,
}

/// A blob at a local path, which stays there as long as this is kept.
pub struct Fetched {
    path: PathBuf,
    _hold: Option<Box<dyn Any + Send + Sync>>,
}

impl Fetched {
    /// A file that nothing but its deletion takes away.
    pub fn lasting(path: PathBuf) -> Self {
        Fetched { path, _hold: None }
    }

    /// A file that stays until `hold` is dropped.
    pub fn held(path: PathBuf, hold: impl Any + Send + Sync) -> Self {
        Fetched { path, _hold: Some(Box::new(hold)) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait::async_trait]
pub trait Blobs: Send + Sync {
    /// Makes a finished local file a blob, durably: it is there after a power cut, whole, or not at all. The file is moved away.
    async fn publish(&self, file: &Path, key: &str) -> Result<(), BlobError>;
    /// Makes the same bytes a blob of their own, as durably, which stays when the first one is deleted.
    async fn copy(&self, from: &str, to: &str) -> Result<(), BlobError>;
    /// Opens a blob, or a part of it; a range beyond the end is cut to it.
    async fn open(&self, key: &str, range: Option<Range>) -> Result<Opened, BlobError>;
    /// A local path to read the blob from: the blob itself, or a copy.
    async fn fetch(&self, key: &str) -> Result<Fetched, BlobError>;
    /// Deletes a blob; one that is not there is fine.
    async fn delete(&self, key: &str) -> Result<(), BlobError>;
    /// Keys of blobs written before `before`, whoever wrote them.
    async fn list_stale(&self, before: Timestamp) -> Result<Vec<String>, BlobError>;
}

/// Bytes that have an address of their own, for keepers that are a server themselves.
#[async_trait::async_trait]
pub trait Links: Send + Sync {
    /// A URL that answers GET with the blob, under these headers, until `valid_for` has passed.
    async fn link(&self, key: &str, headers: &LinkHeaders, valid_for: Duration) -> Result<String, BlobError>;
}

/// What the answer to a link says of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkHeaders {
    pub content_type: String,
    pub content_disposition: String,
}

/// Made by the engine: what nobody needs any more is deleted.
pub fn is_ours(key: &str) -> bool {
    key.starts_with("uploads/") || key.starts_with("jobs/")
}

/// `incoming/` or `a/b/`.
pub fn is_folder(prefix: &str) -> bool {
    prefix.strip_suffix('/').is_some_and(|key| check_key(key).is_ok())
}

/// A key that could leave the place where blobs are kept finds nothing.
fn check_key(key: &str) -> Result<(), BlobError> {
    let plain = |part: &str| !part.trim_matches('.').is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if key.split('/').all(plain) { Ok(()) } else { Err(BlobError::NotFound(key.to_owned())) }
}
