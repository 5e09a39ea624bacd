//! `millrace doctor`: measures this host by doing. Which walls of the jail hold and what would make it stronger, which
//! families can start, how fast the disk confirms a write.

use super::table::{Table, span};
use super::{Exit, complain, environment, print, runtime};
use crate::config::Config;
use crate::convert::Zygote;
use crate::converters;
use crate::sandbox::probe::{self, Facet, Measured};
use crate::sandbox::{ForkServer, Wear, Zygotes};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration whose data folder and floor are looked at.
    #[arg(long)]
    config: Option<PathBuf>,
    #[arg(long)]
    data_dir: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

/// What a wall is for: its name, what was tried, what to do when it does not hold.
const WALLS: [(&str, &str, &str); 7] = [
    ("landlock", "read and write a foreign file", "use a kernel of 5.13 or later with `landlock` in its list of security modules (`lsm=` at boot)"),
    ("seccomp", "open a socket, start a process", "use a kernel with CONFIG_SECCOMP_FILTER; some container profiles forbid filters"),
    ("rlimits", "take more memory than allowed", "let the service lower its own limits"),
    (
        "network",
        "find a way out",
        "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or the container's seccomp and AppArmor profile)",
    ),
    ("pids", "see other processes", "allow user namespaces, as for the network"),
    ("users", "be somebody else within", "allow user namespaces, as for the network; as root none is wanted"),
    ("cgroup", "a memory limit for the whole tree", "delegate a cgroup: Delegate=yes in the service's systemd unit"),
];

/// Writes that are timed, and their size: a page, as the store's.
const WRITES: usize = 50;
const WRITE_BYTES: usize = 4096;
/// A store with a slower disk is held up by it, not by its work.
const SLOW_DISK: Duration = Duration::from_millis(10);

/// Whether a family's converters can start.
struct Opened {
    zygote: Zygote,
    families: Vec<&'static str>,
    result: Result<Duration, String>,
}

pub fn run(args: &Args, fork_server: ForkServer) -> Exit {
    // Before any thread exists: it forks.
    let measured = probe::measure();
    let config = match Config::load(args.config.as_deref(), &environment()) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return Exit::Usage;
        }
    };
    let disk = time_disk(args.data_dir.as_ref().unwrap_or(&config.data_dir));
    let opened = match runtime().map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(open_families(fork_server))) {
        Ok(opened) => opened,
        Err(error) => {
            complain(error);
            return Exit::Unavailable;
        }
    };
    let usable = measured.level >= config.sandbox.floor;
    print(&if args.json { in_json(&measured, &opened, &disk) } else { in_words(&measured, &opened, &disk, config.sandbox.floor) });
    if usable { Exit::Done } else { Exit::Failed }
}

fn in_json(measured: &Measured, opened: &[Opened], disk: &Result<Disk, String>) -> String {
    let families: Vec<_> = opened
        .iter()
        .flat_map(|o| {
            let (open, ms, reason) = (o.result.is_ok(), o.result.as_ref().ok().map(|d| d.as_millis() as u64), o.result.as_ref().err());
            o.families.iter().map(move |family| json!({"family": family, "zygote": o.zygote, "open": open, "warm_up_ms": ms, "reason": reason}))
        })
        .collect();
    let disk = match disk {
        Ok(disk) => {
            json!({"folder": disk.folder, "fdatasync_median_us": disk.median.as_micros() as u64, "fdatasync_slowest_us": disk.slowest.as_micros() as u64})
        }
        Err(reason) => json!({"reason": reason}),
    };
    format!("{}\n", json!({"sandbox_level": measured.level, "facets": measured.facets, "families": families, "disk": disk}))
}

