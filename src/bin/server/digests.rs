//! The MD5 of whole files, made while they are sent: one hash for all who wait for the
//! same entity tag, few at a time, and the last ones remembered. Which hash may go on
//! and how far is `board`'s business; reading and hashing, `hasher`'s.

#![forbid(unsafe_code)]

mod board;
mod hasher;
mod remembered;
mod turns;

use board::{Board, Slot, Step};
use ropewalk::app::SMALL_STACK;
use ropewalk::sys::hangup::{self, Wake, Watch};
use ropewalk::sys::sync::{lock, wait, wait_for};
use ropewalk::transfer::identity::Identity;
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a client that sends no more, and so has most likely gone, still gets an
/// answer. It counts as gone at once; some only close their sending side.
const SILENT_WAIT: Duration = Duration::from_secs(10);

/// What hashing a file gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashed {
    /// The MD5 of what was read.
    pub(crate) md5: [u8; 16],
    /// How many bytes that was.
    pub(crate) length: u64,
    /// Whether the file was the same before and after.
    pub(crate) unchanged: bool,
    /// Whether its last change is so long ago that another one would show.
    settled: bool,
}

/// Why there is no digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoDigest {
    /// The client that asked for it went away.
    Gone,
    /// The server is being stopped.
    Stopping,
    /// Nobody had waited for it for too long.
    Abandoned,
    /// Too many files are being hashed.
    Busy,
    /// The system has no room for it now; its error number.
    NoRoom(Option<i32>),
    /// The file cannot be read, and will not be the next time either; the error number.
    Failed(Option<i32>),
}

impl From<io::Error> for NoDigest {
    fn from(error: io::Error) -> NoDigest {
        NoDigest::NoRoom(error.raw_os_error())
    }
}

/// How fast a waiter wants its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hurry {
    /// As its transfer goes on: the hash need not run far ahead of that.
    WithTransfer,
    /// Before anything can be sent.
    BeforeTransfer,
}

/// All digests that are known or being made.
pub(crate) struct Digests {
    board: Mutex<Board>,
    stirred: Condvar,
}

impl Digests {
    /// None yet; at most as many hashes at a time as there are cores.
    pub(crate) fn new() -> Arc<Digests> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Digests { board: Mutex::new(Board::new(cores)), stirred: Condvar::new() })
    }

    /// Waits for the digest of `file` for as long as `client` does. `identity` is what
    /// the file was when it was opened.
    pub(crate) fn digest(
        self: &Arc<Digests>,
        file: &File,
        identity: &Identity,
        client: &TcpStream,
        hurry: Hurry,
    ) -> Result<Hashed, NoDigest> {
        let tag = identity.etag();
        loop {
            if let Some(hashed) = lock(&self.board).recall(&tag) {
                return Ok(hashed);
            }
            match self.join(&tag, file, identity, hurry)?.wait(client) {
                // It was given up in the very moment in which this one came.
                Err(NoDigest::Abandoned) => {}
                other => return other,
            }
        }
    }

    /// The digest for `tag` if it is known already.
    pub(crate) fn known(&self, tag: &str) -> Option<[u8; 16]> {
        lock(&self.board).recall(tag).map(|hashed| hashed.md5)
    }

    /// Has hashes of `tag` keep close to a transfer that begins, until the answer is
    /// dropped.
    pub(crate) fn pace(self: &Arc<Digests>, tag: &str) -> Pace {
        lock(&self.board).begin_transfer(tag);
        Pace { owner: self.clone(), tag: tag.to_string() }
    }

    /// Ends all hashing.
    pub(crate) fn stop(&self) {
        lock(&self.board).stop();
        self.stirred.notify_all();
    }

    /// Becomes one of those who wait for a hash, and starts it for the first.
    fn join(
        self: &Arc<Digests>,
        tag: &str,
        file: &File,
        identity: &Identity,
        hurry: Hurry,
    ) -> Result<Waiter, NoDigest> {
        let (bell, ringer) = UnixStream::pair()?;
        let joined = lock(&self.board).join(tag, hurry, ringer)?;
        let waiter = Waiter {
            owner: self.clone(),
            tag: tag.to_string(),
            number: joined.number,
            slot: joined.slot,
            bell,
        };
        // A slower transfer is not waited for any more.
        self.stirred.notify_all();
        if joined.first {
            if let Err(error) = self.start(tag, file, *identity) {
                lock(&self.board).finish(tag, Err(error.into()));
            }
        }
        Ok(waiter)
    }

    fn start(self: &Arc<Digests>, tag: &str, file: &File, identity: Identity) -> io::Result<()> {
        let file = file.try_clone()?;
        let (owner, tag) = (self.clone(), tag.to_string());
        thread::Builder::new().name("hasher".into()).stack_size(SMALL_STACK).spawn(move || {
            let mut finish = Finish { owner, tag, outcome: None };
            let outcome = {
                let Finish { owner, tag, .. } = &finish;
                hasher::hash(&file, &identity, |offset| owner.next(tag, offset))
            };
            finish.outcome = Some(outcome);
        })?;
        Ok(())
    }

    /// Waits until the hash of `tag` may go on from `offset`; the answer says how far.
    fn next(&self, tag: &str, offset: u64) -> Result<u64, NoDigest> {
        let mut board = lock(&self.board);
        loop {
            let now = Instant::now();
            let step = board.step(tag, offset, now);
            if board.take_stir() {
                self.stirred.notify_all();
            }
            board = match step {
                Step::Go(end) => return Ok(end),
                Step::Stop(why) => return Err(why),
                Step::Wait(None) => wait(&self.stirred, board),
                Step::Wait(Some(until)) => {
                    wait_for(&self.stirred, board, until.saturating_duration_since(now))
                }
            }
        }
    }
}

