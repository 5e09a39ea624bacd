//! `millrace serve`: everything in one process, until SIGTERM or Ctrl-C.

use super::Exit;
use super::process::{self, End};
use crate::app::{App, Purpose};
use crate::celery;
use crate::config::Config;
use crate::http;
use crate::sandbox::ForkServer;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    process: process::Flags,
    /// Loopback unless a token is configured.
    #[arg(long)]
    listen: Option<SocketAddr>,
}

pub fn run(args: Args, fork_server: ForkServer) -> Exit {
    let Args { process, listen } = args;
    let adjust = |config: Config| {
        let config = Config { listen: listen.unwrap_or(config.listen), ..config };
        config.check_exposure(config.listen).and(config.check_redirect()).map(|()| config)
    };
    process::run(process, adjust, async |config| serve(config, fork_server).await)
}

async fn serve(config: Config, fork_server: ForkServer) -> Result<(), String> {
    let end = End::listen()?;
    let (listener, address) = process::listen(config.listen).await?;
    let app = App::start(&config, Purpose::Service, fork_server).await?;
    let drain = CancellationToken::new();
    let service = Arc::new(http::Service {
        intake: app.intake.clone(),
        prober: app.prober.clone(),
        tus: app.tus.clone(),
        clock: app.clock.clone(),
        links: app.links.clone().filter(|_| config.outputs.redirect),
        token: config.auth.token.clone(),
        door: http::Door::new(&config.auth)?,
        time_zone: config.time_zone.clone(),
        sandbox_level: app.engine.sandbox_level,
        requests: http::Requests::default(),
        meters: app.engine.meters.clone(),
        letters: app.letters.clone(),
        drain: drain.clone(),
    });
    let site = celery::Site {
        intake: app.intake.clone(),
        clock: app.clock.clone(),
        input_roots: config.inputs.roots.clone(),
        output_roots: config.outputs.roots.clone(),
    };
    let edge = celery::Running::start(&config.celery, site).await?;
    tracing::info!("millrace is at http://{address}/");
    let server = tokio::spawn(http::serve(listener, http::router(service), http::Patience::default(), drain.clone()));
    end.ordered().await;
    drain.cancel();
    if let Some(edge) = edge {
        edge.stop().await;
    }
    // Answers end while the jobs are given back.
    let (_, served) = tokio::join!(app.stop(), server);
    served.map_err(|e| e.to_string())
}
