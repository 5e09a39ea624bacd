//! Chooses the role. The fork server parts ways here, before any thread or runtime exists.

use millrace::sandbox::{ForkServer, Registry, fork_server};
use millrace::{cli, converters};
use std::process::ExitCode;

static REGISTRY: Registry = Registry {
    warmth: converters::warmth,
    by_id: |id| converters::by_id(id).map(|(_, converter)| converter),
    probe: |family| converters::family(family).probe,
};

fn main() -> ExitCode {
    // A fork server that is executed needs none of its own.
    if std::env::args_os().nth(1).is_some_and(|role| role == fork_server::ROLE) {
        fork_server::main(&REGISTRY);
        return ExitCode::SUCCESS;
    }
    cli::main(ForkServer::fork(&REGISTRY))
}
