//! Runs a converter in this process, without the service around it.

use millrace::convert::{Ctx, Depth, Host, Input, Level, Output, Produced};
use millrace::converters;
use millrace::failure::{Code, Failure};
use millrace::format::Format;
use millrace::job::Media;
use millrace::limits::Limits;
use millrace::progress::Progress;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers what a converter said.
#[derive(Default)]
pub struct Listener {
    pub progress: Mutex<Vec<Progress>>,
    pub log: Mutex<Vec<String>>,
    pub stop: AtomicBool,
}

impl Host for Listener {
    fn progress(&self, progress: Progress) {
        self.progress.lock().unwrap().push(progress);
    }

    fn log(&self, _level: Level, message: &str) {
        self.log.lock().unwrap().push(message.to_owned());
    }

    fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// One direct run and its folder, which goes away with it.
pub struct Run {
    pub folder: tempfile::TempDir,
    pub listener: Listener,
    pub limits: Limits,
}

impl Run {
    pub fn new() -> Self {
        Run { folder: tempfile::tempdir().unwrap(), listener: Listener::default(), limits: Limits::default() }
    }

    fn ctx(&self) -> Ctx<'_> {
        Ctx { limits: &self.limits, threads: 2, scratch: self.folder.path(), host: &self.listener }
    }

    /// Converts; the format of the input is told by its extension.
    pub fn convert(&self, input: &Path, to: &str, options: Value) -> Result<(Produced, PathBuf), Failure> {
        let from = Format::from_file_name(&input.to_string_lossy()).unwrap();
        let to = Format::parse(to).unwrap();
        let (_, converter) = converters::find(from, to).unwrap_or_else(|| panic!("no converter from {from} to {to}"));
        let dir = self.folder.path().join(format!("out-{}", std::fs::read_dir(self.folder.path()).unwrap().count()));
        std::fs::create_dir(&dir).unwrap();
        let options = (converter.check)(&options).unwrap_or_else(|e| panic!("{e:?}"));
        let output = Output { dir: dir.clone(), format: to, name: to.file_name("result") };
        (converter.run)(&self.ctx(), &self.input(input, from), &options, &output).map(|produced| (produced, dir))
    }

    /// Converts to a single file and returns its path.
    pub fn file(&self, input: &Path, to: &str, options: Value) -> Result<PathBuf, Failure> {
        self.convert(input, to, options).map(|(produced, dir)| dir.join(&produced.files[0].file))
    }

    pub fn probe(&self, file: &Path, depth: Depth) -> Result<Media, Failure> {
        let format = Format::from_file_name(&file.to_string_lossy()).unwrap();
        (converters::family(format.family()).probe)(&self.ctx(), &self.input(file, format), depth)
    }

    fn input(&self, path: &Path, format: Format) -> Input {
        let path = std::fs::canonicalize(path).unwrap();
        Input { size_bytes: std::fs::metadata(&path).unwrap().len(), name: path.file_name().unwrap().to_string_lossy().into_owned(), path, format }
    }
}

/// A committed fixture, as `video/mp4/good/clip.mp4`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// Runs a tool that is not ours and returns its standard output; fails the test when the tool does.
pub fn tool(program: &str, args: &[&str]) -> String {
    let done = std::process::Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The failure, which has this code and a whole sentence.
pub fn fails(result: Result<impl std::fmt::Debug, Failure>, code: Code) -> Failure {
    let failure = result.expect_err("it went well");
    assert_eq!(failure.code, code, "{failure:?}");
    assert!(failure.message.len() > 10 && failure.message.ends_with('.'), "{}", failure.message);
    failure
}
