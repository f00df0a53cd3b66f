//! The queue of work of a transfer of the ropewalk protocol: which bytes of the file are still to be
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

pub mod board;
pub mod growth;
pub mod ranges;
pub mod rate;
pub mod window;

mod state;

#[cfg(test)]
mod tests;

use state::State;

use self::ranges::RangeSet;
use super::timing::Timing;
use crate::sys::sync::{lock, wait, wait_for, wait_until};
use std::ops::Range;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// When the lowest missing byte is this far behind the highest one asked for, fast
/// streams ask again for what holds it back.
pub const HOLD_BACK: u64 = 32 << 20;

/// Most streams that owe the same byte.
pub const MAX_COPIES: usize = 3;

/// When the follower is this far behind the prefix, streams pause: what arrives sooner
/// than it can be hashed leaves the processor's cache before it is. They do not pause
/// while the follower catches up with bytes that are in no cache anyway.
pub const MAX_LAG: u64 = 16 << 20;

/// No cache holds so much: a follower that is this far behind catches up.
const FAR_LAG: u64 = 256 << 20;

/// Who waits for a follower hears of it this often, in bytes.
const LAG_STEP: u64 = 1 << 20;

/// A stream, by a number of its own.
pub type StreamId = usize;

/// Something to ask a sender for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This range: it is owed by the stream that claimed it from now on.
    Range(Range<u64>),
    /// The same, and another stream, which is late with it, owes it too.
    Copy(Range<u64>),
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
    /// Bytes of an earlier run that are still to be checked.
    pub held: u64,
    /// Bytes before the first that is not done.
    pub prefix: u64,
    /// How far somebody follows the prefix, if anybody does.
    pub followed: Option<u64>,
    /// Bytes that were asked for a second time while the first answer was on its way.
    pub asked_again: u64,
    /// Claims that were or will be asked for a second time: damaged, late, or owed by a
    /// stream that is gone.
    pub repeats: u64,
}

/// The queue of one file.
pub struct Queue {
    state: Mutex<State>,
    /// For streams: there may be something to ask for.
    changed: Condvar,
    /// For the follower: the prefix has grown.
    advanced: Condvar,
    /// For those who watch: the end, or as much as they wait for.
    milestone: Condvar,
}

