//! Taking rights away from this very process, for good: what a worker that talks to
//! strangers does before its first thread. Every step is for systems that have it, and
//! a [`Report`] says what came of each; the caller decides what to make of that.

mod calls;
mod landlock;
mod seccomp;

use super::check;
use std::fmt;
use std::io;

/// What came of one step.
#[derive(Debug)]
pub enum Outcome {
    /// It is in force from now on.
    Applied,
    /// This kernel, or this kind of processor here, has no such thing.
    NotSupported,
    /// It is there and said no.
    Failed(io::Error),
}

impl Outcome {
    fn of(result: io::Result<()>) -> Outcome {
        match result {
            Ok(()) => Outcome::Applied,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL) => Outcome::NotSupported,
                _ => Outcome::Failed(error),
            },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Applied => f.write_str("applied"),
            Outcome::NotSupported => f.write_str("not supported"),
            Outcome::Failed(error) => write!(f, "failed ({error})"),
        }
    }
}

/// What came of all steps, in their order; shown as one line for a log.
#[derive(Debug)]
pub struct Report {
    steps: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// The steps by name.
    pub fn steps(&self) -> &[(&'static str, Outcome)] {
        &self.steps
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, outcome)) in self.steps.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}: {outcome}")?;
        }
        Ok(())
    }
}

/// Leaves this process what a sender needs: the descriptors that it has, at most
/// `descriptors` of them at once, and the network connections that come to it. No
/// file can be opened any more, no program started, no socket made.
pub fn confine_sender(descriptors: u64) -> Report {
    confine(Role::Sender, descriptors)
}

/// Leaves this process what a receiver needs: what a sender has, and to change the files
/// that it has open, and to connect over TCP. No file can be opened any more, so nothing
/// is written but what it was handed.
pub fn confine_receiver(descriptors: u64) -> Report {
    confine(Role::Receiver, descriptors)
}

/// Which of the two kinds of worker a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Sender,
    Receiver,
}

fn confine(role: Role, descriptors: u64) -> Report {
    let alone = has_one_thread(); // the question is put to the file system
    let steps = vec![
        ("no core dumps", Outcome::of(limit_core_dumps())),
        ("descriptors", Outcome::of(limit_descriptors(descriptors))),
        ("no new privileges", Outcome::of(no_new_privileges())),
        ("no file system (Landlock)", Outcome::of(landlock::deny_files(role).and(alone))),
        ("system calls (seccomp)", Outcome::of(seccomp::restrict(role))),
    ];
    Report { steps }
}

/// Demands that no other thread is there, which Landlock would leave as it was. Where there
/// is no /proc nobody can tell.
fn has_one_thread() -> io::Result<()> {
    match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(threads @ 2..) => Err(io::Error::other(format!("{threads} threads are there already"))),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// No program that this process starts gets more rights than it has (prctl(2),
/// PR_SET_NO_NEW_PRIVS); without this the other steps are for root alone.
pub fn no_new_privileges() -> io::Result<()> {
    let (one, zero): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: PR_SET_NO_NEW_PRIVS takes numbers only and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) })?;
    Ok(())
}

/// Keeps this process's memory, with the passwords and tokens in it, out of core
/// files, also those that the system pipes to a program, and out of reach of other
/// processes of the same user.
pub fn limit_core_dumps() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is readable and lives through the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) })?;
    let zero: libc::c_ulong = 0;
    // SAFETY: PR_SET_DUMPABLE takes numbers only and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, zero, zero, zero, zero) })?;
    Ok(())
}

/// Has at most `count` descriptors from now on, or as many as were allowed before if
/// those are fewer. Those that are open stay open.
pub fn limit_descriptors(count: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and lives through the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    let count = libc::rlim_t::try_from(count).unwrap_or(libc::rlim_t::MAX);
    limit.rlim_max = limit.rlim_max.min(count);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is readable and lives through the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(())
}

#[cfg(test)]
mod tests;
