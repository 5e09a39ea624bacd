//! The one writing connection: commands queue up, each runs in its own savepoint, all that wait share one commit.

use super::{failed, tables::Tx};
use crate::store::{Notice, Result, StoreError};
use rusqlite::Connection;
use std::sync::mpsc;
use tokio::sync::{broadcast, oneshot};

/// Commands that may share a commit.
const GROUP_MAX: usize = 256;

/// Runs inside the group's transaction and yields what to do once the commit has held or failed.
type Command = Box<dyn FnOnce(&Connection) -> Settle + Send>;
type Settle = Box<dyn FnOnce(Result<()>) + Send>;

#[derive(Clone)]
pub struct Writer {
    commands: mpsc::Sender<Command>,
    notices: broadcast::Sender<Notice>,
}

impl Writer {
    /// Starts the writing thread; it ends when the last handle is dropped.
    pub fn start(connection: Connection) -> std::io::Result<Writer> {
        let (commands, inbox) = mpsc::channel();
        std::thread::Builder::new().name("store-writer".into()).spawn(move || write_groups(&connection, &inbox))?;
        Ok(Writer { commands, notices: broadcast::channel(4096).0 })
    }

    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Runs `work` in a transaction; its notices go out once it is durable.
    pub async fn write<T: Send + 'static>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let notices = self.notices.clone();
        let command: Command = Box::new(move |connection| {
            let mut tx = Tx::new(connection);
            let result = in_savepoint(connection, || work(&mut tx));
            let news = tx.into_notices();
            Box::new(move |committed| {
                let result = committed.and(result);
                let holds = result.is_ok();
                // Whoever asked comes before the many who listen.
                let _ = reply.send(result);
                if holds {
                    for notice in news {
                        // Nobody listening is fine.
                        let _ = notices.send(notice);
                    }
                }
            })
        });
        let gone = || StoreError::Unavailable("the writer has stopped".into());
        self.commands.send(command).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn write_groups(connection: &Connection, inbox: &mpsc::Receiver<Command>) {
    while let Ok(first) = inbox.recv() {
        let begun = connection.execute_batch("BEGIN IMMEDIATE").map_err(failed);
        let mut group = Vec::with_capacity(16);
        let mut next = Some(first);
        while let Some(command) = next {
            group.push(command(connection));
            next = if group.len() < GROUP_MAX { inbox.try_recv().ok() } else { None };
        }
        let committed = begun.and_then(|()| connection.execute_batch("COMMIT").map_err(failed));
        if committed.is_err() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        for settle in group {
            settle(committed.clone());
        }
    }
}

/// One bad command must not take its neighbours along.
fn in_savepoint<T>(connection: &Connection, work: impl FnOnce() -> Result<T>) -> Result<T> {
    connection.execute_batch("SAVEPOINT command").map_err(failed)?;
    let result = work();
    let end = if result.is_ok() { "RELEASE command" } else { "ROLLBACK TO command; RELEASE command" };
    connection.execute_batch(end).map_err(failed)?;
    result
}
