//! One suite for every keeper of a port: SQLite in memory and on file.

mod store;

use millrace::store::sqlite::SqliteStore;
use std::future::Future;

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
