//! Converters for tests only: one attacks its jail as its input says, one does nothing at all.
//!
//! The first line of an attack file names the attack and its arguments. The output tells what came of it, a fact a line:
//! `refused: ...` when the jail held, `broken: ...` when it did not.
#![allow(unsafe_code, clippy::panic)]

use crate::convert::{Converter, Ctx, Expect, Input, OutOfRange, Output, Produced, ProducedFile, Spec, Validate};
use crate::failure::Failure;
use crate::format::Family;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

/// No options.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {}

impl Validate for Options {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

/// Writes two bytes: what is left of a job's time is the service's own.
pub struct Noop;

impl Converter for Noop {
    const SPEC: Spec = Spec { id: "archive.noop", family: Family::Archive, summary: "Does nothing.", pairs: &[(&["txt"], &["noop"])] };
    type Options = Options;

    fn convert(_: &Ctx, _: &Input, _: &Options, output: &Output) -> Result<Produced, Failure> {
        fs::write(output.path(), "ok").map_err(Failure::internal)?;
        Ok(unmeasured(output))
    }
}

/// Tries to get out.
pub struct Hostile;

impl Converter for Hostile {
    const SPEC: Spec = Spec { id: "archive.hostile", family: Family::Archive, summary: "Attacks its jail.", pairs: &[(&["attack"], &["noop"])] };
    type Options = Options;

