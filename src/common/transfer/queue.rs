//! The queue of a transfer of the ropewalk protocol. It knows which bytes of the file are still to
//! be asked for, which streams owe them, and which bytes are written. Each stream takes its next
//! range from here. That alone shares the work between fast and slow streams, resumes a transfer,
//! and replaces broken streams.
//!
//! ```text
//!            claim                take                 finish
//!   todo  ─────────►  owed  ────────────►  writing  ──────────►  done
//!    ▲                 │ release, reject
//!    └─────────────────┘
//!   held (kept from an earlier run, being checked)  ──► done, or todo
//! ```
//!
//! - claim: a range that the queue gives a stream to ask for.
//! - owed: the bytes of a claim are owed by its stream until the stream brings them.
//! - patience: twice the time that an answer takes, and at least [`Timing::least_patience`].
//! - late: a claim is late when it is owed for longer than the patience.
//! - prefix: the done bytes from the start of the file to the first byte that is not done.
//! - follower: a thread that reads the prefix in order, to hash it or to give it out.
//! - lag: how many bytes of the prefix the follower has not read yet.
//! - room: how many bytes ahead of the follower may be asked for, where memory limits that.
//!
//! Several streams may owe the same byte. Each byte is in exactly one of todo-or-owed, held,
//! writing and done. So one thread writes it, once. One lock guards all of it. The queue does no
//! I/O and knows no sockets.

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

/// How far the end of all claims may be ahead of the prefix, in bytes. Beyond that, fast streams
/// ask again for the range that holds the prefix back.
pub const HOLD_BACK: u64 = 32 << 20;

/// Most streams that owe the same byte.
pub const MAX_COPIES: usize = 3;

/// Streams pause when the lag is larger than this, in bytes: bytes that arrive sooner than they
/// can be hashed leave the processor's cache first. Streams do not pause while the follower
/// catches up with bytes that are in no cache anyway.
pub const MAX_LAG: u64 = 16 << 20;

/// A lag that no cache holds, in bytes: the follower has to catch up then.
const FAR_LAG: u64 = 256 << 20;

/// How often, in bytes, a waiting stream hears of the follower.
const LAG_STEP: u64 = 1 << 20;

/// The number of a stream.
pub type StreamId = usize;

/// The queue's answer to a stream that wants something to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This range. The stream owes it from now on.
    Range(Range<u64>),
    /// This range, with which another stream is late. Both owe it from now on.
    Copy(Range<u64>),
    /// Nothing now. There may be something after this time, or when the queue changes.
    Later(Option<Duration>),
    /// Nothing more: all bytes are done, or the transfer has ended.
    Over,
}

/// How a transfer ended.
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
    /// Bytes of an earlier run that are not checked yet.
    pub held: u64,
    /// Length of the prefix, in bytes.
    pub prefix: u64,
    /// How many bytes the follower has read; `None` without a follower.
    pub followed: Option<u64>,
    /// Bytes that were asked for a second time while the first answer was on its way.
    pub asked_again: u64,
    /// How many claims were or will be asked for again: they were damaged, late, or owed by a
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
    /// For the main thread: the end, or as many done bytes as it waits for.
    milestone: Condvar,
}

impl Queue {
    /// A queue for a file of `size` bytes, with claims of at most `piece` bytes. An earlier run
    /// left the ranges `held`, which are about to be checked.
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

    /// Uses the waits of `timing`. Call this before the first claim.
    pub fn with_timing(self, timing: &Timing) -> Queue {
        let mut state = lock(&self.state);
        state.least_patience = timing.least_patience;
        state.longest_pause = timing.longest_pause;
        drop(state);
        self
    }

    /// Limits claims to ranges that end at most `room` bytes ahead of the follower. Call this
    /// before the first claim. `room` is at least a piece and 2 MiB, so that no stream waits for
    /// ever.
    pub fn with_room(self, room: u64) -> Queue {
        let mut state = lock(&self.state);
        state.room = Some(room);
        state.followed = Some(0);
        drop(state);
        self
    }

    /// Makes each claim end at a multiple of the piece, wherever it begins. Call this before the
    /// first claim.
    pub fn with_aligned_pieces(self) -> Queue {
        lock(&self.state).is_aligned = true;
        self
    }

    /// The next range for `stream`. An answer takes `answer_time`; a range that another stream
    /// has owed for twice that time is late. A late range is claimed again when it holds the
    /// prefix back, or when nothing else is left for an `idle` stream, which owes nothing.
    pub fn claim(&self, stream: StreamId, idle: bool, answer_time: Duration) -> Claim {
        self.claim_at(stream, idle, answer_time, Instant::now())
    }

    fn claim_at(&self, stream: StreamId, idle: bool, answer_time: Duration, now: Instant) -> Claim {
        lock(&self.state).claim(stream, idle, answer_time, now)
    }

    /// The number of changes so far, for [`Queue::wait_for_change`].
    pub fn version(&self) -> u64 {
        lock(&self.state).version
    }

    /// Waits until the queue has changed since `version`, for `limit` at most. Read the version
    /// before the claim that gave nothing, so that no change in between is missed.
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

