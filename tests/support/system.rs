//! System calls that std does not offer: the only unsafe code of these tests.

use crate::support::harness::LIMIT;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

/// Takes root's power over permissions away from the program. Does nothing for other users, who
/// have no such power.
pub(crate) fn without_privileges(command: &mut Command) {
    const SECBIT_NOROOT: libc::c_ulong = 1;
    // SAFETY: geteuid has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    // SAFETY: between fork and exec this makes one system call and touches no memory.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_SECUREBITS, SECBIT_NOROOT) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
}

/// Lets every program that a test starts have the default action of each signal. The tests may have
/// been started with ignored signals, by nohup(1) or the `&` of a script, and programs inherit these.
/// They inherit no handler, so each ignored signal gets a handler that does nothing.
///
/// A `pre_exec` could do that too, but std forks for it. To copy the page tables of all tests took a
/// third of their processor time.
pub(crate) fn pass_on_no_ignored_signal() {
    extern "C" fn nothing(_: libc::c_int) {}
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in 1..32 {
            // SAFETY: both structs live through the calls, and the handler touches nothing. A signal
            // that cannot be asked about or set stays as it is.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let asked = libc::sigaction(signal, std::ptr::null(), &raw mut action);
                if asked == 0 && action.sa_sigaction == libc::SIG_IGN {
                    action.sa_sigaction = nothing as *const () as libc::sighandler_t;
                    action.sa_flags = libc::SA_RESTART;
                    libc::sigaction(signal, &raw const action, std::ptr::null_mut());
                }
            }
        }
    });
}

/// The kinds of machine that this machine can run, as seccomp(2) numbers them. With each, the first
/// system call that Linux 3.10 does not have.
const NEWER_CALLS: [(u32, u32); 5] = [
    (0xc000_003e, 314), // x86-64
    (0x4000_0003, 351), // x86
    (0xc000_00b7, 274), // 64-bit ARM
    (0x4000_0028, 380), // 32-bit ARM
    (0x8000_0016, 345), // s390x
];

/// 32-bit x86, as seccomp(2) calls it.
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

/// The private calls of 32-bit ARM, which are older than Linux 3.10, begin here.
const ARM_PRIVATE: u32 = 0xf_0000;

/// Makes the program and its children believe that the kernel is Linux 3.10: each newer system call
/// fails with ENOSYS.
pub(crate) fn on_an_old_kernel(command: &mut Command) {
    let at_least = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    let mut filter = Vec::new();
    for (machine, first) in NEWER_CALLS {
        filter.extend([
            load(4),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, machine, 0, 5),
            load(0),
            step(at_least, ARM_PRIVATE, 2, 0),
            step(at_least, first, 0, 1),
            answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
            answer(libc::SECCOMP_RET_ALLOW),
        ]);
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    filtered(command, filter);
}

/// A call that waits for the disk.
#[derive(Clone, Copy)]
pub(crate) enum Sync {
    /// fdatasync(2).
    Data,
    /// fsync(2).
    All,
}

/// Makes every such call of the program and of its children fail, as if the disk had lost written
/// data.
pub(crate) fn on_a_failing_disk(command: &mut Command, sync: Sync) {
    // On x86-64 the programs may be built for 32-bit x86, whose calls have other numbers.
    let (own, x86) = match sync {
        Sync::Data => (libc::SYS_fdatasync as u32, 148),
        Sync::All => (libc::SYS_fsync as u32, 118),
    };
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let filter = [
        load(4),
        step(is, AUDIT_ARCH_I386, 0, 2),
        load(0),
        step(is, x86, 2, 3),
        load(0),
        step(is, own, 0, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::EIO as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    filtered(command, filter.into());
}

fn step(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Loads the word at `k` of seccomp's data: 0 is the call's number, 4 the kind of machine.
fn load(k: u32) -> libc::sock_filter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, k, 0, 0)
}

fn answer(k: u32) -> libc::sock_filter {
    step(libc::BPF_RET | libc::BPF_K, k, 0, 0)
}

/// Puts the program and its children under a seccomp filter.
fn filtered(command: &mut Command, filter: Vec<libc::sock_filter>) {
    let set = move || {
        let (one, zero): (libc::c_ulong, libc::c_ulong) = (1, 0);
        let code = libc::sock_fprog {
            len: filter.len() as libc::c_ushort,
            filter: filter.as_ptr().cast_mut(),
        };
        let mode = libc::SECCOMP_MODE_FILTER as libc::c_ulong;
        // SAFETY: the first takes numbers only; the second reads `code`, which is alive and
        // says how long `filter` is.
        let failed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const code, zero, zero) != 0
        };
        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec this makes two system calls and takes no memory.
    unsafe { command.pre_exec(set) };
}

