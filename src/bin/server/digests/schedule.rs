//! The schedule of all hashes, under one lock: which clients wait for which hash, which
//! hashes run now, how far each may go, and when one is given up. It neither blocks nor
//! reads a file.
//!
//! At most as many hashes as cores run at a time: more would take the processor from the
//! senders, and make a disk seek between the files. They take turns, so that long files do
//! not keep a short one waiting.

#![forbid(unsafe_code)]

use super::remembered::Remembered;
use super::{Hashed, Hurry, NoDigest};
use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, OnceLock};
use std::time::{Duration, Instant};

/// The most hashes at a time, running and waiting ones together.
const MAX_HASHES: usize = 256;

/// How long a hash lives on after its last client has left. A client whose connection
/// was lost asks again in that time.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// How far a hash may be ahead of the transfers of its file, in bytes: the transfers then
/// find in the page cache what the hash has read.
pub(super) const MAX_AHEAD: u64 = 64 << 20;

/// The bytes of a turn. Then the next hash that is queued gets one. On a disk a turn takes
/// ten times as long as the seek before it; a stop waits for its end.
pub(super) const TURN: u64 = 16 << 20;

/// Where the waiting clients find the outcome of a hash.
pub(super) type Outcome = Arc<OnceLock<Result<Hashed, NoDigest>>>;

/// What a hash does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on, up to this offset.
    Go(u64),
    /// It waits until the schedule wakes it, at most until this time.
    Wait(Option<Instant>),
    /// It ends.
    Stop(NoDigest),
}

/// The answer to a client that starts to wait.
#[derive(Debug)]
pub(super) struct Joined {
    /// The client's number, for [`Schedule::leave`] and [`Schedule::remove`].
    pub(super) number: u64,
    pub(super) outcome: Outcome,
    /// Notified when the hash has to ask the schedule again.
    pub(super) wake: Arc<Condvar>,
    /// Whether the caller has to start the hash.
    pub(super) first: bool,
}

/// All hashes, and the transfers that they follow, by the key of their file's identity.
#[derive(Default)]
pub(super) struct Schedule {
    cores: usize,
    hashes: HashMap<String, Hash>,
    transfers: HashMap<String, Transfers>,
    remembered: Remembered,
    stopping: bool,
    /// The last number that was given to a client or to a place in the queue.
    last: u64,
}

struct Hash {
    clients: HashMap<u64, Client>,
    outcome: Outcome,
    wake: Arc<Condvar>,
    turn: Turn,
    /// The bytes that are hashed.
    offset: u64,
    /// When the hash ends; `None` while a client waits for it.
    expires: Option<Instant>,
}

/// A client of a hash.
struct Client {
    /// `None` for a client that has closed its sending side.
    waits: Option<Hurry>,
    /// Dropped with the hash, which wakes the client's thread.
    _bell: UnixStream,
}

/// Whether a hash runs.
enum Turn {
    /// It waits for a turn. The lowest number is first.
    Queued(u64),
    /// It has a turn, and was woken to begin it.
    Given,
    /// It runs. Its turn ends when it asks again.
    Running,
}

/// The transfers of one file.
#[derive(Default)]
struct Transfers {
    count: usize,
    /// The greatest offset that any of them has reached.
    furthest: u64,
}

impl Hash {
    fn new(number: u64) -> Hash {
        Hash {
            clients: HashMap::new(),
            outcome: Outcome::default(),
            wake: Arc::default(),
            turn: Turn::Queued(number),
            offset: 0,
            expires: None,
        }
    }

    fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn hurries(&self) -> impl Iterator<Item = Hurry> {
        self.clients.values().filter_map(|client| client.waits)
    }

    /// How far the hash may go. It follows the transfers of its file only while each of its
    /// clients may be the client of one of them.
    fn limit(&self, transfers: Option<&Transfers>) -> u64 {
        let in_hurry = self.hurries().any(|hurry| hurry == Hurry::BeforeTransfer);
        match transfers {
            Some(transfers) if self.hurries().count() <= transfers.count && !in_hurry => {
                transfers.furthest.saturating_add(MAX_AHEAD)
            }
            _ => u64::MAX,
        }
    }
}

impl Schedule {
    /// No hashes yet; at most `cores` will run at a time.
    pub(super) fn new(cores: usize) -> Schedule {
        Schedule { cores, ..Schedule::default() }
    }

    /// The remembered digest of `key`.
    pub(super) fn recall(&mut self, key: &str) -> Option<Hashed> {
        self.remembered.recall(key)
    }

