//! The pause between two attempts: it doubles with each attempt, up to a limit.

#![forbid(unsafe_code)]

use std::time::Duration;

/// The pauses of one row of attempts.
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// A row of pauses from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, next: first }
    }

    /// The pause before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// An attempt has succeeded: the row starts over.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_twice_the_last_one_up_to_the_limit() {
        let milliseconds = Duration::from_millis;
        let mut backoff = Backoff::new(milliseconds(200), milliseconds(500));
        let pauses = [(); 4].map(|()| backoff.next_pause().as_millis());
        assert_eq!(pauses, [200, 400, 500, 500]);
        backoff.reset();
        assert_eq!(backoff.next_pause(), milliseconds(200));
    }
}