/// Sends a signal to one process that this test knows to exist.
pub(crate) fn signal(pid: u32, signal: i32) {
    // SAFETY: kill takes two numbers and touches no memory.
    let done = unsafe { libc::kill(pid as libc::pid_t, signal) };
    assert_eq!(done, 0, "kill {pid}: {}", std::io::Error::last_os_error());
}

/// A port that the system gives to nobody else while this lives. Connections to it are refused
/// until a program that gets its number listens there.
pub(crate) struct Reserved {
    pub(crate) address: SocketAddr,
    _socket: OwnedFd,
}

/// Reserves a port of `address`; 0 means any. `None` if another process has it.
pub(crate) fn reserve(address: Ipv4Addr, port: u16) -> Option<Reserved> {
    let socket = socket();
    let (fd, yes): (_, libc::c_int) = (socket.as_raw_fd(), 1);
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `yes` is readable for `size` bytes and lives through the call.
    let set = unsafe {
        let level = libc::SOL_SOCKET;
        libc::setsockopt(fd, level, libc::SO_REUSEADDR, (&raw const yes).cast(), size)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    let taken = bind(&socket, SocketAddrV4::new(address, port));
    // A listener only to ask for the address: it does not listen.
    let bound = TcpListener::from(socket);
    let address = bound.local_addr().unwrap();
    taken.then(|| Reserved { address, _socket: bound.into() })
}

/// Ends a listener so that a test can listen at its port again. Dropping it is not enough: a
/// program that another test is starting holds a copy of the port until its exec.
pub(crate) fn stop_listening(listener: TcpListener) {
    assert!(shut_down(&listener), "{}", std::io::Error::last_os_error());
}

/// The same for a listener that may have ended. Wakes the threads that accept there.
pub(crate) fn shut_down(listener: &TcpListener) -> bool {
    // SAFETY: takes numbers only and touches no memory; the descriptor is open.
    unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RD) == 0 }
}

/// A new socket, close-on-exec.
fn socket() -> OwnedFd {
    // SAFETY: takes numbers only; the descriptor is a new one, which nothing else owns.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0, "{}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(socket)
    }
}

/// An address as the system takes it, and its length.
fn raw(address: SocketAddrV4) -> (libc::sockaddr_in, libc::socklen_t) {
    let raw = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    };
    (raw, size_of::<libc::sockaddr_in>() as libc::socklen_t)
}

fn bind(socket: &OwnedFd, address: SocketAddrV4) -> bool {
    let (address, length) = raw(address);
    // SAFETY: the address lives through the call and has this length.
    unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) == 0 }
}

