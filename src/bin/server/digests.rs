//! The MD5 of whole files. Clients that want the same state of a file share one hash, and
//! the last digests are remembered. `digests/schedule.rs` decides which hashes run;
//! `digests/hasher.rs` reads and hashes a file.

#![forbid(unsafe_code)]

mod hasher;
mod remembered;
mod schedule;

use ropewalk::sys::hangup::{self, Wake, Watch};
use ropewalk::sys::sync::{lock, wait, wait_for};
use ropewalk::sys::thread;
use ropewalk::transfer::source::identity::Identity;
use schedule::{Outcome, Schedule, Step};
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a client that has closed its sending side still gets an answer. It has most
/// likely gone, so its hash counts as abandoned at once; but some clients only close that
/// side.
const SILENT_WAIT: Duration = Duration::from_secs(10);

/// The result of hashing a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashed {
    /// The MD5 of the bytes that were read.
    pub(crate) md5: [u8; 16],
    /// How many bytes were read.
    pub(crate) length: u64,
    /// Whether the file was the same before and after.
    pub(crate) unchanged: bool,
    /// Whether the file's last change is so old that another change would show.
    settled: bool,
}

/// Why there is no digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoDigest {
    /// The client has gone.
    Gone,
    /// The server is stopping.
    Stopping,
    /// No client has waited for the hash for too long.
    Abandoned,
    /// The client does not want to wait any longer.
    NotYet,
    /// Too many files are being hashed.
    Busy,
    /// The system has no room for the hash now; its error number.
    NoRoom(Option<i32>),
    /// The file cannot be read, now or later; the system's error number.
    Failed(Option<i32>),
}

impl From<io::Error> for NoDigest {
    fn from(error: io::Error) -> NoDigest {
        NoDigest::NoRoom(error.raw_os_error())
    }
}

/// When a client needs its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hurry {
    /// At the end of its transfer, so the hash may follow that.
    WithTransfer,
    /// Before its transfer begins.
    BeforeTransfer,
}

/// All digests that are known or being made.
pub(crate) struct Digests {
    schedule: Mutex<Schedule>,
}

