//! Backoff: the delays between attempts, each twice as long as the one before, up to a bound.

#![forbid(unsafe_code)]

use super::random;
use std::time::Duration;

/// The delays of one series of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// A series that begins with `first` and never exceeds `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, next: first }
    }

    /// The delay before the next attempt. The one after it is twice as long.
    pub fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.longest);
        delay
    }

    /// Begins anew, after an attempt that succeeded.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random time from half of `delay` to all of it. Peers that failed together come back
/// apart.
pub fn jitter(delay: Duration) -> Duration {
    let mut byte = [u8::MAX];
    // Without random bytes, the whole delay.
    let _ = random::fill(&mut byte);
    share(delay, byte[0])
}

/// Half of `delay` for 0, all of it for 255.
fn share(delay: Duration, byte: u8) -> Duration {
    delay.mul_f64(0.5 + f64::from(byte) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut backoff = Backoff::new(100 * MS, 500 * MS);
        let delays = [(); 5].map(|()| backoff.delay());
        assert_eq!(delays, [100 * MS, 200 * MS, 400 * MS, 500 * MS, 500 * MS]);
    }

    #[test]
    fn a_reset_begins_with_the_first_delay() {
        let mut backoff = Backoff::new(100 * MS, 500 * MS);
        backoff.delay();
        backoff.delay();
        backoff.reset();
        assert_eq!((backoff.delay(), backoff.delay()), (100 * MS, 200 * MS));
    }

    #[test]
    fn jitter_takes_from_half_of_the_delay_to_all_of_it() {
        assert_eq!((share(100 * MS, 0), share(100 * MS, 255)), (50 * MS, 100 * MS));
        for _ in 0..100 {
            assert!((50 * MS..=100 * MS).contains(&jitter(100 * MS)));
        }
    }
}
