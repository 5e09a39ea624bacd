//! Everything of the jail that the compiler cannot check. Nothing else below `sandbox/` is unsafe.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

/// Exit status of a child that died at its memory wall.
pub const EXIT_MEMORY: i32 = 97;
/// Exit status of a child that tried a forbidden system call.
pub const EXIT_FORBIDDEN: i32 = 98;
/// Exit status of a child whose jail could not be built.
pub const EXIT_SETUP: i32 = 99;

/// Which side of a fork this is.
pub enum Fork {
    Parent(i32),
    Child,
}

/// Forks the process. The caller has one thread, or knows its other threads hold no lock the child needs.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: a jail is a process of its own, so a fork is needed. The zygote has counted its threads, and glibc's fork leaves
    // the allocator usable in the child; only the calling thread lives on there.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Ends the process without running destructors or exit hooks: they belong to the parent this one was forked from.
pub fn exit(status: i32) -> ! {
    // SAFETY: `_exit` takes a plain number and does not return.
    unsafe { libc::_exit(status) }
}

/// Tells libraries where they may keep temporary files and settings.
pub fn set_home(folder: &std::path::Path) {
    set_environment(&[("HOME", folder), ("TMPDIR", folder)]);
}

/// Adds to this process's environment.
pub fn set_environment(variables: &[(&str, impl AsRef<std::ffi::OsStr>)]) {
    for (name, value) in variables {
        // SAFETY: a forked process has one thread, so nobody reads the environment meanwhile; C libraries look nowhere else.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Wipes the arguments and the environment this process was started with out of its memory: a broken child must not read
/// the service's secrets there. To be called in a fresh fork, before anything has made copies.
pub fn forget_start() -> io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // proc(5): arg_start, arg_end, env_start and env_end are the fields 48 to 51; the second, in brackets, may hold spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
    let bounds: Vec<usize> = fields.skip(45).take(4).filter_map(|field| field.parse().ok()).collect();
    let [arg_start, arg_end, env_start, env_end] = bounds.as_slice() else { return Err(io::Error::other("/proc/self/stat")) };
    for (start, end) in [(*arg_start, *arg_end), (*env_start, *env_end)] {
        // SAFETY: the kernel names the bounds of the strings that it laid on this process's stack, above every frame. They stay
        // mapped and writable; nobody else runs here, and texts that are empty now end where they ended before.
        unsafe { std::ptr::write_bytes(std::ptr::with_exposed_provenance_mut::<u8>(start), 0, end.saturating_sub(start)) };
    }
    // SAFETY: one thread, as above; the pointers to the wiped strings are dropped.
    if unsafe { libc::clearenv() } == 0 { Ok(()) } else { Err(io::Error::other("clearenv")) }
}

/// Closes every descriptor above the standard three but these.
pub fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd >= 3).collect();
    keep.sort_unstable();
    let mut from = 3;
    for fd in keep.into_iter().map(Some).chain([None]) {
        let to = fd.map_or(u32::MAX, |fd| fd.saturating_sub(1));
        if from <= to {
            // SAFETY: the forked child owns its descriptor table alone, and whatever Rust values stood for the closed
            // descriptors are never touched or dropped again, since the child ends by `exit`.
            if unsafe { libc::close_range(from, to, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        from = fd.unwrap_or(u32::MAX).saturating_add(1);
    }
    Ok(())
}

/// Leaves namespaces shared with the parent for new ones.
pub fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: rustix marks this unsafe for `FILES` only, which is never among the flags here.
    unsafe { rustix::thread::unshare_unsafe(flags).map_err(io::Error::from) }
}

/// What is known of a reaped child.
pub struct Reaped {
    pub status: i32,
    pub cpu_ms: u64,
    pub memory_peak_bytes: u64,
}

impl Reaped {
    pub fn exit_status(&self) -> Option<i32> {
        libc::WIFEXITED(self.status).then(|| libc::WEXITSTATUS(self.status))
    }

    pub fn signal(&self) -> Option<i32> {
        libc::WIFSIGNALED(self.status).then(|| libc::WTERMSIG(self.status))
    }
}

/// Reaps this child, waiting for its end; a `pid` of -1 means any child, and none is waited for.
pub fn reap(pid: i32) -> io::Result<Option<(i32, Reaped)>> {
    let mut status = 0;
    let flags = if pid == -1 { libc::WNOHANG } else { 0 };
    // SAFETY: `rusage` is plain numbers, for which zero is a valid value; it and `status` outlive the call.
    // wait4 is needed because waitid tells nothing about the time and memory used.
    let (done, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &mut status, flags | libc::__WALL, &mut usage), usage)
    };
    let ms = |t: libc::timeval| t.tv_sec.max(0) as u64 * 1000 + t.tv_usec.max(0) as u64 / 1000;
    match done {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some((
            pid,
            Reaped { status, cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime), memory_peak_bytes: usage.ru_maxrss.max(0) as u64 * 1024 },
        ))),
    }
}

/// What this process holds in memory of its own, from the second and third field of `/proc/self/statm` (in pages).
pub fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split_ascii_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared).saturating_mul(rustix::param::page_size() as u64)
}

