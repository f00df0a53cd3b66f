//! How a fetch is doing: the fetch notes it down here, and whoever shows it takes a
//! snapshot. What is shown, and where, is progress/'s business.

#![forbid(unsafe_code)]

mod bar;
mod json;
mod speed;
pub(crate) mod style;
mod watcher;

pub(crate) use watcher::Watcher;

use ropewalk::app::report::Tally;
use ropewalk::sys::sync::lock;
use speed::Speed;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use watcher::Bell;

/// The rate that is shown is that of the last seconds; the time left is reckoned with a
/// longer memory, so that it does not jump.
const RATE_TIME: Duration = Duration::from_secs(2);
const LEFT_TIME: Duration = Duration::from_secs(10);

/// When no byte has come for this long, nothing moves, and nobody knows the time left.
const STILL_TIME: Duration = Duration::from_secs(2);

/// What a fetch is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It asks the server, which may hash the file first.
    Asking,
    /// Bytes are on their way.
    Moving,
    /// The server is gone, and another session is asked for.
    Lost,
    /// No byte is missing, or none comes, and what is there is not checked yet: against
    /// the journal of an earlier run, or by its MD5.
    Checking,
    /// All is checked, and written to the disk.
    Saving,
}

impl Phase {
    /// The word for it in JSON.
    fn word(self) -> &'static str {
        match self {
            Phase::Asking => "asking",
            Phase::Moving => "moving",
            Phase::Lost => "lost",
            Phase::Checking => "checking",
            Phase::Saving => "saving",
        }
    }
}

/// The state of a fetch at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Since the fetch began.
    pub(crate) time: Duration,
    pub(crate) phase: Phase,
    /// Bytes that are there, with those of an earlier run.
    pub(crate) bytes: u64,
    /// Bytes of the file; `None` while the server has not said.
    pub(crate) size: Option<u64>,
    /// Bytes a second, now.
    pub(crate) rate: f64,
    /// Seconds to the last byte, where that can be told.
    pub(crate) left: Option<u64>,
    /// Streams that are open.
    pub(crate) streams: u64,
    /// Blocks that were asked for again.
    pub(crate) again: u64,
    /// Bytes that an earlier run left.
    pub(crate) kept: u64,
    /// How many of them have been checked.
    pub(crate) checked: u64,
    /// Bytes that are in the MD5, where the receiver says it.
    pub(crate) hashed: Option<u64>,
}

/// What the fetch notes down.
pub(crate) struct Progress {
    begun: Instant,
    state: Mutex<State>,
    bell: Bell,
}

struct State {
    phase: Phase,
    size: Option<u64>,
    /// Whether an MD5 is waited for after the last byte.
    md5: bool,
    /// Bytes that an earlier run left.
    kept: u64,
    tally: Tally,
    speed: Speed,
}

impl Progress {
    /// A fetch that begins now.
    pub(crate) fn new() -> Progress {
        let state = State {
            phase: Phase::Asking,
            size: None,
            md5: true,
            kept: 0,
            tally: Tally::default(),
            speed: Speed::new(Duration::ZERO, 0, LEFT_TIME),
        };
        Progress { begun: Instant::now(), state: Mutex::new(state), bell: Bell::default() }
    }

    /// The server has said yes: `there` bytes are there already, of `size` where that is
    /// known. Tells whether an MD5 is made of it.
    pub(crate) fn begins(&self, size: Option<u64>, there: u64, md5: bool) {
        let mut state = lock(&self.state);
        let tally = Tally { bytes: there, held: there, ..Tally::default() };
        let speed = Speed::new(self.begun.elapsed(), there, LEFT_TIME);
        let phase = if there > 0 { Phase::Checking } else { Phase::Moving };
        *state = State { phase, size, md5, kept: there, tally, speed };
    }

    /// The receiver has come this far.
    pub(crate) fn moves(&self, tally: Tally) {
        let time = self.begun.elapsed();
        let mut state = lock(&self.state);
        state.speed.note(time, tally.bytes);
        let whole = match state.size {
            Some(size) => tally.bytes >= size,
            // Of a classic transfer only the end of all streams is seen.
            None => tally.bytes > 0 && tally.streams == 0,
        };
        let still = state.speed.last_gain().is_none_or(|last| time - last > STILL_TIME);
        state.phase = match state.phase {
            _ if whole && (state.md5 || tally.held > 0) => Phase::Checking,
            Phase::Lost if tally.streams == 0 && tally.bytes <= state.tally.bytes => Phase::Lost,
            _ if still && tally.held > 0 => Phase::Checking,
            _ => Phase::Moving,
        };
        state.tally = tally;
    }

    /// The server is gone, and its streams with it.
    pub(crate) fn is_lost(&self) {
        let mut state = lock(&self.state);
        let is_news = state.phase != Phase::Lost;
        state.phase = Phase::Lost;
        state.tally.streams = 0;
        drop(state);
        if is_news {
            self.bell.ring_news();
        }
    }

