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
//!                                                       watch ──► much less? ──► open more
//! ```

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
    low_in_a_row: u32,
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
                let much_less = watch.look(now, bytes);
                if let Some(rate) = much_less.filter(|_| self.streams < self.most) {
                    self.step(now, rate, SMALL_STEP);
                }
            }
        }
        self.streams
    }

    /// The measurement says that `rate` bytes a second come.
    fn judge(&mut self, now: Duration, bytes: u64, rate: f64) {
        let here = Found { streams: self.streams, rate };
        let is_held = self.limit.is_some_and(|limit| rate >= limit as f64 * AT_THE_LIMIT);
        match self.question {
            Question::First | Question::AsMuchAs(_) if is_held => self.watch(now, bytes, rate),
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
            Question::AsMuchAs(_) => self.watch(now, bytes, rate),
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

    fn go(&mut self, now: Duration, streams: u8, question: Question) {
        self.streams = streams.min(self.most);
        self.question = question;
        self.phase = Phase::Settling(now);
    }

    fn watch(&mut self, now: Duration, bytes: u64, best: f64) {
        self.phase = Phase::Watching(Watch { since: now, bytes, best, low_in_a_row: 0 });
    }
}

impl Watch {
    /// Takes a reading. The answer is what comes, when it has been much less than it was.
    fn look(&mut self, now: Duration, bytes: u64) -> Option<f64> {
        let time = now.saturating_sub(self.since);
        if time < WATCH_TIME {
            return None;
        }
        let came = bytes.saturating_sub(self.bytes);
        let rate = came as f64 / time.as_secs_f64();
        (self.since, self.bytes) = (now, bytes);
        self.best = self.best.max(rate);
        match came > 0 && rate < self.best * MUCH_LESS {
            true => self.low_in_a_row += 1,
            false => self.low_in_a_row = 0,
        }
        (self.low_in_a_row >= LOW_IN_A_ROW).then_some(rate)
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
