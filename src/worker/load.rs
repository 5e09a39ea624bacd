//! What the host has to spare, read from /proc (proc(5), and the kernel's accounting/psi.rst).

use std::fs::read_to_string;

/// The host's load at one moment; shares are 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Of the processors' time since the last reading.
    pub cpu_idle: f64,
    /// Of the last 10 s, in which something waited for a processor; 0 where the kernel does not tell.
    pub cpu_pressure: f64,
    /// Of the memory.
    pub memory_available: f64,
}

/// Reads the load, reading by reading.
#[derive(Default)]
pub struct Sensor {
    /// Idle and all processor time, in ticks, at the last reading.
    last: (u64, u64),
}

impl Sensor {
    /// What /proc does not tell counts as nothing to spare.
    pub fn read(&mut self) -> Load {
        let text = |path: &str| read_to_string(path).unwrap_or_default();
        let now = ticks(&text("/proc/stat")).unwrap_or(self.last);
        let (idle, all) = (now.0.saturating_sub(self.last.0), now.1.saturating_sub(self.last.1));
        self.last = now;
        Load {
            cpu_idle: idle as f64 / all.max(1) as f64,
            cpu_pressure: pressure(&text("/proc/pressure/cpu")).unwrap_or(0.0),
            memory_available: available(&text("/proc/meminfo")).unwrap_or(0.0),
        }
    }
}

/// Idle (with waiting for disks) and all ticks, from the first line of /proc/stat. The guests' are in user and nice already.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<u64> = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8).filter_map(|n| n.parse().ok()).collect();
    Some((fields.get(3)? + fields.get(4)?, fields.iter().sum()))
}

/// `some avg10=12.34 avg60=...`, in percent.
fn pressure(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_prefix("some avg10=")?.split(' ').next()?.parse().ok()?;
    Some(percent / 100.0)
}

fn available(meminfo: &str) -> Option<f64> {
    Some(kib(meminfo, "MemAvailable:")? / kib(meminfo, "MemTotal:")?.max(1.0))
}

/// A line of /proc/meminfo.
pub fn kib(meminfo: &str, name: &str) -> Option<f64> {
    meminfo.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_the_kernel_writes_it() {
        let stat = "cpu  100 5 50 800 40 1 4 0 7 0\ncpu0 50 2 25 400 20 0 2 0 3 0\n";
        assert_eq!(ticks(stat), Some((840, 1000)));
        assert_eq!(pressure("some avg10=12.50 avg60=3.00 avg300=1.00 total=12345\nfull avg10=0.00"), Some(0.125));
        assert_eq!(available("MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    250 kB\n"), Some(0.25));
        assert_eq!((ticks("nothing"), pressure(""), available("MemTotal: 5 kB")), (None, None, None));
    }

    #[test]
    fn this_host_tells_something() {
        let mut sensor = Sensor::default();
        let load = sensor.read();
        assert!((0.0..=1.0).contains(&load.cpu_idle) && load.memory_available > 0.0 && load.memory_available <= 1.0, "{load:?}");
        assert!((0.0..=1.0).contains(&sensor.read().cpu_idle));
    }
}