fn in_words(measured: &Measured, opened: &[Opened], disk: &Result<Disk, String>, floor: u8) -> String {
    let mut text = format!("The jail reaches level {} of 4; the service starts from level {floor} on (sandbox.floor).\n\n", measured.level);
    let mut walls = Table::new(["WALL", "VERDICT", "TRIED", "SEEN"]);
    for facet in &measured.facets {
        let tried = wall(facet).map_or("", |(_, tried, _)| tried);
        walls.row([facet.name.clone(), if facet.holds { "holds" } else { "open" }.into(), tried.into(), facet.note.clone()]);
    }
    text += &walls.to_string();
    text += &next_level(measured);
    let mut families = Table::new(["FAMILY", "CONVERTERS", "WARM-UP"]);
    for o in opened {
        let (verdict, note) = match &o.result {
            Ok(took) => ("open", span(took.as_millis() as u64)),
            Err(reason) => ("closed", reason.clone()),
        };
        families.row([o.families.join(", "), verdict.into(), note]);
    }
    text += &format!("\n{families}");
    if opened.iter().any(|o| o.result.is_err()) {
        text += "scripts/setup installs what a closed family is missing.\n";
    }
    text + &match disk {
        Ok(disk) => {
            let slow = if disk.median > SLOW_DISK { ": slow, it bounds how many jobs a second the store can take" } else { "" };
            let (median, slowest) = (disk.median.as_secs_f64() * 1e3, disk.slowest.as_secs_f64() * 1e3);
            format!("\nA write to {} is durable after {median:.2} ms (median; slowest {slowest:.2} ms){slow}.\n", disk.folder.display())
        }
        Err(reason) => format!("\nThe data folder's disk could not be timed: {reason}\n"),
    }
}

fn wall(facet: &Facet) -> Option<&'static (&'static str, &'static str, &'static str)> {
    WALLS.iter().find(|(name, ..)| *name == facet.name)
}

/// What keeps the jail from its next level.
fn next_level(measured: &Measured) -> String {
    let wanted: &[&str] = match measured.level {
        4 => return "\nNothing is missing.\n".into(),
        3 => &["network", "pids", "cgroup"],
        2 => &["landlock"],
        1 => &["seccomp"],
        _ => &["rlimits", "jail"],
    };
    let missing = measured.facets.iter().filter(|f| !f.holds && wanted.contains(&f.name.as_str()));
    let mut text = format!("\nFor level {}:\n", measured.level + 1);
    for facet in missing {
        let advice = wall(facet).map_or(facet.note.as_str(), |(_, _, advice)| *advice);
        text += &format!("  {}: {advice}\n", facet.name);
    }
    text
}

async fn open_families(fork_server: ForkServer) -> Result<Vec<Opened>, String> {
    let zygotes = Zygotes::new(fork_server, Wear::default()).map_err(|e| e.to_string())?;
    let mut opened = Vec::new();
    for zygote in Zygote::ALL {
        let families = converters::families().filter(|f| f.zygote == zygote).map(|f| f.family.as_str()).collect();
        let started = Instant::now();
        let result = zygotes.measured(zygote).await.map(|_| started.elapsed()).map_err(|e| e.to_string());
        opened.push(Opened { zygote, families, result });
    }
    Ok(opened)
}

struct Disk {
    folder: PathBuf,
    median: Duration,
    slowest: Duration,
}

/// Times durable writes where the data folder is, or will be.
fn time_disk(data: &Path) -> Result<Disk, String> {
    let data = std::path::absolute(data).map_err(|e| e.to_string())?;
    let folder = data.ancestors().find(|f| f.is_dir()).unwrap_or(Path::new("/")).to_owned();
    let text = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut file = tempfile::tempfile_in(&folder).map_err(text)?;
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let started = Instant::now();
        file.write_all(&[7; WRITE_BYTES]).and_then(|()| file.sync_data()).map_err(text)?;
        times.push(started.elapsed());
    }
    times.sort();
    let at = |n: usize| times.get(n).copied().unwrap_or_default();
    Ok(Disk { median: at(WRITES / 2), slowest: at(WRITES - 1), folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_next_level_is_told() {
        let facet = |name: &str, holds| Facet { name: name.into(), holds, note: String::new() };
        let measured = Measured { level: 3, facets: vec![facet("network", true), facet("pids", true), facet("cgroup", false)] };
        let text = next_level(&measured);
        assert!(text.contains("level 4") && text.contains("Delegate=yes") && !text.contains("network"), "{text}");
        assert!(time_disk(Path::new("/tmp/no/such/folder")).is_ok_and(|d| d.folder == Path::new("/tmp")));
    }
}
