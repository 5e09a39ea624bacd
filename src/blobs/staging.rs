//! The local folder for bytes that are not published yet. A folder is removed by its guard; the cleanup queue repeats that
//! for what a crash left behind.

use super::BlobError;
use crate::job::Lease;
use jiff::Timestamp;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub struct Staging {
    root: PathBuf,
}

/// A private folder, once somebody has made it; goes away with its guard.
#[derive(Debug)]
pub struct StagingFolder {
    path: PathBuf,
}

/// A folder that a crash may have left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub path: PathBuf,
    /// The attempt it was made for; none for an upload.
    pub lease: Option<Lease>,
}

impl Staging {
    pub fn open(root: &Path) -> Result<Self, BlobError> {
        fs::create_dir_all(root)?;
        Ok(Staging { root: fs::canonicalize(root)? })
    }

    /// A folder for one attempt; whoever is the first to work in it makes it. What an earlier process left there is removed.
    pub fn for_attempt(&self, lease: Lease) -> Result<StagingFolder, BlobError> {
        self.folder(&format!("attempt-{}-{}", lease.job, lease.attempt))
    }

    /// A folder for an upload or a probe that is under way, made already.
    pub fn for_upload(&self, id: &str) -> Result<StagingFolder, BlobError> {
        let folder = self.folder(&format!("upload-{id}"))?;
        fs::create_dir(&folder.path)?;
        Ok(folder)
    }

    fn folder(&self, name: &str) -> Result<StagingFolder, BlobError> {
        let path = self.root.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        Ok(StagingFolder { path })
    }

    /// Folders in which nothing was written since `before`.
    pub fn list_stale(&self, before: Timestamp) -> Result<Vec<Leftover>, BlobError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)?.flatten() {
            let path = entry.path();
            if newest_change(&path).is_some_and(|changed| changed < before) {
                let lease = entry.file_name().to_str().and_then(parse_attempt);
                found.push(Leftover { path, lease });
            }
        }
        Ok(found)
    }

    /// How many folders there are; zero when nothing runs.
    pub fn count(&self) -> Result<usize, BlobError> {
        Ok(fs::read_dir(&self.root)?.count())
    }

    pub fn remove(&self, leftover: &Leftover) -> Result<(), BlobError> {
        Ok(fs::remove_dir_all(&leftover.path)?)
    }
}

impl StagingFolder {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.path.display(), %error, "a staging folder stays for the cleanup queue");
        }
    }
}

fn parse_attempt(name: &str) -> Option<Lease> {
    let (job, attempt) = name.strip_prefix("attempt-")?.rsplit_once('-')?;
    Some(Lease { job: job.parse().ok()?, attempt: attempt.parse().ok()? })
}

/// The newest modification in a tree, not following links.
fn newest_change(path: &Path) -> Option<Timestamp> {
    let meta = fs::symlink_metadata(path).ok()?;
    let own = Timestamp::try_from(meta.modified().ok()?).ok();
    let below = if meta.is_dir() { fs::read_dir(path).ok()?.flatten().filter_map(|e| newest_change(&e.path())).max() } else { None };
    own.max(below)
}
