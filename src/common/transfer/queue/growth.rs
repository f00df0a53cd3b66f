//! How many streams a transfer should have, found out while it runs: more as long as
//! more of them bring more. Knows no clock, no socket and no thread.
//!
//! ```text
//!   settle ──► measure ──► more brought more? ──yes──► open more ──► settle ...
//!                               │ no                      ▲
//!                               ▼                         │ yes
//!                    back to the number before ──► less than with more?
//!                                                         │ no
//!                                                         ▼
//!                              half as many, once ◄──── watch ──► much less? ──► open more
//! ```
//!
//! What is found at the start can be wrong: what else was going on then went by, and more
//! streams seemed to be the reason. So where there are more than at first, half of them
//! are tried once, and again half of those as long as they bring as much.

#![forbid(unsafe_code)]

use std::time::Duration;

/// Streams that a transfer begins with, and what `auto` means where nothing can be tried.
pub const FIRST_STREAMS: u8 = 4;

/// How long nothing is measured after the number has changed: a new stream overshoots
/// until its first losses, and what it brings then is no measure of what it can bring.
/// In round trips, and at least and at most so long.
const SETTLE_ROUNDS: u32 = 20;
const SETTLE_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// How long is measured; in round trips, and at least and at most so long.
const MEASURE_ROUNDS: u32 = 10;
const MEASURE_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// What one of the measurements takes that are made when no more streams are opened.
const WATCH_TIME: Duration = Duration::from_secs(5);

/// More streams have helped when so many times as much comes, and still more are tried.
const HELPED: f64 = 1.08;

/// When so many times as much comes, they stay, but the search is over. When less does,
/// they are not worth what they cost.
const HELPED_LITTLE: f64 = 1.02;

/// Where so many times as much comes, the next step is the large one, but not where there
/// are many streams already: then it costs more to be wrong.
const HELPED_MUCH: f64 = 2.0;
const LARGE_STEP: u8 = 4;
const MANY: u8 = 32;

/// Every other step.
const SMALL_STEP: u8 = 2;

/// What is this close to a limit that the user has set is held by it, and no stream more
/// can help.
const AT_THE_LIMIT: f64 = 0.9;

/// After so many measurements half the streams are tried.
const LOOKS_BEFORE_FEWER: u32 = 2;

/// When less than this share of the best comes, so many measurements in a row, the path
/// is another one than it was, and more streams are tried once more.
const MUCH_LESS: f64 = 0.75;
const LOW_IN_A_ROW: u32 = 2;

/// The search for the right number of streams.
#[derive(Debug)]
pub struct Growth {
    most: u8,
    /// Bytes a second that are allowed.
    limit: Option<u64>,
    streams: u8,
    question: Question,
    phase: Phase,
    /// Fewer streams than these were tried, and do not bring as much.
    fewest: u8,
    /// The shortest round trip that was ever seen.
    round_trip: Duration,
}

/// So many streams brought so many bytes a second.
#[derive(Clone, Copy, Debug)]
struct Found {
    streams: u8,
    rate: f64,
}

/// What the next measurement is to answer.
#[derive(Clone, Copy, Debug)]
enum Question {
    /// What do the first streams bring?
    First,
    /// Do more streams bring more than these did?
    MoreThan(Found),
    /// They did not: do so few still bring as much as these did? What they brought before
    /// may have been the overshoot of their beginning.
    AsMuchAs(Found),
    /// The search is over. Do so few bring as much as these did?
    HalfOf(Found),
    /// They did not: what do they bring now that they are back?
    Back,
}

#[derive(Debug)]
enum Phase {
    /// Nothing is measured for a while since this time.
    Settling(Duration),
    /// Since this time, with so many bytes at its beginning.
    Measuring(Duration, u64),
    /// No more are opened unless less comes.
    Watching(Watch),
}

/// What is watched when the number was found.
#[derive(Debug)]
struct Watch {
    since: Duration,
    bytes: u64,
    /// The most that came, in bytes a second.
    best: f64,
    /// Measurements so far, and how many of the last ones brought much less.
    looks: u32,
    low_in_a_row: u32,
}

/// What a measurement says that is made while nothing is tried.
enum Look {
    /// All is well with so many bytes a second.
    Well(f64),
    /// They have been much less than they were.
    MuchLess(f64),
}

impl Growth {
    /// A search that goes up to `most` streams, which together may bring `limit` bytes a
    /// second.
    pub fn new(most: u8, limit: Option<u64>) -> Growth {
        Growth {
            most: most.max(1),
            limit,
            streams: FIRST_STREAMS.min(most.max(1)),
            question: Question::First,
            phase: Phase::Settling(Duration::ZERO),
            fewest: FIRST_STREAMS.min(most.max(1)),
            round_trip: Duration::MAX,
        }
    }

    /// How many streams there should be.
    pub fn streams(&self) -> u8 {
        self.streams
    }

    /// No more than so many can be had, now and later.
    pub fn stop_at(&mut self, most: u8) {
        self.most = self.most.min(most.max(1));
        self.streams = self.streams.min(self.most);
    }

    /// Takes a reading: `bytes` have come by `now`, which counts from the start, and the
    /// shortest round trip of the streams takes `round_trip`. Answers how many streams
    /// there should be from now on. To be called several times a second.
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
                    // Nothing to compare: a server that is away, or a hole.
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

    /// The measurement says that `rate` bytes a second come.
    fn judge(&mut self, now: Duration, bytes: u64, rate: f64) {
        let here = Found { streams: self.streams, rate };
        match self.question {
            Question::First | Question::AsMuchAs(_) if self.is_held(rate) => {
                self.watch(now, bytes, rate);
            }
            Question::First => self.step(now, rate, LARGE_STEP),
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
            self.watch(now, bytes, rate); // there are no more to be had
        }
    }

    /// Opens `times` as many, up to the most.
    fn step(&mut self, now: Duration, rate: f64, times: u8) {
        let here = Found { streams: self.streams, rate };
        let streams = self.streams.saturating_mul(times).min(self.most);
        self.go(now, streams, Question::MoreThan(here));
    }

    /// Tries half as many, where that was not done before.
    fn halve(&mut self, now: Duration, rate: f64) {
        let here = Found { streams: self.streams, rate };
        if here.streams > self.fewest {
            let half = (here.streams / 2).max(self.fewest);
            self.go(now, half, Question::HalfOf(here));
        }
    }

    /// Whether so much is all that the user's limit allows.
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
    /// Takes a reading, which now and then is the end of a measurement.
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
            // A server that is away, or a hole.
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

/// So many round trips, within these limits.
fn rounds(round_trip: Duration, count: u32, (least, most): (Duration, Duration)) -> Duration {
    match round_trip {
        Duration::MAX => least,
        known => known.saturating_mul(count).clamp(least, most),
    }
}

#[cfg(test)]
mod tests;