/// Connects from an address of the test's choice, which std leaves to the system.
pub(crate) fn connect_from(from: Ipv4Addr, to: SocketAddrV4) -> TcpStream {
    let socket = socket();
    assert!(bind(&socket, SocketAddrV4::new(from, 0)), "{}", std::io::Error::last_os_error());
    let (to, length) = raw(to);
    // SAFETY: the address lives through the call and has this length.
    let done = unsafe { libc::connect(socket.as_raw_fd(), (&raw const to).cast(), length) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Fills the queue of a listener that never accepts, so that the next connection waits in vain. The
/// caller has to keep the connections.
pub(crate) fn fill_backlog(listener: &TcpListener) -> Vec<TcpStream> {
    // SAFETY: listen takes two numbers and touches no memory; the descriptor is open.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok();
    std::iter::from_fn(connect).collect()
}

/// A terminal with a window of `columns` columns: the person's side, and the side for programs. The
/// programs of other tests, which start at the same time, inherit neither.
pub(crate) fn open_terminal(columns: u16) -> (File, OwnedFd) {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes a number only.
    let master = unsafe { libc::posix_openpt(flags) };
    assert!(master >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is a new one, which nothing else owns.
    let master = unsafe { File::from_raw_fd(master) };
    // SAFETY: both take numbers only; the descriptor is open.
    let slave = unsafe {
        assert_eq!(libc::unlockpt(master.as_raw_fd()), 0);
        libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags)
    };
    assert!(slave >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is a new one, which nothing else owns.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    resize(&master, columns);
    (master, slave)
}

/// Whether a terminal shows what is typed.
pub(crate) fn echoes(terminal: &File) -> bool {
    // SAFETY: all-zero is a valid termios, which tcgetattr writes and which lives through
    // the call.
    let settings = unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &raw mut settings), 0);
        settings
    };
    settings.c_lflag & libc::ECHO != 0
}

/// Changes the width of a terminal's window, in columns.
pub(crate) fn resize(terminal: &File, columns: u16) {
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the size is readable and lives through the call.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Makes the terminal that is the program's standard error its controlling terminal, as a login
/// does.
pub(crate) fn in_front_of(command: &mut Command) {
    // SAFETY: between fork and exec this makes two system calls and touches no memory.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() < 0 || libc::ioctl(2, libc::TIOCSCTTY, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        })
    };
}

/// Lets a process open at most so many descriptors from now on. It keeps those that it has, but
/// cannot poll more than `count` at once.
pub(crate) fn limit_descriptors(pid: u32, count: u64) {
    let hard = libc::RLIM_INFINITY;
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: hard };
    // SAFETY: both limits live through the calls.
    let done = unsafe {
        let pid = pid as libc::pid_t;
        let asked = libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut old);
        let new = libc::rlimit { rlim_cur: count as libc::rlim_t, rlim_max: old.rlim_max };
        asked | libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const new, std::ptr::null_mut())
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Sends a signal to one thread of a process.
pub(crate) fn signal_thread(pid: u32, thread: u32, signal: i32) {
    // SAFETY: tgkill takes three numbers and touches no memory.
    let done = unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, signal) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// The TCP_USER_TIMEOUT of each connection of another process, in milliseconds. `None` if the
/// kernel, or a rule of this machine, keeps descriptors from other processes.
pub(crate) fn user_timeouts(pid: u32) -> Option<Vec<i32>> {
    let none: libc::c_uint = 0;
    // SAFETY: takes numbers only; the descriptor is a new one, which nothing else owns.
    let process = unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, none) {
            ..0 => return None,
            descriptor => OwnedFd::from_raw_fd(descriptor as libc::c_int),
        }
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).ok()? {
        let number: libc::c_int = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let mut value: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: as above; `value` is writable for `length` bytes, and both live through
        // the call.
        let asked = unsafe {
            match libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, none) {
                ..0 => return None,
                descriptor => {
                    let own = OwnedFd::from_raw_fd(descriptor as libc::c_int);
                    libc::getsockopt(
                        own.as_raw_fd(),
                        libc::IPPROTO_TCP,
                        libc::TCP_USER_TIMEOUT,
                        (&raw mut value).cast(),
                        &raw mut length,
                    )
                }
            }
        };
        found.extend((asked == 0).then_some(value));
    }
    Some(found)
}

#[test]
fn a_reserved_port_stays_free_and_refuses_until_the_test_listens() {
    let scratch = crate::support::harness::Scratch::new("reserved");
    let reserved = reserve(scratch.address(), 0).unwrap();
    let address = reserved.address;
    let mut copies = Vec::new();
    for _ in 0..2 {
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let listener = TcpListener::bind(address).unwrap();
        TcpStream::connect(address).unwrap();
        copies.push(listener.try_clone().unwrap());
        stop_listening(listener);
    }
    let (own, other) = (socket(), SocketAddrV4::new(scratch.address(), address.port()));
    assert!(!bind(&own, other), "somebody else got it");
}
