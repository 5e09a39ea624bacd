//! What a child may use and touch: resource limits, capabilities, Landlock.

use crate::limits::Limits;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::path::Path;

/// Read by every child beside its input and its family's own list.
const READABLE: &[&str] = &["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom"];
/// CPU seconds granted beyond the hard time limit, which is kept by the worker's clock.
const CPU_MARGIN_S: u64 = 10;
const FILES_OPEN_MAX: u64 = 1024;
/// Threads and processes of an unprivileged zygote's user namespace, all children together.
const PROCESSES_MAX: u64 = 4096;

/// The resource limits. Writing beyond `output_max` answers `EFBIG`, as SIGXFSZ is ignored.
pub fn limit_resources(limits: &Limits, threads: usize) -> Result<(), String> {
    let cpu_s = limits.hard_time_limit.as_millis().div_ceil(1000).saturating_mul(threads.max(1) as u64).saturating_add(CPU_MARGIN_S);
    super::sys::ignore(libc::SIGXFSZ);
    for (resource, value) in [
        (Resource::Data, limits.memory_max.0),
        (Resource::Cpu, cpu_s),
        (Resource::Nofile, FILES_OPEN_MAX),
        (Resource::Fsize, limits.output_max.0),
        (Resource::Core, 0),
        (Resource::Nproc, PROCESSES_MAX),
        (Resource::Msgqueue, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) }).map_err(|e| format!("rlimit {resource:?}: {e}"))?;
    }
    Ok(())
}

/// Gives every capability away.
pub fn drop_capabilities() -> Result<(), String> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).map_err(|e| format!("capabilities: {e}"))
}

/// The newest Landlock version this host's kernel and this code both know; 0 without Landlock.
pub fn landlock_version() -> i32 {
    // The crate hides the kernel's number; what is enforced of a rule set with the newest rights tells it.
    [ABI::V7, ABI::V6, ABI::V5, ABI::V4, ABI::V3, ABI::V2, ABI::V1]
        .into_iter()
        .find(|abi| ruleset(*abi, CompatLevel::HardRequirement).is_ok())
        .map_or(0, |abi| abi as i32)
}

/// A Landlock rule set in the making: what every child may read is in it, the two paths of an order are to come.
pub struct Paths(RulesetCreated);

impl Paths {
    /// Opens what every child reads, and these of its family.
    pub fn new(readable: &[&str]) -> Result<Paths, String> {
        let read = AccessFs::from_read(ABI::V7);
        let read_file = AccessFs::ReadFile | AccessFs::Execute;
        let mut rules = ruleset(ABI::V7, CompatLevel::BestEffort)?;
        for path in READABLE.iter().chain(readable).map(Path::new) {
            // A host without /lib64 is fine; a family's folder that is not there is simply not readable.
            if let Ok(kind) = std::fs::metadata(path) {
                add(&mut rules, path, if kind.is_dir() { read } else { read_file & read })?;
            }
        }
        add(&mut rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)?;
        Ok(Paths(rules))
    }

    /// Restricts this thread, and all it will start, to these paths, no TCP, and no signals or abstract sockets outward.
    pub fn restrict(self, input: &Path, staging: &Path) -> Result<(), String> {
        let Paths(mut rules) = self;
        // No links, sockets, pipes or devices: nothing in staging may be other than it seems to those who publish it.
        let write = AccessFs::from_all(ABI::V7)
            & !(AccessFs::Execute
                | AccessFs::MakeSym
                | AccessFs::MakeSock
                | AccessFs::MakeFifo
                | AccessFs::MakeBlock
                | AccessFs::MakeChar
                | AccessFs::IoctlDev);
        add(&mut rules, input, AccessFs::ReadFile.into())?;
        add(&mut rules, staging, write)?;
        let status = rules.restrict_self().map_err(|e| format!("landlock: {e}"))?;
        if status.no_new_privs { Ok(()) } else { Err("no_new_privs was refused".into()) }
    }
}

fn add(rules: &mut RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<(), String> {
    let fd = PathFd::new(path).map_err(|e| format!("landlock: {e}"))?;
    rules.add_rule(PathBeneath::new(fd, access)).map(|_| ()).map_err(|e| format!("landlock: {e}"))
}

fn ruleset(abi: ABI, level: CompatLevel) -> Result<RulesetCreated, String> {
    let build = || {
        let mut rules = Ruleset::default().set_compatibility(level).handle_access(AccessFs::from_all(abi))?;
        let net = AccessNet::from_all(abi);
        if !net.is_empty() {
            rules = rules.handle_access(net)?;
        }
        let scope = Scope::from_all(abi);
        if !scope.is_empty() {
            rules = rules.scope(scope)?;
        }
        rules.create()
    };
    build().map_err(|e: landlock::RulesetError| format!("landlock: {e}"))
}
