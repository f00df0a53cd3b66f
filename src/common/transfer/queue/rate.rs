//! A limit in bytes per second that all streams of a transfer share. Streams move bytes in the
//! order in which they ask, so no stream starves. Each stream's thread sleeps until its turn, and
//! nothing polls. The limit moves no bytes itself.

#![forbid(unsafe_code)]

use crate::sys::sync::{lock, wait_for};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// After a pause, the bytes of this time may go at once: a burst.
pub const BURST_TIME: Duration = Duration::from_millis(100);

/// The smallest burst, in bytes, so that a low limit does not cut a buffer into tiny pieces.
pub const MIN_BURST: u64 = 4096;

/// Fractions of a byte in a byte.
const WHOLE: u128 = 1_000_000_000;

/// A limit, for any number of threads.
pub struct Rate {
    bucket: Mutex<Bucket>,
    changed: Condvar,
    start: Instant,
    over: AtomicBool,
}

impl Rate {
    /// A limit of this many bytes per second; 0 counts as 1.
    pub fn new(bytes_per_second: u64) -> Rate {
        Rate {
            bucket: Mutex::new(Bucket::new(bytes_per_second)),
            changed: Condvar::new(),
            start: Instant::now(),
            over: AtomicBool::new(false),
        }
    }

    /// Waits until `bytes` more may go. A thread that asks later waits for longer, even for fewer
    /// bytes. A caller may ask for more than a burst, and waits longer then.
    pub fn take(&self, bytes: u64) {
        let mut bucket = lock(&self.bucket);
        let turn = bucket.ask(bytes, self.start.elapsed());
        while let Some(left) = bucket.until(turn, self.start.elapsed()) {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            bucket = wait_for(&self.changed, bucket, left);
        }
    }

    /// Lifts the limit for good: no thread waits any more.
    pub fn lift(&self) {
        let _bucket = lock(&self.bucket); // no thread is between its test of `over` and its wait
        self.over.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Changes the limit, also for threads that wait already.
    pub fn change(&self, bytes_per_second: u64) {
        lock(&self.bucket).change(bytes_per_second, self.start.elapsed());
        self.changed.notify_all();
    }

    /// The limit now, in bytes per second.
    pub fn limit(&self) -> u64 {
        lock(&self.bucket).rate
    }

    /// How many of `wanted` bytes to take at once: at most a burst, so that the bytes flow evenly.
    pub fn piece(&self, wanted: u64) -> u64 {
        wanted.min(lock(&self.bucket).burst())
    }
}

impl Rate {
    /// How many of `wanted` bytes to take at once where this many streams share the limit. They
    /// are so few that each stream has its turn before its peer takes it for stalled.
    pub fn portion(&self, wanted: u64, sharers: u64) -> u64 {
        wanted.min((self.piece(u64::MAX) / sharers.max(1)).max(MIN_BURST))
    }
}

/// A limit, or none, that the streams of a transfer share.
#[derive(Clone, Default)]
pub struct Throttle {
    /// The limit; `None` for no limit.
    pub rate: Option<Arc<Rate>>,
    /// How many streams share it.
    pub streams: u8,
}

impl Throttle {
    /// Waits until some of `wanted` bytes may go, and returns how many.
    pub fn wait(&self, wanted: usize) -> usize {
        let Some(rate) = &self.rate else { return wanted };
        let portion = rate.portion(wanted as u64, self.streams.into());
        rate.take(portion);
        portion as usize
    }
}

/// The arithmetic of a limit. The caller tells the time, which counts from the start.
#[derive(Debug)]
struct Bucket {
    /// Bytes per second.
    rate: u64,
    /// How many bytes were asked for since the start. A turn is this number after its request.
    asked: u128,
    /// How many bytes may go since the start, in fractions of a byte.
    allowed: u128,
    /// The time of `allowed`.
    at: Duration,
}

impl Bucket {
    fn new(rate: u64) -> Bucket {
        let mut bucket = Bucket { rate: rate.max(1), asked: 0, allowed: 0, at: Duration::ZERO };
        bucket.allowed = u128::from(bucket.burst()) * WHOLE;
        bucket
    }

