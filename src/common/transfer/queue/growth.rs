//! The search for the number of streams of a transfer, while it runs: streams are added as long
//! as that brings more bytes a second. The search knows no clock, no socket and no thread.
//!
//! ```text
//!   settle ──► measure ──► did more bring more? ──yes──► open more ──► settle ...
//!                               │ no                         ▲
//!                               ▼                            │ yes
//!                     back to the number before ──► less than with more?
//!                                                            │ no
//!                                                            ▼
//!                              half as many, once ◄──────── watch ──► much less? ──► open more
//! ```
//!
//! The first number can be wrong: other traffic ended during the search, and more streams seemed
//! to be the reason for the gain. So a transfer that has more streams than at first tries half of
//! them once. It halves again as long as fewer streams bring as much.

#![forbid(unsafe_code)]

use std::time::Duration;

/// Streams that a transfer begins with. `auto` means this number where no search is possible.
pub const FIRST_STREAMS: u8 = 4;

/// The same where another program carries each stream, such as ssh. Each stream costs a login, and
/// the ciphers of both ends.
pub const FIRST_CARRIED: u8 = 2;

/// How long nothing is measured after the number has changed, in round trips, and the least and
/// the most of that time. A new stream brings more until its first losses than it can keep up: it
/// overshoots.
const SETTLE_ROUNDS: u32 = 20;
const SETTLE_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// How long a measurement takes, in round trips, and the least and the most of that time.
const MEASURE_ROUNDS: u32 = 10;
const MEASURE_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// How long each measurement of the watch takes, after the search.
const WATCH_TIME: Duration = Duration::from_secs(5);

/// More streams have helped if the rate has grown by this factor. Still more are tried then.
const HELPED: f64 = 1.08;

/// If the rate has grown by this factor at least, more streams stay, and the search is over. A
/// smaller gain is not worth the streams.
const HELPED_LITTLE: f64 = 1.02;

/// If the rate has grown by this factor, the next step is the large one. With many streams it is
/// the small one, since a wrong step costs more then.
const HELPED_MUCH: f64 = 2.0;
const LARGE_STEP: u8 = 4;
const MANY: u8 = 32;

/// Every other step, and the first one where another program carries the streams.
const SMALL_STEP: u8 = 2;

/// A rate is at the user's limit from this share of the limit on. More streams cannot help then.
const AT_THE_LIMIT: f64 = 0.9;

/// The watch tries half the streams after this many measurements.
const LOOKS_BEFORE_FEWER: u32 = 2;

/// If the rate is below this share of the best one for this many measurements in a row, the path
/// has changed. More streams are tried again.
const MUCH_LESS: f64 = 0.75;
const LOW_IN_A_ROW: u32 = 2;

/// The search for the right number of streams.
#[derive(Debug)]
pub struct Growth {
    most: u8,
    /// The limit of the user or of the server, in bytes a second.
    limit: Option<u64>,
    streams: u8,
    /// How many times as many streams are tried first.
    first_step: u8,
    question: Question,
    phase: Phase,
    /// Fewer streams than this bring less: that was tried, or it is the first number.
    fewest: u8,
    /// The shortest round trip so far.
    round_trip: Duration,
}

/// A result: the rate that a number of streams brought, in bytes a second.
#[derive(Clone, Copy, Debug)]
struct Found {
    streams: u8,
    rate: f64,
}

/// The question that the next measurement answers.
#[derive(Clone, Copy, Debug)]
enum Question {
    /// How much do the first streams bring?
    First,
    /// Do more streams bring more than this?
    MoreThan(Found),
    /// More streams brought this, which was no gain. Do fewer streams still bring as much? They
    /// may have overshot before.
    AsMuchAs(Found),
    /// The search is over. Does half of these streams bring as much?
    HalfOf(Found),
    /// Half of the streams brought less. How much do all of them bring, now that they are back?
    Back,
}

#[derive(Debug)]
enum Phase {
    /// The number has changed at this time. Nothing is measured for a while.
    Settling(Duration),
    /// A measurement began at this time, when this many bytes had come.
    Measuring(Duration, u64),
    /// The search is over. It begins again if the rate falls.
    Watching(Watch),
}

/// The watch over the rate, after the search.
#[derive(Debug)]
struct Watch {
    since: Duration,
    bytes: u64,
    /// The best rate, in bytes a second.
    best: f64,
    /// The number of measurements, and how many of the last ones in a row brought much less.
    looks: u32,
    low_in_a_row: u32,
}

/// What a measurement of the watch has found.
enum Look {
    /// The rate, in bytes a second, is as good as before.
    Well(f64),
    /// The rate, in bytes a second, is much lower than before.
    MuchLess(f64),
}

impl Growth {
    /// A search from `first` up to `most` streams.
    pub fn new(first: u8, most: u8) -> Growth {
        let first = first.min(most.max(1));
        Growth {
            most: most.max(1),
            limit: None,
            streams: first,
            first_step: if first < FIRST_STREAMS { SMALL_STEP } else { LARGE_STEP },
            question: Question::First,
            phase: Phase::Settling(Duration::ZERO),
            fewest: first,
            round_trip: Duration::MAX,
        }
    }

    /// How many streams there should be.
    pub fn streams(&self) -> u8 {
        self.streams
    }

    /// The peer gives no more than `most` streams, now and later.
    pub fn stop_at(&mut self, most: u8) {
        self.most = self.most.min(most.max(1));
        self.streams = self.streams.min(self.most);
    }

    /// Together the streams may bring `limit` bytes a second from now on.
    pub fn is_limited_to(&mut self, limit: Option<u64>) {
        self.limit = limit;
    }

