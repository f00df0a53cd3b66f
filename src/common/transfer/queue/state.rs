//! The state of a queue, and every step that changes it. The queue's lock guards it. No step waits
//! or wakes a thread. The words are those of the queue.

#![forbid(unsafe_code)]

use super::{Claim, End, FAR_LAG, HOLD_BACK, MAX_COPIES, MAX_LAG, StreamId};
use crate::transfer::queue::ranges::RangeSet;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Where every byte of the file is, and what each stream owes.
#[derive(Default)]
pub(super) struct State {
    pub(super) size: u64,
    /// Most bytes of one claim.
    pub(super) piece: u64,
    /// Whether claims end at multiples of the piece.
    pub(super) is_aligned: bool,
    /// No stream owes these bytes, and they are nowhere else.
    pub(super) todo: RangeSet,
    /// The claims of each stream, in the order in which it brings them.
    pub(super) owed: HashMap<StreamId, VecDeque<Owed>>,
    /// An earlier run left these bytes. They are not checked yet.
    pub(super) held: RangeSet,
    pub(super) writing: RangeSet,
    pub(super) done: RangeSet,
    /// The done bytes that are in holes.
    pub(super) holes: RangeSet,
    /// The end of the highest claim so far.
    pub(super) claimed_end: u64,
    /// How many bytes the follower has read; `None` without a follower.
    pub(super) followed: Option<u64>,
    /// The follower has to read many bytes that no stream has brought. Streams do not pause until
    /// the lag is small again.
    pub(super) catching_up: bool,
    /// The time of the last claim.
    pub(super) last_claim: Option<Instant>,
    /// How many bytes ahead of the follower a claim may end, where memory limits that.
    pub(super) room: Option<u64>,
    /// How many done bytes the main thread waits for.
    pub(super) wanted: u64,
    /// No range is late that is owed for less than this.
    pub(super) least_patience: Duration,
    /// The longest pause of the streams for the follower.
    pub(super) longest_pause: Duration,
    /// The number of changes so far.
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
        answer_time: Duration,
        now: Instant,
    ) -> Claim {
        if self.end().is_some() {
            return Claim::Over;
        }
        let fresh = self.fresh();
        let prefix = self.prefix();
        if self.pauses() {
            // Where the room is limited, the reader of the output decides how long.
            let left = self.room.is_none().then(|| self.pause_left(now));
            if left.is_none_or(|left| !left.is_zero()) {
                return Claim::Later(left);
            }
        }
        // While some bytes are todo, only a range that holds the prefix back is worth a second
        // request. That is so even if there is no room for those bytes.
        let no_room = fresh.is_none() && !self.todo.is_empty();
        let far = self.claimed_end.saturating_sub(prefix) > HOLD_BACK;
        let wanted = match self.todo.is_empty() {
            true if idle => Some(0..self.size),
            false if far || (no_room && idle) => Some(prefix..prefix + 1),
            _ => None,
        };
        if let Some(wanted) = wanted {
            let patience = answer_time.saturating_mul(2).max(self.least_patience);
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

    /// How many bytes of the prefix the follower has not read; 0 without a follower.
    pub(super) fn lag(&self) -> u64 {
        self.followed.map_or(0, |at| self.prefix().saturating_sub(at))
    }

    /// Whether streams wait for the follower.
    fn pauses(&mut self) -> bool {
        let lag = self.lag();
        self.catching_up = lag > FAR_LAG || (self.catching_up && lag > MAX_LAG);
        lag > MAX_LAG && !self.catching_up
    }

    /// How much longer they wait at most.
    fn pause_left(&mut self, now: Instant) -> Duration {
        let since = *self.last_claim.get_or_insert(now);
        self.longest_pause.saturating_sub(now.saturating_duration_since(since))
    }

    /// The next piece that no stream owes, if there is room for it.
    fn fresh(&self) -> Option<Range<u64>> {
        let range = self.todo.first()?;
        let past = if self.is_aligned { range.start % self.piece } else { 0 };
        let piece = range.start..range.end.min(range.start.saturating_add(self.piece - past));
        let room = self.room.unwrap_or(u64::MAX);
        (piece.end <= self.followed.unwrap_or(0).saturating_add(room)).then_some(piece)
    }

    fn owe(&mut self, stream: StreamId, range: Range<u64>, now: Instant) {
        self.claimed_end = self.claimed_end.max(range.end);
        self.last_claim = Some(now);
        self.owed.entry(stream).or_default().push_back(Owed { range, since: now });
    }

    /// The lowest range in `wanted` that other streams have owed for `patience`, and that `stream`
    /// does not owe.
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
            // The cheapest test comes first, since the loop goes through all that is owed.
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

    /// The parts of `range` that no stream has brought and no earlier run has left.
    pub(super) fn missing(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        self.done
            .gaps(range.clone())
            .into_iter()
            .flat_map(|gap| self.writing.gaps(gap))
            .flat_map(|gap| self.held.gaps(gap))
            .collect()
    }

    /// Removes `range`, the start of the oldest claim of `stream`, from that claim.
    pub(super) fn bring(&mut self, stream: StreamId, range: &Range<u64>) {
        let Some(all) = self.owed.get_mut(&stream) else { return };
        let Some(first) = all.front_mut() else { return };
        first.range.start = range.end;
        if first.range.is_empty() {
            all.pop_front();
        }
    }

    /// Forgets what is behind `size`. `false` if something of it has come already, or is written.
    pub(super) fn cut(&mut self, size: u64) -> bool {
        let behind = size.min(self.size)..self.size;
        if [&self.done, &self.writing, &self.held]
            .iter()
            .any(|set| !set.within(behind.clone()).is_empty())
        {
            return false;
        }
        self.todo.remove(behind);
        for all in self.owed.values_mut() {
            all.iter_mut().for_each(|owed| owed.range.end = owed.range.end.min(size));
            all.retain(|owed| owed.range.start < owed.range.end);
        }
        self.size = self.size.min(size);
        true
    }

    pub(super) fn start_writing(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let parts = self.missing(&range);
        for part in &parts {
            // A copy may come after its stream was released and the range is todo again.
            self.todo.remove(part.clone());
            self.writing.insert(part.clone());
        }
        parts
    }

    /// Puts the missing parts of `range` that no stream owes back to todo.
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

/// The answer to a search for a late range.
enum Late {
    Range(Range<u64>),
    /// No range now; one is late after this time.
    After(Duration),
    /// No range that `stream` may claim again.
    Nothing,
}

fn owes(all: &VecDeque<Owed>, range: &Range<u64>) -> bool {
    all.iter().any(|owed| owed.range.start < range.end && range.start < owed.range.end)
}
