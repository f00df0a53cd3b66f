//! The queue of work of a pulled transfer: which bytes of the file are still to be
//! asked for, by whom they are owed, and which are on the disk. Streams pull from it;
//! that alone balances fast and slow ones, resumes, and recovers broken ones.
//!
//! ```text
//!            claim                take                 finish
//!   todo  ─────────►  owed  ────────────►  writing  ──────────►  done
//!    ▲                 │ release, reject
//!    └─────────────────┘
//!   held (kept from an earlier run, being checked)  ──► done, or todo
//! ```
//!
//! A byte may be owed by several streams; it is in exactly one of todo-or-owed,
//! held, writing and done, so it is written once and by one thread. All of it is
//! under one lock. Does no I/O and knows no sockets.

#![forbid(unsafe_code)]

use super::ranges::RangeSet;
use crate::sys::sync::{lock, wait, wait_for};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// When the lowest missing byte is this far behind the highest one asked for, fast
/// streams ask again for what holds it back.
pub const HOLD_BACK: u64 = 32 << 20;

/// Most streams that owe the same byte.
pub const MAX_COPIES: usize = 3;

/// What is owed for less than this is not late, however short the path is: on a busy
/// machine a thread may wait that long for a processor.
pub const LEAST_PATIENCE: Duration = Duration::from_millis(20);

/// A stream, by a number of its own.
pub type StreamId = usize;

/// Something to ask a sender for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This range: it is owed by the stream that claimed it from now on.
    Range(Range<u64>),
    /// Nothing now. After this long there may be, or when the queue changes.
    Later(Option<Duration>),
    /// Nothing any more: all bytes are done, or the transfer has ended.
    Over,
}

/// Why the queue came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every byte is done.
    Complete,
    /// [`Queue::abort`] was called.
    Aborted,
}

/// A snapshot for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are done.
    pub done: u64,
    /// Bytes before the first that is not done.
    pub prefix: u64,
    /// Bytes that were asked for a second time while the first answer was on its way.
    pub asked_again: u64,
}

/// The queue of one file.
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    size: u64,
    /// Most bytes of one claim.
    piece: u64,
    todo: RangeSet,
    owed: HashMap<StreamId, VecDeque<Owed>>,
    held: RangeSet,
    writing: RangeSet,
    done: RangeSet,
    holes: RangeSet,
    /// One past the highest byte that was ever claimed.
    front: u64,
    asked_again: u64,
    aborted: bool,
}

/// A range that a stream was asked for and has not brought yet.
#[derive(Clone, Debug)]
struct Owed {
    range: Range<u64>,
    since: Instant,
}

