//! The state of a fetch. The fetch updates it, and the display takes snapshots of it.

#![forbid(unsafe_code)]

mod bar;
mod display;
mod json;
mod speed;
pub(crate) mod style;

pub(crate) use display::Display;

use display::Wakeup;
use ropewalk::app::report::{Tally, TreeTally};
use ropewalk::sys::sync::lock;
use speed::Speed;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The rate is a mean over these last seconds. The time left uses a longer mean, so that it
/// does not jump.
const RATE_TIME: Duration = Duration::from_secs(2);
const TIME_LEFT_MEAN: Duration = Duration::from_secs(10);

/// After so long without a byte the phase is not "moving", and the time left is unknown.
const STILL_TIME: Duration = Duration::from_secs(2);

/// What a fetch does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for the server's reply; a classic server hashes the file first.
    Asking,
    /// Bytes arrive.
    Moving,
    /// The server is lost, and the client asks for another session.
    Lost,
    /// All bytes are there, or none arrives, and the client checks them: against the journal
    /// of an earlier run, or by the MD5.
    Checking,
    /// Every check is done, and the file goes to the disk.
    Saving,
}

impl Phase {
    /// The phase in JSON.
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
    /// Bytes that are here: arrived, the same as in an older file, or of an earlier run.
    pub(crate) bytes: u64,
    /// Bytes of the file; `None` while it is unknown.
    pub(crate) size: Option<u64>,
    /// Bytes per second that arrive, now.
    pub(crate) rate: f64,
    /// Seconds to the last byte, if known.
    pub(crate) seconds_left: Option<u64>,
    /// Open streams.
    pub(crate) streams: u64,
    /// Blocks that the receiver asked for again.
    pub(crate) resent: u64,
    /// Bytes of an earlier run.
    pub(crate) resumed: u64,
    /// How many of the resumed bytes are checked.
    pub(crate) checked: u64,
    /// Bytes that an older file had.
    pub(crate) same: u64,
    /// Bytes that the receiver's MD5 covers, if it makes one.
    pub(crate) hashed: Option<u64>,
    /// The figures of a folder.
    pub(crate) tree: Option<TreeTally>,
}

/// The state that the fetch updates.
pub(crate) struct Progress {
    begun: Instant,
    state: Mutex<State>,
    wakeup: Wakeup,
}

struct State {
    phase: Phase,
    size: Option<u64>,
    /// Whether the client waits for an MD5 after the last byte.
    md5: bool,
    /// Bytes of an earlier run.
    resumed: u64,
    tally: Tally,
    /// Of a folder.
    tree: Option<TreeTally>,
    /// The file of a folder that is moving.
    moving: Option<String>,
    /// Of all bytes that are here: for the time left.
    speed: Speed,
    /// Of those that arrived.
    arrival: Speed,
}

impl Progress {
    /// A fetch that begins now.
    pub(crate) fn new() -> Progress {
        let state = State {
            phase: Phase::Asking,
            size: None,
            md5: true,
            resumed: 0,
            tally: Tally::default(),
            tree: None,
            moving: None,
            speed: Speed::new(Duration::ZERO, 0, TIME_LEFT_MEAN),
            arrival: Speed::new(Duration::ZERO, 0, RATE_TIME),
        };
        Progress { begun: Instant::now(), state: Mutex::new(state), wakeup: Wakeup::default() }
    }

    /// The server has made an offer. `size` bytes are wanted, and `resumed` are here already.
    /// `md5` tells whether the client waits for an MD5 after the last byte.
    pub(crate) fn begin(&self, size: Option<u64>, resumed: u64, md5: bool) {
        let mut state = lock(&self.state);
        let tally = Tally { bytes: resumed, held: resumed, ..Tally::default() };
        let now = self.begun.elapsed();
        let speed = Speed::new(now, resumed, TIME_LEFT_MEAN);
        let arrival = Speed::new(now, resumed, RATE_TIME);
        let phase = if resumed > 0 { Phase::Checking } else { Phase::Moving };
        let (tree, moving) = (None, None);
        *state = State { phase, size, md5, resumed, tally, tree, moving, speed, arrival };
    }

