//! A further machine: the real binary as `millrace work`, with a data folder of its own.

use super::process::{Below, Process, clean};
use super::server::{Config, DEADLINE, assert_nothing_staged};
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::Command;

pub struct Worker {
    config: Config,
    queues: String,
    folder: tempfile::TempDir,
    process: Option<Process>,
}

impl Worker {
    /// Starts one for these queues, written as `video:1,image`.
    pub fn start(config: Config, queues: &str) -> Worker {
        let mut worker = Worker { config, queues: queues.to_owned(), folder: tempfile::tempdir().unwrap(), process: None };
        worker.spawn();
        worker
    }

    fn spawn(&mut self) {
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_millrace")));
        command.args(["work", "--queues", &self.queues, "--data-dir"]).arg(self.data_dir());
        self.config.configure(&mut command, self.folder.path());
        self.process = Some(Process::start(&mut command));
    }

    /// Returns once it works.
    pub async fn ready(&self) {
        self.process().says(" works for ", DEADLINE).await;
    }

    /// Where it tells how it is, if it was given an address: `http://127.0.0.1:<port>`.
    pub async fn url(&self) -> String {
        let rest = self.process().says("how it is stands at ", DEADLINE).await;
        rest.split("/readyz").next().unwrap().to_owned()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the worker runs")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// As attempts name it: host and process.
    pub fn name(&self) -> String {
        format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), self.process().id())
    }

    pub fn log(&self) -> String {
        self.process().log()
    }

    pub fn is_alive(&self) -> bool {
        self.process().is_alive()
    }

    /// The processes it has started.
    pub fn processes(&self) -> Vec<Below> {
        self.process().below()
    }

    /// To the worker's own process only.
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// SIGKILL, then another process on the same data folder.
    pub async fn kill_9_and_restart(&mut self) {
        self.process.take().expect("the worker runs").kill_9();
        self.spawn();
        self.ready().await;
    }

    /// SIGTERM; a drained worker ends well and leaves nothing staged.
    pub fn terminate(mut self) {
        self.process.take().expect("the worker runs").terminate(DEADLINE);
        assert_nothing_staged(&self.data_dir());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill_9();
        }
    }
}