impl Queue {
    /// A queue for a file of `size` bytes, handed out in claims of at most `piece`.
    /// The ranges `held` are there already and about to be checked.
    pub fn new(size: u64, piece: u32, held: &RangeSet) -> Queue {
        let mut todo = RangeSet::new();
        held.gaps(0..size).into_iter().for_each(|gap| todo.insert(gap));
        let state = State {
            size,
            piece: u64::from(piece.max(1)),
            todo,
            owed: HashMap::new(),
            held: held.clone(),
            writing: RangeSet::new(),
            done: RangeSet::new(),
            holes: RangeSet::new(),
            front: 0,
            asked_again: 0,
            aborted: false,
        };
        Queue { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next range for `stream`. `pace` is how long it takes for an answer: what
    /// another stream has owed for twice that long may be asked for again, when there is
    /// nothing else to do for a stream that is `idle`, or when it holds the prefix back.
    pub fn claim(&self, stream: StreamId, idle: bool, pace: Duration) -> Claim {
        self.claim_at(stream, idle, pace, Instant::now())
    }

    fn claim_at(&self, stream: StreamId, idle: bool, pace: Duration, now: Instant) -> Claim {
        lock(&self.state).claim(stream, idle, pace, now)
    }

    /// Waits until the queue changes, at most for `limit`.
    pub fn wait_for_change(&self, limit: Option<Duration>) {
        let state = lock(&self.state);
        if state.end().is_some() {
            return;
        }
        drop(match limit {
            Some(limit) => wait_for(&self.changed, state, limit),
            None => wait(&self.changed, state),
        });
    }

    /// What `stream` owes first, if anything.
    pub fn oldest(&self, stream: StreamId) -> Option<Range<u64>> {
        lock(&self.state).owed.get(&stream)?.front().map(|owed| owed.range.clone())
    }

    /// `stream` has brought `range`, the start of what it owes first. Answers which
    /// parts of it the caller now has to write; others have, or are at, the rest.
    pub fn take(&self, stream: StreamId, range: Range<u64>) -> Vec<Range<u64>> {
        let mut state = lock(&self.state);
        state.bring(stream, &range);
        state.start_writing(range)
    }

    /// `stream` has brought `range` as part of a hole that goes on for `run` bytes.
    /// Takes also what follows in the hole and is owed by nobody.
    pub fn take_hole(&self, stream: StreamId, range: Range<u64>, run: u64) -> Vec<Range<u64>> {
        let mut state = lock(&self.state);
        state.bring(stream, &range);
        let further = range.end..range.start.saturating_add(run).min(state.size);
        let mut parts = state.start_writing(range);
        for part in state.todo.within(further) {
            state.todo.remove(part.clone());
            state.writing.insert(part.clone());
            parts.push(part);
        }
        parts
    }

    /// `stream` has brought `range`, damaged: it has to be asked for again.
    pub fn reject(&self, stream: StreamId, range: Range<u64>) {
        let mut state = lock(&self.state);
        state.bring(stream, &range);
        state.give_back(range);
        self.changed.notify_all();
    }

    /// What was being written is on the disk.
    pub fn finish(&self, part: Range<u64>, is_hole: bool) {
        let mut state = lock(&self.state);
        state.writing.remove(part.clone());
        if is_hole {
            state.holes.insert(part.clone());
        }
        let prefix = state.prefix();
        state.done.insert(part);
        if state.prefix() > prefix || state.end().is_some() {
            self.changed.notify_all();
        }
    }

    /// `stream` is gone: what it owes is anybody's.
    pub fn release(&self, stream: StreamId) {
        let mut state = lock(&self.state);
        for owed in state.owed.remove(&stream).unwrap_or_default() {
            state.give_back(owed.range);
        }
        self.changed.notify_all();
    }

    /// The check of a range that was held has ended.
    pub fn checked(&self, range: Range<u64>, good: bool, is_hole: bool) {
        let mut state = lock(&self.state);
        state.held.remove(range.clone());
        match (good, is_hole) {
            (false, _) => state.todo.insert(range),
            (true, true) => {
                state.holes.insert(range.clone());
                state.done.insert(range);
            }
            (true, false) => state.done.insert(range),
        }
        self.changed.notify_all();
    }

    /// Ends the transfer early.
    pub fn abort(&self) {
        lock(&self.state).aborted = true;
        self.changed.notify_all();
    }

    /// Whether the transfer is at its end, and how.
    pub fn end(&self) -> Option<End> {
        lock(&self.state).end()
    }

    /// Waits for the end of the transfer, at most for `limit`. Whether it has come.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        self.wait_until(limit, |state| state.end().is_some());
        self.end().is_some()
    }

    /// Waits until `wanted` bytes are done or the transfer is at its end, at most for
    /// `limit`. Answers how many are done, and whether it is over.
    pub fn wait_for_done(&self, wanted: u64, limit: Duration) -> (u64, bool) {
        self.wait_until(limit, |state| state.done.total() >= wanted || state.end().is_some());
        let state = lock(&self.state);
        (state.done.total(), state.end().is_some())
    }

    fn wait_until(&self, limit: Duration, come: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.state);
        while !come(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = wait_for(&self.changed, state, left);
        }
    }

    /// Waits until more than `known` bytes from the start of the file are done, or the
    /// transfer is at its end. Answers how many are.
    pub fn wait_for_prefix(&self, known: u64) -> u64 {
        let mut state = lock(&self.state);
        while state.prefix() <= known && state.end().is_none() {
            state = wait(&self.changed, state);
        }
        state.prefix()
    }

