//! `millrace serve`: everything in one process, until SIGTERM or Ctrl-C.

use super::{Exit, complain, environment, runtime};
use crate::app::{App, Purpose};
use crate::config::Config;
use crate::http;
use crate::sandbox::ForkServer;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    config: Option<PathBuf>,
    /// Loopback unless a token is configured.
    #[arg(long)]
    listen: Option<SocketAddr>,
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Work on these queues only; the others wait for another process.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    queues: Vec<String>,
    /// One JSON object per line of the log.
    #[arg(long, env = "MILLRACE_LOG_JSON")]
    log_json: bool,
}

pub fn run(args: Args, fork_server: ForkServer) -> Exit {
    start_log(args.log_json);
    let config = Config::load(args.config.as_deref(), &environment()).map(|c| Config {
        listen: args.listen.unwrap_or(c.listen),
        data_dir: args.data_dir.unwrap_or(c.data_dir.clone()),
        pools: if args.queues.is_empty() { c.pools.clone() } else { args.queues },
        ..c
    });
    let config = match config.and_then(|c| c.check_exposure().map(|()| c)) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return Exit::Usage;
        }
    };
    match runtime().map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(serve(config, fork_server))) {
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

async fn serve(config: Config, fork_server: ForkServer) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let listener = tokio::net::TcpListener::bind(config.listen).await.map_err(|e| format!("cannot listen on {}: {e}", config.listen))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let app = App::start(&config, Purpose::Service, fork_server).await?;
    let drain = CancellationToken::new();
    let service = Arc::new(http::Service {
        intake: app.intake.clone(),
        prober: app.prober.clone(),
        clock: app.clock.clone(),
        token: config.auth.token.clone(),
        time_zone: config.time_zone.clone(),
        sandbox_level: app.engine.sandbox_level,
        requests: http::Requests::default(),
        meters: app.engine.meters.clone(),
        drain: drain.clone(),
    });
    tracing::info!("millrace is at http://{address}/");
    let server = tokio::spawn(http::serve(listener, http::router(service), drain.clone()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping: running jobs go back to their queues");
    drain.cancel();
    // Answers end while the jobs are given back.
    let (_, served) = tokio::join!(app.stop(), server);
    served.map_err(|e| e.to_string())
}