    fn convert(ctx: &Ctx, input: &Input, _: &Options, output: &Output) -> Result<Produced, Failure> {
        let script = fs::read_to_string(&input.path).map_err(Failure::internal)?;
        let words: Vec<&str> = script.lines().next().unwrap_or_default().split_whitespace().collect();
        let argument = |n: usize| words.get(n).copied().unwrap_or_default();
        if argument(0) == "many-files" {
            let mut produced = unmeasured(output);
            let file = |n| ProducedFile { file: format!("f{n}"), name: format!("folder/{n}.txt"), format: output.format, expect: Expect::default() };
            produced.files.extend((0..argument(1).parse().unwrap_or(1)).map(file));
            return Ok(produced);
        }
        let facts = attack(ctx, argument(0), argument(1), output)?;
        fs::write(output.path(), facts.join("\n")).map_err(Failure::internal)?;
        Ok(unmeasured(output))
    }
}

fn unmeasured(output: &Output) -> Produced {
    let mut produced = Produced::single(output, Expect::default());
    produced.files.iter_mut().for_each(|file| file.expect.probe = false);
    produced
}

fn told<T>(act: &str, result: io::Result<T>) -> String {
    match result {
        Ok(_) => format!("broken: {act}"),
        Err(e) => format!("refused: {act}: {e}"),
    }
}

fn number(returned: impl Into<i64>) -> io::Result<i64> {
    match returned.into() {
        -1 => Err(io::Error::last_os_error()),
        n => Ok(n),
    }
}

fn attack(ctx: &Ctx, name: &str, argument: &str, output: &Output) -> Result<Vec<String>, Failure> {
    // SAFETY (all blocks below): the calls take plain numbers or pointers to values that outlive them, and none of
    // them is meant to succeed.
    Ok(match name {
        "read-canary" => vec![
            told("read it", fs::read(argument)),
            told("write it", fs::write(argument, "x")),
            told("append to it", fs::OpenOptions::new().append(true).open(argument)),
            told("remove it", fs::remove_file(argument)),
            told("list /etc", fs::read_dir("/etc")),
            told("link it here", fs::hard_link(argument, output.dir.join("link"))),
        ],
        "open-socket" => {
            let (domain, kind) = match argument {
                "tcp" => (libc::AF_INET, libc::SOCK_STREAM),
                "udp" => (libc::AF_INET6, libc::SOCK_DGRAM),
                "unix" => (libc::AF_UNIX, libc::SOCK_STREAM),
                _ => (libc::AF_NETLINK, libc::SOCK_RAW),
            };
            let mut pair = [0; 2];
            vec![
                told(argument, number(unsafe { libc::socket(domain, kind, 0) })),
                told("pair", number(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM, 0, pair.as_mut_ptr()) })),
            ]
        }
        "list-fds" => (0..4096).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } != -1).map(|fd| format!("open: {fd}")).collect(),
        "ptrace-parent" => vec![told("ptrace", number(unsafe { libc::ptrace(libc::PTRACE_ATTACH, libc::getppid(), 0, 0) }))],
        "exec" => {
            let (path, none) = (c"/bin/true".as_ptr(), [std::ptr::null()]);
            vec![told("exec", number(unsafe { libc::execv(path, none.as_ptr()) }))]
        }
        "unshare" => vec![told("unshare", number(unsafe { libc::unshare(libc::CLONE_NEWUSER) }))],
        "io-uring" => vec![told("io_uring", number(unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, 0) }))],
        "fork-bomb" => {
            let forks = (0..10_000).take_while(|_| match unsafe { libc::fork() } {
                0 => loop {
                    std::thread::sleep(Duration::from_secs(1));
                },
                pid => pid > 0,
            });
            let threads = (0..5_000)
                .map_while(|_| std::thread::Builder::new().stack_size(16 * 1024).spawn(|| std::thread::sleep(Duration::from_secs(600))).ok());
            vec![format!("forks: {}", forks.count()), format!("threads: {}", threads.count())]
        }
        "setsid-outlive" => match unsafe { libc::fork() } {
            -1 => vec![told::<()>("fork", Err(io::Error::last_os_error()))],
            0 => {
                unsafe { libc::setsid() };
                if unsafe { libc::fork() } == 0 {
                    unsafe { libc::setsid() };
                }
                loop {
                    let _ = fs::write(output.dir.join(format!("alive-{}", std::process::id())), "x");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            _ if argument == "stay" => busy(),
            _ => {
                std::thread::sleep(Duration::from_millis(200));
                vec!["left: a grandchild".into()]
            }
        },
        "fill-disk" => {
            let mut one = fs::File::create(output.dir.join("one")).map_err(Failure::internal)?;
            let chunk = vec![1u8; 1 << 20];
            let refused = (0..100_000).find_map(|_| one.write_all(&chunk).err());
            if argument == "one" {
                return Ok(vec![format!("refused: {refused:?}")]);
            }
            for n in 0..100_000 {
                let _ = fs::write(output.dir.join(format!("more-{n}")), &chunk);
            }
            vec!["broken: the disk took all".into()]
        }
        "allocate" => {
            let mut kept: Vec<Vec<u8>> = Vec::new();
            loop {
                kept.push(vec![1; 4 << 20]);
            }
        }
        "signal-parent" => {
            let outside: i32 = argument.parse().unwrap_or(1);
            vec![
                told("signal", number(unsafe { libc::kill(outside, 0) })),
                told("parent", number(unsafe { libc::kill(libc::getppid(), 0) })),
                told("everyone", number(unsafe { libc::kill(-1, 0) })),
            ]
        }
        "chmod-outside" => {
            use std::os::unix::fs::PermissionsExt;
            let _ = fs::set_permissions(argument, fs::Permissions::from_mode(0o777));
            let _ = fs::File::open("/usr/lib/os-release").and_then(|f| f.set_permissions(fs::Permissions::from_mode(0o777)));
            let file = std::ffi::CString::new(argument).unwrap_or_default();
            vec![told("chown", number(unsafe { libc::chown(file.as_ptr(), 1, 1) }))]
        }
        "symlink-escape" => vec![
            told("symlink", std::os::unix::fs::symlink("/etc/passwd", output.dir.join("link"))),
            told("fifo", number(unsafe { libc::mkfifo(c"out/0/fifo".as_ptr(), 0o600) })),
        ],
        "proc-read" => vec![
            told("environ", fs::read("/proc/self/environ")),
            told("other", fs::read(format!("/proc/{argument}/environ"))),
            told("list", fs::read_dir("/proc")),
        ],
        "own-handler" => {
            extern "C" fn nothing(_: i32) {}
            let taken = unsafe { libc::signal(libc::SIGSYS, nothing as *const () as usize) };
            vec![told("handler", if taken == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) })]
        }
        "outlive-zygote" => vec![told("prctl", number(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) }))],
        "crash" => {
            unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
            vec!["broken: wrote to nowhere".into()]
        }
        "abort" => std::process::abort(),
        "panic" => panic!("the attack panics"),
        "busy-loop" => busy(),
        "obedient" => loop {
            ctx.check()?;
            ctx.progress("wait", 1, 2, "steps");
            std::thread::sleep(Duration::from_millis(1));
        },
        "sleep-stopped" => {
            unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
            busy()
        }
        "report-flood" => {
            let body = br#"{"report":{"log":{"level":"info","message":"flood"}}}"#;
            let frame = [&(body.len() as u32).to_le_bytes()[..], body].concat();
            let mut socket = report_socket();
            for _ in 0..200_000 {
                socket.write_all(&frame).map_err(Failure::internal)?;
            }
            vec!["sent: 200000".into()]
        }
        "huge-report" => {
            let _ = report_socket().write_all(&[&u32::MAX.to_le_bytes()[..], &[b' '; 100_000]].concat());
            busy()
        }
        "forged-report" => {
            let _ = report_socket().write_all(&[&9u32.to_le_bytes()[..], b"not json!"].concat());
            busy()
        }
        other => vec![format!("unknown attack `{other}`")],
    })
}

fn busy() -> ! {
    loop {
        std::hint::black_box(0);
    }
}

/// The one socket a child has, found by trying.
fn report_socket() -> std::mem::ManuallyDrop<fs::File> {
    let is_socket = |fd: &i32| {
        let mut kind = unsafe { std::mem::zeroed::<libc::stat>() };
        unsafe { libc::fstat(*fd, &mut kind) == 0 && kind.st_mode & libc::S_IFMT == libc::S_IFSOCK }
    };
    let fd = (3..4096).find(is_socket).unwrap_or(-1);
    std::mem::ManuallyDrop::new(fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}
