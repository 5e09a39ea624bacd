//! What a hostile converter can do: nothing. Run with `--features testing`.

use millrace::convert::Zygote;
use millrace::failure::Code;
use millrace::format::Format;
use millrace::limits::{Limits, Size};
use millrace::sandbox::{Child, End, Exit, ForkServer, InputOrder, Launcher, Order, OutputOrder, Report, Wear, Work, Zygotes, output_folder};
use std::path::Path;
use std::time::{Duration, Instant};

/// A launcher, a folder and limits for one test.
struct Jail {
    zygotes: Zygotes,
    folder: tempfile::TempDir,
    limits: Limits,
}

/// All a child said, and how it ended.
struct Outcome {
    reports: Vec<Report>,
    exit: Exit,
    text: String,
}

impl Jail {
    fn new() -> Jail {
        Jail::without("")
    }

    /// With some walls taken down, to see what stands behind them.
    fn without(walls: &str) -> Jail {
        let zygotes = Zygotes::new(ForkServer::executed(env!("CARGO_BIN_EXE_millrace"), &[("MILLRACE_TEST_JAIL", walls)]), Wear::default()).unwrap();
        Jail { zygotes, folder: tempfile::tempdir().unwrap(), limits: Limits { memory_max: Size::mib(256), ..Limits::default() } }
    }

    fn order(&self, attack: &str) -> Order {
        let staging = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let name = if attack == "noop" { "input.txt" } else { "input.attack" };
        let path = self.folder.path().join(format!("{}-{name}", staging.file_name().unwrap().to_string_lossy()));
        std::fs::write(&path, attack).unwrap();
        let converter = if attack == "noop" { "archive.noop" } else { "archive.hostile" };
        let output = OutputOrder {
            index: 0,
            converter: converter.into(),
            options: serde_json::Value::Null,
            to: Format::parse("noop").unwrap(),
            name: "out.noop".into(),
        };
        Order {
            zygote: Zygote::Archive,
            work: Work::Convert(vec![output]),
            input: InputOrder { format: Format::from_file_name(name).unwrap(), name: name.into(), size_bytes: attack.len() as u64, path },
            staging,
            limits: self.limits.clone(),
            threads: 1,
        }
    }

    async fn launch(&self, attack: &str) -> (Child, Order) {
        let order = self.order(attack);
        (self.zygotes.launch(order.clone()).await.unwrap(), order)
    }

    async fn run(&self, attack: &str) -> Outcome {
        let (child, order) = self.launch(attack).await;
        finish(child, &order).await
    }
}