    /// Keeps other streams from writing `range`, which the caller has just claimed, until
    /// [`Queue::unlock`]. `false` if another stream has brought some of it already.
    pub fn lock(&self, range: &Range<u64>) -> bool {
        let mut state = lock(&self.state);
        let is_free = state.missing(range) == [range.clone()];
        if is_free {
            state.writing.insert(range.clone());
        }
        is_free
    }

    /// The caller wrote bytes to `range` that do not count yet, and will not write there any more.
    pub fn unlock(&self, range: &Range<u64>) {
        let mut state = lock(&self.state);
        state.writing.remove(range.clone());
        self.notify(&mut state);
    }

    /// The range that `stream` has to bring next, if it owes any.
    pub fn oldest(&self, stream: StreamId) -> Option<Range<u64>> {
        lock(&self.state).owed.get(&stream)?.front().map(|owed| owed.range.clone())
    }

    /// `stream` has brought `range`, the start of its oldest claim. Returns the parts that the
    /// caller now has to write. The other parts are written, or another thread writes them.
    pub fn take(&self, stream: StreamId, range: Range<u64>) -> Vec<Range<u64>> {
        let mut state = lock(&self.state);
        state.bring(stream, &range);
        state.start_writing(range)
    }

    /// `stream` has brought `range`, the start of a hole of `run` bytes. Takes also the bytes in
    /// the rest of the hole that no stream owes.
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

    /// `stream` has brought `range`, but damaged. The range has to be asked for again.
    pub fn reject(&self, stream: StreamId, range: Range<u64>) {
        let mut state = lock(&self.state);
        state.bring(stream, &range);
        state.give_back(range);
        self.notify(&mut state);
    }

    /// A part from [`Queue::take`] is written.
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

    /// `stream` is gone. Other streams may claim what it owes.
    pub fn release(&self, stream: StreamId) {
        let mut state = lock(&self.state);
        for owed in state.owed.remove(&stream).unwrap_or_default() {
            state.give_back(owed.range);
        }
        self.notify(&mut state);
    }

    /// The check of a held range has ended.
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

    /// How the transfer ended; `None` while it goes on.
    pub fn end(&self) -> Option<End> {
        lock(&self.state).end()
    }

    /// Waits for the end of the transfer, for `limit` at most. Returns whether it has ended.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        self.wait_until(limit, |state| state.end().is_some());
        self.end().is_some()
    }

    /// Waits until `wanted` bytes are done or the transfer has ended, for `limit` at most.
    /// Returns how many bytes are done, and whether the transfer has ended.
    pub fn wait_for_done(&self, wanted: u64, limit: Duration) -> (u64, bool) {
        lock(&self.state).wanted = wanted;
        self.wait_until(limit, |state| state.done.total() >= wanted || state.end().is_some());
        let state = lock(&self.state);
        (state.done.total(), state.end().is_some())
    }

    /// Wakes the streams: there may be something to ask for.
    fn notify(&self, state: &mut State) {
        state.version += 1;
        self.changed.notify_all();
    }

    /// Bytes are done that no stream has brought. Streams do not pause for these bytes.
    fn catch_up(&self, state: &mut State) {
        if !state.catching_up && state.lag() > MAX_LAG {
            state.catching_up = true;
            self.notify(state);
        }
    }

    /// More bytes are done than before. Wakes only threads that wait for that, since this is
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

    /// Waits until the prefix is longer than `known` bytes, or the transfer has ended. Returns the
    /// length of the prefix.
    pub fn wait_for_prefix(&self, known: u64) -> u64 {
        let mut state = lock(&self.state);
        while state.prefix() <= known && state.end().is_none() {
            state = wait(&self.advanced, state);
        }
        state.prefix()
    }

    /// The follower has read the first `at` bytes.
    pub fn followed(&self, at: u64) {
        let mut state = lock(&self.state);
        let before = state.followed.unwrap_or(0);
        state.followed = Some(at);
        if at / LAG_STEP != before / LAG_STEP {
            self.notify(&mut state);
        }
    }

    /// The end of the hole around the done byte at `offset`.
    ///
    /// # Errors
    /// The byte is in no hole: the start of the next hole, or the end of the file.
    pub fn hole_at(&self, offset: u64) -> Result<u64, u64> {
        let state = lock(&self.state);
        match state.holes.run_end(offset) {
            end if end > offset => Ok(end),
            _ => Err(state.holes.next_start(offset).unwrap_or(state.size)),
        }
    }

    /// Bytes of the file; of one whose end is not known yet, more than it has.
    pub fn size(&self) -> u64 {
        lock(&self.state).size
    }

    /// The file has only `size` bytes. `false` if something behind them has come already.
    pub fn ends_at(&self, size: u64) -> bool {
        let mut state = lock(&self.state);
        let prefix = state.prefix();
        let is_possible = state.cut(size);
        self.notify(&mut state);
        self.notify_done(&mut state, prefix);
        is_possible
    }

    /// Reads the progress of the transfer.
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
