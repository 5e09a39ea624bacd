//! One suite for every keeper of a port: stores (SQLite in memory and on file) and blobs (a local folder).

mod blobs;
mod dependencies;
mod order;
mod rates;
mod schedules;
mod store;
mod workers;

use millrace::blobs::Blobs;
use millrace::blobs::local::LocalBlobs;
use millrace::store::sqlite::SqliteStore;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

/// A store and the folder it lives in.
pub struct Kept {
    pub store: SqliteStore,
    _folder: Option<tempfile::TempDir>,
}

/// Runs one test on each store.
pub fn on_every_store<F: Future<Output = ()>>(test: impl Fn(SqliteStore) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let on_file = Kept { store: SqliteStore::open(&folder.path().join("test.db")).unwrap(), _folder: Some(folder) };
    let in_memory = Kept { store: SqliteStore::in_memory().unwrap(), _folder: None };
    for kept in [in_memory, on_file] {
        runtime.block_on(test(kept.store.clone()));
    }
}

/// Runs one test on each keeper of bytes, with a folder for what is not published yet.
pub fn on_every_blobs<F: Future<Output = ()>>(test: impl Fn(Arc<dyn Blobs>, PathBuf) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let staging = folder.path().join("staging");
    std::fs::create_dir(&staging).unwrap();
    let local = LocalBlobs::open(&folder.path().join("blobs")).unwrap();
    runtime.block_on(test(Arc::new(local), staging));
}
