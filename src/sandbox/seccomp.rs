//! Which system calls a child may make. What is on no list answers `ENOSYS`, as an old kernel would.

use super::bpf::{Rule, Test, Verdict, program};
use seccompiler::{BpfProgram, apply_filter};
use std::collections::BTreeMap;

macro_rules! calls {
    ($($name:ident)*) => { [$((libc::$name, stringify!($name))),*] };
}

/// Files, memory, threads, clocks: what converters and their libraries live on. Landlock says which files.
const ALLOWED: &[(i64, &str)] = &calls![
    SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2 SYS_close SYS_close_range
    SYS_openat SYS_openat2 SYS_fstat SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs SYS_lseek SYS_faccessat SYS_faccessat2 SYS_readlinkat
    SYS_getdents64 SYS_getcwd SYS_chdir SYS_fchdir SYS_mkdirat SYS_unlinkat SYS_renameat SYS_renameat2 SYS_linkat SYS_symlinkat
    SYS_ftruncate SYS_truncate SYS_fallocate SYS_fsync SYS_fdatasync SYS_sync_file_range SYS_fadvise64 SYS_readahead
    SYS_sendfile SYS_copy_file_range SYS_splice SYS_tee SYS_flock SYS_fcntl SYS_dup SYS_dup3 SYS_pipe2 SYS_umask SYS_memfd_create
    SYS_mmap SYS_mprotect SYS_munmap SYS_mremap SYS_madvise SYS_brk SYS_msync SYS_mincore SYS_membarrier
    SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending SYS_rt_sigtimedwait SYS_rt_sigsuspend SYS_sigaltstack SYS_restart_syscall
    SYS_exit SYS_exit_group SYS_futex SYS_set_robust_list SYS_get_robust_list SYS_rseq SYS_set_tid_address
    SYS_sched_yield SYS_sched_getaffinity SYS_sched_setaffinity SYS_sched_getparam SYS_sched_getscheduler SYS_sched_setscheduler
    SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_getpriority SYS_setpriority SYS_getcpu
    SYS_getpid SYS_getppid SYS_gettid SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getgroups SYS_getresuid SYS_getresgid SYS_getpgid
    SYS_getsid SYS_uname SYS_sysinfo SYS_prlimit64 SYS_getrlimit SYS_getrusage SYS_times SYS_getrandom
    SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_setitimer SYS_getitimer
    SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_delete
    SYS_ppoll SYS_pselect6 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_eventfd2 SYS_recvfrom SYS_sendto SYS_wait4 SYS_waitid
];

#[cfg(target_arch = "x86_64")]
const ALLOWED_LEGACY: &[(i64, &str)] = &calls![
    SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_poll SYS_select SYS_pipe SYS_dup2 SYS_mkdir SYS_rmdir SYS_unlink SYS_rename SYS_link
    SYS_symlink SYS_readlink SYS_getdents SYS_epoll_create SYS_epoll_wait SYS_eventfd SYS_time SYS_getpgrp SYS_arch_prctl SYS_alarm SYS_pause
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_LEGACY: &[(i64, &str)] = &[];

/// Answered with success and no effect: Landlock does not guard modes and times, and libraries set them on their own files.
const IGNORED: &[(i64, &str)] = &calls![SYS_fchmod SYS_fchmodat SYS_utimensat];
#[cfg(target_arch = "x86_64")]
const IGNORED_LEGACY: &[(i64, &str)] = &calls![SYS_chmod SYS_utime SYS_utimes SYS_futimesat];
#[cfg(not(target_arch = "x86_64"))]
const IGNORED_LEGACY: &[(i64, &str)] = &[];

/// Refused politely: well-meaning libraries try these and go on without.
const REFUSED: &[(i64, &str)] = &calls![SYS_socket SYS_socketpair SYS_shmget SYS_msgget SYS_semget SYS_fchown SYS_fchownat];
#[cfg(target_arch = "x86_64")]
const REFUSED_LEGACY: &[(i64, &str)] = &calls![SYS_fork SYS_vfork SYS_chown SYS_lchown];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_LEGACY: &[(i64, &str)] = &[];

/// No converter has a reason for these: the child dies of trying.
const DEADLY: &[(i64, &str)] = &calls![
    SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_process_madvise SYS_kcmp SYS_execve SYS_execveat SYS_mount SYS_umount2
    SYS_pivot_root SYS_chroot SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_move_mount SYS_open_tree SYS_mount_setattr SYS_unshare SYS_setns
    SYS_bpf SYS_perf_event_open SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register SYS_userfaultfd SYS_keyctl SYS_add_key
    SYS_request_key SYS_kexec_load SYS_kexec_file_load SYS_init_module SYS_finit_module SYS_delete_module SYS_reboot SYS_swapon SYS_swapoff
    SYS_acct SYS_quotactl SYS_settimeofday SYS_clock_settime SYS_adjtimex SYS_clock_adjtime SYS_sethostname SYS_setdomainname
    SYS_open_by_handle_at SYS_name_to_handle_at SYS_pidfd_getfd SYS_pidfd_open SYS_pidfd_send_signal SYS_syslog SYS_vhangup SYS_fanotify_init
    SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setgroups SYS_setfsuid SYS_setfsgid
];

/// Requests of `ioctl` on files and pipes, and names of threads: all that is wanted of two calls that can do everything.
const IOCTLS: &[u32] =
    &[libc::TCGETS as u32, libc::TIOCGWINSZ as u32, libc::FIONREAD as u32, libc::FIONBIO as u32, libc::FIOCLEX as u32, libc::FIONCLEX as u32];
const PRCTLS: &[i32] = &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_GET_DUMPABLE, libc::PR_SET_VMA];

