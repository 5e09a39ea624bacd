//! The port to the jail: an [`Order`] goes in, a [`Child`] runs it, small untrusted [`Report`]s come out.

use crate::convert::{Ctx, Depth, Erased, Input, Level, Produced, Warmth, Zygote};
use crate::failure::{Code, Failure};
use crate::format::{Family, Format};
use crate::job::{Media, StreamPlan};
use crate::limits::Limits;
use crate::progress::Progress;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

mod bpf;
mod child;
pub mod fork_server;
mod host;
mod isolate;
mod keeper;
mod launch;
pub mod orphans;
mod pids;
mod policy;
pub mod probe;
mod seccomp;
mod stream;
mod sys;
mod wire;
mod zygote;

pub use fork_server::ForkServer;
pub use keeper::Wear;
pub use launch::Zygotes;

/// Knows by its flag that memory ran out; see [`End::OutOfMemory`].
#[global_allocator]
static ALLOCATOR: sys::Watching = sys::Watching;

/// Measures a file of one family.
pub type Probe = fn(&Ctx, &Input, Depth) -> Result<Media, Failure>;

/// The converters, as the jail gets them from `main`: it runs them and knows none of them.
pub struct Registry {
    pub warmth: fn(Zygote) -> &'static Warmth,
    pub by_id: fn(&str) -> Option<&'static Erased>,
    pub probe: fn(Family) -> Probe,
}

/// What one child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub zygote: Zygote,
    pub work: Work,
    pub input: InputOrder,
    /// A private folder, made by the worker, the only one the child may write to: its home, its scratch, and in it an
    /// [`output_folder`] for each output.
    pub staging: PathBuf,
    pub limits: Limits,
    pub threads: usize,
}

/// Where a child leaves the files of output `index`: one folder and no more, for on a busy disk each takes its time.
pub fn output_folder(staging: &Path, index: usize) -> PathBuf {
    staging.join(format!("out-{index}"))
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InputOrder {
    /// Absolute; the child may read exactly this file.
    pub path: PathBuf,
    pub format: Format,
    pub name: String,
    pub size_bytes: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Runs the converters one after the other and reports each result as it is done.
    Convert(Vec<OutputOrder>),
    Probe(Depth),
    /// Measures the headers, and tells what would become of the streams for each of these outputs.
    Plan(Vec<OutputOrder>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputOrder {
    /// Position in the job's list of outputs; also the name of the folder below `staging/out`.
    pub index: usize,
    pub converter: String,
    pub options: serde_json::Value,
    pub to: Format,
    pub name: String,
}

/// What a child says. Everything in it is untrusted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    Progress {
        output: usize,
        progress: Progress,
    },
    Log {
        level: Level,
        message: String,
    },
    Output {
        output: usize,
        result: Result<Produced, Failure>,
    },
    Probed(Result<Media, Failure>),
    Planned {
        output: usize,
        result: Result<StreamPlan, Failure>,
    },
    /// A system call that the jail refuses was tried; the child is about to die of it.
    Violation(String),
}

/// How a child ended, from the zygote that reaped it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Exit {
    pub end: End,
    pub cpu_ms: u64,
    pub memory_peak_bytes: u64,
    /// The most that lay in its staging folder; looked at by the launcher, four times a second.
    pub scratch_peak_bytes: u64,
    /// The measured level of the jail this child ran in, 0 to 4.
    pub sandbox_level: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Exit status 0 after everything was reported.
    Clean,
    /// Any other exit status.
    Status(i32),
    /// Killed by this signal, by us or by its own fault.
    Signal(i32),
    /// SIGSYS: it tried a forbidden system call.
    Forbidden,
    /// It hit its memory wall.
    OutOfMemory,
    /// It filled its staging folder beyond what it may.
    OutputLimit,
    /// The zygote died and took the child along.
    ZygoteLost,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum LaunchError {
    /// The family's zygote cannot be started; the text says why.
    #[error("the {0} converters cannot start: {1}")]
    Unavailable(&'static str, String),
}

impl Exit {
    /// The failure that this end stands for; none when it ended well.
    pub fn failure(&self) -> Option<Failure> {
        const SIGXCPU: i32 = 24;
        Some(match self.end {
            End::Clean => return None,
            End::OutOfMemory => Failure::new(Code::OutOfMemory, "The conversion needed more memory than its limit."),
            End::OutputLimit => Failure::limit("The result is larger than the limit for outputs."),
            End::Forbidden => Failure::new(Code::PolicyViolation, "The file made the converter try something that is not allowed."),
            End::Signal(SIGXCPU) => Failure::new(Code::HardTimeLimit, "The conversion used more processor time than its limit."),
            End::Signal(signal) => Failure::new(Code::Crashed, "The converter crashed on this file.").detail(format!("signal {signal}")),
            End::Status(status) => Failure::new(Code::Crashed, "The converter crashed on this file.").detail(format!("exit status {status}")),
            End::ZygoteLost => Failure::internal("the zygote died"),
        })
    }
}

/// Starts children.
#[async_trait::async_trait]
pub trait Launcher: Send + Sync {
    async fn launch(&self, order: Order) -> Result<Child, LaunchError>;
}

/// A running child. Dropping it kills its whole process tree.
pub struct Child {
    /// Ends when the child does.
    pub reports: mpsc::Receiver<Report>,
    /// Resolves once the child is reaped and its tree is gone.
    pub exit: oneshot::Receiver<Exit>,
    pub control: Box<dyn Control>,
}

/// The worker's hand on a child. Both calls return at once and may be repeated.
pub trait Control: Send + Sync {
    /// Asks the converter to stop.
    fn stop(&self);
    /// Kills the child and every process it started, also stopped ones and those that called setsid.
    fn kill(&self);
    /// What the child has used up to now; none once it has ended.
    fn usage(&self) -> Option<Usage> {
        None
    }
}

/// What a running child has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub cpu_ms: u64,
    pub memory_bytes: u64,
    /// In its staging folder, when that was looked at last.
    pub scratch_bytes: u64,
}

impl Drop for Child {
    fn drop(&mut self) {
        self.control.kill();
    }
}
