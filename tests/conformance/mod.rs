//! One suite for every keeper of a port: stores (SQLite in memory and on file, Redis) and blobs (a local folder, S3).

mod access;
mod blobs;
mod dependencies;
mod history;
mod order;
mod outbox;
mod pipelines;
mod rates;
mod redis;
mod reuse;
mod schedules;
mod search;
mod slots;
mod store;
mod workers;

use crate::support::redis::fresh_store;
use crate::support::s3::{BUCKET, PREFIX, S3Server};
use millrace::blobs::local::LocalBlobs;
use millrace::blobs::s3::S3Blobs;
use millrace::blobs::{Blobs, Cache};
use millrace::store::sqlite::SqliteStore;
use millrace::store::{Notice, Store};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Waits for one notice among others; from a shared store it comes over a link.
pub async fn heard(notices: &mut broadcast::Receiver<Notice>, wanted: Notice) {
    let heard = async { while notices.recv().await.unwrap() != wanted {} };
    assert!(tokio::time::timeout(Duration::from_secs(20), heard).await.is_ok(), "{wanted:?} is told");
}

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
    runtime.block_on(test(Arc::new(local), staging.clone()));
    runtime.block_on(async {
        let server = S3Server::start().await;
        let cache = Cache::open(&folder.path().join("cache"), 1 << 20).unwrap();
        let s3 = S3Blobs::open(BUCKET, PREFIX, server.variables(), cache).await.unwrap();
        test(Arc::new(s3), staging).await;
    });
}
