//! Runs converters in the real jail, through the launcher and the binary: for libraries that live only once in a process.

use millrace::convert::{Depth, Produced};
use millrace::converters;
use millrace::failure::Failure;
use millrace::format::Format;
use millrace::job::Media;
use millrace::limits::Limits;
use millrace::sandbox::{End, Exit, ForkServer, InputOrder, Launcher, Order, OutputOrder, Report, Wear, Work, Zygotes, output_folder};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// One jailed run and its folder.
pub struct Jailed {
    pub folder: tempfile::TempDir,
    pub limits: Limits,
}

/// What a run said and how it ended.
pub struct Outcome {
    pub reports: Vec<Report>,
    pub exit: Exit,
}

fn runtime() -> &'static (tokio::runtime::Runtime, Zygotes) {
    static RUNTIME: OnceLock<(tokio::runtime::Runtime, Zygotes)> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        (runtime, Zygotes::new(ForkServer::executed(env!("CARGO_BIN_EXE_millrace"), &[]), Wear::default()).unwrap())
    })
}

impl Jailed {
    pub fn new() -> Self {
        Jailed { folder: tempfile::tempdir().unwrap(), limits: Limits::default() }
    }

    /// Converts to one format; panics unless the child itself ended well.
    pub fn convert(&self, input: &Path, to: &str, options: Value) -> Result<(Produced, PathBuf), Failure> {
        let from = Format::from_file_name(&input.to_string_lossy()).unwrap();
        let target = Format::parse(to).unwrap();
        let (_, converter) = converters::find(from, target).unwrap_or_else(|| panic!("no converter from {from} to {to}"));
        let options = (converter.check)(&options).unwrap_or_else(|e| panic!("{e:?}"));
        let output = OutputOrder { index: 0, converter: converter.spec.id.into(), options, to: target, name: target.file_name("result") };
        let staging = self.staging();
        let outcome = self.run(input, staging.clone(), Work::Convert(vec![output]));
        assert_eq!(outcome.exit.end, End::Clean, "{} to {to}: {:?}", input.display(), outcome.reports);
        let result = outcome.reports.into_iter().find_map(|report| match report {
            Report::Output { result, .. } => Some(result),
            _ => None,
        });
        result.expect("a result").map(|produced| (produced, output_folder(&staging, 0)))
    }

    /// Converts to a single file and returns its path.
    pub fn file(&self, input: &Path, to: &str, options: Value) -> Result<PathBuf, Failure> {
        self.convert(input, to, options).map(|(produced, dir)| dir.join(&produced.files[0].file))
    }

    pub fn probe(&self, input: &Path, depth: Depth) -> Result<Media, Failure> {
        let outcome = self.run(input, self.staging(), Work::Probe(depth));
        let result = outcome.reports.into_iter().find_map(|report| match report {
            Report::Probed(result) => Some(result),
            _ => None,
        });
        result.unwrap_or_else(|| panic!("{:?}", outcome.exit))
    }

    pub fn staging(&self) -> PathBuf {
        tempfile::tempdir_in(self.folder.path()).unwrap().keep()
    }

    pub fn run(&self, input: &Path, staging: PathBuf, work: Work) -> Outcome {
        let path = std::fs::canonicalize(input).unwrap();
        let format = Format::from_file_name(&input.to_string_lossy()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let size_bytes = std::fs::metadata(&path).unwrap().len();
        let zygote = converters::family(format.family()).zygote;
        let order = Order { zygote, work, input: InputOrder { path, format, name, size_bytes }, staging, limits: self.limits.clone(), threads: 2 };
        let (runtime, zygotes) = runtime();
        runtime.block_on(async {
            let mut child = zygotes.launch(order).await.unwrap();
            let all = async {
                let mut reports = Vec::new();
                while let Some(report) = child.reports.recv().await {
                    reports.push(report);
                }
                Outcome { reports, exit: (&mut child.exit).await.unwrap() }
            };
            tokio::time::timeout(Duration::from_secs(60), all).await.expect("the child ends within a minute")
        })
    }
}
