//! Chooses the role. The zygote's returns before any thread or runtime exists.

use millrace::{converters, sandbox};
use std::process::ExitCode;

static REGISTRY: sandbox::Registry = sandbox::Registry {
    warmth: converters::warmth,
    by_id: |id| converters::by_id(id).map(|(_, converter)| converter),
    probe: |family| converters::family(family).probe,
};

fn main() -> ExitCode {
    if let Some(which) = sandbox::zygote::role(std::env::args_os()) {
        return sandbox::zygote::main(which, &REGISTRY);
    }
    millrace::cli::main()
}
