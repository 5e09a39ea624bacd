//! Local copies of blobs that are kept elsewhere: a folder with a cap. A copy is made once however many ask for it, stays while
//! it is used, and goes when room is wanted and nothing else was left unused for longer.
//!
//! A copy is a file named like its key, with `+` for `/`. It gets that name when it is complete and on the disk; until then it
//! is in a folder that the next start empties.

use super::{BlobError, Fetched};
use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

const INCOMPLETE: &str = "incomplete";

/// The folder belongs to one process.
#[derive(Clone)]
pub struct Cache(Arc<Folder>);

struct Folder {
    root: PathBuf,
    max_bytes: u64,
    copies: Mutex<Copies>,
}

#[derive(Default)]
struct Copies {
    by_name: HashMap<String, Arc<Copy>>,
    /// Counts uses; the higher a copy's number, the later it was used.
    clock: u64,
}

#[derive(Default)]
struct Copy {
    /// Set once it is complete.
    there: OnceCell<()>,
    /// What it takes, or will take.
    size_bytes: AtomicU64,
    used: AtomicU64,
}

/// A copy that is being used. First it is let go, then room is made: the order of the fields.
struct Hold {
    copy: Arc<Copy>,
    _folder: MakesRoom,
}

struct MakesRoom(Arc<Folder>);

impl Cache {
    /// Opens, or makes, a cache in this folder. Complete copies of an earlier process are kept, in the order of their last use.
    pub fn open(root: &Path, max_bytes: u64) -> Result<Self, BlobError> {
        let incomplete = root.join(INCOMPLETE);
        if incomplete.exists() {
            fs::remove_dir_all(&incomplete)?;
        }
        fs::create_dir_all(&incomplete)?;
        let root = fs::canonicalize(root)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            match entry.file_name().into_string() {
                Ok(name) if meta.is_file() => found.push((meta.accessed()?, name, meta.len())),
                _ => {}
            }
        }
        found.sort();
        let mut copies = Copies::default();
        for (_, name, size) in found {
            copies.clock += 1;
            let copy = Copy { there: OnceCell::new_with(Some(())), size_bytes: size.into(), used: copies.clock.into() };
            copies.by_name.insert(name, Arc::new(copy));
        }
        let folder = Folder { root, max_bytes, copies: Mutex::new(copies) };
        folder.make_room();
        Ok(Cache(Arc::new(folder)))
    }

    /// The copy of this blob. If there is none, `fill` is given a path to write it to and a word to say its size with, as soon as
    /// it knows it; others who ask meanwhile wait for it.
    pub async fn get<F: Future<Output = Result<(), BlobError>>>(
        &self,
        key: &str,
        fill: impl FnOnce(PathBuf, SizeKnown) -> F,
    ) -> Result<Fetched, BlobError> {
        let folder = &self.0;
        let name = key.replace('/', "+");
        let hold = folder.hold(&name);
        let path = folder.root.join(&name);
        let complete = || async {
            // Goes away with everything that goes wrong.
            let incomplete = tempfile::NamedTempFile::new_in(folder.root.join(INCOMPLETE))?.into_temp_path();
            fill(incomplete.to_path_buf(), SizeKnown { folder: folder.clone(), copy: hold.copy.clone() }).await?;
            let to = path.clone();
            let kept = tokio::task::spawn_blocking(move || {
                fs::File::open(&incomplete)?.sync_data()?;
                incomplete.persist(to).map_err(|e| e.error)
            });
            kept.await.map_err(|e| BlobError::Io(e.to_string()))?.map_err(BlobError::from)
        };
        hold.copy.there.get_or_try_init(complete).await?;
        Ok(Fetched::held(path, hold))
    }

    /// Forgets a copy, unless it is being used.
    pub fn forget(&self, key: &str) -> Result<(), BlobError> {
        let name = key.replace('/', "+");
        let mut copies = self.0.copies();
        if copies.by_name.get(&name).is_some_and(|copy| copy.there.initialized() && Arc::strong_count(copy) == 1) {
            copies.by_name.remove(&name);
            fs::remove_file(self.0.root.join(name))?;
        }
        Ok(())
    }
}

/// Tells the cache how large the copy under way will be, so that room is made first.
pub struct SizeKnown {
    folder: Arc<Folder>,
    copy: Arc<Copy>,
}

impl SizeKnown {
    pub fn is(self, size_bytes: u64) {
        self.copy.size_bytes.store(size_bytes, Ordering::Relaxed);
        self.folder.make_room();
    }
}

