//! How fast the parts of large files are claimed. At high speed the streams take different files:
//! threads that write to one file spin in the kernel, which costs 8 % of the processors' time.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// Bytes a second that no disk with a moving head brings: such a disk would seek between the files.
const HIGH: f64 = 500e6;

/// The time over which the speed is measured.
const WINDOW: Duration = Duration::from_millis(20);

/// The speed of the last whole window.
#[derive(Debug, Default)]
pub(super) struct Speed {
    since: Option<Instant>,
    bytes: u64,
    is_high: bool,
}

impl Speed {
    /// So many bytes are claimed now.
    pub(super) fn add(&mut self, bytes: u64, now: Instant) {
        let since = *self.since.get_or_insert(now);
        self.bytes += bytes;
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= WINDOW {
            let is_high = self.bytes as f64 / elapsed.as_secs_f64() >= HIGH;
            *self = Speed { since: Some(now), bytes: 0, is_high };
        }
    }

    /// Whether no disk with a moving head is that fast.
    pub(super) fn is_high(&self) -> bool {
        self.is_high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_high_while_each_window_has_many_bytes() {
        let (mut speed, begun) = (Speed::default(), Instant::now());
        let mut is_high = |after: u32, bytes| {
            speed.add(bytes, begun + WINDOW * after);
            speed.is_high()
        };
        assert!(!is_high(0, 100 << 20), "nothing is known yet");
        assert!(is_high(1, 1));
        assert!(is_high(2, 40 << 20));
        assert!(!is_high(3, 5 << 20));
        assert!(!is_high(23, 100 << 20), "a pause counts");
    }
}
