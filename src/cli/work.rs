//! `millrace work`: pools only, for further machines, until SIGTERM or Ctrl-C.

use super::Exit;
use super::process::{self, End};
use crate::app::{App, Purpose};
use crate::config::Config;
use crate::sandbox::ForkServer;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    process: process::Flags,
}

pub fn run(args: Args, fork_server: ForkServer) -> Exit {
    process::run(args.process, |config| config.check_shared().map(|()| config), async |config| work(config, fork_server).await)
}

async fn work(config: Config, fork_server: ForkServer) -> Result<(), String> {
    let end = End::listen()?;
    let app = App::start(&config, Purpose::Work, fork_server).await?;
    tracing::info!("{} works for {} and {}", app.engine.name, config.store, config.blobs);
    end.ordered().await;
    app.stop().await;
    Ok(())
}
