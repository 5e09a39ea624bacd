//! Measures the engine without its jail, and its stores when they are full. Run by scripts/bench; never shipped.
#![allow(clippy::print_stdout)]

mod celery;
mod engine;
mod horizon;
mod jobs;
mod launchers;

use millrace::store::Store;
use millrace::store::redis::RedisStore;
use millrace::store::sqlite::SqliteStore;
use std::path::Path;
use std::sync::Arc;

type Failed = Box<dyn std::error::Error>;

#[derive(clap::Parser)]
enum Command {
    /// No-op jobs in, through, and how long one takes on its way. Prints JSON.
    Engine(engine::Args),
    /// The Celery edge without a jail, until SIGTERM.
    Celery(celery::Args),
    /// A server, made a distant one.
    Far(celery::FarArgs),
    /// What leases, pages and purges cost with many jobs queued. Prints JSON.
    Horizon(horizon::Args),
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let told = match <Command as clap::Parser>::parse() {
        Command::Engine(args) => engine::measure(&args).await?,
        Command::Celery(args) => celery::serve(&args).await?,
        Command::Far(args) => celery::far(args).await?,
        Command::Horizon(args) => horizon::measure(&args).await?,
    };
    println!("{told}");
    Ok(())
}

/// A store by the address of its Redis server, or by the file of its database.
async fn open(place: &str) -> Result<Arc<dyn Store>, Failed> {
    Ok(match place.starts_with("redis") {
        true => Arc::new(RedisStore::open(place).await?),
        false => Arc::new(SqliteStore::open(Path::new(place))?),
    })
}