impl Folder {
    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(self: &Arc<Self>, name: &str) -> Hold {
        let mut copies = self.copies();
        copies.clock += 1;
        let used = copies.clock;
        let copy = copies.by_name.entry(name.to_owned()).or_default().clone();
        copy.used.store(used, Ordering::Relaxed);
        Hold { copy, _folder: MakesRoom(self.clone()) }
    }

    /// Removes what is not used, longest unused first, until the rest fits. What is used may exceed the cap.
    fn make_room(&self) {
        let mut copies = self.copies();
        // Under this lock nobody begins to use a copy that only the list holds.
        copies.by_name.retain(|_, copy| copy.there.initialized() || Arc::strong_count(copy) > 1);
        let mut total: u64 = copies.by_name.values().map(|c| c.size_bytes.load(Ordering::Relaxed)).sum();
        let mut unused: Vec<_> = copies
            .by_name
            .iter()
            .filter(|(_, copy)| Arc::strong_count(copy) == 1)
            .map(|(name, copy)| (copy.used.load(Ordering::Relaxed), copy.size_bytes.load(Ordering::Relaxed), name.clone()))
            .collect();
        unused.sort();
        for (_, size, name) in unused {
            if total <= self.max_bytes {
                return;
            }
            if let Err(error) = fs::remove_file(self.root.join(&name)) {
                tracing::warn!(copy = name, %error, "a local copy cannot be removed");
            }
            copies.by_name.remove(&name);
            total -= size;
        }
    }
}

impl Drop for MakesRoom {
    fn drop(&mut self) {
        self.0.make_room();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a copy of this size, counting how often that is asked for.
    async fn get(cache: &Cache, key: &str, size: usize, made: &AtomicU64) -> Fetched {
        let fill = |path: PathBuf, known: SizeKnown| async move {
            made.fetch_add(1, Ordering::Relaxed);
            known.is(size as u64);
            Ok(tokio::fs::write(path, vec![b'x'; size]).await?)
        };
        cache.get(key, fill).await.unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != INCOMPLETE);
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_copy_is_made_once_and_the_longest_unused_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, made) = (Cache::open(folder.path(), 25).unwrap(), AtomicU64::new(0));
        for key in ["jobs/a", "jobs/b", "jobs/a"] {
            let copy = get(&cache, key, 10, &made).await;
            assert_eq!(fs::read(copy.path()).unwrap().len(), 10);
        }
        assert_eq!(made.load(Ordering::Relaxed), 2);
        get(&cache, "jobs/c", 10, &made).await;
        assert_eq!(names(folder.path()), ["jobs+a", "jobs+c"]);
        cache.forget("jobs/a").unwrap();
        assert_eq!(names(folder.path()), ["jobs+c"]);
    }

    #[tokio::test]
    async fn what_is_used_stays_however_full_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, made) = (Cache::open(folder.path(), 15).unwrap(), AtomicU64::new(0));
        let (a, b) = (get(&cache, "a", 10, &made).await, get(&cache, "b", 10, &made).await);
        assert!(a.path().exists() && b.path().exists());
        drop(a);
        assert_eq!(names(folder.path()), ["b"]);
        let huge = get(&cache, "huge", 100, &made).await;
        assert!(b.path().exists() && huge.path().exists());
        drop(huge);
        assert_eq!(names(folder.path()), ["b"]);
    }

    #[tokio::test]
    async fn who_asks_meanwhile_waits_and_a_failure_is_no_copy() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, made) = (Cache::open(folder.path(), 100).unwrap(), AtomicU64::new(0));
        let failed = cache.get("a", |path, _| async move {
            tokio::fs::write(path, "half").await?;
            Err(BlobError::Io("the link broke".into()))
        });
        assert!(failed.await.is_err());
        assert_eq!(names(folder.path()), Vec::<String>::new());
        assert_eq!(fs::read_dir(folder.path().join(INCOMPLETE)).unwrap().count(), 0);
        let all = futures::future::join_all((0..8).map(|_| get(&cache, "a", 10, &made))).await;
        assert_eq!((all.len(), made.load(Ordering::Relaxed)), (8, 1));
    }

    #[tokio::test]
    async fn a_start_keeps_whole_copies_and_removes_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let made = AtomicU64::new(0);
        get(&Cache::open(folder.path(), 100).unwrap(), "a", 10, &made).await;
        fs::write(folder.path().join(INCOMPLETE).join("half"), "x").unwrap();
        let cache = Cache::open(folder.path(), 100).unwrap();
        get(&cache, "a", 10, &made).await;
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert_eq!(fs::read_dir(folder.path().join(INCOMPLETE)).unwrap().count(), 0);
        drop(cache);
        Cache::open(folder.path(), 5).unwrap();
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}
