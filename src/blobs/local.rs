//! [`Blobs`] in a local folder. Publishing is fsync, rename, fsync of the folder: after a power cut a blob is whole or absent.

use super::{BlobError, Blobs, Opened, Range};
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// How often a folder is made again for one file.
const FOLDER_TRIES: usize = 100;

pub struct LocalBlobs {
    root: PathBuf,
}

impl LocalBlobs {
    /// Keeps blobs below `root`, which is made if it is missing.
    pub fn open(root: &Path) -> Result<Self, BlobError> {
        fs::create_dir_all(root)?;
        Ok(LocalBlobs { root: fs::canonicalize(root)? })
    }

    /// Keys are ours; one that could leave the folder is a fault of ours and finds nothing.
    fn path(&self, key: &str) -> Result<PathBuf, BlobError> {
        let path = Path::new(key);
        let plain = !key.is_empty() && path.components().all(|c| matches!(c, Component::Normal(_)));
        if plain { Ok(self.root.join(path)) } else { Err(BlobError::NotFound(key.to_owned())) }
    }
}

#[async_trait::async_trait]
impl Blobs for LocalBlobs {
    async fn publish(&self, file: &Path, key: &str) -> Result<(), BlobError> {
        let (root, from, to) = (self.root.clone(), file.to_owned(), self.path(key)?);
        blocking(move || publish(&root, &from, &to)).await
    }

    async fn open(&self, key: &str, range: Option<Range>) -> Result<Opened, BlobError> {
        let missing = |e: io::Error| if e.kind() == ErrorKind::NotFound { BlobError::NotFound(key.to_owned()) } else { e.into() };
        let mut file = tokio::fs::File::open(self.path(key)?).await.map_err(missing)?;
        let size_bytes = file.metadata().await?.len();
        let range = range.unwrap_or(0..size_bytes);
        let (start, end) = (range.start.min(size_bytes), range.end.min(size_bytes));
        file.seek(io::SeekFrom::Start(start)).await?;
        Ok(Opened { size_bytes, bytes: Box::new(file.take(end.saturating_sub(start))) })
    }

    async fn fetch(&self, key: &str, _cache: &Path) -> Result<PathBuf, BlobError> {
        let path = self.path(key)?;
        match tokio::fs::try_exists(&path).await? {
            true => Ok(path),
            false => Err(BlobError::NotFound(key.to_owned())),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let (root, path) = (self.root.clone(), self.path(key)?);
        blocking(move || {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
            // Folders that became empty go too; the first one in use ends the walk.
            for folder in path.ancestors().skip(1).take_while(|f| **f != root) {
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
            Ok(())
        })
        .await
    }

    async fn list_stale(&self, before: Timestamp) -> Result<Vec<String>, BlobError> {
        let root = self.root.clone();
        blocking(move || {
            let mut keys = Vec::new();
            collect_stale(&root, &root, before, &mut keys)?;
            Ok(keys)
        })
        .await
    }
}

fn publish(root: &Path, from: &Path, to: &Path) -> Result<(), BlobError> {
    let file = File::open(from)?;
    file.sync_all()?;
    let parent = to.parent().unwrap_or(root);
    let made: Vec<&Path> = parent.ancestors().take_while(|f| *f != root && !f.exists()).collect();
    let mut tries = 0..FOLDER_TRIES;
    loop {
        fs::create_dir_all(parent)?;
        match fs::rename(from, to) {
            // A delete has just taken the empty folder away.
            Err(e) if e.kind() == ErrorKind::NotFound && tries.next().is_some() => {}
            Err(e) if e.kind() == ErrorKind::CrossesDevices => break copy_over(from, to)?,
            other => break other?,
        }
    }
    let above: Vec<&Path> = made.iter().filter_map(|folder| folder.parent()).collect();
    sync_folders(parent, &above)?;
    Ok(())
}

/// Makes the entries of these folders durable, all at once: a disk with a journal confirms them together.
fn sync_folders(first: &Path, others: &[&Path]) -> io::Result<()> {
    let sync = |folder: &Path| File::open(folder)?.sync_all();
    std::thread::scope(|scope| {
        let others: Vec<_> = others.iter().map(|folder| scope.spawn(move || sync(folder))).collect();
        let synced = sync(first);
        others.into_iter().fold(synced, |all, one| {
            let one = one.join().unwrap_or_else(|_| Err(io::Error::other("a folder could not be made durable")));
            all.and(one)
        })
    })
}

/// For a staging folder on another filesystem: the bytes are complete and synced under a temporary name before they count.
fn copy_over(from: &Path, to: &Path) -> io::Result<()> {
    let parent = to.parent().unwrap_or(Path::new("."));
    let mut copy = tempfile::NamedTempFile::new_in(parent)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    copy.as_file().sync_all()?;
    copy.persist(to).map_err(|e| e.error)?;
    fs::remove_file(from)
}

fn collect_stale(root: &Path, folder: &Path, before: Timestamp, keys: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        // Another cleanup was faster.
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            collect_stale(root, &entry.path(), before, keys)?;
        } else if meta.modified().is_ok_and(|m| Timestamp::try_from(m).is_ok_and(|m| m < before)) {
            let path = entry.path();
            keys.extend(path.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned));
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, BlobError> + Send + 'static) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| BlobError::Io(e.to_string()))?
}
