//! The command line: one file per family of subcommands.

mod bars;
mod bench;
mod board;
mod client;
mod convert;
mod doctor;
mod events;
mod healthcheck;
mod info;
mod jobs;
mod options;
mod pipelines;
mod plan;
mod probe;
mod process;
mod queues;
mod save;
mod schedules;
mod screen;
mod serve;
mod submit;
mod table;
mod token;
mod top;
#[cfg(feature = "otlp")]
mod traces;
mod watch;
mod webhooks;
mod work;
mod workers;

use crate::sandbox::ForkServer;
use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// 0 done, 1 the conversion failed, 2 wrong usage or options, 3 cancelled, 4 timed out, 5 no server or no store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Cancelled = 3,
    TimedOut = 4,
    Unavailable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Converts media: films, sound, pictures, documents and archives, each in its own jail.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Convert files here and now, without a server.
    Convert(convert::Args),
    /// Run everything in one process: API, schedules and pools.
    Serve(serve::Args),
    /// Run pools only, for the jobs of a shared store.
    Work(work::Args),
    /// Send a file to a server's queue.
    Submit(submit::Args),
    /// A server's jobs: list, show, watch, log, cancel, retry, outputs.
    Jobs(jobs::Args),
    /// A server's queues and what runs, on one screen that follows.
    Top(top::Args),
    /// A server's pipelines: run, list, show, watch, retry, cancel.
    Pipelines(pipelines::Args),
    /// A server's queues: list, show, set, pause, resume, purge.
    Queues(queues::Args),
    /// A server's workers: list, drain, restart.
    Workers(workers::Args),
    /// A server's schedules: list, put, delete, run.
    Schedules(schedules::Args),
    /// Who may use a server: create, list, revoke.
    Token(token::Args),
    /// What a server tells others of its jobs: list, show, replay.
    Webhooks(webhooks::Args),
    /// What files hold, without converting them.
    Probe(probe::Args),
    /// What can be converted into what.
    Formats(info::FormatsArgs),
    /// Measure this host: the jail, the converters, the disk.
    Doctor(doctor::Args),
    /// Say by the exit code whether the service is ready: 0 or 5.
    Healthcheck(healthcheck::Args),
    /// Measure what a job costs beside its conversion.
    Bench(bench::Args),
    /// Look at the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a completion script.
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a folder.
    Man { folder: PathBuf },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether the configuration is valid, and what is wrong with it.
    Check {
        #[arg(long)]
        config: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
}

/// Reads the arguments and runs the command.
pub fn main(fork_server: ForkServer) -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Convert(args) => convert::run(args, fork_server),
        Command::Serve(args) => serve::run(args, fork_server),
        Command::Work(args) => work::run(args, fork_server),
        Command::Formats(args) => info::formats(&args),
        Command::Submit(args) => submit::run(args),
        Command::Jobs(args) => jobs::run(args),
        Command::Top(args) => top::run(args),
        Command::Pipelines(args) => pipelines::run(args),
        Command::Queues(args) => queues::run(args),
        Command::Workers(args) => workers::run(args),
        Command::Schedules(args) => schedules::run(args),
        Command::Token(args) => token::run(args),
        Command::Webhooks(args) => webhooks::run(args),
        Command::Probe(args) => probe::run(&args, fork_server),
        Command::Doctor(args) => doctor::run(&args, fork_server),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Bench(args) => bench::run(&args, fork_server),
        Command::Config { command: ConfigCommand::Check { config, json } } => info::check_config(config.as_deref(), json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "millrace", &mut script);
            print(&String::from_utf8_lossy(&script));
            Exit::Done
        }
        Command::Man { folder } => manual(&folder),
    }
    .into()
}

/// A page for the program and for each of its commands.
fn manual(folder: &Path) -> Exit {
    match std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(format!("{}: {error}", folder.display()));
            Exit::Usage
        }
    }
}

/// Tells a script what is not there any more; people are told by the exit code.
fn gone(client: &client::Client, name: &str) {
    if client.json {
        print(&format!("{}\n", serde_json::json!({"deleted": name})));
    }
}

/// Writes to standard output; a closed pipe is nobody's fault.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes a line to standard error.
fn complain(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "millrace: {text}");
}

fn environment() -> std::collections::BTreeMap<String, String> {
    std::env::vars().filter(|(name, _)| name.starts_with("MILLRACE_")).collect()
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stays and tells its log, and what prints text for other programs.
    const WITHOUT_JSON: [&str; 4] = ["millrace serve", "millrace work", "millrace completions", "millrace man"];

    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, bool)>) {
        let path = format!("{path} {}", command.get_name());
        let below: Vec<_> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
        if below.is_empty() {
            let has_json = command.get_arguments().any(|argument| argument.get_long() == Some("json"));
            found.push((path.trim().to_owned(), has_json));
        }
        below.into_iter().for_each(|sub| leaves(sub, &path, found));
    }

    #[test]
    fn every_command_speaks_json() {
        let mut command = Cli::command();
        // Hands the flags of families on to their commands.
        command.build();
        let mut found = Vec::new();
        leaves(&command, "", &mut found);
        let without: Vec<&str> = found.iter().filter(|(_, has_json)| !has_json).map(|(path, _)| path.as_str()).collect();
        assert_eq!(without, WITHOUT_JSON);
        assert!(found.len() > 40, "{found:?}");
    }
}
