//! [`Store`](super::Store) on SQLite: WAL, `synchronous=FULL`, one writer with group commit, a few reading connections.
//!
//! A verb is one `BEGIN IMMEDIATE` transaction (shared with its neighbours, each in its own savepoint). The transitions
//! themselves are in [`transition`](super::transition).

mod access;
mod history;
mod jobs;
mod leases;
mod outbox;
mod pages;
mod pipelines;
mod reuse;
mod search;
mod tables;
mod turns;
mod upkeep;
mod waits;
mod workers;
mod writer;

use super::{Result, StoreError};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tables::Tx;
use writer::Writer;

/// `PRAGMA application_id`: "mlrc".
const APPLICATION_ID: i64 = 0x6d6c_7263;
/// The schema by version: a new database gets all of it, an old one what it lacks.
const SCHEMA: [&str; 9] = [
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
    include_str!("schema_9.sql"),
];

/// The version that has the words of jobs in an index of its own.
const WORDS_SINCE: i64 = 8;

#[derive(Clone)]
pub struct SqliteStore {
    writer: Writer,
    readers: Arc<Readers>,
}

/// Idle reading connections. An in-memory database has none: its reads go through the writer.
struct Readers {
    path: Option<PathBuf>,
    idle: Mutex<Vec<Connection>>,
}

impl SqliteStore {
    /// Opens, or makes, the database in this file. Network file systems are not supported: SQLite's locks do not hold there.
    pub fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path).map_err(failed)?;
        // Read back: a filesystem without shared memory would silently keep the rollback journal.
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |r| r.get(0)).map_err(failed)?;
        if mode != "wal" {
            return Err(StoreError::Unavailable(format!("{} cannot be opened in WAL mode", path.display())));
        }
        Self::start(connection, Some(path.to_owned()))
    }

    /// A database that lives as long as this store.
    pub fn in_memory() -> Result<Self> {
        Self::start(Connection::open_in_memory().map_err(failed)?, None)
    }

    fn start(connection: Connection, path: Option<PathBuf>) -> Result<Self> {
        connection
            .execute_batch("PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000; PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32000;")
            .map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(128);
        migrate(&connection)?;
        let writer = Writer::start(connection).map_err(|e| StoreError::Unavailable(e.to_string()))?;
        Ok(SqliteStore { writer, readers: Arc::new(Readers { path, idle: Mutex::new(Vec::new()) }) })
    }

    async fn write<T: Send + 'static>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        // Whatever ends a job tells those that wait for it, in the same transaction.
        let told = move |tx: &mut Tx<'_>| {
            let result = work(tx)?;
            if tx.ends {
                waits::tell(tx)?;
            }
            Ok(result)
        };
        self.writer.write(told).await
    }

    /// Runs a query that changes nothing.
    async fn read<T: Send + 'static>(&self, query: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        if self.readers.path.is_none() {
            return self.writer.write(move |tx| query(tx.connection)).await;
        }
        let readers = self.readers.clone();
        let read = tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let result = query(&connection);
            readers.put_back(connection);
            result
        });
        read.await.map_err(|e| StoreError::Unavailable(e.to_string()))?
    }
}

impl Readers {
    fn take(&self) -> Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match (idle, &self.path) {
            (Some(connection), _) => Ok(connection),
            (None, Some(path)) => {
                let connection =
                    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
                connection.execute_batch("PRAGMA busy_timeout = 10000; PRAGMA query_only = 1;").map_err(failed)?;
                Ok(connection)
            }
            (None, None) => Err(StoreError::Unavailable("an in-memory database has no second connection".into())),
        }
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < 4 {
            idle.push(connection);
        }
    }
}

fn migrate(connection: &Connection) -> Result<()> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(failed)?;
    let newest = SCHEMA.len();
    match usize::try_from(version).ok().and_then(|version| SCHEMA.get(version..)) {
        None => Err(StoreError::Unavailable(format!("the database has schema {version}; this program knows {newest}"))),
        Some([]) => Ok(()),
        Some(lacking) => {
            let script = format!("BEGIN IMMEDIATE; {} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {newest};", lacking.concat());
            connection.execute_batch(&script).map_err(failed)?;
            if version < WORDS_SINCE {
                search::index_all(connection)?;
            }
            connection.execute_batch("COMMIT").map_err(failed)
        }
    }
}

fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> i64 {
        connection.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap()
    }

    #[test]
    fn an_older_database_gets_what_it_lacks_and_a_newer_one_is_left_alone() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA[0]).unwrap();
        let row = "INSERT INTO jobs (id, queue, state, priority, run_at, attempt, created_at, record) VALUES ('a', 'image', 0, 5, 0, 0, 0, ?1)";
        connection.execute(row, [r#"{"job": {"fairness_key": "site-a"}}"#]).unwrap();
        connection.execute_batch("PRAGMA user_version = 1").unwrap();
        migrate(&connection).unwrap();
        let kept = connection.query_row("SELECT fairness_key, turn FROM jobs", [], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
        assert_eq!((kept, version(&connection)), (("site-a".to_owned(), None::<i64>), SCHEMA.len() as i64));
        migrate(&connection).unwrap();
        connection.execute_batch("PRAGMA user_version = 10").unwrap();
        assert!(migrate(&connection).unwrap_err().to_string().contains("schema 10"));
        assert_eq!(version(&connection), 10);
    }

    #[test]
    fn jobs_of_version_8_are_as_they_were_and_share_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&SCHEMA[..8].concat()).unwrap();
        let row = "INSERT INTO jobs (id, queue, state, priority, run_at, attempt, created_at, words, record) VALUES ('a', 'image', 2, 5, 0, 1, 0, 'w', '{}')";
        connection.execute_batch(&format!("{row}; INSERT INTO job_words VALUES ('w', 1); PRAGMA user_version = 8;")).unwrap();
        migrate(&connection).unwrap();
        let kept = connection.query_row("SELECT words, reuse_key FROM jobs JOIN job_words ON job = seq", [], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
        assert_eq!((kept, version(&connection)), (("w".to_owned(), None::<String>), 9));
        let equal = "SELECT count(*) FROM jobs INDEXED BY jobs_equal WHERE reuse_key = 'k'";
        assert_eq!(connection.query_row(equal, [], |r| r.get::<_, i64>(0)).unwrap(), 0);
    }
}