    /// Adds a client that waits for the hash of `key`. `bell` is dropped when the outcome
    /// is there. When full, the schedule ends the hash that was abandoned first.
    ///
    /// # Errors
    /// The server is stopping, or [`MAX_HASHES`] hashes have a waiting client.
    pub(super) fn join(
        &mut self,
        key: &str,
        hurry: Hurry,
        bell: UnixStream,
        now: Instant,
    ) -> Result<Joined, NoDigest> {
        if self.stopping {
            return Err(NoDigest::Stopping);
        }
        let first = !self.hashes.contains_key(key);
        let alive = self.hashes.values().filter(|hash| !hash.has_expired(now)).count();
        if first && alive >= MAX_HASHES && !self.make_room(now) {
            return Err(NoDigest::Busy);
        }
        let number = self.next_number();
        let hash = self.hashes.entry(key.to_string()).or_insert_with(|| Hash::new(number));
        hash.expires = None;
        hash.clients.insert(number, Client { waits: Some(hurry), _bell: bell });
        let (outcome, wake) = (hash.outcome.clone(), hash.wake.clone());
        self.hand_out_turns();
        Ok(Joined { number, outcome, wake, first })
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Ends the hash that was abandoned first. `false` if none is abandoned.
    fn make_room(&mut self, now: Instant) -> bool {
        let abandoned =
            self.hashes.values_mut().filter(|hash| hash.expires.is_some_and(|at| at > now));
        let Some(hash) = abandoned.min_by_key(|hash| hash.expires) else { return false };
        hash.expires = Some(now);
        hash.wake.notify_one();
        true
    }

    /// A client waits no longer, but still gets an outcome that comes. A second call
    /// changes nothing.
    pub(super) fn leave(&mut self, key: &str, number: u64, now: Instant) {
        let Some(hash) = self.hashes.get_mut(key) else { return };
        let Some(client) = hash.clients.get_mut(&number) else { return };
        let waited = client.waits.take().is_some();
        if waited && hash.hurries().next().is_none() {
            hash.expires = Some(now + GRACE);
            hash.wake.notify_one();
        }
    }

    /// A client waits no longer, and needs no outcome.
    pub(super) fn remove(&mut self, key: &str, number: u64, now: Instant) {
        self.leave(key, number, now);
        if let Some(hash) = self.hashes.get_mut(key) {
            hash.clients.remove(&number);
        }
    }

    /// A hash has ended. Its clients get the outcome.
    pub(super) fn finish(&mut self, key: &str, outcome: Result<Hashed, NoDigest>) {
        if let Ok(hashed) = &outcome {
            if hashed.unchanged && hashed.settled {
                self.remembered.remember(key, *hashed);
            }
        }
        if let Some(hash) = self.hashes.remove(key) {
            let _ = hash.outcome.set(outcome);
        }
        self.hand_out_turns();
    }

    /// A transfer of the file begins.
    pub(super) fn begin_transfer(&mut self, key: &str) {
        self.transfers.entry(key.to_string()).or_default().count += 1;
    }

    /// A transfer of the file has reached `offset`.
    pub(super) fn reached(&mut self, key: &str, offset: u64) {
        if let Some(transfers) = self.transfers.get_mut(key) {
            transfers.furthest = transfers.furthest.max(offset);
        }
        self.hand_out_turns();
    }

    /// A transfer of the file has ended.
    pub(super) fn end_transfer(&mut self, key: &str) {
        if let Some(transfers) = self.transfers.get_mut(key) {
            transfers.count -= 1;
            if transfers.count == 0 {
                self.transfers.remove(key);
            }
        }
        self.hand_out_turns();
    }

    /// Ends all hashes, and begins no more.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.hashes.values().for_each(|hash| hash.wake.notify_one());
    }

    /// What the hash of `key`, which has come to `offset`, does next.
    pub(super) fn step(&mut self, key: &str, offset: u64, now: Instant) -> Step {
        if self.stopping {
            return Step::Stop(NoDigest::Stopping);
        }
        let number = self.next_number();
        let hash = match self.hashes.get_mut(key) {
            Some(hash) if !hash.has_expired(now) => hash,
            _ => return Step::Stop(NoDigest::Abandoned),
        };
        hash.offset = offset;
        let limit = hash.limit(self.transfers.get(key));
        if matches!(hash.turn, Turn::Running) || offset >= limit {
            hash.turn = Turn::Queued(number);
            self.hand_out_turns();
        }
        match self.hashes.get_mut(key) {
            Some(Hash { turn: Turn::Queued(_), expires, .. }) => Step::Wait(*expires),
            Some(hash) => {
                hash.turn = Turn::Running;
                Step::Go(limit.min(offset.saturating_add(TURN)))
            }
            None => Step::Stop(NoDigest::Abandoned),
        }
    }

    /// Gives the free turns to hashes that are queued, and wakes them. A hash with a waiting
    /// client goes before an abandoned one, and then the hash that has been queued longest.
    fn hand_out_turns(&mut self) {
        let queued = |hash: &&Hash| matches!(hash.turn, Turn::Queued(_));
        let taken = self.hashes.len() - self.hashes.values().filter(queued).count();
        for _ in taken..self.cores {
            let queued = self.hashes.iter_mut().filter_map(|(key, hash)| match hash.turn {
                Turn::Queued(number) if hash.offset < hash.limit(self.transfers.get(key)) => {
                    Some(((hash.expires.is_some(), number), hash))
                }
                _ => None,
            });
            let Some((_, hash)) = queued.min_by_key(|(rank, _)| *rank) else { return };
            hash.turn = Turn::Given;
            hash.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
