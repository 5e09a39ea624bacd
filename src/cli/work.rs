//! `millrace work`: pools only, for further machines, until SIGTERM or Ctrl-C.

use super::Exit;
use super::process::{self, End};
use crate::app::{App, Purpose};
use crate::config::{self, Config};
use crate::http::{self, Vitals};
use crate::sandbox::ForkServer;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    process: process::Flags,
    /// Where this process tells how it is: `/healthz`, `/readyz`, `/metrics`. Loopback unless a token is configured; none: nowhere.
    #[arg(long)]
    listen: Option<SocketAddr>,
}

pub fn run(args: Args, fork_server: ForkServer) -> Exit {
    let Args { process, listen } = args;
    let adjust = |config: Config| {
        let config = Config { work: config::Work { listen: listen.or(config.work.listen) }, ..config };
        let exposed = config.work.listen.map_or(Ok(()), |listen| config.check_exposure(listen));
        exposed.and(config.check_shared()).map(|()| config)
    };
    process::run(process, adjust, async |config| work(config, fork_server).await)
}

async fn work(config: Config, fork_server: ForkServer) -> Result<(), String> {
    let end = End::listen()?;
    let listening = match config.work.listen {
        Some(listen) => Some(process::listen(listen).await?),
        None => None,
    };
    let app = App::start(&config, Purpose::Work, fork_server).await?;
    let drain = CancellationToken::new();
    tracing::info!("{} works for {} and {}", app.engine.name, config.store, config.blobs);
    let server = match listening {
        Some((listener, address)) => {
            tracing::info!("how it is stands at http://{address}/readyz and /metrics");
            let vitals = Vitals {
                store: app.engine.store.clone(),
                meters: app.engine.meters.clone(),
                sandbox_level: app.engine.sandbox_level,
                token: config.auth.token.clone(),
                door: http::Door::new(&config.auth)?,
                drain: drain.clone(),
            };
            Some(tokio::spawn(http::serve(listener, http::vitals(Arc::new(vitals)), http::Patience::default(), drain.clone())))
        }
        None => None,
    };
    end.ordered().await;
    drain.cancel();
    app.stop().await;
    match server {
        Some(server) => server.await.map_err(|e| e.to_string()),
        None => Ok(()),
    }
}