/// Ends a hash with its outcome, also when its thread panics.
struct Finish {
    owner: Arc<Digests>,
    tag: String,
    outcome: Option<Result<Hashed, NoDigest>>,
}

impl Drop for Finish {
    fn drop(&mut self) {
        let outcome = self.outcome.take();
        let outcome = outcome.unwrap_or_else(|| Err(NoDigest::Failed(None)));
        lock(&self.owner.board).finish(&self.tag, outcome);
        self.owner.stirred.notify_all();
    }
}

/// One who waits for a hash.
struct Waiter {
    owner: Arc<Digests>,
    tag: String,
    number: u64,
    slot: Slot,
    /// At its end when the hash is.
    bell: UnixStream,
}

impl Waiter {
    fn wait(&self, client: &TcpStream) -> Result<Hashed, NoDigest> {
        let (bell, client) = (self.bell.as_fd(), client.as_fd());
        let mut wake = hangup::wait(bell, client, Watch::Silence, None)?;
        if wake == Wake::HungUp {
            self.leave();
            wake = hangup::wait(bell, client, Watch::End, Some(SILENT_WAIT))?;
        }
        match wake {
            // The outcome is there before the bell rings.
            Wake::Rung => self.slot.get().cloned().unwrap_or(Err(NoDigest::Stopping)),
            Wake::HungUp | Wake::Late => Err(NoDigest::Gone),
        }
    }

    /// The hash need not go on for this one.
    fn leave(&self) {
        lock(&self.owner.board).leave(&self.tag, self.number, Instant::now());
        self.owner.stirred.notify_all();
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
        lock(&self.owner.board).forget_bell(&self.tag, self.number);
    }
}

/// A transfer that is under way, as far as hashes are concerned.
pub(crate) struct Pace {
    owner: Arc<Digests>,
    tag: String,
}

impl Pace {
    /// The transfer has come to `offset`.
    pub(crate) fn reached(&self, offset: u64) {
        lock(&self.owner.board).reached(&self.tag, offset);
        self.owner.stirred.notify_all();
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        lock(&self.owner.board).end_transfer(&self.tag);
        self.owner.stirred.notify_all();
    }
}

#[cfg(test)]
mod tests;
