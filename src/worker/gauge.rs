//! How much memory and scratch space this machine, or the control group this process lives in, has left (proc(5), and the kernel's
//! admin-guide/cgroup-v2.rst).

use super::load::kib;
use super::room::{Amount, Gauge};
use crate::blobs::Staging;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Short attempts begin by the hundred a second; so long one reading serves them all.
const FRESH: Duration = Duration::from_millis(100);

pub struct Machine {
    staging: Staging,
    last: Mutex<Option<(Instant, Amount)>>,
}

impl Machine {
    pub fn new(staging: &Staging) -> Machine {
        Machine { staging: staging.clone(), last: Mutex::default() }
    }
}

impl Gauge for Machine {
    /// What nobody tells counts as endless.
    fn free(&self) -> Amount {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, amount)) = last.filter(|(at, _)| at.elapsed() < FRESH) {
            return amount;
        }
        let memory_bytes = memory_bytes(&|path| std::fs::read_to_string(path).ok());
        let amount = Amount { memory_bytes, scratch_bytes: self.staging.free_bytes().unwrap_or(u64::MAX) };
        *last = Some((Instant::now(), amount));
        amount
    }
}

fn memory_bytes(read: &dyn Fn(&Path) -> Option<String>) -> u64 {
    let host = read(Path::new("/proc/meminfo")).and_then(|text| kib(&text, "MemAvailable:")).map(|kib| kib as u64 * 1024);
    let own = read(Path::new("/proc/self/cgroup")).and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::/").map(str::to_owned)));
    let folder = Path::new("/sys/fs/cgroup").join(own.unwrap_or_default());
    let groups = folder.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup")).filter_map(|folder| left_in(folder, read));
    groups.chain(host).min().unwrap_or(u64::MAX)
}

/// What a group may take yet; none: it has no limit. Files that were read and not touched since are given back when memory is wanted.
fn left_in(group: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let number = |name: &str| read(&group.join(name))?.trim().parse::<u64>().ok();
    let (most, taken) = (number("memory.max")?, number("memory.current")?);
    let idle = read(&group.join("memory.stat"))?.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse::<u64>().ok());
    Some(most.saturating_sub(taken.saturating_sub(idle.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(files: &[(&str, &str)]) -> u64 {
        memory_bytes(&|path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn the_tightest_of_host_and_groups_counts() {
        let host = ("/proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:    1000 kB\n");
        assert_eq!((told(&[]), told(&[host])), (u64::MAX, 1_024_000));
        let group = [
            host,
            ("/proc/self/cgroup", "0::/a.slice/b.service\n"),
            ("/sys/fs/cgroup/a.slice/b.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/a.slice/b.service/memory.current", "5000\n"),
            ("/sys/fs/cgroup/a.slice/b.service/memory.stat", "anon 1\n"),
            ("/sys/fs/cgroup/a.slice/memory.max", "900000\n"),
            ("/sys/fs/cgroup/a.slice/memory.current", "500000\n"),
            ("/sys/fs/cgroup/a.slice/memory.stat", "anon 1\ninactive_file 100000\n"),
        ];
        assert_eq!(told(&group), 500_000);
        // Within a container of its own the group is the root.
        let root = [
            host,
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.max", "4096\n"),
            ("/sys/fs/cgroup/memory.current", "5000\n"),
            ("/sys/fs/cgroup/memory.stat", ""),
        ];
        assert_eq!(told(&root), 0);
    }

    #[test]
    fn this_host_tells_something() {
        let folder = tempfile::tempdir().unwrap();
        let free = Machine::new(&Staging::open(folder.path()).unwrap()).free();
        assert!((1 << 20..u64::MAX).contains(&free.memory_bytes) && (1..u64::MAX).contains(&free.scratch_bytes), "{free:?}");
    }
}