    /// All is there and checked: so many bytes.
    pub(crate) fn is_saved(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.phase = Phase::Saving;
        state.size = Some(bytes);
        state.tally = Tally { bytes, streams: 0, held: 0, ..state.tally };
    }

    /// How it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let time = self.begun.elapsed();
        let state = lock(&self.state);
        let left = match (state.phase, state.size) {
            (Phase::Moving, Some(size)) => state.left(time, size.saturating_sub(state.tally.bytes)),
            _ => None,
        };
        Snapshot {
            time,
            phase: state.phase,
            bytes: state.tally.bytes,
            size: state.size,
            rate: state.speed.rate(time, RATE_TIME),
            left,
            streams: state.tally.streams,
            again: state.tally.again,
            kept: state.kept,
            checked: state.kept.saturating_sub(state.tally.held),
            hashed: state.tally.hashed,
        }
    }
}

impl State {
    /// Seconds until `rest` more bytes are there, as they came up to the last one: while
    /// none comes the time left passes, and then is not known.
    fn left(&self, time: Duration, rest: u64) -> Option<u64> {
        let last = self.speed.last_gain()?;
        let passed = time.saturating_sub(last);
        let rate = self.speed.rate(last, LEFT_TIME);
        let known = passed <= STILL_TIME && rate > 0.0;
        known.then(|| (rest as f64 / rate - passed.as_secs_f64()).max(0.0).ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(bytes: u64, streams: u64) -> Tally {
        Tally { bytes, streams, ..Tally::default() }
    }

    #[test]
    fn the_phase_follows_what_the_receiver_reports() {
        let progress = Progress::new();
        assert_eq!(progress.snapshot().phase, Phase::Asking);
        progress.begins(Some(100), 10, true);
        let phase = |tally| {
            progress.moves(tally);
            progress.snapshot().phase
        };
        assert_eq!(phase(tally(50, 2)), Phase::Moving);
        progress.is_lost();
        assert_eq!(progress.snapshot().streams, 0);
        assert_eq!(phase(tally(50, 0)), Phase::Lost, "nothing new");
        assert_eq!(phase(tally(50, 1)), Phase::Moving);
        assert_eq!(phase(tally(100, 2)), Phase::Checking);
        assert_eq!(phase(tally(90, 2)), Phase::Moving, "what was there was damaged");
    }

    #[test]
    fn until_bytes_come_what_is_there_is_checked() {
        let progress = Progress::new();
        progress.begins(Some(100), 70, true);
        let at = |tally| {
            progress.moves(tally);
            let now = progress.snapshot();
            (now.phase, now.checked, now.left.is_some())
        };
        let held = |bytes, held| Tally { held, ..tally(bytes, 1) };
        assert_eq!(at(held(70, 70)), (Phase::Checking, 0, false));
        assert_eq!(at(held(70, 30)), (Phase::Checking, 40, false));
        assert_eq!(at(held(80, 30)), (Phase::Moving, 40, true));
        assert_eq!(at(held(80, 0)), (Phase::Moving, 70, true));
        assert_eq!(at(held(100, 0)), (Phase::Checking, 70, false));
    }

    #[test]
    fn what_is_there_is_checked_without_an_md5_too() {
        let progress = Progress::new();
        progress.begins(Some(100), 70, false);
        progress.moves(Tally { held: 10, ..tally(100, 1) });
        assert_eq!(progress.snapshot().phase, Phase::Checking);
        progress.moves(tally(100, 1));
        assert_eq!(progress.snapshot().phase, Phase::Moving);
    }

    #[test]
    fn the_time_left_passes_while_nothing_comes_and_then_is_not_known() {
        let second = Duration::from_secs(1);
        let mut state = State {
            phase: Phase::Moving,
            size: Some(1000),
            md5: true,
            kept: 0,
            tally: tally(100, 1),
            speed: Speed::new(Duration::ZERO, 0, LEFT_TIME),
        };
        state.speed.note(second, 100);
        assert_eq!(state.left(second, 900), Some(9));
        state.speed.note(2 * second, 100);
        assert_eq!(state.left(2 * second, 900), Some(8), "not a later end than before");
        assert_eq!(state.left(4 * second, 900), None);
    }

    #[test]
    fn without_an_md5_nothing_is_checked_at_the_end() {
        let progress = Progress::new();
        progress.begins(Some(100), 0, false);
        progress.moves(tally(100, 1));
        assert_eq!(progress.snapshot().phase, Phase::Moving);
    }

    #[test]
    fn of_a_classic_transfer_the_end_of_all_streams_is_seen() {
        let progress = Progress::new();
        progress.begins(None, 0, true);
        progress.moves(tally(70, 1));
        assert_eq!(progress.snapshot().phase, Phase::Moving);
        progress.moves(tally(100, 0));
        assert_eq!(progress.snapshot().phase, Phase::Checking);
    }

    #[test]
    fn what_was_there_before_is_no_speed() {
        let progress = Progress::new();
        progress.begins(Some(1000), 900, true);
        progress.moves(tally(900, 1));
        let now = progress.snapshot();
        assert_eq!((now.rate, now.left, now.bytes), (0.0, None, 900));
    }
}