/// Looks again and again until it is so.
async fn until(wanted: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !wanted() {
        assert!(Instant::now() < deadline, "it comes to that in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The first report of this kind.
async fn heard(child: &mut Child, kind: impl Fn(&Report) -> bool) {
    let heard = async { while !kind(&child.reports.recv().await.expect("the child lives")) {} };
    tokio::time::timeout(Duration::from_secs(20), heard).await.expect("it is heard in time");
}

async fn finish(mut child: Child, order: &Order) -> Outcome {
    let mut reports = Vec::new();
    let all = async {
        while let Some(report) = child.reports.recv().await {
            // Each conversion begins with a look at its input, which is not what these tests look at.
            if !matches!(report, Report::Probed(_)) {
                reports.push(report);
            }
        }
        (&mut child.exit).await.unwrap()
    };
    let exit = tokio::time::timeout(Duration::from_secs(60), all).await.expect("the child ends");
    let text = std::fs::read_to_string(output_folder(&order.staging, 0).join("out.noop")).unwrap_or_default();
    Outcome { reports, exit, text }
}

impl Outcome {
    fn refused(&self, facts: usize) {
        assert_eq!(self.exit.end, End::Clean, "{:?}", self.reports);
        let lines: Vec<&str> = self.text.lines().collect();
        assert_eq!(lines.len(), facts, "{}", self.text);
        assert!(lines.iter().all(|line| line.starts_with("refused")), "{}", self.text);
    }

    fn forbidden(&self, call: &str) {
        assert_eq!(self.exit.end, End::Forbidden, "{:?}", self.reports);
        assert!(matches!(&self.reports[..], [Report::Violation(what)] if what == &format!("system call {call}")), "{:?}", self.reports);
        assert_eq!(self.text, "");
    }

    fn number(&self, name: &str) -> u64 {
        let line = self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {:?} {:?}", self.text, self.reports)).parse().unwrap()
    }
}

/// Living processes that work in this folder.
fn alive_below(folder: &Path) -> Vec<u32> {
    let needle = folder.to_string_lossy().into_owned();
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_string_lossy().parse().ok());
    pids.filter(|pid: &u32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.to_string_lossy().starts_with(&needle))).collect()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_foreign_file_is_out_of_reach() {
    let jail = Jail::new();
    let canary = jail.folder.path().join("canary");
    std::fs::write(&canary, "secret").unwrap();
    jail.run(&format!("read-canary {}", canary.display())).await.refused(6);
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "secret");
}

#[tokio::test]
async fn no_socket_of_any_family_opens() {
    let jail = Jail::new();
    for family in ["tcp", "udp", "unix", "netlink"] {
        jail.run(&format!("open-socket {family}")).await.refused(2);
    }
}

#[tokio::test]
async fn only_its_own_descriptors_are_open() {
    let outcome = Jail::new().run("list-fds").await;
    // Standard input, output and error on /dev/null, the report socket twice, its own memory figures.
    assert!(outcome.text.lines().count() <= 6, "{}", outcome.text);
}

#[tokio::test]
async fn forbidden_calls_end_the_child_and_are_named() {
    let jail = Jail::new();
    for (attack, call) in [("ptrace-parent", "ptrace"), ("exec", "execve"), ("unshare", "unshare"), ("io-uring", "io_uring_setup")] {
        jail.run(attack).await.forbidden(call);
    }
}

#[tokio::test]
async fn threads_are_bounded_and_processes_refused() {
    let outcome = Jail::new().run("fork-bomb").await;
    assert_eq!(outcome.number("forks"), 0);
    assert!(outcome.number("threads") < 5000, "{}", outcome.text);
}

#[tokio::test]
async fn the_disk_is_bounded_by_file_and_in_all() {
    let mut jail = Jail::new();
    jail.limits.output_max = Size::mib(32);
    let (child, order) = jail.launch("fill-disk one").await;
    let outcome = finish(child, &order).await;
    assert!(outcome.reports.iter().any(|r| matches!(r, Report::Output { result: Ok(_), .. } | Report::Output { result: Err(_), .. })));
    assert_eq!(std::fs::metadata(output_folder(&order.staging, 0).join("one")).unwrap().len(), 32 << 20);
    let outcome = jail.run("fill-disk all").await;
    assert_eq!(outcome.exit.end, End::OutputLimit);
}

#[tokio::test]
async fn memory_ends_at_the_wall_and_the_cause_is_told() {
    let outcome = Jail::new().run("allocate").await;
    assert_eq!(outcome.exit.end, End::OutOfMemory);
    let peak = outcome.exit.memory_peak_bytes >> 20;
    assert!((128..300).contains(&peak), "{peak} MiB");
}

#[tokio::test]
async fn nobody_else_can_be_signalled_or_read() {
    let jail = Jail::new();
    let own = std::process::id();
    jail.run(&format!("signal-parent {own}")).await.refused(3);
    jail.run(&format!("proc-read {own}")).await.refused(3);
    jail.run("outlive-zygote").await.refused(1);
    jail.run("own-handler").await.refused(1);
}

#[tokio::test]
async fn modes_owners_and_links_stay_as_they_are() {
    use std::os::unix::fs::PermissionsExt;
    let jail = Jail::new();
    let canary = jail.folder.path().join("canary");
    std::fs::write(&canary, "x").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    let (before, system) = (mode(&canary), mode(Path::new("/usr/lib/os-release")));
    jail.run(&format!("chmod-outside {}", canary.display())).await.refused(1);
    assert_eq!((mode(&canary), mode(Path::new("/usr/lib/os-release"))), (before, system));
    let (child, order) = jail.launch("symlink-escape").await;
    finish(child, &order).await.refused(2);
    assert!(std::fs::symlink_metadata(output_folder(&order.staging, 0).join("link")).is_err());
}

#[tokio::test]
async fn its_own_faults_are_told_apart() {
    let jail = Jail::new();
    assert_eq!(jail.run("crash").await.exit.end, End::Signal(11));
    assert_eq!(jail.run("abort").await.exit.end, End::Signal(6));
    let panicked = jail.run("panic").await;
    assert_eq!(panicked.exit.end, End::Clean);
    assert!(
        matches!(&panicked.reports[..], [Report::Output { result: Err(f), .. }] if f.code == Code::Crashed && f.detail.as_deref().unwrap().contains("the attack panics")),
        "{:?}",
        panicked.reports
    );
}

#[tokio::test]
async fn stop_reaches_the_obedient_and_kill_the_rest() {
    let jail = Jail::new();
    let (mut child, order) = jail.launch("obedient").await;
    // It tells its progress a thousand times a second; a tenth of a second is between two that are passed on.
    heard(&mut child, |r| matches!(r, Report::Progress { .. })).await;
    let first = Instant::now();
    for _ in 0..3 {
        heard(&mut child, |r| matches!(r, Report::Progress { .. })).await;
    }
    assert!(first.elapsed() > Duration::from_millis(200), "{:?}", first.elapsed());
    assert!(child.control.usage().is_some_and(|used| used.memory_bytes > 0));
    child.control.stop();
    let asked = Instant::now();
    let outcome = finish(child, &order).await;
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    assert_eq!(outcome.exit.end, End::Clean);
    assert!(matches!(outcome.reports.last(), Some(Report::Output { result: Err(f), .. }) if f.code == Code::Cancelled));

    for (attack, stopped) in [("busy-loop", false), ("sleep-stopped", false), ("busy-loop", true)] {
        let (mut child, order) = jail.launch(attack).await;
        heard(&mut child, |r| matches!(r, Report::Probed(_))).await;
        if stopped {
            let pid = alive_below(&order.staging)[0];
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), rustix::process::Signal::STOP).unwrap();
        }
        child.control.stop();
        child.control.kill();
        let killed = Instant::now();
        let outcome = finish(child, &order).await;
        assert!(killed.elapsed() < Duration::from_secs(1), "{attack}: {:?}", killed.elapsed());
        assert_eq!(outcome.exit.end, End::Signal(9));
        assert_eq!(alive_below(&order.staging), Vec::<u32>::new());
    }
}