/// Ignores this signal, here and in children forked from here.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is a valid disposition for every signal but SIGKILL and SIGSTOP, for which the call only fails.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

static ALLOCATION_FAILED: AtomicBool = AtomicBool::new(false);

/// The system's allocator, which remembers that it could not serve a request: the abort that follows is then known
/// as a lack of memory.
pub struct Watching;

// SAFETY: every call goes to `System` unchanged; a static flag is all that is added. A global allocator is the only
// stable way to learn about failed allocations.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises about `layout` are passed on.
        noted(unsafe { System.alloc(layout) })
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        noted(unsafe { System.alloc_zeroed(layout) })
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; `old` came from `System`, since nothing else allocates here.
        noted(unsafe { System.realloc(old, layout, size) })
    }
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}

#[inline]
fn noted(allocated: *mut u8) -> *mut u8 {
    if allocated.is_null() {
        ALLOCATION_FAILED.store(true, Ordering::Relaxed);
    }
    allocated
}

/// What the fatal-signal handlers of a child need; plain numbers, since handlers may take no locks.
static REPORTS: AtomicI32 = AtomicI32::new(-1);
static STATM: AtomicI32 = AtomicI32::new(-1);
static WALL_BYTES: AtomicU64 = AtomicU64::new(u64::MAX);
static NAMES: std::sync::OnceLock<Vec<(i64, &'static str)>> = std::sync::OnceLock::new();

/// Makes a child's fatal signals tell why: at the memory wall, by a forbidden call, or by its own fault.
/// The first process of a pid namespace would ignore its own abort without a handler.
pub fn explain_fatal_signals(names: Vec<(i64, &'static str)>) -> io::Result<()> {
    let _ = NAMES.set(names);
    let handlers: [(i32, extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void)); 6] = [
        (libc::SIGSYS, on_forbidden),
        (libc::SIGABRT, on_fatal),
        (libc::SIGSEGV, on_fatal),
        (libc::SIGBUS, on_fatal),
        (libc::SIGILL, on_fatal),
        (libc::SIGFPE, on_fatal),
    ];
    for (signal, handler) in handlers {
        // SAFETY: the struct is zeroed and filled as sigaction(2) wants it; the handlers have the SA_SIGINFO signature, only
        // read atomics and call async-signal-safe functions. SA_ONSTACK lets a stack overflow be told on Rust's alternate stack.
        let done = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigaction(signal, &action, std::ptr::null_mut())
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Where the handlers report, where they see the memory used, and what is the most.
pub fn explain_from(reports: RawFd, statm: RawFd, wall_bytes: u64) {
    REPORTS.store(reports, Ordering::Relaxed);
    STATM.store(statm, Ordering::Relaxed);
    WALL_BYTES.store(wall_bytes, Ordering::Relaxed);
}

extern "C" fn on_fatal(signal: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let wall = WALL_BYTES.load(Ordering::Relaxed);
    // A refused request of up to an eighth of the wall is taken for the cause.
    let near = data_bytes().is_some_and(|used| used >= wall - wall / 8);
    exit(if near || ALLOCATION_FAILED.load(Ordering::Relaxed) { EXIT_MEMORY } else { 128 + signal });
}

extern "C" fn on_forbidden(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands a SA_SIGINFO handler a valid siginfo_t; for SIGSYS the system call's number stands
    // 8 bytes after the header, behind the call's address (`_sigsys` in siginfo.h); libc names no accessor for it.
    let number = unsafe { info.cast::<u8>().add(24).cast::<i32>().read_unaligned() };
    let name = NAMES.get().and_then(|names| names.iter().find(|(n, _)| *n == i64::from(number))).map_or("unlisted", |(_, name)| name);
    let mut frame = [0u8; 128];
    let mut len = 4;
    for part in [b"{\"report\":{\"violation\":\"system call ".as_slice(), name.as_bytes(), b"\"}}"] {
        for byte in part {
            if let Some(slot) = frame.get_mut(len) {
                *slot = *byte;
                len += 1;
            }
        }
    }
    let body = (len - 4) as u32;
    for (slot, byte) in frame.iter_mut().zip(body.to_le_bytes()) {
        *slot = byte;
    }
    // SAFETY: the buffer lives on this stack and `len` is at most its length.
    unsafe { libc::write(REPORTS.load(Ordering::Relaxed), frame.as_ptr().cast(), len) };
    exit(EXIT_FORBIDDEN);
}

/// Data and stack of this process, from the sixth field of `/proc/self/statm` (in pages).
fn data_bytes() -> Option<u64> {
    let mut text = [0u8; 128];
    // SAFETY: the buffer lives on this stack and its true length is given; pread is async-signal-safe.
    let len = unsafe { libc::pread(STATM.load(Ordering::Relaxed), text.as_mut_ptr().cast(), text.len(), 0) };
    let text = text.get(..usize::try_from(len).ok()?)?;
    let field = text.split(|b| *b == b' ').nth(5)?;
    let pages = field.iter().take_while(|b| b.is_ascii_digit()).fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')));
    // SAFETY: sysconf takes a constant.
    Some(pages.saturating_mul(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(0) as u64))
}
