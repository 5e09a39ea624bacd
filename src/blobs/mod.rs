//! The port to stored bytes. Keys are made by the engine from ids (`uploads/<id>`, `jobs/<id>/<attempt>/<n>`), never from
//! a client's text. A published blob is complete and durable; it is written once and never changed.

use jiff::Timestamp;
use std::path::{Path, PathBuf};
use tokio::io::AsyncRead;

pub mod local;
mod staging;

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

#[async_trait::async_trait]
pub trait Blobs: Send + Sync {
    /// Makes a finished local file a blob, durably: it is there after a power cut, whole, or not at all. The file is moved away.
    async fn publish(&self, file: &Path, key: &str) -> Result<(), BlobError>;
    /// Opens a blob, or a part of it; a range beyond the end is cut to it.
    async fn open(&self, key: &str, range: Option<Range>) -> Result<Opened, BlobError>;
    /// A local path to read the blob from while it is needed: the blob itself, or a copy made below `cache`.
    async fn fetch(&self, key: &str, cache: &Path) -> Result<PathBuf, BlobError>;
    /// Deletes a blob; one that is not there is fine.
    async fn delete(&self, key: &str) -> Result<(), BlobError>;
    /// Keys of blobs written before `before`.
    async fn list_stale(&self, before: Timestamp) -> Result<Vec<String>, BlobError>;
}
