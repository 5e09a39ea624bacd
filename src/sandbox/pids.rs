//! Bounds the number of threads of a child: without a cgroup nothing else does for root.

/// Threads of one child; the kernel takes nothing below 301.
const PIDS_MAX: u32 = 512;

/// Lowers the pid namespace's own `pid_max`, which exists since Linux 6.14; before that the number was the whole host's.
pub fn bound() {
    if namespaced() {
        let _ = std::fs::write("/proc/sys/kernel/pid_max", PIDS_MAX.to_string());
    }
}

/// Whether `pid_max` belongs to the pid namespace.
pub fn namespaced() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}
