//! Gives up rights of this process for good. A worker does so before its first thread and before
//! it talks to strangers. A system may lack any step; a [`Report`] has the outcome of each, and
//! the caller decides.

mod calls;
mod landlock;
mod seccomp;

use super::check;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

/// The outcome of one step.
#[derive(Debug)]
pub enum Outcome {
    /// It is in force from now on.
    Applied,
    /// This kernel lacks it, or ropewalk has no rules for this kind of processor.
    NotSupported,
    /// The system call failed.
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

/// The outcomes of all steps, in order. Its text is one line for a log.
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

/// Leaves this process the rights of a sender: its open descriptors, at most `descriptors` at
/// once, and connections with its peers. It can open no file and start no program. Where its peers
/// come, it can make no socket.
pub fn confine_sender(descriptors: u64, peers: Peers) -> Report {
    confine(Role { work: Work::Sender, peers }, descriptors, None)
}

/// Leaves this process the rights of a receiver: those of a sender, and to change its open files.
/// It can open no file, so it writes only to the files that it was given.
pub fn confine_receiver(descriptors: u64, peers: Peers) -> Report {
    confine(Role { work: Work::Receiver, peers }, descriptors, None)
}

/// Leaves this process the rights of a sender, and to read everything beneath `folder`. Without
/// Landlock it can read what its user can, and still change nothing.
pub fn confine_tree_source(descriptors: u64, folder: BorrowedFd<'_>, peers: Peers) -> Report {
    confine(Role { work: Work::TreeSource, peers }, descriptors, Some(folder))
}

/// Leaves this process the rights of a receiver, and to read and change everything beneath
/// `folder`. Without Landlock it can read and change what its user can.
pub fn confine_tree_sink(descriptors: u64, folder: BorrowedFd<'_>, peers: Peers) -> Report {
    confine(Role { work: Work::TreeSink, peers }, descriptors, Some(folder))
}

/// Leaves this process the rights to move bytes between its open descriptors, at most
/// `descriptors` at once. It can open, make and connect nothing.
pub fn confine_pump(descriptors: u64) -> Report {
    confine(Role { work: Work::Pump, peers: Peers::Come }, descriptors, None)
}

/// How a worker and its peers come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// The peers connect to the worker.
    Come,
    /// The worker connects to its peers, over TCP.
    AreDialled,
}

/// Which kind of worker a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Role {
    work: Work,
    peers: Peers,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Sends the file that it has open.
    Sender,
    /// Fills the files that it has open.
    Receiver,
    /// Sends what is beneath its folder.
    TreeSource,
    /// Fills its folder.
    TreeSink,
    /// Passes bytes on, and knows nothing of them.
    Pump,
}

impl Role {
    /// Whether it connects.
    fn dials(self) -> bool {
        self.peers == Peers::AreDialled
    }

    /// Whether it changes files.
    fn is_sink(self) -> bool {
        matches!(self.work, Work::Receiver | Work::TreeSink)
    }

    /// The name of the step that takes the file system away.
    fn files_step(self) -> &'static str {
        match self.work {
            Work::Sender | Work::Receiver | Work::Pump => "no file system (Landlock)",
            Work::TreeSource | Work::TreeSink => "no other folder (Landlock)",
        }
    }
}

fn confine(role: Role, descriptors: u64, folder: Option<BorrowedFd<'_>>) -> Report {
    let alone = has_one_thread(); // the question is put to the file system
    let no_dumps = Outcome::of(limit_core_dumps());
    let few = Outcome::of(limit_descriptors(descriptors));
    let no_new = Outcome::of(no_new_privileges());
    let files = Outcome::of(landlock::deny_files(role, folder).and(alone));
    let calls = seccomp::restrict(role, matches!(files, Outcome::Applied));
    let steps = vec![
        ("no core dumps", no_dumps),
        ("descriptors", few),
        ("no new privileges", no_new),
        (role.files_step(), files),
        ("system calls (seccomp)", Outcome::of(calls)),
    ];
    Report { steps }
}

/// Fails if this process has another thread, which Landlock would not confine. Passes without
/// /proc.
fn has_one_thread() -> io::Result<()> {
    match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(threads @ 2..) => Err(io::Error::other(format!("{threads} threads are there already"))),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// No program that this process starts gets more rights than it has (prctl(2),
/// PR_SET_NO_NEW_PRIVS). Without this, only root may take the other steps.
pub fn no_new_privileges() -> io::Result<()> {
    let (one, zero): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: PR_SET_NO_NEW_PRIVS takes numbers only and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) })?;
    Ok(())
}

/// Keeps this process's memory, with its passwords and tokens, out of core files, even those that
/// the system pipes to a program. Other processes of the same user cannot read it either.
pub fn limit_core_dumps() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is readable and lives through the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) })?;
    let zero: libc::c_ulong = 0;
    // SAFETY: PR_SET_DUMPABLE takes numbers only and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, zero, zero, zero, zero) })?;
    Ok(())
}

/// Limits this process to `count` descriptors from now on, or to its lower limit so far. Open
/// ones stay open.
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
