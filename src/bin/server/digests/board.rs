//! The state of all hashes under one lock: who waits for which, how far it may go, when
//! it is given up. Neither blocks nor reads a file.

#![forbid(unsafe_code)]

use super::remembered::Remembered;
use super::turns::{Demand, Turns};
use super::{Hashed, Hurry, NoDigest};
use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Most hashes that are begun at once, whether they go on or wait.
const MAX_HASHES: usize = 256;

/// How long a hash goes on that nobody waits for: a client whose connection was lost
/// asks again.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// How far a hash may be ahead of the transfers of its file, so that what it reads is
/// still in the page cache when they come to it.
pub(super) const MAX_AHEAD: u64 = 64 << 20;

/// Bytes that a hash goes on before it looks here again.
pub(super) const STRETCH: u64 = 4 << 20;

/// Where those who wait find the outcome.
pub(super) type Slot = Arc<OnceLock<Result<Hashed, NoDigest>>>;

/// What a hash does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on, up to this offset.
    Go(u64),
    /// It waits until something changes, or for so long.
    Wait(Option<Instant>),
    /// It ends.
    Stop(NoDigest),
}

/// One who has come to wait.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) number: u64,
    pub(super) slot: Slot,
    /// Whether the hash is still to be started.
    pub(super) first: bool,
}

/// All hashes and the transfers that they keep close to, by entity tag.
#[derive(Default)]
pub(super) struct Board {
    turns: Turns,
    running: HashMap<String, Running>,
    under_way: HashMap<String, UnderWay>,
    remembered: Remembered,
    stopping: bool,
    last: u64,
}

#[derive(Default)]
struct Running {
    waiting: HashMap<u64, Hurry>,
    /// Dropped at the end, which rings them. Some are of those who have left.
    bells: HashMap<u64, UnixStream>,
    /// Since when nobody has waited.
    left: Option<Instant>,
    /// It had to go for another one, and ends as soon as it looks here.
    has_to_go: bool,
    slot: Slot,
}

#[derive(Default)]
struct UnderWay {
    transfers: usize,
    /// How far any of them has come.
    furthest: u64,
}

impl Board {
    pub(super) fn new(cores: usize) -> Board {
        Board { turns: Turns::new(cores), ..Board::default() }
    }

    pub(super) fn recall(&mut self, tag: &str) -> Option<Hashed> {
        self.remembered.recall(tag)
    }

    /// Adds one who waits for `tag`. Of too many hashes the one goes that nobody has waited
    /// for longest.
    pub(super) fn join(
        &mut self,
        tag: &str,
        hurry: Hurry,
        bell: UnixStream,
    ) -> Result<Joined, NoDigest> {
        if self.stopping {
            return Err(NoDigest::Stopping);
        }
        let first = !self.running.contains_key(tag);
        let begun = self.running.values().filter(|running| !running.has_to_go).count();
        if first && begun >= MAX_HASHES && !self.make_room() {
            return Err(NoDigest::Busy);
        }
        self.last += 1;
        let number = self.last;
        let running = self.running.entry(tag.to_string()).or_default();
        (running.left, running.has_to_go) = (None, false);
        running.waiting.insert(number, hurry);
        running.bells.insert(number, bell);
        Ok(Joined { number, slot: running.slot.clone(), first })
    }

    /// Has the hash end that nobody has waited for longest. `false` if all are awaited.
    fn make_room(&mut self) -> bool {
        let left = |running: &Running| running.left.filter(|_| !running.has_to_go);
        let abandoned =
            self.running.iter().filter_map(|(tag, running)| Some((left(running)?, tag.clone())));
        let Some((_, tag)) = abandoned.min() else { return false };
        if let Some(running) = self.running.get_mut(&tag) {
            running.has_to_go = true;
        }
        self.turns.release(&tag);
        true
    }

    /// One of those who wait does not any more; once more makes no difference.
    pub(super) fn leave(&mut self, tag: &str, number: u64, now: Instant) {
        if let Some(running) = self.running.get_mut(tag) {
            let was_waiting = running.waiting.remove(&number).is_some();
            if was_waiting && running.waiting.is_empty() {
                running.left = Some(now);
            }
        }
    }

    /// Nobody listens to this bell.
    pub(super) fn forget_bell(&mut self, tag: &str, number: u64) {
        if let Some(running) = self.running.get_mut(tag) {
            running.bells.remove(&number);
        }
    }

    /// A hash has come to its end.
    pub(super) fn finish(&mut self, tag: &str, outcome: Result<Hashed, NoDigest>) {
        self.turns.release(tag);
        if let Ok(hashed) = &outcome {
            if hashed.unchanged && hashed.settled {
                self.remembered.remember(tag, *hashed);
            }
        }
        if let Some(running) = self.running.remove(tag) {
            let _ = running.slot.set(outcome);
        }
    }

    /// A transfer of the file begins.
    pub(super) fn begin_transfer(&mut self, tag: &str) {
        self.under_way.entry(tag.to_string()).or_default().transfers += 1;
    }

    /// One of its transfers has come to `offset`.
    pub(super) fn reached(&mut self, tag: &str, offset: u64) {
        if let Some(under_way) = self.under_way.get_mut(tag) {
            under_way.furthest = under_way.furthest.max(offset);
        }
    }

    /// One of its transfers has ended.
    pub(super) fn end_transfer(&mut self, tag: &str) {
        if let Some(under_way) = self.under_way.get_mut(tag) {
            under_way.transfers -= 1;
            if under_way.transfers == 0 {
                self.under_way.remove(tag);
            }
        }
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether those who wait have to look again; `false` the next time.
    pub(super) fn take_stir(&mut self) -> bool {
        self.turns.take_stir()
    }

    /// What the hash of `tag` does, which has come to `offset`.
    pub(super) fn step(&mut self, tag: &str, offset: u64, now: Instant) -> Step {
        if self.stopping {
            return Step::Stop(NoDigest::Stopping);
        }
        let Some(running) = self.running.get(tag) else { return Step::Stop(NoDigest::Abandoned) };
        let deadline = running.left.map(|left| left + GRACE);
        if running.has_to_go || deadline.is_some_and(|deadline| deadline <= now) {
            return Step::Stop(NoDigest::Abandoned);
        }
        let demand = if running.left.is_some() { Demand::Abandoned } else { Demand::Awaited };
        let limit = self.limit(tag, running);
        if offset >= limit {
            // Nobody else is to wait for this one's transfer.
            self.turns.release(tag);
            return Step::Wait(deadline);
        }
        if !self.turns.take(tag, demand) {
            return Step::Wait(deadline);
        }
        let end = limit.min(offset.saturating_add(STRETCH));
        self.turns.spend(tag, end - offset);
        Step::Go(end)
    }

    /// How far a hash may go. It keeps close to the transfers of its file only while
    /// everybody who waits can be taken for one of their clients.
    fn limit(&self, tag: &str, running: &Running) -> u64 {
        let in_hurry = running.waiting.values().any(|hurry| *hurry == Hurry::BeforeTransfer);
        match self.under_way.get(tag) {
            Some(under_way) if !in_hurry && running.waiting.len() <= under_way.transfers => {
                under_way.furthest.saturating_add(MAX_AHEAD)
            }
            _ => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests;