    /// The server has offered a folder.
    pub(crate) fn begin_tree(&self) {
        self.begin(None, 0, false);
        lock(&self.state).tree = Some(TreeTally::default());
    }

    /// A folder has come this far. How many bytes it has is known when all of it is listed.
    pub(crate) fn update_tree(&self, tally: TreeTally) {
        let mut state = lock(&self.state);
        state.size = tally.is_listed.then_some(tally.bytes_known);
        state.tree = Some(tally);
    }

    /// This file of a folder is moving.
    pub(crate) fn moves(&self, path: &str) {
        lock(&self.state).moving = Some(path.to_string());
    }

    /// The file of a folder that is moving, escaped.
    pub(crate) fn moving(&self) -> Option<String> {
        let state = lock(&self.state);
        state.moving.clone().filter(|_| state.phase == Phase::Moving)
    }

    /// The last figures of a folder.
    pub(crate) fn tree(&self) -> TreeTally {
        lock(&self.state).tree.unwrap_or_default()
    }

    /// Whether the fetch is one of a folder.
    pub(crate) fn is_of_tree(&self) -> bool {
        lock(&self.state).tree.is_some()
    }

    /// The receiver has come this far.
    pub(crate) fn update(&self, tally: Tally) {
        let time = self.begun.elapsed();
        let mut state = lock(&self.state);
        state.speed.note(time, tally.bytes);
        state.arrival.note(time, tally.bytes.saturating_sub(tally.same));
        let whole = match state.size {
            Some(size) => tally.bytes >= size,
            None if state.tree.is_some() => false,
            // The size of a classic transfer is unknown: the end of all streams ends it.
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

    /// The server is lost, and its streams with it.
    pub(crate) fn server_lost(&self) {
        let mut state = lock(&self.state);
        let is_news = state.phase != Phase::Lost;
        state.phase = Phase::Lost;
        state.tally.streams = 0;
        drop(state);
        if is_news {
            self.wakeup.show_now();
        }
    }

    /// All bytes, so many, are here and checked.
    pub(crate) fn saving(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.phase = Phase::Saving;
        state.size = Some(bytes);
        state.tally = Tally { bytes, streams: 0, held: 0, ..state.tally };
    }

    /// The state now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let time = self.begun.elapsed();
        let state = lock(&self.state);
        let seconds_left = match (state.phase, state.size) {
            (Phase::Moving, Some(size)) => {
                state.seconds_left(time, size.saturating_sub(state.tally.bytes))
            }
            _ => None,
        };
        Snapshot {
            time,
            phase: state.phase,
            bytes: state.tally.bytes,
            size: state.size,
            rate: state.arrival.rate(time, RATE_TIME),
            seconds_left,
            streams: state.tally.streams,
            resent: state.tally.again,
            resumed: state.resumed,
            checked: state.resumed.saturating_sub(state.tally.held),
            same: state.tally.same,
            hashed: state.tally.hashed,
            tree: state.tree,
        }
    }
}

impl State {
    /// Seconds until `rest` more bytes arrive, at the rate up to the last byte. While no byte
    /// arrives the number counts down, and after [`STILL_TIME`] it is unknown.
    fn seconds_left(&self, time: Duration, rest: u64) -> Option<u64> {
        let last = self.speed.last_gain()?;
        let passed = time.saturating_sub(last);
        let rate = self.speed.rate(last, TIME_LEFT_MEAN);
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
        progress.begin(Some(100), 10, true);
        let phase = |tally| {
            progress.update(tally);
            progress.snapshot().phase
        };
        assert_eq!(phase(tally(50, 2)), Phase::Moving);
        progress.server_lost();
        assert_eq!(progress.snapshot().streams, 0);
        assert_eq!(phase(tally(50, 0)), Phase::Lost, "nothing new");
        assert_eq!(phase(tally(50, 1)), Phase::Moving);
        assert_eq!(phase(tally(100, 2)), Phase::Checking);
        assert_eq!(phase(tally(90, 2)), Phase::Moving, "a resumed range was damaged");
    }