impl Digests {
    /// No digests yet; at most as many files are hashed at a time as there are cores.
    pub(crate) fn new() -> Arc<Digests> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Digests { schedule: Mutex::new(Schedule::new(cores)) })
    }

    /// Waits for the digest of `file` for as long as `client` does, and for `limit` at most.
    /// `identity` is that of the file when it was opened.
    ///
    /// # Errors
    /// Any [`NoDigest`] but `Abandoned`.
    pub(crate) fn digest(
        self: &Arc<Digests>,
        file: &File,
        identity: &Identity,
        client: &TcpStream,
        (hurry, limit): (Hurry, Option<Duration>),
    ) -> Result<Hashed, NoDigest> {
        let key = identity.key();
        let until = limit.map(|limit| Instant::now() + limit);
        loop {
            if let Some(hashed) = lock(&self.schedule).recall(&key) {
                return Ok(hashed);
            }
            match self.join(&key, file, identity, hurry)?.wait(client, until) {
                // The hash was given up just before this client joined it.
                Err(NoDigest::Abandoned) => {}
                other => return other,
            }
        }
    }

    /// The digest for the key of a file's identity, if it is known already.
    pub(crate) fn known(&self, key: &str) -> Option<[u8; 16]> {
        lock(&self.schedule).recall(key).map(|hashed| hashed.md5)
    }

    /// Makes hashes of the file with this key follow a transfer that begins. The transfer
    /// ends when the answer is dropped.
    pub(crate) fn follow(self: &Arc<Digests>, key: &str) -> Followed {
        lock(&self.schedule).begin_transfer(key);
        Followed { digests: self.clone(), key: key.to_string() }
    }

    /// Ends all hashing.
    pub(crate) fn stop(&self) {
        lock(&self.schedule).stop();
    }

    /// Joins the clients that wait for a hash, and starts the hash for the first of them.
    fn join(
        self: &Arc<Digests>,
        key: &str,
        file: &File,
        identity: &Identity,
        hurry: Hurry,
    ) -> Result<Waiting, NoDigest> {
        let (bell, ringer) = UnixStream::pair()?;
        let joined = lock(&self.schedule).join(key, hurry, ringer, Instant::now())?;
        let waiting = Waiting {
            digests: self.clone(),
            key: key.to_string(),
            number: joined.number,
            outcome: joined.outcome,
            bell,
        };
        if joined.first {
            if let Err(error) = self.start(key, file, *identity, joined.wake) {
                lock(&self.schedule).finish(key, Err(error.into()));
            }
        }
        Ok(waiting)
    }

    /// Starts the thread of a hash.
    fn start(
        self: &Arc<Digests>,
        key: &str,
        file: &File,
        identity: Identity,
        wake: Arc<Condvar>,
    ) -> io::Result<()> {
        let file = file.try_clone()?;
        let (digests, key) = (self.clone(), key.to_string());
        thread::spawn("hasher", move || {
            let mut finish = Finish { digests, key, outcome: None };
            let next = |offset| finish.digests.next(&finish.key, offset, &wake);
            let outcome = hasher::hash(&file, &identity, next);
            finish.outcome = Some(outcome);
        })?;
        Ok(())
    }

    /// Waits until the hash of `key` may go on from `offset`, and returns how far.
    fn next(&self, key: &str, offset: u64, wake: &Condvar) -> Result<u64, NoDigest> {
        let mut schedule = lock(&self.schedule);
        loop {
            let now = Instant::now();
            schedule = match schedule.step(key, offset, now) {
                Step::Go(end) => return Ok(end),
                Step::Stop(why) => return Err(why),
                Step::Wait(None) => wait(wake, schedule),
                Step::Wait(Some(until)) => {
                    wait_for(wake, schedule, until.saturating_duration_since(now))
                }
            }
        }
    }
}

/// Tells the schedule the outcome of a hash when its thread ends, also by a panic.
struct Finish {
    digests: Arc<Digests>,
    key: String,
    outcome: Option<Result<Hashed, NoDigest>>,
}

impl Drop for Finish {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or(Err(NoDigest::Failed(None)));
        lock(&self.digests.schedule).finish(&self.key, outcome);
    }
}

/// A client that waits for a hash.
struct Waiting {
    digests: Arc<Digests>,
    key: String,
    number: u64,
    outcome: Outcome,
    /// At its end once the outcome is there.
    bell: UnixStream,
}

impl Waiting {
    fn wait(&self, client: &TcpStream, until: Option<Instant>) -> Result<Hashed, NoDigest> {
        let (bell, client) = (self.bell.as_fd(), client.as_fd());
        let limit = until.map(|until| until.saturating_duration_since(Instant::now()));
        let mut wake = hangup::wait(bell, client, Watch::Silence, limit)?;
        if wake == Wake::Late {
            return Err(NoDigest::NotYet);
        }
        if wake == Wake::HungUp {
            lock(&self.digests.schedule).leave(&self.key, self.number, Instant::now());
            wake = hangup::wait(bell, client, Watch::End, Some(SILENT_WAIT))?;
        }
        match wake {
            // The outcome is set before the bell rings.
            Wake::Rung => self.outcome.get().cloned().unwrap_or(Err(NoDigest::Stopping)),
            Wake::HungUp | Wake::Late => Err(NoDigest::Gone),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.digests.schedule).remove(&self.key, self.number, Instant::now());
    }
}

/// A transfer under way, which hashes of its file follow.
pub(crate) struct Followed {
    digests: Arc<Digests>,
    key: String,
}

impl Followed {
    /// The transfer has reached `offset`.
    pub(crate) fn reached(&self, offset: u64) {
        lock(&self.digests.schedule).reached(&self.key, offset);
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        lock(&self.digests.schedule).end_transfer(&self.key);
    }
}

#[cfg(test)]
mod tests;
