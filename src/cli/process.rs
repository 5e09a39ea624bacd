//! What `serve` and `work` share: the flags, the log, the way they end.

use super::{Exit, complain, environment, runtime};
use crate::config::{BlobsPlace, Config, StorePlace};
use crate::worker::PoolSpec;
use sd_notify::NotifyState;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Debug, clap::Args)]
pub struct Flags {
    #[arg(long)]
    config: Option<PathBuf>,
    /// This process's own folder: staging, copies of inputs, and whatever is kept locally.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Where the jobs are: `sqlite`, or the URL of a Redis that several processes share.
    #[arg(long, value_name = "sqlite|URL")]
    store: Option<StorePlace>,
    /// Where the bytes are: `local`, a folder, or `s3://bucket/prefix` with the usual `AWS_*` variables.
    #[arg(long, value_name = "PLACE")]
    blobs: Option<BlobsPlace>,
    /// Work on these queues only, with so many slots in this process; the others wait for another process.
    #[arg(long, value_delimiter = ',', value_name = "NAME[:SLOTS]")]
    queues: Vec<PoolSpec>,
    /// One JSON object per line of the log.
    #[arg(long, env = "MILLRACE_LOG_JSON")]
    log_json: bool,
}

impl Flags {
    /// The file, the variables, and these flags on top.
    fn config(self) -> Result<Config, String> {
        let config = Config::load(self.config.as_deref(), &environment())?;
        Ok(Config {
            data_dir: self.data_dir.unwrap_or(config.data_dir),
            store: self.store.unwrap_or(config.store),
            blobs: self.blobs.unwrap_or(config.blobs),
            pools: if self.queues.is_empty() { config.pools } else { self.queues },
            ..config
        })
    }
}

/// Starts the log and lives by the configuration, once `adjust` finds nothing wrong with it.
pub fn run(flags: Flags, adjust: impl FnOnce(Config) -> Result<Config, String>, live: impl AsyncFnOnce(Config) -> Result<(), String>) -> Exit {
    start_log(flags.log_json);
    let config = match flags.config().and_then(adjust) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return Exit::Usage;
        }
    };
    match runtime().map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(live(config))) {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(error);
            Exit::Unavailable
        }
    }
}

/// To standard error, at the level that `MILLRACE_LOG` asks for.
fn start_log(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MILLRACE_LOG").unwrap_or_else(|_| "info".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    if json { log.json().init() } else { log.init() }
}

/// A listening socket and the address it has got.
pub async fn listen(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let listener = TcpListener::bind(wanted).await.map_err(|e| format!("cannot listen on {wanted}: {e}"))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    Ok((listener, address))
}

/// The order to end: SIGTERM or Ctrl-C. Heard from the moment this is made.
pub struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    pub fn listen() -> Result<End, String> {
        let hear = |kind| signal(kind).map_err(|e| e.to_string());
        Ok(End { terminate: hear(SignalKind::terminate())?, interrupt: hear(SignalKind::interrupt())? })
    }

    /// Tells systemd, where it is there, that the process is ready; returns when it is to end.
    pub async fn ordered(mut self) {
        tell(NotifyState::Ready);
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tell(NotifyState::Stopping);
        tracing::info!("stopping: running jobs go back to their queues");
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
