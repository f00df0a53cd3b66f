//! The queue's state and every step that it can take. Under the queue's lock; waits
//! for nothing and wakes nobody.

#![forbid(unsafe_code)]

use super::{Claim, End, FAR_LAG, HOLD_BACK, MAX_COPIES, MAX_LAG, StreamId};
use crate::transfer::queue::ranges::RangeSet;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Where every byte of the file is, and who owes what.
#[derive(Default)]
pub(super) struct State {
    pub(super) size: u64,
    /// Most bytes of one claim.
    pub(super) piece: u64,
    /// Whether claims end at multiples of the piece.
    pub(super) is_aligned: bool,
    pub(super) todo: RangeSet,
    pub(super) owed: HashMap<StreamId, VecDeque<Owed>>,
    pub(super) held: RangeSet,
    pub(super) writing: RangeSet,
    pub(super) done: RangeSet,
    pub(super) holes: RangeSet,
    /// One past the highest byte that was ever claimed.
    pub(super) front: u64,
    /// Where the follower is, if there is one.
    pub(super) followed: Option<u64>,
    /// The follower is far behind bytes that were there already. Streams do not pause
    /// until it is close to the prefix.
    pub(super) catching_up: bool,
    /// When a stream claimed something last.
    pub(super) claimed: Option<Instant>,
    /// How far ahead of the follower anything is asked for, where that is bounded.
    pub(super) room: Option<u64>,
    /// As much as somebody waits to be done.
    pub(super) wanted: u64,
    /// A range that is owed for less than this is not late.
    pub(super) least_patience: Duration,
    /// How long streams pause for the follower, at most.
    pub(super) longest_pause: Duration,
    /// Counts changes.
    pub(super) version: u64,
    pub(super) asked_again: u64,
    pub(super) repeats: u64,
    pub(super) aborted: bool,
}

/// A range that a stream was asked for and has not brought yet.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) range: Range<u64>,
    since: Instant,
}

impl State {
    pub(super) fn prefix(&self) -> u64 {
        self.done.run_end(0)
    }

    pub(super) fn end(&self) -> Option<End> {
        match (self.aborted, self.done.total() == self.size) {
            (true, _) => Some(End::Aborted),
            (false, true) => Some(End::Complete),
            (false, false) => None,
        }
    }

    pub(super) fn claim(
        &mut self,
        stream: StreamId,
        idle: bool,
        pace: Duration,
        now: Instant,
    ) -> Claim {
        if self.end().is_some() {
            return Claim::Over;
        }
        let fresh = self.fresh();
        let prefix = self.prefix();
        if self.pauses() {
            // Where there is a bound to what may wait, a reader decides how long.
            let left = self.room.is_none().then(|| self.pause_left(now));
            if left.is_none_or(|left| !left.is_zero()) {
                return Claim::Later(left);
            }
        }
        // While there is fresh work, even such as there is no room for, only what holds the
        // prefix back is worth asking for again.
        let no_room = fresh.is_none() && !self.todo.is_empty();
        let far = self.front.saturating_sub(prefix) > HOLD_BACK;
        let wanted = match self.todo.is_empty() {
            true if idle => Some(0..self.size),
            false if far || (no_room && idle) => Some(prefix..prefix + 1),
            _ => None,
        };
        if let Some(wanted) = wanted {
            let patience = pace.saturating_mul(2).max(self.least_patience);
            match self.late(stream, &wanted, patience, now) {
                Late::Range(range) => {
                    self.asked_again += range.end - range.start;
                    self.repeats += 1;
                    self.owe(stream, range.clone(), now);
                    return Claim::Copy(range);
                }
                Late::After(delay) if fresh.is_none() => return Claim::Later(Some(delay)),
                Late::After(_) | Late::Nothing => {}
            }
        }
        match fresh {
            Some(range) => {
                self.todo.remove(range.clone());
                self.owe(stream, range.clone(), now);
                Claim::Range(range)
            }
            None => Claim::Later(None),
        }
    }

    /// How far the follower is behind the prefix; 0 where nobody follows it.
    pub(super) fn lag(&self) -> u64 {
        self.followed.map_or(0, |at| self.prefix().saturating_sub(at))
    }

    /// Whether streams wait for the follower.
    fn pauses(&mut self) -> bool {
        let lag = self.lag();
        self.catching_up = lag > FAR_LAG || (self.catching_up && lag > MAX_LAG);
        lag > MAX_LAG && !self.catching_up
    }

