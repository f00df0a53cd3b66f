//! The rate of the last seconds. Every time counts from the start of the fetch; the caller
//! reads the clock.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

/// The shortest time that a rate is a mean of.
const SHORTEST: Duration = Duration::from_millis(100);

/// The counts of the last seconds.
pub(super) struct Speed {
    /// For how long a count is kept.
    memory: Duration,
    /// Times and bytes, in the order of time, at least one. The first count may be older than
    /// `memory`: it is the base of the oldest rate.
    counts: VecDeque<(Duration, u64)>,
}

impl Speed {
    /// Begins at `now` with so many bytes, and keeps counts for `memory`.
    pub(super) fn new(now: Duration, bytes: u64, memory: Duration) -> Speed {
        Speed { memory, counts: VecDeque::from([(now, bytes)]) }
    }

    /// Adds the count of `bytes` at `now`.
    pub(super) fn note(&mut self, now: Duration, bytes: u64) {
        self.counts.push_back((now, bytes));
        let oldest = now.saturating_sub(self.memory);
        while self.counts.get(1).is_some_and(|(time, _)| *time <= oldest) {
            self.counts.pop_front();
        }
    }

    /// The last time when the count rose; `None` if it never rose, or not within `memory`.
    pub(super) fn last_gain(&self) -> Option<Duration> {
        let later = self.counts.iter().rev();
        let mut pairs = later.clone().skip(1).zip(later);
        pairs.find(|((_, before), (_, bytes))| bytes > before).map(|(_, (time, _))| *time)
    }

    /// Bytes per second in the last `time` before `now`, or since the beginning. It falls while
    /// no count is added.
    pub(super) fn rate(&self, now: Duration, time: Duration) -> f64 {
        let from = now.saturating_sub(time);
        let since = self.counts.iter().rev().find(|(at, _)| *at <= from);
        let (Some((begun, before)), Some((_, bytes))) =
            (since.or(self.counts.front()), self.counts.back())
        else {
            return 0.0;
        };
        let passed = now.saturating_sub(*begun).max(SHORTEST);
        bytes.saturating_sub(*before) as f64 / passed.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Each rate, in bytes per tenth of a second, for ten seconds.
    fn run(rates: &[u64]) -> (Speed, Duration) {
        let mut speed = Speed::new(Duration::ZERO, 0, 10 * SECOND);
        let (mut now, mut bytes) = (Duration::ZERO, 0);
        for rate in rates {
            for _ in 0..100 {
                now += SECOND / 10;
                bytes += rate;
                speed.note(now, bytes);
            }
        }
        (speed, now)
    }

    #[test]
    fn a_steady_rate_is_the_same_over_any_time() {
        let (speed, now) = run(&[7]);
        for time in [SECOND, 3 * SECOND, 60 * SECOND] {
            assert!((speed.rate(now, time) - 70.0).abs() < 0.1);
        }
    }

    #[test]
    fn a_change_shows_at_once_over_a_short_time() {
        let (speed, now) = run(&[100, 0, 10]);
        assert!((speed.rate(now, SECOND) - 100.0).abs() < 0.1);
        let (speed, now) = run(&[10, 100]);
        assert!((speed.rate(now + 5 * SECOND, 10 * SECOND) - 500.0).abs() < 1.0);
    }

    #[test]
    fn without_new_counts_the_rate_falls_to_zero() {
        let (speed, now) = run(&[10]);
        let falling = speed.rate(now + SECOND, 2 * SECOND);
        assert!((falling - 50.0).abs() < 0.1, "{falling}");
        assert_eq!(speed.rate(now + 2 * SECOND, 2 * SECOND), 0.0);
    }

    #[test]
    fn the_last_gain_is_the_last_rise_of_the_count() {
        let (speed, now) = run(&[10]);
        assert_eq!(speed.last_gain(), Some(now));
        let (speed, now) = run(&[10, 0]);
        assert_eq!(speed.last_gain(), None, "{now:?}");
        let mut speed = Speed::new(SECOND, 7, 10 * SECOND);
        speed.note(2 * SECOND, 9);
        speed.note(3 * SECOND, 5);
        assert_eq!(speed.last_gain(), Some(2 * SECOND));
    }

    #[test]
    fn a_count_that_falls_is_no_negative_rate() {
        let mut speed = Speed::new(Duration::ZERO, 1000, SECOND);
        speed.note(SECOND, 900);
        assert_eq!(speed.rate(SECOND, SECOND), 0.0);
    }

    #[test]
    fn old_counts_are_dropped() {
        let (speed, _) = run(&[1; 50]);
        assert!(speed.counts.len() <= 102, "{}", speed.counts.len());
    }
}