#[tokio::test]
async fn grandchildren_in_sessions_of_their_own_die_too() {
    for walls in ["fork", "fork,shared-pids"] {
        let jail = Jail::without(walls);
        let (child, order) = jail.launch("setsid-outlive stay").await;
        // A child and two that left its session.
        until(|| alive_below(&order.staging).len() == 3).await;
        child.control.kill();
        let killed = Instant::now();
        let outcome = finish(child, &order).await;
        assert!(killed.elapsed() < Duration::from_secs(1));
        assert_eq!(outcome.exit.end, End::Signal(9));
        assert_eq!(alive_below(&order.staging), Vec::<u32>::new(), "{walls}");
        // One that ends by itself leaves nobody behind either.
        let (child, order) = jail.launch("setsid-outlive").await;
        assert_eq!(finish(child, &order).await.exit.end, End::Clean);
        assert_eq!(alive_below(&order.staging), Vec::<u32>::new(), "{walls}");
    }
    Jail::new().run("setsid-outlive").await.refused(1);
}

#[tokio::test]
async fn dropping_a_child_kills_it() {
    let jail = Jail::new();
    let (child, order) = jail.launch("busy-loop").await;
    until(|| alive_below(&order.staging).len() == 1).await;
    drop(child);
    until(|| alive_below(&order.staging).is_empty()).await;
}

#[tokio::test]
async fn a_killed_zygote_takes_its_children_and_is_replaced() {
    let jail = Jail::new();
    let (child, order) = jail.launch("busy-loop").await;
    let folder = jail.folder.path().to_owned();
    until(|| !alive_below(&folder).is_empty()).await;
    let victim = alive_below(&folder)[0];
    kill(parent_of(victim));
    let outcome = finish(child, &order).await;
    assert_eq!(outcome.exit.end, End::ZygoteLost);
    assert_eq!(alive_below(&folder), Vec::<u32>::new());
    assert!(!Path::new(&format!("/proc/{victim}")).exists(), "a zombie is left");
    assert_eq!(jail.run("noop").await.exit.end, End::Clean);
}

