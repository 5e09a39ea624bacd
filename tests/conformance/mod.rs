//! One suite for every keeper of a port: stores (SQLite in memory and on file, Redis) and blobs (a local folder).

mod blobs;
mod redis;
mod store;

use millrace::blobs::Blobs;
use millrace::blobs::local::LocalBlobs;
use crate::support::redis::fresh_store;
use millrace::store::Store;
use millrace::store::sqlite::SqliteStore;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

/// Runs one test on each store.
pub fn on_every_store<F: Future<Output = ()>>(test: impl Fn(Arc<dyn Store>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        test(Arc::new(SqliteStore::in_memory().unwrap())).await;
        test(Arc::new(SqliteStore::open(&folder.path().join("test.db")).unwrap())).await;
        let (_server, store) = fresh_store().await;
        test(Arc::new(store)).await;
    });
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
