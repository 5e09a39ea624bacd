//! [`Blobs`] in a local folder. Publishing is rename, fsync, fsync of the folder: a blob that was published is whole after any power
//! cut. One that was being published may be there in part; nothing refers to it yet, and the cleanup removes it as stale.
//!
//! The folders are made once, when the store is opened; a blob is one file in one of them, its key with `+` for `/`. So a
//! publication has two things to sync, and no two of them get in each other's way.

use super::{BlobError, Blobs, Fetched, Opened, Range, check_key};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Folders that blobs are spread over, so that none gets too long.
const FOLDERS: u8 = 64;
/// Copies that are not complete yet; what a crash leaves here is removed at a later start.
const INCOMPLETE: &str = "incomplete";
/// A copy without news for this long is nobody's; a younger one may be that of another process, where the folder is shared.
const ABANDONED: Duration = Duration::from_secs(3600);

pub struct LocalBlobs {
    root: PathBuf,
    folders: u8,
    durable: bool,
}

impl LocalBlobs {
    /// Keeps blobs below `root`, which is made if it is missing.
    pub fn open(root: &Path) -> Result<Self, BlobError> {
        let blobs = Self::below(root, FOLDERS)?;
        File::open(&blobs.root)?.sync_all()?;
        Ok(LocalBlobs { durable: true, ..blobs })
    }

    /// Blobs that nobody looks for after this process, few of them: one folder does, and nothing waits for the disk.
    pub fn fleeting(root: &Path) -> Result<Self, BlobError> {
        Self::below(root, 1)
    }

    fn below(root: &Path, folders: u8) -> Result<Self, BlobError> {
        fs::create_dir_all(root)?;
        let root = fs::canonicalize(root)?;
        fs::create_dir_all(root.join(INCOMPLETE))?;
        for entry in fs::read_dir(root.join(INCOMPLETE))?.flatten() {
            if entry.metadata().and_then(|m| m.modified()).is_ok_and(|m| m.elapsed().is_ok_and(|age| age > ABANDONED)) {
                fs::remove_file(entry.path())?;
            }
        }
        for n in 0..folders {
            fs::create_dir_all(folder(&root, n))?;
        }
        Ok(LocalBlobs { root, folders, durable: false })
    }

    fn path(&self, key: &str) -> Result<PathBuf, BlobError> {
        check_key(key)?;
        Ok(folder(&self.root, Sha256::digest(key)[0] % self.folders).join(key.replace('/', "+")))
    }
}

fn folder(root: &Path, n: u8) -> PathBuf {
    root.join(format!("{n:02}"))
}

#[async_trait::async_trait]
impl Blobs for LocalBlobs {
    async fn publish(&self, file: &Path, key: &str) -> Result<(), BlobError> {
        let (root, durable, from, to) = (self.root.clone(), self.durable, file.to_owned(), self.path(key)?);
        blocking(move || Ok(publish(&root, durable, &from, &to)?)).await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), BlobError> {
        let missing = BlobError::NotFound(from.to_owned());
        let (root, durable, from, to) = (self.root.clone(), self.durable, self.path(from)?, self.path(to)?);
        let copied = blocking(move || match copy(&root, durable, &from, &to) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            copied => Ok(copied.map(|()| true)?),
        });
        if copied.await? { Ok(()) } else { Err(missing) }
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

    async fn fetch(&self, key: &str) -> Result<Fetched, BlobError> {
        let path = self.path(key)?;
        // One look into our own folder takes less time than asking another thread for it.
        match path.try_exists()? {
            true => Ok(Fetched::lasting(path)),
            false => Err(BlobError::NotFound(key.to_owned())),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        match tokio::fs::remove_file(self.path(key)?).await {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    async fn list_stale(&self, before: Timestamp) -> Result<Vec<String>, BlobError> {
        let (root, folders) = (self.root.clone(), self.folders);
        blocking(move || {
            let mut keys = Vec::new();
            for n in 0..folders {
                for entry in fs::read_dir(folder(&root, n))? {
                    let entry = entry?;
                    // One that has gone meanwhile is not stale.
                    let Ok(meta) = entry.metadata() else { continue };
                    if meta.modified().is_ok_and(|m| Timestamp::try_from(m).is_ok_and(|m| m < before)) {
                        keys.extend(entry.file_name().to_str().map(|name| name.replace('+', "/")));
                    }
                }
            }
            Ok(keys)
        })
        .await
    }
}

/// Renames first: one commit of the filesystem's journal then holds the bytes and the name, where synced before and after
/// there would be two.
fn publish(root: &Path, durable: bool, from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == ErrorKind::CrossesDevices => {
            copy_over(&root.join(INCOMPLETE), from, to)?;
            fs::remove_file(from)?;
        }
        other => other?,
    }
    let synced = if durable { sync(to) } else { Ok(()) };
    if synced.is_err() {
        // A full disk may tell so only now.
        let _ = fs::remove_file(to);
    }
    synced
}

/// A second name for the same bytes, which are never changed; where the filesystem has none, a copy.
fn copy(root: &Path, durable: bool, from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(e),
        Err(_) => copy_over(&root.join(INCOMPLETE), from, to)?,
        Ok(()) => {}
    }
    if durable { sync(to) } else { Ok(()) }
}

fn sync(file: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Whole or not at all.
fn copy_over(incomplete: &Path, from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = tempfile::NamedTempFile::new_in(incomplete)?;
    io::copy(&mut File::open(from)?, &mut copy)?;
    copy.persist(to).map_err(|e| e.error)?;
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, BlobError> + Send + 'static) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| BlobError::Io(e.to_string()))?
}