    /// Takes a reading: `bytes` have come by `now`, which counts from the start. `round_trip` is
    /// the shortest of the streams. Returns how many streams there should be from now on. Call
    /// this several times a second.
    pub fn sample(&mut self, now: Duration, bytes: u64, round_trip: Option<Duration>) -> u8 {
        self.round_trip = self.round_trip.min(round_trip.unwrap_or(Duration::MAX));
        match &mut self.phase {
            Phase::Settling(since) => {
                let quiet = rounds(self.round_trip, SETTLE_ROUNDS, SETTLE_TIME);
                if now.saturating_sub(*since) >= quiet {
                    self.phase = Phase::Measuring(now, bytes);
                }
            }
            Phase::Measuring(since, start) => {
                let (time, came) = (now.saturating_sub(*since), bytes.saturating_sub(*start));
                if came == 0 {
                    // There is nothing to compare: the server is away, or the file has a hole.
                    self.phase = Phase::Measuring(now, bytes);
                } else if time >= rounds(self.round_trip, MEASURE_ROUNDS, MEASURE_TIME) {
                    self.judge(now, bytes, came as f64 / time.as_secs_f64());
                }
            }
            Phase::Watching(watch) => {
                let look = watch.look(now, bytes);
                let is_due = watch.looks >= LOOKS_BEFORE_FEWER;
                match look {
                    Some(Look::MuchLess(rate)) if self.streams < self.most => {
                        self.step(now, rate, SMALL_STEP);
                    }
                    Some(Look::Well(rate)) if is_due && !self.is_held(rate) => {
                        self.halve(now, rate);
                    }
                    Some(Look::Well(_) | Look::MuchLess(_)) | None => {}
                }
            }
        }
        self.streams
    }

    /// Decides after a measurement of `rate` bytes a second.
    fn judge(&mut self, now: Duration, bytes: u64, rate: f64) {
        let here = Found { streams: self.streams, rate };
        match self.question {
            Question::First | Question::AsMuchAs(_) if self.is_held(rate) => {
                self.watch(now, bytes, rate);
            }
            Question::First => self.step(now, rate, self.first_step),
            Question::MoreThan(fewer) => match rate / fewer.rate {
                gain if gain < HELPED_LITTLE => {
                    self.go(now, fewer.streams, Question::AsMuchAs(here));
                }
                gain if gain < HELPED => self.watch(now, bytes, rate),
                gain if gain < HELPED_MUCH || self.streams >= MANY => {
                    self.step(now, rate, SMALL_STEP);
                }
                _ => self.step(now, rate, LARGE_STEP),
            },
            Question::AsMuchAs(more) if more.rate >= rate * HELPED => {
                self.go(now, more.streams, Question::MoreThan(here));
            }
            Question::HalfOf(more) if more.rate >= rate * HELPED_LITTLE => {
                self.fewest = more.streams;
                self.go(now, more.streams, Question::Back);
            }
            Question::HalfOf(_) if self.streams > self.fewest => self.halve(now, rate),
            Question::AsMuchAs(_) | Question::HalfOf(_) | Question::Back => {
                self.watch(now, bytes, rate);
            }
        }
        if self.streams == here.streams && matches!(self.phase, Phase::Settling(_)) {
            self.watch(now, bytes, rate); // no more streams are allowed
        }
    }

    /// Multiplies the number of streams, up to the most.
    fn step(&mut self, now: Duration, rate: f64, times: u8) {
        let here = Found { streams: self.streams, rate };
        let streams = self.streams.saturating_mul(times).min(self.most);
        self.go(now, streams, Question::MoreThan(here));
    }

    /// Tries half as many streams, unless so few were tried before.
    fn halve(&mut self, now: Duration, rate: f64) {
        let here = Found { streams: self.streams, rate };
        if here.streams > self.fewest {
            let half = (here.streams / 2).max(self.fewest);
            self.go(now, half, Question::HalfOf(here));
        }
    }

    /// Whether the user's limit holds the rate.
    fn is_held(&self, rate: f64) -> bool {
        self.limit.is_some_and(|limit| rate >= limit as f64 * AT_THE_LIMIT)
    }

    fn go(&mut self, now: Duration, streams: u8, question: Question) {
        self.streams = streams.min(self.most);
        self.question = question;
        self.phase = Phase::Settling(now);
    }

    fn watch(&mut self, now: Duration, bytes: u64, best: f64) {
        self.phase = Phase::Watching(Watch { since: now, bytes, best, looks: 0, low_in_a_row: 0 });
    }
}

impl Watch {
    /// Takes a reading. Returns a result at the end of a measurement.
    fn look(&mut self, now: Duration, bytes: u64) -> Option<Look> {
        let time = now.saturating_sub(self.since);
        if time < WATCH_TIME {
            return None;
        }
        let came = bytes.saturating_sub(self.bytes);
        let rate = came as f64 / time.as_secs_f64();
        (self.since, self.bytes) = (now, bytes);
        self.best = self.best.max(rate);
        self.looks += 1;
        match rate < self.best * MUCH_LESS {
            // The server is away, or the file has a hole.
            _ if came == 0 => self.low_in_a_row = 0,
            true => self.low_in_a_row += 1,
            false => self.low_in_a_row = 0,
        }
        match self.low_in_a_row {
            0 if came > 0 => Some(Look::Well(rate)),
            LOW_IN_A_ROW.. => Some(Look::MuchLess(rate)),
            _ => None,
        }
    }
}

/// The time of `count` round trips, between `least` and `most`.
fn rounds(round_trip: Duration, count: u32, (least, most): (Duration, Duration)) -> Duration {
    match round_trip {
        Duration::MAX => least,
        known => known.saturating_mul(count).clamp(least, most),
    }
}

#[cfg(test)]
mod tests;