    #[test]
    fn resumed_bytes_are_checked_until_bytes_arrive() {
        let progress = Progress::new();
        progress.begin(Some(100), 70, true);
        let at = |tally| {
            progress.update(tally);
            let now = progress.snapshot();
            (now.phase, now.checked, now.seconds_left.is_some())
        };
        let held = |bytes, held| Tally { held, ..tally(bytes, 1) };
        assert_eq!(at(held(70, 70)), (Phase::Checking, 0, false));
        assert_eq!(at(held(70, 30)), (Phase::Checking, 40, false));
        assert_eq!(at(held(80, 30)), (Phase::Moving, 40, true));
        assert_eq!(at(held(80, 0)), (Phase::Moving, 70, true));
        assert_eq!(at(held(100, 0)), (Phase::Checking, 70, false));
    }

    #[test]
    fn resumed_bytes_are_checked_without_an_md5_too() {
        let progress = Progress::new();
        progress.begin(Some(100), 70, false);
        progress.update(Tally { held: 10, ..tally(100, 1) });
        assert_eq!(progress.snapshot().phase, Phase::Checking);
        progress.update(tally(100, 1));
        assert_eq!(progress.snapshot().phase, Phase::Moving);
    }

    #[test]
    fn the_time_left_counts_down_while_no_byte_arrives_and_then_is_unknown() {
        let second = Duration::from_secs(1);
        let mut state = State {
            phase: Phase::Moving,
            size: Some(1000),
            md5: true,
            resumed: 0,
            tally: tally(100, 1),
            tree: None,
            moving: None,
            speed: Speed::new(Duration::ZERO, 0, TIME_LEFT_MEAN),
            arrival: Speed::new(Duration::ZERO, 0, RATE_TIME),
        };
        state.speed.note(second, 100);
        assert_eq!(state.seconds_left(second, 900), Some(9));
        state.speed.note(2 * second, 100);
        assert_eq!(state.seconds_left(2 * second, 900), Some(8), "not a later end than before");
        assert_eq!(state.seconds_left(4 * second, 900), None);
    }

    #[test]
    fn without_an_md5_nothing_is_checked_at_the_end() {
        let progress = Progress::new();
        progress.begin(Some(100), 0, false);
        progress.update(tally(100, 1));
        assert_eq!(progress.snapshot().phase, Phase::Moving);
    }

    #[test]
    fn the_end_of_all_streams_ends_a_classic_transfer() {
        let progress = Progress::new();
        progress.begin(None, 0, true);
        progress.update(tally(70, 1));
        assert_eq!(progress.snapshot().phase, Phase::Moving);
        progress.update(tally(100, 0));
        assert_eq!(progress.snapshot().phase, Phase::Checking);
    }

    #[test]
    fn bytes_that_were_the_same_count_as_done_and_not_for_the_rate() {
        let progress = Progress::new();
        progress.begin(Some(1000), 0, true);
        progress.update(Tally { same: 900, ..tally(900, 1) });
        let now = progress.snapshot();
        assert_eq!((now.rate, now.bytes, now.same), (0.0, 900, 900));
        assert!(now.seconds_left.is_some(), "the rest will go as fast");
        progress.update(Tally { same: 900, ..tally(950, 1) });
        assert!(progress.snapshot().rate > 0.0);
    }

    #[test]
    fn resumed_bytes_do_not_count_for_the_rate() {
        let progress = Progress::new();
        progress.begin(Some(1000), 900, true);
        progress.update(tally(900, 1));
        let now = progress.snapshot();
        assert_eq!((now.rate, now.seconds_left, now.bytes), (0.0, None, 900));
    }
}
