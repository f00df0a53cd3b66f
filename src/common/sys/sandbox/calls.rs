//! The system calls that a worker needs after its start, by architecture: names and reasons.
//! `seccomp.rs` makes a filter of them. The list has no call that starts anything; only a worker of
//! a tree may open files, and only one that dials may connect.

#![forbid(unsafe_code)]

use super::super::number;
use super::{Role, Work};

/// When a call is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// Always.
    Always,
    /// If the argument with this index is one of these.
    OneOf(u32, Vec<u32>),
    /// If the argument with this index has this bit.
    Has(u32, u32),
    /// If the argument with this index lacks this bit.
    Lacks(u32, u32),
    /// Never, and it fails with this error.
    Fails(u32),
}

/// A call, and when it is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Its number on this architecture.
    pub(super) number: u32,
    pub(super) test: Test,
}

/// The AUDIT_ARCH_* number of this architecture; `None` for an unknown one.
pub(super) const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86") {
    Some(0x4000_0003)
} else if cfg!(all(target_arch = "arm", target_endian = "little")) {
    Some(0x4000_0028)
} else if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(0xc000_003e)
} else if cfg!(all(target_arch = "aarch64", target_endian = "little", target_pointer_width = "64"))
{
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else if cfg!(target_arch = "s390x") {
    Some(0x8000_0016)
} else {
    None
};

/// The numbers of these calls of libc.
macro_rules! calls {
    ($($name:ident)*) => { [$(libc::$name),*] };
}

/// Which argument of clone(2) has the flags.
const CLONE_FLAGS: u32 = if cfg!(target_arch = "s390x") { 1 } else { 0 };

/// socketcall(2): one call for all socket calls. C libraries that support kernels before 4.3 use
/// it, as glibc in most distributions. Its arguments are in memory, which a filter cannot read,
/// so it lets through what [`sending`] refuses.
#[cfg(any(target_arch = "x86", target_arch = "s390x"))]
pub(super) const SOCKETCALL: Option<libc::c_long> = Some(libc::SYS_socketcall);
/// This architecture has none.
#[cfg(not(any(target_arch = "x86", target_arch = "s390x")))]
pub(super) const SOCKETCALL: Option<libc::c_long> = None;

/// prctl(2): the C library names a thread's memory with this (PR_SET_VMA, Linux 5.17).
const PR_SET_VMA: u32 = 0x5356_4d41;

/// 32-bit calls with 64-bit times, Linux 5.1: the same numbers on all architectures.
const TIME64: [libc::c_long; 7] = [
    403, // clock_gettime64
    406, // clock_getres_time64
    407, // clock_nanosleep_time64
    413, // pselect6_time64
    414, // ppoll_time64
    422, // futex_time64
    423, // sched_rr_get_interval_time64
];

/// The calls that a worker with this process id may make. `within` says that Landlock keeps it
/// within its folder. Frequent ones come first: the kernel runs a filter from its start.
pub(super) fn allowed(role: Role, process: u32, within: bool) -> Vec<Rule> {
    let always = |number: libc::c_long| Rule { number: number as u32, test: Test::Always };
    let mut rules = sending();
    match role.work {
        Work::Sender | Work::Receiver => {}
        Work::TreeSource => rules.extend(reading_names(within)),
        Work::TreeSink => rules.extend(changing_names().into_iter().map(always)),
    }
    rules.extend(moving().into_iter().map(always));
    rules.extend(of_architecture().into_iter().map(always));
    if cfg!(target_pointer_width = "32") {
        rules.extend(TIME64.map(always));
    }
    rules.extend(runtime().into_iter().map(always));
    rules.extend(with_conditions(role, process));
    if role.is_sink() {
        rules.extend(receiving().into_iter().map(always));
    }
    if role.dials() {
        rules.push(always(libc::SYS_connect));
        let families = [libc::AF_INET, libc::AF_INET6].map(libc::c_int::unsigned_abs);
        let test = Test::OneOf(0, families.to_vec());
        rules.push(Rule { number: libc::SYS_socket as u32, test });
    }
    rules
}

/// Sending to a connected peer. With this flag a send would connect first, even on a listener
/// that was shut down.
fn sending() -> Vec<Rule> {
    let fast_open = libc::MSG_FASTOPEN.unsigned_abs();
    let lacks = |number: libc::c_long, flags: u32| {
        let test = Test::Lacks(flags, fast_open);
        Rule { number: number as u32, test }
    };
    vec![
        lacks(libc::SYS_sendto, 3),
        lacks(libc::SYS_sendmsg, 2),
        #[cfg(target_arch = "arm")]
        lacks(libc::SYS_send, 3),
    ]
}

/// Reading, writing and waiting.
fn moving() -> Vec<libc::c_long> {
    calls![
        SYS_pread64 SYS_recvfrom SYS_read SYS_write SYS_fstat SYS_sendfile
        SYS_futex SYS_lseek SYS_readv SYS_writev SYS_pwrite64 SYS_preadv SYS_ppoll
        SYS_recvmsg SYS_accept4 SYS_shutdown SYS_close SYS_getsockopt
        SYS_getsockname SYS_getpeername SYS_pselect6
    ]
    .to_vec()
}

/// Opening files and folders to read them, and looking at names. openat2 has its flags in memory,
/// which a filter cannot read. So it is refused unless Landlock keeps the process from writing; the
/// lookup then goes step by step.
fn reading_names(within: bool) -> Vec<Rule> {
    let rule = |number: libc::c_long, test: Test| Rule { number: number as u32, test };
    let writing = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    let mut rules = vec![rule(libc::SYS_openat, Test::Lacks(2, writing.unsigned_abs()))];
    if within {
        rules.push(rule(number::OPENAT2, Test::Always));
    }
    let always = looking().into_iter().chain(file_system());
    rules.extend(always.map(|number| rule(number, Test::Always)));
    rules
}

/// Opening, making, renaming and removing names; owners, modes, times, locks and syncs.
fn changing_names() -> Vec<libc::c_long> {
    let mut calls = calls![
        SYS_openat SYS_mkdirat SYS_unlinkat SYS_renameat2 SYS_linkat SYS_symlinkat SYS_fchmod
        SYS_fchmodat SYS_fchown SYS_fchownat SYS_utimensat SYS_flock SYS_syncfs
        SYS_copy_file_range SYS_uname SYS_faccessat
    ]
    .to_vec();
    calls.extend([number::OPENAT2, number::FCHMODAT2]);
    calls.extend(looking());
    #[cfg(not(target_arch = "riscv64"))]
    calls.extend(calls![SYS_renameat]);
    #[cfg(target_pointer_width = "32")]
    calls.push(number::UTIMENSAT_TIME64);
    // The C library's chmod, for a folder that is open for lookups only; and its open.
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "arm",
        target_arch = "s390x"
    ))]
    calls.extend(calls![SYS_chmod SYS_open]);
    #[cfg(any(target_arch = "x86", target_arch = "arm"))]
    calls.extend(calls![SYS_fchown32]);
    calls
}

