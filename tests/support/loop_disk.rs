//! A small ext4 disk in a file, which can lose its power: what was not yet in its journal is gone.

use super::server::DEADLINE;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// `FS_IOC_SHUTDOWN`, by a program that may call it: `unsafe` is for the service's own few modules.
const SHUT_DOWN: &str = "import fcntl, os, sys\nfcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, int(sys.argv[2]).to_bytes(4, 'little'))";

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
    /// Makes and mounts one. An error is that this host or user may not; anything else panics.
    pub fn mount(mib: u64) -> Result<LoopDisk, String> {
        let disk = LoopDisk { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(disk.path()).unwrap();
        std::fs::File::create(disk.image()).unwrap().set_len(mib << 20).unwrap();
        let made = run(Command::new("/sbin/mkfs.ext4").arg("-q").arg(disk.image()));
        assert!(made.status.success(), "{}", complaint(&made));
        let mounted = disk.attach();
        if mounted.status.success() {
            return Ok(disk);
        }
        let why = complaint(&mounted);
        let is_forbidden = !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() || why.contains("ermi");
        assert!(is_forbidden, "{why}");
        Err(why)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// From now on nothing more gets onto the disk.
    pub fn lose_power(&self, journal: Journal) {
        let flag = match journal {
            Journal::Flushed => "1",
            Journal::Lost => "2",
        };
        let shut = run(Command::new("python3").args(["-c", SHUT_DOWN]).arg(self.path()).arg(flag));
        assert!(shut.status.success(), "{}", complaint(&shut));
    }

    /// The power is back: the disk is mounted anew, and what its journal has is played.
    pub fn restore_power(&self) {
        self.detach();
        let mounted = self.attach();
        assert!(mounted.status.success(), "{}", complaint(&mounted));
    }

    fn attach(&self) -> Output {
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(self.image()).arg(self.path()))
    }

    /// Who used it has been killed, and may need a moment to be gone.
    fn detach(&self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let done = run(Command::new("umount").arg(self.path()));
            if done.status.success() {
                return;
            }
            assert!(Instant::now() < deadline, "{}", complaint(&done));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // One that was never mounted is not.
        run(Command::new("umount").arg(self.path()));
    }
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
