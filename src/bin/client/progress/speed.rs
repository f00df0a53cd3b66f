//! How fast bytes come, over the last moments. Has no clock of its own: every time is
//! counted from the start of the fetch.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

/// The least time over which a rate means anything.
const SHORTEST: Duration = Duration::from_millis(100);

/// What was counted when, for as long as it is remembered.
pub(super) struct Speed {
    memory: Duration,
    /// In the order of time, at least one. The first may be older than is remembered: it
    /// is where the oldest stretch begins.
    counts: VecDeque<(Duration, u64)>,
}

impl Speed {
    /// At `now` so many bytes are there. Remembers them for `memory`.
    pub(super) fn new(now: Duration, bytes: u64, memory: Duration) -> Speed {
        Speed { memory, counts: VecDeque::from([(now, bytes)]) }
    }

    /// At `now` so many bytes are there.
    pub(super) fn note(&mut self, now: Duration, bytes: u64) {
        self.counts.push_back((now, bytes));
        let oldest = now.saturating_sub(self.memory);
        while self.counts.get(1).is_some_and(|(time, _)| *time <= oldest) {
            self.counts.pop_front();
        }
    }

    /// When there were more bytes than before for the last time; `None` where there never
    /// were, or so long ago that it is not remembered.
    pub(super) fn last_gain(&self) -> Option<Duration> {
        let later = self.counts.iter().rev();
        let mut pairs = later.clone().skip(1).zip(later);
        pairs.find(|((_, before), (_, bytes))| bytes > before).map(|(_, (time, _))| *time)
    }

    /// Bytes a second over the last `stretch` before `now`, or since the beginning. Falls
    /// while nothing is noted.
    pub(super) fn rate(&self, now: Duration, stretch: Duration) -> f64 {
        let from = now.saturating_sub(stretch);
        let since = self.counts.iter().rev().find(|(time, _)| *time <= from);
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

    /// So many bytes in each tenth of a second, for ten seconds each.
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
    fn a_steady_rate_is_the_same_over_any_stretch() {
        let (speed, now) = run(&[7]);
        for stretch in [SECOND, 3 * SECOND, 60 * SECOND] {
            assert!((speed.rate(now, stretch) - 70.0).abs() < 0.1);
        }
    }

    #[test]
    fn a_change_shows_at_once_over_a_short_stretch() {
        let (speed, now) = run(&[100, 0, 10]);
        assert!((speed.rate(now, SECOND) - 100.0).abs() < 0.1);
        let (speed, now) = run(&[10, 100]);
        assert!((speed.rate(now + 5 * SECOND, 10 * SECOND) - 500.0).abs() < 1.0);
    }

    #[test]
    fn when_nothing_is_noted_the_rate_falls_to_nothing() {
        let (speed, now) = run(&[10]);
        let falling = speed.rate(now + SECOND, 2 * SECOND);
        assert!((falling - 50.0).abs() < 0.1, "{falling}");
        assert_eq!(speed.rate(now + 2 * SECOND, 2 * SECOND), 0.0);
    }

    #[test]
    fn the_last_gain_is_the_last_time_that_there_were_more_bytes() {
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
    fn no_more_is_remembered_than_was_asked_for() {
        let (speed, _) = run(&[1; 50]);
        assert!(speed.counts.len() <= 102, "{}", speed.counts.len());
    }
}