    /// How far the hole goes that the done byte at `offset` is in; `None` where it is
    /// no hole, and then how far there is none.
    pub fn hole_at(&self, offset: u64) -> Result<u64, u64> {
        let state = lock(&self.state);
        match state.holes.run_end(offset) {
            end if end > offset => Ok(end),
            _ => {
                Err(state.holes.within(offset..state.size).first().map_or(state.size, |h| h.start))
            }
        }
    }

    /// How far the transfer has come.
    pub fn progress(&self) -> Progress {
        let state = lock(&self.state);
        Progress {
            done: state.done.total(),
            prefix: state.prefix(),
            asked_again: state.asked_again,
        }
    }
}

impl State {
    fn prefix(&self) -> u64 {
        self.done.run_end(0)
    }

    fn end(&self) -> Option<End> {
        match (self.aborted, self.done.total() == self.size) {
            (true, _) => Some(End::Aborted),
            (false, true) => Some(End::Complete),
            (false, false) => None,
        }
    }

    fn claim(&mut self, stream: StreamId, idle: bool, pace: Duration, now: Instant) -> Claim {
        if self.end().is_some() {
            return Claim::Over;
        }
        let fresh = self.todo.first();
        let prefix = self.prefix();
        // While there is fresh work, only what holds the prefix back is worth asking for
        // again.
        let wanted = match fresh {
            None if idle => Some(0..self.size),
            Some(_) if self.front.saturating_sub(prefix) > HOLD_BACK => Some(prefix..prefix + 1),
            _ => None,
        };
        if let Some(wanted) = wanted {
            let patience = pace.saturating_mul(2).max(LEAST_PATIENCE);
            match self.late(stream, &wanted, patience, now) {
                Late::Range(range) => {
                    self.asked_again += range.end - range.start;
                    return self.owe(stream, range, now);
                }
                Late::After(delay) if fresh.is_none() => return Claim::Later(Some(delay)),
                Late::After(_) | Late::Nothing => {}
            }
        }
        match fresh {
            Some(range) => {
                let range = range.start..range.end.min(range.start.saturating_add(self.piece));
                self.todo.remove(range.clone());
                self.owe(stream, range, now)
            }
            None => Claim::Later(None),
        }
    }

    fn owe(&mut self, stream: StreamId, range: Range<u64>, now: Instant) -> Claim {
        self.front = self.front.max(range.end);
        let owed = Owed { range: range.clone(), since: now };
        self.owed.entry(stream).or_default().push_back(owed);
        Claim::Range(range)
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
            let inside = owed.range.start < wanted.end && wanted.start < owed.range.end;
            if !inside
                || self.missing(&owed.range).is_empty()
                || !self.may_copy(stream, &owed.range)
            {
                continue;
            }
            let age = now.saturating_duration_since(owed.since);
            if age < patience {
                let left = patience - age;
                soonest = Some(soonest.map_or(left, |soonest| soonest.min(left)));
            } else if lowest.is_none_or(|lowest| owed.range.start < lowest.range.start) {
                lowest = Some(owed);
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
    fn missing(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        self.done
            .gaps(range.clone())
            .into_iter()
            .flat_map(|gap| self.writing.gaps(gap))
            .flat_map(|gap| self.held.gaps(gap))
            .collect()
    }

    /// Shortens what `stream` owes by `range`, the start of it.
    fn bring(&mut self, stream: StreamId, range: &Range<u64>) {
        let Some(all) = self.owed.get_mut(&stream) else { return };
        let Some(first) = all.front_mut() else { return };
        first.range.start = range.end;
        if first.range.is_empty() {
            all.pop_front();
        }
    }

    fn start_writing(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let parts = self.missing(&range);
        for part in &parts {
            // A copy may come after its stream was given up and the range put back.
            self.todo.remove(part.clone());
            self.writing.insert(part.clone());
        }
        parts
    }

    /// Puts the missing parts of `range` that nobody owes back to the rest.
    fn give_back(&mut self, range: Range<u64>) {
        let mut free = RangeSet::new();
        self.missing(&range).into_iter().for_each(|part| free.insert(part));
        for owed in self.owed.values().flatten() {
            free.remove(owed.range.clone());
        }
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

#[cfg(test)]
mod tests;