/// Looking at names, and listing folders.
fn looking() -> Vec<libc::c_long> {
    let mut calls = calls![SYS_statx SYS_getdents64 SYS_readlinkat].to_vec();
    #[cfg(any(target_arch = "x86", target_arch = "arm"))]
    calls.extend(calls![SYS_fstatat64]);
    #[cfg(target_pointer_width = "64")]
    calls.extend(calls![SYS_newfstatat]);
    calls
}

/// The kind of a file system.
fn file_system() -> Vec<libc::c_long> {
    #[cfg(any(target_arch = "x86", target_arch = "arm"))]
    return calls![SYS_fstatfs SYS_fstatfs64].to_vec();
    #[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
    return calls![SYS_fstatfs].to_vec();
}

/// Changing a file that is open.
fn receiving() -> Vec<libc::c_long> {
    let mut calls = calls![
        SYS_fallocate SYS_fdatasync SYS_fsync SYS_ftruncate SYS_pwritev
    ]
    .to_vec();
    calls.extend(file_system());
    #[cfg(target_arch = "arm")]
    calls.extend(calls![SYS_ftruncate64 SYS_arm_sync_file_range]);
    #[cfg(target_arch = "x86")]
    calls.extend(calls![SYS_ftruncate64 SYS_sync_file_range]);
    #[cfg(not(any(target_arch = "arm", target_arch = "x86")))]
    calls.extend(calls![SYS_sync_file_range]);
    calls
}

/// The calls of the C library and of Rust's for threads, memory, clocks and signals.
fn runtime() -> Vec<libc::c_long> {
    calls![
        SYS_munmap SYS_mremap SYS_madvise SYS_brk SYS_exit SYS_exit_group SYS_rt_sigreturn
        SYS_rt_sigaction SYS_rt_sigprocmask SYS_sigaltstack SYS_set_robust_list SYS_rseq
        SYS_restart_syscall SYS_sched_yield SYS_sched_getaffinity SYS_sched_getparam
        SYS_sched_getscheduler SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep
        SYS_nanosleep SYS_gettimeofday SYS_getrandom SYS_getpid SYS_gettid SYS_getppid SYS_getuid
        SYS_geteuid SYS_getgid SYS_getegid SYS_dup SYS_dup3 SYS_sysinfo SYS_membarrier
    ]
    .to_vec()
}

