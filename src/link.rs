//! A connection to Redis that all its users share. When it is lost the next question makes a new one; every script may be repeated,
//! so a question whose answer was lost is asked again.

mod address;

pub use address::Address;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerError, ServerErrorKind, Value,
};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The crate's own default is 500 ms, which a busy disk under `appendfsync always` exceeds.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A question is not asked again after this: its caller has to know.
const TRY_FOR: Duration = Duration::from_secs(5);
const PAUSES: [Duration; 4] = [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(500)];

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    #[error("the server's memory is full")]
    Full,
    #[error("{0}")]
    Lost(String),
}

pub type Result<T> = std::result::Result<T, LinkError>;

pub struct Link {
    address: Address,
    /// What a new connection is given first: it loads the scripts.
    scripts: fn() -> Pipeline,
    current: Mutex<Option<Live>>,
}

#[derive(Clone)]
struct Live {
    /// Which connection of this link it is: a fault of an old one must not end its successor.
    number: u64,
    connection: MultiplexedConnection,
}

impl Link {
    pub fn new(address: Address, scripts: fn() -> Pipeline) -> Link {
        Link { address, scripts, current: Mutex::new(None) }
    }

    pub fn prefix(&self) -> &str {
        &self.address.prefix
    }

    pub fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.address.prefix)
    }

    /// A connection of its own, for what is told and not asked.
    pub async fn client(&self) -> RedisResult<Client> {
        self.address.find().await
    }

    /// Runs commands, in order and in one round trip; `repeated` is true when an answer was lost and they may have run already.
    pub async fn ask(&self, commands: impl Fn(bool) -> Pipeline) -> Result<Vec<Value>> {
        let (begun, mut number) = (Instant::now(), 0);
        let mut repeated = false;
        for pause in PAUSES.into_iter().chain(std::iter::repeat(PAUSES[PAUSES.len() - 1])) {
            let error = match self.connect(number).await {
                Ok(mut live) => {
                    number = live.number;
                    match commands(repeated).query_async(&mut live.connection).await {
                        Ok(values) => return Ok(values),
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if !is_passing(&error) || begun.elapsed() + pause > TRY_FOR {
                return Err(failed(error));
            }
            repeated = true;
            tokio::time::sleep(pause).await;
        }
        Err(LinkError::Lost("the server does not answer".into()))
    }

    pub async fn ask_one(&self, command: &Cmd) -> Result<Value> {
        let mut values = self.ask(|_| std::mem::take(Pipeline::new().add_command(command.clone()))).await?;
        Ok(values.pop().unwrap_or(Value::Nil))
    }

    /// The connection after `failed`, which is of no use any more.
    async fn connect(&self, failed: u64) -> RedisResult<Live> {
        let mut current = self.current.lock().await;
        let last = current.as_ref().map_or(0, |live| live.number);
        match &*current {
            Some(live) if live.number > failed => return Ok(live.clone()),
            _ => {}
        }
        let mut connection = open(&self.address.find().await?).await?;
        let () = (self.scripts)().query_async(&mut connection).await?;
        let live = Live { number: last.max(failed) + 1, connection };
        *current = Some(live.clone());
        Ok(live)
    }
}

async fn open(client: &Client) -> RedisResult<MultiplexedConnection> {
    crate::tls::use_ring();
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_WITHIN)).set_response_timeout(Some(ANSWER_WITHIN));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// One question on a connection of its own.
pub async fn ask_once<T: FromRedisValue>(client: &Client, question: &Cmd) -> RedisResult<T> {
    question.query_async(&mut open(client).await?).await
}

/// Is it the link or the server's role, and not the question, that is at fault? Another connection may do.
fn is_passing(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, Moved, NoScript, ReadOnly, TryAgain};
    match error.kind() {
        ErrorKind::Io | ErrorKind::MasterNameNotFoundBySentinel => true,
        ErrorKind::Server(kind) => matches!(kind, BusyLoading | ClusterDown | MasterDown | Moved | NoScript | ReadOnly | TryAgain),
        _ => false,
    }
}

fn failed(error: RedisError) -> LinkError {
    let is_full = |errors: &[(usize, ServerError)]| errors.iter().any(|(_, error)| error.code() == "OOM");
    match error.clone().into_server_errors() {
        Some(errors) if is_full(&errors) => LinkError::Full,
        _ => LinkError::Lost(error.to_string()),
    }
}