    fn burst(&self) -> u64 {
        let bytes = u128::from(self.rate) * BURST_TIME.as_nanos() / WHOLE;
        u64::try_from(bytes).unwrap_or(u64::MAX).max(MIN_BURST)
    }

    fn advance(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_nanos();
        self.at = self.at.max(now);
        let most = self.asked.saturating_add(u128::from(self.burst())).saturating_mul(WHOLE);
        let more = passed.saturating_mul(u128::from(self.rate));
        self.allowed = self.allowed.saturating_add(more).min(most);
    }

    fn change(&mut self, rate: u64, now: Duration) {
        self.advance(now);
        self.rate = rate.max(1);
        self.advance(now); // no more than the new burst
    }

    /// Asks for `bytes`, and returns their turn.
    fn ask(&mut self, bytes: u64, now: Duration) -> u128 {
        self.advance(now);
        self.asked = self.asked.saturating_add(u128::from(bytes));
        self.asked
    }

    /// The time until this turn; `None` when it has come.
    fn until(&mut self, turn: u128, now: Duration) -> Option<Duration> {
        self.advance(now);
        let missing = turn.saturating_mul(WHOLE).checked_sub(self.allowed).filter(|&m| m > 0)?;
        let nanoseconds = missing.div_ceil(u128::from(self.rate));
        Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MEGABYTE: u64 = 1_000_000;

    /// Takes each piece as soon as it may go, and returns the time of the last.
    fn run(bucket: &mut Bucket, pieces: u64, bytes: u64, start: Duration) -> Duration {
        let mut now = start;
        for _ in 0..pieces {
            let turn = bucket.ask(bytes, now);
            while let Some(left) = bucket.until(turn, now) {
                now += left;
            }
        }
        now
    }

    #[test]
    fn a_lifted_limit_ends_every_wait() {
        let rate = std::sync::Arc::new(Rate::new(1));
        let other = rate.clone();
        let waiting = std::thread::spawn(move || other.take(1 << 40));
        rate.lift();
        waiting.join().unwrap();
        rate.take(1 << 40);
    }

    #[test]
    fn after_the_first_burst_bytes_go_at_the_limit() {
        for (rate, bytes) in [(MEGABYTE, 1000), (MEGABYTE, 128 << 10), (10_000, 1), (3, 7)] {
            let mut bucket = Bucket::new(rate);
            // Miri takes a thousand times as long for a step: a little more than the burst.
            let pieces = if cfg!(miri) { MIN_BURST / bytes + 200 } else { 20_000 };
            let taken = run(&mut bucket, pieces, bytes, Duration::ZERO).as_secs_f64();
            let expected = (pieces * bytes - bucket.burst()) as f64 / rate as f64;
            assert!((taken - expected).abs() < 0.001 + expected * 1e-6, "{taken} {expected}");
        }
    }

    #[test]
    fn a_burst_goes_at_once_and_one_byte_more_does_not() {
        let mut bucket = Bucket::new(MEGABYTE);
        let turn = bucket.ask(bucket.burst(), Duration::ZERO);
        assert_eq!(bucket.until(turn, Duration::ZERO), None);
        let turn = bucket.ask(1, Duration::ZERO);
        assert_eq!(bucket.until(turn, Duration::ZERO), Some(Duration::from_micros(1)));
    }

    #[test]
    fn a_long_pause_saves_no_more_than_a_burst() {
        let mut bucket = Bucket::new(MEGABYTE);
        run(&mut bucket, 10, 100_000, Duration::ZERO);
        let turn = bucket.ask(bucket.burst() + MEGABYTE, 1000 * SECOND);
        assert_eq!(bucket.until(turn, 1000 * SECOND), Some(SECOND));
    }

    #[test]
    fn a_later_request_goes_later_even_for_fewer_bytes() {
        let mut bucket = Bucket::new(MEGABYTE);
        let burst = bucket.burst();
        let large = bucket.ask(burst + MEGABYTE, Duration::ZERO);
        let small = bucket.ask(1, Duration::ZERO);
        assert_eq!(bucket.until(large, Duration::ZERO), Some(SECOND));
        assert!(bucket.until(small, Duration::ZERO) > Some(SECOND));
        assert_eq!(bucket.until(large, SECOND), None);
        assert!(bucket.until(small, SECOND).is_some());
    }

    #[test]
    fn a_change_counts_for_a_request_that_waits() {
        let mut bucket = Bucket::new(MEGABYTE);
        let turn = bucket.ask(bucket.burst() + 10 * MEGABYTE, Duration::ZERO);
        assert_eq!(bucket.until(turn, Duration::ZERO), Some(10 * SECOND));
        bucket.change(5 * MEGABYTE, SECOND * 5);
        assert_eq!(bucket.until(turn, SECOND * 5), Some(SECOND));
        bucket.change(0, SECOND * 5);
        assert_eq!(bucket.until(turn, SECOND * 5), Some(SECOND * 5_000_000));
    }

    #[test]
    fn a_lower_limit_shrinks_a_saved_burst() {
        let mut bucket = Bucket::new(100 * MEGABYTE);
        bucket.change(1000, Duration::ZERO);
        let turn = bucket.ask(MIN_BURST + 1000, Duration::ZERO);
        assert_eq!(bucket.until(turn, Duration::ZERO), Some(SECOND));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut bucket = Bucket::new(u64::MAX);
        let turn = bucket.ask(u64::MAX, Duration::MAX);
        assert!(bucket.until(turn, Duration::MAX) < Some(2 * SECOND));
        let mut bucket = Bucket::new(1);
        let turn = bucket.ask(u64::MAX, Duration::ZERO);
        assert!(bucket.until(turn, Duration::ZERO).is_some());
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        let mut bucket = Bucket::new(MEGABYTE);
        let turn = bucket.ask(bucket.burst() + MEGABYTE, SECOND);
        assert_eq!(bucket.until(turn, Duration::ZERO), Some(SECOND));
        assert_eq!(bucket.until(turn, SECOND), Some(SECOND));
    }

    #[test]
    fn streams_that_share_the_limit_go_in_turn() {
        let mut bucket = Bucket::new(20 * MEGABYTE);
        bucket.ask(2 * MEGABYTE, Duration::ZERO); // the burst, which the first request gets
        let mut turns = [0; 8].map(|_| bucket.ask(16 << 10, Duration::ZERO));
        let mut shares = [0; 8];
        for millisecond in 1..=500 {
            let now = Duration::from_millis(millisecond);
            // It does not matter which stream looks first.
            for stream in (0..8).map(|number| (number + millisecond as usize) % 8) {
                while bucket.until(turns[stream], now).is_none() {
                    shares[stream] += 16 << 10;
                    turns[stream] = bucket.ask(16 << 10, now);
                }
            }
        }
        let (least, largest) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(largest - least <= 2 * (16 << 10), "{shares:?}");
    }

    #[test]
    fn threads_together_keep_to_the_limit() {
        let rate = Rate::new(20 * MEGABYTE);
        let begin = Instant::now();
        let takes = || (0..40).for_each(|_| rate.take(16 << 10));
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(takes))));
        let most = 20e6 * (begin.elapsed() + BURST_TIME).as_secs_f64();
        assert!(f64::from(8 * 40 * (16 << 10)) <= most, "{:?}", begin.elapsed());
    }

    #[test]
    fn a_change_wakes_a_thread_that_waits() {
        let rate = Rate::new(1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| rate.take(MEGABYTE));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            rate.change(u64::MAX);
            waiting.join().unwrap();
        });
    }

    #[test]
    fn a_portion_is_a_share_of_a_burst_and_never_tiny() {
        let rate = Rate::new(10 * MEGABYTE);
        assert_eq!(rate.portion(u64::MAX, 1), MEGABYTE);
        assert_eq!(rate.portion(u64::MAX, 100), 10_000);
        assert_eq!(rate.portion(u64::MAX, 255), MIN_BURST);
        assert_eq!(rate.portion(7, 255), 7);
    }

    #[test]
    fn a_piece_is_at_most_a_burst() {
        assert_eq!(Rate::new(10 * MEGABYTE).piece(128 << 10), 128 << 10);
        assert_eq!(Rate::new(MEGABYTE).piece(128 << 10), 100_000);
        assert_eq!(Rate::new(10).piece(128 << 10), MIN_BURST);
    }
}
