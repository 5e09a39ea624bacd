//! Other people's clients, as scripts/setup.d/clients has put them in place.

use super::tools;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are.
pub fn folder() -> PathBuf {
    tools::folder("clients")
}

/// A program of the Python environment there.
pub fn python(program: &str) -> Command {
    command(folder().join("python/bin").join(program))
}

/// A program that npm has put there.
pub fn node(program: &str) -> Command {
    command(folder().join("node/node_modules/.bin").join(program))
}

/// A program that finds them by the variable `CLIENTS`, in no proxy's way.
pub fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env("CLIENTS", folder()).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    command
}

/// A script of tests/clients.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// What a program says last when it succeeds; run off the runtime's own threads.
pub async fn said(mut command: Command) -> String {
    let run = move || {
        let output = command.output().unwrap();
        let (out, complaint) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
        assert!(output.status.success(), "{command:?}:\n{out}{complaint}");
        out.trim().lines().last().unwrap_or_default().to_owned()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}