    /// How long they do at most.
    fn pause_left(&mut self, now: Instant) -> Duration {
        let since = *self.claimed.get_or_insert(now);
        self.longest_pause.saturating_sub(now.saturating_duration_since(since))
    }

    /// The next piece that nobody was asked for and that there is room for.
    fn fresh(&self) -> Option<Range<u64>> {
        let range = self.todo.first()?;
        let past = if self.is_aligned { range.start % self.piece } else { 0 };
        let piece = range.start..range.end.min(range.start.saturating_add(self.piece - past));
        let room = self.room.unwrap_or(u64::MAX);
        (piece.end <= self.followed.unwrap_or(0).saturating_add(room)).then_some(piece)
    }

    fn owe(&mut self, stream: StreamId, range: Range<u64>, now: Instant) {
        self.front = self.front.max(range.end);
        self.claimed = Some(now);
        self.owed.entry(stream).or_default().push_back(Owed { range, since: now });
    }

    /// The lowest range in `wanted` that others have owed for `patience` and `stream` does
    /// not owe.
    fn late(
        &self,
        stream: StreamId,
        wanted: &Range<u64>,
        patience: Duration,
        now: Instant,
    ) -> Late {
        let mut lowest: Option<&Owed> = None;
        let mut soonest: Option<Duration> = None;
        for owed in self.owed.iter().filter(|(id, _)| **id != stream).flat_map(|(_, all)| all) {
            // What costs least comes first: this goes through all that is owed.
            if owed.range.start >= wanted.end || wanted.start >= owed.range.end {
                continue;
            }
            let left = patience.saturating_sub(now.saturating_duration_since(owed.since));
            let counts = match left.is_zero() {
                true => lowest.is_none_or(|lowest| owed.range.start < lowest.range.start),
                false => soonest.is_none_or(|soonest| left < soonest),
            };
            if !counts
                || self.missing(&owed.range).is_empty()
                || !self.may_copy(stream, &owed.range)
            {
                continue;
            }
            match left.is_zero() {
                true => lowest = Some(owed),
                false => soonest = Some(left),
            }
        }
        match (lowest, soonest) {
            (Some(owed), _) => Late::Range(owed.range.clone()),
            (None, Some(delay)) => Late::After(delay),
            (None, None) => Late::Nothing,
        }
    }

    /// Whether `stream` may owe `range` too.
    fn may_copy(&self, stream: StreamId, range: &Range<u64>) -> bool {
        let owers = || self.owed.iter().filter(|(_, all)| owes(all, range)).map(|(id, _)| *id);
        owers().count() < MAX_COPIES && owers().all(|id| id != stream)
    }

    /// The parts of `range` that nobody has brought yet.
    pub(super) fn missing(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        self.done
            .gaps(range.clone())
            .into_iter()
            .flat_map(|gap| self.writing.gaps(gap))
            .flat_map(|gap| self.held.gaps(gap))
            .collect()
    }

    /// Shortens what `stream` owes by `range`, the start of it.
    pub(super) fn bring(&mut self, stream: StreamId, range: &Range<u64>) {
        let Some(all) = self.owed.get_mut(&stream) else { return };
        let Some(first) = all.front_mut() else { return };
        first.range.start = range.end;
        if first.range.is_empty() {
            all.pop_front();
        }
    }

    pub(super) fn start_writing(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let parts = self.missing(&range);
        for part in &parts {
            // A copy may come after its stream was given up and the range put back.
            self.todo.remove(part.clone());
            self.writing.insert(part.clone());
        }
        parts
    }

    /// Puts the missing parts of `range` that nobody owes back to the rest.
    pub(super) fn give_back(&mut self, range: Range<u64>) {
        let mut free = RangeSet::new();
        self.missing(&range).into_iter().for_each(|part| free.insert(part));
        for owed in self.owed.values().flatten() {
            free.remove(owed.range.clone());
        }
        self.repeats += u64::from(!free.is_empty());
        free.iter().for_each(|part| self.todo.insert(part));
    }
}

/// What may be asked for again.
enum Late {
    Range(Range<u64>),
    /// Something, when this much time has passed.
    After(Duration),
    Nothing,
}

fn owes(all: &VecDeque<Owed>, range: &Range<u64>) -> bool {
    all.iter().any(|owed| owed.range.start < range.end && range.start < owed.range.end)
}