/// What makes processes.
#[cfg(target_arch = "x86_64")]
const FORKS: &[(i64, &str)] = &calls![SYS_clone SYS_fork SYS_vfork SYS_setsid];
#[cfg(not(target_arch = "x86_64"))]
const FORKS: &[(i64, &str)] = &calls![SYS_clone SYS_setsid];

/// What is judged how, put together once in the zygote.
pub struct Filter(BTreeMap<u32, Rule>);

impl Filter {
    /// `fork_allowed` exists so that tests can see a tree of processes die.
    pub fn new(fork_allowed: bool) -> Filter {
        let lists = [
            (ALLOWED, Verdict::Allow),
            (ALLOWED_LEGACY, Verdict::Allow),
            (IGNORED, Verdict::Errno(0)),
            (IGNORED_LEGACY, Verdict::Errno(0)),
            (REFUSED, Verdict::Errno(libc::EACCES)),
            (REFUSED_LEGACY, Verdict::Errno(libc::EACCES)),
            (DEADLY, Verdict::Trap),
        ];
        let always = |verdict| move |call: &(i64, &str)| (call.0 as u32, Rule::Always(verdict));
        let mut rules: BTreeMap<u32, Rule> = lists.into_iter().flat_map(|(list, verdict)| list.iter().map(always(verdict))).collect();
        let (allow, unknown) = (Verdict::Allow, Verdict::Errno(libc::ENOSYS));
        let by = |index, test, passed, failed| Rule::Argument { index, test, passed, failed };
        let prctls = PRCTLS.iter().map(|request| request.cast_unsigned()).collect();
        rules.extend([
            (libc::SYS_ioctl as u32, by(1, Test::AnyOf(IOCTLS.to_vec()), allow, unknown)),
            (libc::SYS_prctl as u32, by(0, Test::AnyOf(prctls), allow, unknown)),
            // Its own handler tells of a forbidden call; the child may not take it away.
            (libc::SYS_rt_sigaction as u32, by(0, Test::AnyOf(vec![libc::SIGSYS.cast_unsigned()]), unknown, allow)),
            // Threads, but no processes.
            (libc::SYS_clone as u32, by(0, Test::AnyBit(libc::CLONE_THREAD.cast_unsigned()), allow, Verdict::Errno(libc::EACCES))),
        ]);
        if fork_allowed {
            rules.extend(FORKS.iter().map(always(allow)));
        }
        Filter(rules)
    }

    /// The program for this process: it may send signals to itself only.
    pub fn program(&self, own_pid: u32) -> Program {
        let signals = |call: i64| {
            let own = Test::AnyOf(vec![own_pid]);
            (call as u32, Rule::Argument { index: 0, test: own, passed: Verdict::Allow, failed: Verdict::Errno(libc::EPERM) })
        };
        let mut rules = self.0.clone();
        rules.extend([libc::SYS_kill, libc::SYS_tgkill].map(signals));
        Program(program(&rules, Verdict::Errno(libc::ENOSYS)))
    }
}

/// What the kernel runs at each system call of a child.
pub struct Program(BpfProgram);

impl Program {
    /// Installs the filter for good.
    pub fn install(&self) -> Result<(), String> {
        apply_filter(&self.0).map_err(|e| format!("seccomp: {e}"))
    }
}

/// The forbidden calls by number, for the report of a violation.
pub fn deadly_names() -> Vec<(i64, &'static str)> {
    DEADLY.iter().map(|(number, name)| (*number, name.strip_prefix("SYS_").unwrap_or(name))).collect()
}
