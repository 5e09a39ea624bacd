//! A small ext4 disk in a file, which can lose its power: what was not yet in its journal is gone.
//!
//! It is only ever mounted where nobody else sees it: the zygotes of other tests would else keep it in namespaces of their own.

use super::server::DEADLINE;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// `FS_IOC_SHUTDOWN`, by a program that may call it: `unsafe` is for the service's own few modules.
const SHUT_DOWN: &str = "import fcntl, os, sys\nfcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, int(sys.argv[2]).to_bytes(4, 'little'))";
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub struct LoopDisk {
    folder: tempfile::TempDir,
}

/// What becomes of the journal when the power goes.
#[derive(Debug, Clone, Copy)]
pub enum Journal {
    /// All of it reaches the disk still.
    Flushed,
    /// What is in memory is lost.
    Lost,
}

impl LoopDisk {
    /// An empty one. An error is that this user or host may not mount it; anything else panics.
    pub fn make(mib: u64) -> Result<LoopDisk, String> {
        let disk = LoopDisk { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(disk.mount_point()).unwrap();
        std::fs::File::create(disk.image()).unwrap().set_len(mib << 20).unwrap();
        let made = run(Command::new("/sbin/mkfs.ext4").arg("-q").arg(disk.image()));
        assert!(made.status.success(), "{}", complaint(&made));
        let tried = disk.with_mount("true", &[]);
        if tried.status.success() {
            return Ok(disk);
        }
        let why = complaint(&tried);
        let is_forbidden = !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() || why.contains("ermi");
        assert!(is_forbidden, "{why}");
        Err(why)
    }

    pub fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// From now on nothing more gets onto the disk, which is mounted here.
    pub fn lose_power(&self, mounted: &Path, journal: Journal) {
        let flag = match journal {
            Journal::Flushed => "1",
            Journal::Lost => "2",
        };
        let shut = run(Command::new("python3").args(["-c", SHUT_DOWN]).arg(mounted).arg(flag));
        assert!(shut.status.success(), "{}", complaint(&shut));
    }

    /// Copies what begins with `name` out of a disk that nobody uses any more; what its journal has is played first.
    pub fn copy_out(&self, name: &str, to: &Path) {
        let copied = self.with_mount("cp \"$2/$3\"* \"$4\"", &[name.as_ref(), to]);
        assert!(copied.status.success(), "{}", complaint(&copied));
    }

    /// Runs a line of shell with the disk mounted at `$2`, its arguments from `$3` on; it is let go afterwards.
    fn with_mount(&self, line: &str, arguments: &[&Path]) -> Output {
        self.let_go();
        let line = format!("mount -t ext4 -o loop \"$1\" \"$2\" && {line}");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &line, "sh"]).arg(self.image()).arg(self.mount_point()).args(arguments);
        let done = run(&mut command);
        self.let_go();
        done
    }

    /// Returns once the disk is mounted nowhere: a mount goes some time after the last process that saw it.
    pub fn let_go(&self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let used = run(Command::new("/sbin/losetup").arg("--associated").arg(self.image()));
            if used.stdout.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&used.stdout));
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