impl Queue {
    /// A queue for a file of `size` bytes, handed out in claims of at most `piece`.
    /// The ranges `held` are there already and about to be checked.
    pub fn new(size: u64, piece: u32, held: &RangeSet) -> Queue {
        let mut todo = RangeSet::new();
        held.gaps(0..size).into_iter().for_each(|gap| todo.insert(gap));
        let timing = Timing::default();
        let state = State {
            size,
            piece: u64::from(piece.max(1)),
            todo,
            held: held.clone(),
            wanted: u64::MAX,
            least_patience: timing.least_patience,
            longest_pause: timing.longest_pause,
            ..State::default()
        };
        Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
            advanced: Condvar::new(),
            milestone: Condvar::new(),
        }
    }

    /// With other waits than those of the default. To be called before the first claim.
    pub fn with_timing(self, timing: &Timing) -> Queue {
        let mut state = lock(&self.state);
        state.least_patience = timing.least_patience;
        state.longest_pause = timing.longest_pause;
        drop(state);
        self
    }

    /// Has nothing asked for that ends more than `room` bytes ahead of who follows the
    /// prefix: there is no place for it. To be called before the first claim. So that
    /// nobody waits in vain, `room` is at least a piece and 2 MiB.
    pub fn with_room(self, room: u64) -> Queue {
        let mut state = lock(&self.state);
        state.room = Some(room);
        state.followed = Some(0);
        drop(state);
        self
    }

    /// Has claims end at multiples of the piece, wherever they begin. To be called before the
    /// first claim.
    pub fn with_aligned_pieces(self) -> Queue {
        lock(&self.state).is_aligned = true;
        self
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

    /// Counts changes, for [`Queue::wait_for_change`].
    pub fn version(&self) -> u64 {
        lock(&self.state).version
    }

    /// Waits until the queue is another one than at `version`, at most for `limit`. The
    /// version is that from before the claim that had no answer, so that no change in
    /// between is missed.
    pub fn wait_for_change(&self, version: u64, limit: Option<Duration>) {
        let state = lock(&self.state);
        if state.end().is_some() || state.version != version {
            return;
        }
        drop(match limit {
            Some(limit) => wait_for(&self.changed, state, limit),
            None => wait(&self.changed, state),
        });
    }

    /// Keeps others from writing `range`, which the caller has just claimed, until
    /// [`Queue::unlock`]. `false` if another stream has brought some of it already.
    pub fn lock(&self, range: &Range<u64>) -> bool {
        let mut state = lock(&self.state);
        let is_free = state.missing(range) == [range.clone()];
        if is_free {
            state.writing.insert(range.clone());
        }
        is_free
    }

    /// The caller has written something to `range` that does not count yet, and will not write
    /// there any more.
    pub fn unlock(&self, range: &Range<u64>) {
        let mut state = lock(&self.state);
        state.writing.remove(range.clone());
        self.notify(&mut state);
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
        self.notify(&mut state);
    }

    /// What was being written is on the disk.
    pub fn finish(&self, part: Range<u64>, is_hole: bool) {
        let mut state = lock(&self.state);
        let prefix = state.prefix();
        state.writing.remove(part.clone());
        if is_hole {
            state.holes.insert(part.clone());
        }
        state.done.insert(part);
        if is_hole {
            self.catch_up(&mut state);
        }
        self.notify_done(&mut state, prefix);
    }

    /// `stream` is gone: what it owes is anybody's.
    pub fn release(&self, stream: StreamId) {
        let mut state = lock(&self.state);
        for owed in state.owed.remove(&stream).unwrap_or_default() {
            state.give_back(owed.range);
        }
        self.notify(&mut state);
    }

    /// The check of a range that was held has ended.
    pub fn checked(&self, range: Range<u64>, good: bool, is_hole: bool) {
        let mut state = lock(&self.state);
        let prefix = state.prefix();
        state.held.remove(range.clone());
        if !good {
            state.todo.insert(range);
            return self.notify(&mut state);
        }
        if is_hole {
            state.holes.insert(range.clone());
        }
        state.done.insert(range);
        self.catch_up(&mut state);
        self.notify_done(&mut state, prefix);
    }

    /// Ends the transfer early.
    pub fn abort(&self) {
        let mut state = lock(&self.state);
        state.aborted = true;
        self.notify(&mut state);
        self.advanced.notify_all();
        self.milestone.notify_all();
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
        lock(&self.state).wanted = wanted;
        self.wait_until(limit, |state| state.done.total() >= wanted || state.end().is_some());
        let state = lock(&self.state);
        (state.done.total(), state.end().is_some())
    }

    /// There may be something to ask for.
    fn notify(&self, state: &mut State) {
        state.version += 1;
        self.changed.notify_all();
    }

    /// Bytes that did not come from a stream are done: streams do not pause for them.
    fn catch_up(&self, state: &mut State) {
        if !state.catching_up && state.lag() > MAX_LAG {
            state.catching_up = true;
            self.notify(state);
        }
    }

    /// More is done than before. Nobody is woken who does not wait for it: this is
    /// called for each block.
    fn notify_done(&self, state: &mut State, prefix_before: u64) {
        let over = state.end().is_some();
        if over {
            self.notify(state);
        }
        if over || state.prefix() > prefix_before {
            self.advanced.notify_one();
        }
        if over || state.done.total() >= state.wanted {
            state.wanted = u64::MAX;
            self.milestone.notify_all();
        }
    }

    fn wait_until(&self, limit: Duration, come: impl Fn(&State) -> bool) {
        drop(wait_until(&self.milestone, lock(&self.state), Instant::now() + limit, come));
    }

    /// Waits until more than `known` bytes from the start of the file are done, or the
    /// transfer is at its end. Answers how many are.
    pub fn wait_for_prefix(&self, known: u64) -> u64 {
        let mut state = lock(&self.state);
        while state.prefix() <= known && state.end().is_none() {
            state = wait(&self.advanced, state);
        }
        state.prefix()
    }

    /// Somebody follows the prefix, and has come to `at`.
    pub fn followed(&self, at: u64) {
        let mut state = lock(&self.state);
        let before = state.followed.unwrap_or(0);
        state.followed = Some(at);
        if at / LAG_STEP != before / LAG_STEP {
            self.notify(&mut state);
        }
    }

    /// How far the hole goes that the done byte at `offset` is in; `None` where it is
    /// no hole, and then how far there is none.
    pub fn hole_at(&self, offset: u64) -> Result<u64, u64> {
        let state = lock(&self.state);
        match state.holes.run_end(offset) {
            end if end > offset => Ok(end),
            _ => Err(state.holes.next_start(offset).unwrap_or(state.size)),
        }
    }

    /// How far the transfer has come.
    pub fn progress(&self) -> Progress {
        let state = lock(&self.state);
        Progress {
            done: state.done.total(),
            held: state.held.total(),
            prefix: state.prefix(),
            followed: state.followed,
            asked_again: state.asked_again,
            repeats: state.repeats,
        }
    }
}