#[tokio::test]
async fn forged_and_endless_reports_are_cut_off() {
    let jail = Jail::new();
    for attack in ["huge-report", "forged-report"] {
        let outcome = jail.run(attack).await;
        assert_eq!(outcome.exit.end, End::Forbidden, "{attack}");
        assert!(matches!(&outcome.reports[..], [Report::Violation(_)]), "{attack}: {:?}", outcome.reports);
    }
    // A flood nobody reads stops its sender only; others go on meanwhile.
    let (mut flood, order) = jail.launch("report-flood").await;
    heard(&mut flood, |r| matches!(r, Report::Log { .. })).await;
    assert_eq!(jail.run("noop").await.exit.end, End::Clean);
    let outcome = finish(flood, &order).await;
    let logs = outcome.reports.iter().filter(|r| matches!(r, Report::Log { .. })).count();
    assert_eq!((logs, outcome.reports.len()), (199_999, 200_000), "{:?} {:?}", outcome.exit, outcome.reports.last());
    // An end is told even if nobody reads the reports.
    let (mut flood, _) = jail.launch("report-flood").await;
    heard(&mut flood, |r| matches!(r, Report::Log { .. })).await;
    flood.control.kill();
    let exit = tokio::time::timeout(Duration::from_secs(1), &mut flood.exit).await.unwrap().unwrap();
    assert_eq!(exit.end, End::Signal(9));
}

#[tokio::test]
async fn long_results_arrive_whole_and_endless_ones_do_not() {
    let mut jail = Jail::new();
    let outcome = jail.run("many-files 20000").await;
    assert!(matches!(&outcome.reports[..], [Report::Output { result: Ok(p), .. }] if p.files.len() == 20_001), "{}", outcome.reports.len());
    jail.limits.entries_max = 100;
    assert_eq!(jail.run("many-files 20000").await.exit.end, End::Forbidden);
}

#[tokio::test]
async fn hundreds_of_launches_leave_nothing() {
    let jail = Jail::new();
    assert_eq!(jail.run("noop").await.text, "ok");
    let zygote = alive_zygote(&jail).await;
    let fds = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let before = fds(zygote);
    for _ in 0..100 {
        let order = jail.order("noop");
        let mut child = jail.zygotes.launch(order.clone()).await.unwrap();
        let exit = (&mut child.exit).await.unwrap();
        assert_eq!(exit.end, End::Clean);
        assert!(exit.sandbox_level >= 3, "level {}", exit.sandbox_level);
    }
    // The one that was forked ahead is let go; no zombie stays.
    until(|| children(zygote).is_empty()).await;
    assert!(fds(zygote) <= before, "the zygote's descriptors grow");
}

#[tokio::test]
async fn where_launches_come_close_together_the_next_child_is_forked_ahead() {
    let jail = Jail::new();
    let zygote = alive_zygote(&jail).await;
    until(|| children(zygote).is_empty()).await;
    let ahead = async || {
        for _ in 0..2 {
            assert_eq!(jail.run("noop").await.exit.end, End::Clean);
        }
        until(|| children(zygote).len() == 1).await;
        children(zygote)[0]
    };
    // It is the one that gets the next order, in the whole jail.
    let waiting = ahead().await;
    let (child, order) = jail.launch("busy-loop").await;
    until(|| !alive_below(&order.staging).is_empty()).await;
    assert_eq!(alive_below(&order.staging), vec![waiting]);
    child.control.kill();
    assert_eq!(finish(child, &order).await.exit.end, End::Signal(9));
    ahead().await;
    jail.run("open-socket inet").await.refused(2);
    // One that was killed while it waited is nobody's.
    kill(ahead().await);
    until(|| children(zygote).is_empty()).await;
    assert_eq!(jail.run("noop").await.exit.end, End::Clean);
    // One that nobody wants does not stay.
    ahead().await;
    until(|| children(zygote).is_empty()).await;
}

/// The living children of a zygote, and those that nobody has reaped.
fn children(zygote: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{zygote}/task/{zygote}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// The zygote of this jail: the parent of one of its children.
async fn alive_zygote(jail: &Jail) -> u32 {
    let (child, order) = jail.launch("busy-loop").await;
    until(|| !alive_below(&order.staging).is_empty()).await;
    let victim = alive_below(&order.staging)[0];
    let zygote = parent_of(victim);
    child.control.kill();
    finish(child, &order).await;
    zygote
}

fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_jail_is_measured_by_trying() {
    let jail = Jail::new();
    let measured = jail.zygotes.measured(Zygote::Archive).await.unwrap();
    assert_eq!(millrace::sandbox::probe::measure(), measured);
    assert!(measured.level >= 3, "{measured:?}");
    for wall in ["landlock", "seccomp", "rlimits"] {
        assert!(measured.facets.iter().any(|f| f.name == wall && f.holds), "{measured:?}");
    }
}
