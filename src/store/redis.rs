//! [`Store`](super::Store) on Redis 7 or newer (or Valkey): what many machines share.
//!
//! One script per verb (`redis/*.lua`), so a verb is one atomic step and in the normal case one round trip. The transitions themselves
//! are the pure functions of [`transition`](super::transition): a verb applies one to the record it knows and commits the result under
//! the record's version; when somebody else was faster it is given the newer record and applies the transition to that. Every script
//! may be repeated after a lost answer.
//!
//! All keys of one instance begin with `{millrace}` (`?prefix=` in the URL), a hash tag: they lie in one slot of a cluster. So inserts
//! across queues, unique keys, counts and the order of events are atomic, at the price that a cluster serves one instance from one of
//! its shards. Several instances with prefixes of their own spread over the shards.
//!
//! | URL | |
//! |---|---|
//! | `redis://[[user]:password@]host[:port][/db]` | one server; `rediss://` with TLS (`#insecure`: any certificate) |
//! | `redis+unix:///path/to.sock[?db=1&user=u&pass=p]` | one server by its socket |
//! | `redis+sentinel://[[user]:password@]host[:port],host.../service[/db]` | the master these sentinels name; the credentials are the server's |
//! | `redis+cluster://[[user]:password@]host[:port],host...` | the owner of our slot; `rediss+sentinel`, `rediss+cluster` with TLS |

mod access;
mod change;
mod check;
mod held;
mod history;
mod jobs;
mod leases;
mod notices;
mod outbox;
mod pipelines;
mod purge;
mod reuse;
mod rounds;
mod scripts;
mod search;
mod stored;
mod upkeep;
mod waits;
mod workers;

use super::{Notice, Result, StoreError};
use crate::job::JobId;
use crate::link::{Address, Link, LinkError};
use held::Held;
use jiff::Timestamp;
use rounds::Rounds;
use scripts::{READ, SELECT};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use stored::{Stored, decode};
use tokio::sync::{broadcast, oneshot};
use tokio::task::AbortHandle;

#[derive(Clone)]
pub struct RedisStore(Arc<Open>);

struct Open {
    link: Arc<Link>,
    notices: broadcast::Sender<Notice>,
    listener: AbortHandle,
    held: Held,
    rounds: Rounds,
    /// Tells this process's operations from those of others.
    name: String,
    operations: AtomicU64,
}

impl From<LinkError> for StoreError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Full => StoreError::Full,
            LinkError::Lost(cause) => StoreError::Unavailable(cause),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl RedisStore {
    /// Connects, looks at what the server is, and listens to it. Errors: a URL of none of the forms above, a server that does not
    /// answer within some seconds, is older than 7.0, or has another `maxmemory-policy` than `noeviction`.
    pub async fn open(url: &str) -> Result<RedisStore> {
        let link = Arc::new(Link::new(Address::parse(url).map_err(StoreError::Unavailable)?, scripts::load_all));
        check::check(&link).await?;
        let notices = broadcast::channel(4096).0;
        let (ready, listening) = oneshot::channel();
        let listener = tokio::spawn(notices::listen(link.clone(), notices.clone(), ready)).abort_handle();
        listening.await.map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let name = uuid::Uuid::now_v7().simple().to_string().split_off(20);
        Ok(RedisStore(Arc::new(Open {
            link,
            notices,
            listener,
            held: Held::default(),
            rounds: Rounds::default(),
            name,
            operations: AtomicU64::new(1),
        })))
    }

    fn link(&self) -> &Link {
        &self.0.link
    }

    fn held(&self) -> &Held {
        &self.0.held
    }

    fn rounds(&self) -> &Rounds {
        &self.0.rounds
    }

    /// A name for one call of a verb: by it a repetition is known.
    fn operation(&self) -> String {
        format!("{}:{}", self.0.name, self.0.operations.fetch_add(1, Ordering::Relaxed))
    }

    /// The server's time.
    pub async fn time(&self) -> Result<Timestamp> {
        let (seconds, microseconds): (i64, i32) = decode(self.link().ask_one(&::redis::cmd("TIME")).await?)?;
        Timestamp::new(seconds, microseconds * 1000).map_err(|e| StoreError::Unavailable(e.to_string()))
    }

    async fn read(&self, id: JobId) -> Result<Stored> {
        let values: Vec<::redis::Value> = decode(self.link().ask_one(READ.call(self.link().prefix()).arg(id.to_string())).await?)?;
        let found = values.into_iter().next().map(Stored::read).transpose()?.flatten();
        found.ok_or(StoreError::NotFound("job"))
    }

    /// The first jobs of an index, as `leased`, whose score is before this time.
    async fn select(&self, index: &str, before: Option<Timestamp>, limit: usize) -> Result<Vec<Stored>> {
        let below = before.map_or("+inf".to_owned(), milliseconds);
        let call = SELECT.call(self.link().prefix()).arg(format!(":{index}")).arg(below).arg(limit).clone();
        read_all(decode(self.link().ask_one(&call).await?)?)
    }
}

fn read_all(values: Vec<::redis::Value>) -> Result<Vec<Stored>> {
    values.into_iter().filter_map(|value| Stored::read(value).transpose()).collect()
}

fn milliseconds(time: Timestamp) -> String {
    time.as_millisecond().to_string()
}

fn maybe_milliseconds(time: Option<Timestamp>) -> String {
    time.map(milliseconds).unwrap_or_default()
}