/// Older names, and those of 32-bit systems.
fn of_architecture() -> Vec<libc::c_long> {
    #[cfg(target_arch = "x86_64")]
    return calls![SYS_accept SYS_poll SYS_dup2 SYS_time SYS_fadvise64 SYS_arch_prctl].to_vec();
    #[cfg(target_arch = "x86")]
    return calls![
        SYS__llseek SYS_fstat64 SYS_sendfile64 SYS_poll SYS_dup2 SYS_time SYS_sigreturn
        SYS_fadvise64 SYS_fadvise64_64 SYS_getuid32 SYS_geteuid32 SYS_getgid32 SYS_getegid32
    ]
    .to_vec();
    #[cfg(target_arch = "arm")]
    return calls![
        SYS__llseek SYS_fstat64 SYS_sendfile64 SYS_accept SYS_poll SYS_dup2 SYS_sigreturn
        SYS_recv SYS_arm_fadvise64_64 SYS_getuid32 SYS_geteuid32 SYS_getgid32
        SYS_getegid32
    ]
    .to_vec();
    #[cfg(target_arch = "s390x")]
    return calls![SYS_poll SYS_dup2 SYS_sigreturn SYS_fadvise64 SYS_mmap].to_vec();
    #[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
    return calls![SYS_accept SYS_fadvise64].to_vec();
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "arm",
        target_arch = "s390x",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )))]
    return Vec::new();
}

/// Calls that are allowed with certain arguments only.
fn with_conditions(role: Role, process: u32) -> Vec<Rule> {
    let rule = |number: libc::c_long, test: Test| Rule { number: number as u32, test };
    let one_of = |argument: u32, values: &[libc::c_int]| {
        Test::OneOf(argument, values.iter().map(|value| value.unsigned_abs()).collect())
    };
    #[allow(clippy::unnecessary_cast)] // of different types on different systems
    let controls = [libc::FIONBIO, libc::FIONREAD as _, libc::TCGETS as _, libc::TIOCOUTQ as _];
    #[allow(clippy::unnecessary_cast)]
    let controls = controls.map(|number| number as u32).to_vec();
    let file_controls = [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
    ];
    let executable = libc::PROT_EXEC.unsigned_abs();
    let empty_path = libc::AT_EMPTY_PATH.unsigned_abs();
    let mut rules = vec![
        // Threads only, no processes. clone3 is refused: its flags are in memory, which a filter
        // cannot read. The C library then falls back to clone.
        rule(libc::SYS_clone, Test::Has(CLONE_FLAGS, libc::CLONE_THREAD.unsigned_abs())),
        rule(number::CLONE3, Test::Fails(libc::ENOSYS.unsigned_abs())),
        // No executable memory.
        rule(libc::SYS_mprotect, Test::Lacks(2, executable)),
        rule(libc::SYS_setsockopt, one_of(1, &[libc::SOL_SOCKET, libc::IPPROTO_TCP])),
        rule(libc::SYS_ioctl, Test::OneOf(1, controls)),
        rule(libc::SYS_fcntl, one_of(1, &file_controls)),
        rule(
            libc::SYS_prctl,
            Test::OneOf(0, vec![libc::PR_SET_NAME as u32, libc::PR_GET_NAME as u32, PR_SET_VMA]),
        ),
        // Signals to itself: abort and raise.
        rule(libc::SYS_tgkill, Test::OneOf(0, vec![process])),
    ];
    #[cfg(not(any(target_arch = "x86", target_arch = "arm", target_arch = "s390x")))]
    rules.push(rule(libc::SYS_mmap, Test::Lacks(2, executable)));
    #[cfg(any(target_arch = "x86", target_arch = "arm"))]
    rules.extend([
        rule(libc::SYS_mmap2, Test::Lacks(2, executable)),
        rule(libc::SYS_fcntl64, one_of(1, &file_controls)),
    ]);
    if matches!(role.work, Work::Sender | Work::Receiver) {
        // For a descriptor. The name is in memory, so a worker can still learn whether a file
        // exists. Landlock does not prevent that either.
        rules.push(rule(libc::SYS_statx, Test::Has(2, empty_path)));
        #[cfg(any(target_arch = "x86", target_arch = "arm"))]
        rules.push(rule(libc::SYS_fstatat64, Test::Has(3, empty_path)));
        #[cfg(target_pointer_width = "64")]
        rules.push(rule(libc::SYS_newfstatat, Test::Has(3, empty_path)));
    }
    if let Some(call) = SOCKETCALL {
        // All but bind, listen, socketpair, recvmmsg and sendmmsg; where peers come not socket and
        // connect either (linux/net.h). The other arguments are in memory, which a filter cannot
        // read: who dials can make any kind of socket, and others can connect by a flag of send.
        let mut calls = vec![5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];
        if role.dials() {
            calls.extend([1, 3]);
        }
        rules.push(rule(call, Test::OneOf(0, calls)));
    }
    rules
}
