//! Processes, their groups, and signals.

use super::{check, retry};
use std::ffi::{CStr, OsStr};
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// A child process.
pub type Pid = libc::pid_t;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
}

/// Asks the kernel to send `signal` to this process when the thread that started it ends
/// (prctl(2), PR_SET_PDEATHSIG). The caller then checks [`parent`]: the parent may have died
/// before the call.
pub fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) })?;
    Ok(())
}

/// The parent's process id.
pub fn parent() -> Pid {
    // SAFETY: getppid has no arguments and cannot fail.
    unsafe { libc::getppid() }
}

/// Sends `signal` to every process of the group that `leader` leads. The leader must not be
/// reaped: another process may have its number later.
pub fn signal_group(leader: Pid, signal: i32) -> io::Result<()> {
    if leader <= 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: kill takes two numbers and touches no memory.
    check(unsafe { libc::kill(-leader, signal) })?;
    Ok(())
}

/// Sends `signal` to child `pid`, which must not be reaped.
pub fn signal_child(pid: Pid, signal: i32) -> io::Result<()> {
    if pid <= 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: kill takes two numbers and touches no memory.
    check(unsafe { libc::kill(pid, signal) })?;
    Ok(())
}

/// Has `command` get `signal` when the thread that starts it ends.
pub fn ends_with_parent(command: &mut Command, signal: i32) {
    // SAFETY: between fork and exec only prctl(2) is called, which may be called there.
    unsafe { command.pre_exec(move || set_parent_death_signal(signal)) };
}

/// Stops this process, as Ctrl-Z does; returns when it is continued.
pub fn stop_self() -> io::Result<()> {
    // SAFETY: raise takes a number and touches no memory.
    check(unsafe { libc::raise(libc::SIGSTOP) })?;
    Ok(())
}

/// Whether child `pid` has ended. Does not reap it, so no other process gets its number.
pub fn has_ended(pid: Pid) -> io::Result<bool> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    retry(|| {
        // SAFETY: all-zero is a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        // SAFETY: `info` is writable and lives through the call.
        check(unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, flags) })?;
        // SAFETY: waitid has filled in the child's fields or, finding no child that
        // has ended, left the number zero.
        Ok(unsafe { info.si_pid() } != 0)
    })
}

/// Waits for the end of child `pid` and reaps it.
pub fn reap(pid: Pid) -> io::Result<Ended> {
    retry(|| {
        let mut status = 0;
        // SAFETY: `status` is writable and lives through the call.
        check(unsafe { libc::waitpid(pid, &mut status, 0) })?;
        Ok(if libc::WIFSIGNALED(status) {
            Ended::Killed(libc::WTERMSIG(status))
        } else {
            Ended::Exited(libc::WEXITSTATUS(status))
        })
    })
}

/// Whether `signal` is ignored, as nohup(1) and a shell's `&` leave it.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: all-zero is a valid sigaction; a null second argument only asks.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Ignores `signal` from now on, also in programs that this process starts.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN installs no function, so nothing can run in a signal's context.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Restores the default action of `signal`.
pub fn restore(signal: i32) {
    // SAFETY: SIG_DFL installs no function, so nothing can run in a signal's context.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// The path that execve(2) was given for this program (getauxval(3), AT_EXECFN): relative to the
/// folder in which it was started. Empty if the kernel does not tell.
pub fn executed_as() -> PathBuf {
    // SAFETY: AT_EXECFN takes no memory from us.
    let path = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    if path.is_null() {
        return PathBuf::new();
    }
    // SAFETY: not null, so a string that the kernel has ended with a zero and put on the
    // first thread's stack, where it stays as long as the process.
    let path = unsafe { CStr::from_ptr(path) };
    PathBuf::from(OsStr::from_bytes(path.to_bytes()))
}

/// The effective user of this process.
pub fn effective_user() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// The umask that this process was started with. umask(2) can only be read by setting it: two
/// threads at once would leave the wrong one for good. So only the first call asks; no other thread
/// may create a file meanwhile.
pub fn creation_mask() -> u32 {
    static MASK: OnceLock<u32> = OnceLock::new();
    *MASK.get_or_init(|| {
        // SAFETY: umask takes a number, touches no memory and cannot fail.
        unsafe {
            let mask = libc::umask(0o077);
            libc::umask(mask);
            #[allow(clippy::useless_conversion)] // mode_t has 16 bits on some systems
            u32::from(mask)
        }
    })
}

/// The limit of open descriptors, which this call raises to the hard limit first.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and lives through the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is readable and lives through the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    #[allow(clippy::unnecessary_cast)] // 32 bits wide on some systems
    Ok(limit.rlim_cur as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_ask_for_the_umask_at_once_leave_it_as_it_is() {
        let before = creation_mask();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| assert_eq!(creation_mask(), before)));
            }
        });
    }

    #[test]
    fn a_child_that_exits_is_seen_and_then_reaped() {
        #[allow(clippy::zombie_processes)] // reaped by the function under test
        let child = Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = child.id() as Pid;
        assert_eq!(reap(pid).unwrap(), Ended::Exited(7));
        assert!(has_ended(pid).is_err());
    }

    #[test]
    fn a_running_child_has_not_ended() {
        let mut child = Command::new("/bin/cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        assert!(!has_ended(child.id() as Pid).unwrap());
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn the_path_of_exec_is_this_program() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(executed_as().canonicalize().unwrap(), own.canonicalize().unwrap());
    }

    #[test]
    fn process_groups_of_everybody_are_never_signalled() {
        assert!(signal_group(0, 0).is_err());
        assert!(signal_group(1, 0).is_err());
    }

    #[test]
    fn an_ignored_signal_is_seen_as_ignored() {
        assert!(!is_ignored(libc::SIGWINCH));
        ignore(libc::SIGWINCH);
        assert!(is_ignored(libc::SIGWINCH));
        restore(libc::SIGWINCH);
        assert!(!is_ignored(libc::SIGWINCH));
    }
}
