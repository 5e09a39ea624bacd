//! The real binary as a command: run with a deadline and a temporary folder of its own, in which it must leave nothing.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer than any command here takes.
const DEADLINE: Duration = Duration::from_secs(120);

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    pub exit: i32,
    pub out: String,
    pub complaint: String,
}

impl Done {
    /// What it has said, all having gone well.
    pub fn said(self) -> String {
        assert_eq!(self.exit, 0, "{}", self.complaint);
        self.out
    }

    /// What was complained of this file.
    pub fn about(&self, input: &str) -> &str {
        let prefix = format!("millrace: {}: ", plain(input));
        let mut lines = self.complaint.lines().filter_map(|line| line.strip_prefix(&prefix));
        lines.next().unwrap_or_else(|| panic!("a word about {input} in:\n{}", self.complaint))
    }
}

/// As the command shows a name.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) { ' ' } else { c }).collect()
}

/// Runs `millrace` with these arguments and variables; `folder/tmp` is its temporary folder and must be empty afterwards.
pub fn millrace(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Done {
    let temporary = folder.join("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut command = super::process::clean(Command::new(env!("CARGO_BIN_EXE_millrace")));
    command.args(args).envs(variables.iter().copied()).env("TMPDIR", &temporary);
    let done = finish(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    done
}

/// `millrace convert`.
pub fn convert(folder: &Path, args: &[&str]) -> Done {
    millrace(folder, &[&["convert"], args].concat(), &[])
}

/// Waits for a started command; one that takes too long is killed and fails the test.
pub fn finish(mut child: Child) -> Done {
    let (out, complaint) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    let (tell, told) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let status = child.wait().unwrap();
        let _ = tell.send(());
        status
    });
    let in_time = told.recv_timeout(DEADLINE).is_ok();
    if !in_time {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let status = waiter.join().unwrap();
    let (out, complaint) = (out.join().unwrap(), complaint.join().unwrap());
    assert!(in_time, "the command ends in time:\n{complaint}");
    Done { exit: status.code().unwrap_or(-1), out, complaint }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // Taken by the test itself: nothing is left to read.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The first good fixture of a kind, as `image/jpeg`.
pub fn good(kind: &str) -> String {
    let mut files: Vec<_> = std::fs::read_dir(super::direct::fixture(&format!("{kind}/good"))).unwrap().flatten().map(|e| e.path()).collect();
    files.sort();
    files[0].to_string_lossy().into_owned()
}
