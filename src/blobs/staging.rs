//! The local folder for bytes that are not published yet. A folder is removed by its guard; the cleanup queue repeats that
//! for what a crash left behind.

use super::BlobError;
use crate::job::Lease;
use jiff::Timestamp;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Emptied folders that are kept for further attempts: as many as may end at about the same time.
const SPARE_MAX: usize = 16;

#[derive(Debug, Clone)]
pub struct Staging {
    root: PathBuf,
    spare: Arc<Spare>,
}

/// Folders of attempts that have ended, emptied, to be used again. ext4 looks through every inode that was freed within the last
/// seconds before it makes a folder: with hundreds of attempts a second that costs more than all else that an attempt does there.
#[derive(Debug)]
struct Spare {
    /// Beside the staging folder, on the same filesystem.
    root: PathBuf,
    folders: Mutex<Vec<PathBuf>>,
    made: AtomicU64,
}

/// A private folder; goes away with its guard.
#[derive(Debug)]
pub struct StagingFolder {
    path: PathBuf,
    spare: Arc<Spare>,
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
        let root = fs::canonicalize(root)?;
        Ok(Staging { spare: Arc::new(Spare::open(root.with_extension("spare"))?), root })
    }

    /// What the filesystem has left for whoever is not root.
    pub fn free_bytes(&self) -> Result<u64, BlobError> {
        let told = rustix::fs::statvfs(&self.root).map_err(io::Error::from)?;
        Ok(told.f_bavail.saturating_mul(told.f_frsize))
    }

    /// A folder for one attempt. What an earlier process left under the same name is removed first.
    pub fn for_attempt(&self, lease: Lease) -> Result<StagingFolder, BlobError> {
        let path = self.free(&format!("attempt-{}-{}", lease.job, lease.attempt))?;
        if !self.spare.take(&path) {
            fs::create_dir(&path)?;
        }
        Ok(StagingFolder { path, spare: self.spare.clone() })
    }

    /// A folder for an upload or a probe that is under way.
    pub fn for_upload(&self, id: &str) -> Result<StagingFolder, BlobError> {
        let path = self.free(&format!("upload-{id}"))?;
        fs::create_dir(&path)?;
        Ok(StagingFolder { path, spare: self.spare.clone() })
    }

    /// A place where nothing is.
    fn free(&self, name: &str) -> Result<PathBuf, BlobError> {
        let path = self.root.join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        Ok(path)
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

    /// Empties the folder for a further attempt, which finds `wanted`, a folder in it, if this one has made that. Only for an attempt
    /// whose child has ended by itself: nothing holds the folder open any more.
    pub fn give_back(self, wanted: &Path) {
        self.spare.put(&self.path, wanted);
    }
}

impl Spare {
    /// Without what an earlier process kept. Removed under another that runs, its folders are made anew.
    fn open(root: PathBuf) -> io::Result<Spare> {
        match fs::remove_dir_all(&root) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => fs::create_dir(&root)?,
        }
        Ok(Spare { root, folders: Mutex::default(), made: AtomicU64::new(0) })
    }

    /// Whether there was one to move there.
    fn take(&self, to: &Path) -> bool {
        let taken = self.folders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        taken.is_some_and(|folder| fs::rename(folder, to).is_ok())
    }

    /// What cannot be emptied or kept stays where it is, for its guard to remove.
    fn put(&self, folder: &Path, wanted: &Path) {
        let has_room = self.folders.lock().unwrap_or_else(PoisonError::into_inner).len() < SPARE_MAX;
        let kept = self.root.join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        if has_room && empty(folder, wanted).is_ok() && fs::rename(folder, &kept).is_ok() {
            self.folders.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        }
    }
}

/// Removes everything in a folder but `wanted`, which is emptied too.
fn empty(folder: &Path, wanted: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, is_folder) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?.is_dir())))?;
        match is_folder {
            true if path == wanted => empty(&path, wanted)?,
            true => fs::remove_dir_all(&path)?,
            false => fs::remove_file(&path)?,
        }
    }
    Ok(())
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.path);
        if let Err(error) = removed.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_that_was_given_back_serves_again_and_holds_nothing_of_before() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::open(&root.path().join("staging")).unwrap();
        let job = JobId::new();
        let lease = |attempt| Lease { job, attempt };
        let first = staging.for_attempt(lease(1)).unwrap();
        let inode = fs::metadata(first.path()).unwrap().ino();
        let out = first.path().join("out-0");
        fs::create_dir_all(out.join("deeper")).unwrap();
        fs::create_dir_all(first.path().join(".config/office")).unwrap();
        for file in ["out-0/a.png", "out-0/deeper/b", "scratch", ".config/office/c"] {
            fs::write(first.path().join(file), "left").unwrap();
        }
        std::os::unix::fs::symlink("/etc", first.path().join("link")).unwrap();
        first.give_back(&out);
        assert_eq!(staging.count().unwrap(), 0);
        let second = staging.for_attempt(lease(2)).unwrap();
        assert_eq!(fs::metadata(second.path()).unwrap().ino(), inode);
        assert_eq!((names(second.path()), names(&second.path().join("out-0"))), (vec!["out-0".to_owned()], vec![]));
        drop(second);
        assert!(Path::new("/etc/passwd").exists());
        // That one is gone for good, and a later start begins with nothing.
        let third = staging.for_attempt(lease(3)).unwrap();
        assert!(names(third.path()).is_empty());
        third.give_back(&out);
        Staging::open(&root.path().join("staging")).unwrap();
        assert!(names(&root.path().join("staging.spare")).is_empty());
        assert!(staging.for_attempt(lease(4)).is_ok(), "the folder it kept was taken away");
    }
}
