//! How large blocks are, how much a stream should have asked for at any time, and how
//! long an answer takes: from what has arrived, without a clock of its own.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// Bytes of a block, up to [`FULL_STREAMS`] streams.
const BLOCK: u32 = 128 << 10;

/// Up to so many streams each gets whole blocks; above that they share what those take.
const FULL_STREAMS: u32 = 64;

/// The smallest share.
const SMALL_BLOCK: u32 = 16 << 10;

/// Round trips over which the best one counts.
const ROUNDS: usize = 10;

/// The shortest time over which arrivals are counted: a round trip on one machine is
/// shorter than the time that one block takes.
const SHORTEST_ROUND: Duration = Duration::from_millis(5);

/// Most requests under way on one stream.
pub const MAX_REQUESTS: usize = 1024;

/// How much more than what one round trip carries is asked for. With one bandwidth-delay
/// product a loss leaves the path idle; measured at 100 ms and 0.1% loss, two take half
/// the time.
const FACTOR: u64 = 2;

/// An answer of fewer bytes than this part of the floor is a small one.
const SMALL_SHARE: u64 = 4;

/// Bytes of a block with this many streams: with many they are smaller, so that all
/// of them together take no more memory.
pub fn block_size(threads: u8) -> u32 {
    let threads = u32::from(threads.max(1));
    let share = BLOCK * FULL_STREAMS / threads.max(FULL_STREAMS);
    (share / 4096 * 4096).max(SMALL_BLOCK)
}

/// The window of one stream.
#[derive(Debug)]
pub struct Window {
    /// What is asked for in any case, in bytes.
    floor: u64,
    /// Bytes of each of the last round trips.
    rounds: [u64; ROUNDS],
    next: usize,
    began: Instant,
    bytes: u64,
    answer: Option<Duration>,
}

impl Window {
    /// The window of a stream that begins now and asks for `floor` bytes at least.
    pub fn new(floor: u64, now: Instant) -> Window {
        Window { floor, rounds: [0; ROUNDS], next: 0, began: now, bytes: 0, answer: None }
    }

    /// Counts `bytes` that have arrived at `now`, asked for `answer` ago; `round_trip`
    /// is called once a round, for how long one takes.
    pub fn arrived(
        &mut self,
        bytes: u64,
        answer: Duration,
        now: Instant,
        round_trip: impl FnOnce() -> Option<Duration>,
    ) {
        self.bytes += bytes;
        // What is much smaller than a block, as the file's last piece, says nothing about how
        // long a block takes.
        if bytes >= self.floor / SMALL_SHARE {
            // Smoothed as TCP smooths its round trips (RFC 6298, section 2): one part in 8.
            self.answer = Some(match self.answer {
                None => answer,
                Some(before) => before - before / 8 + answer / 8,
            });
        }
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed < SHORTEST_ROUND {
            return;
        }
        // Without the kernel's word, the time that an answer takes is the best guess.
        let round = round_trip().or(self.answer).unwrap_or(elapsed);
        if elapsed < round {
            return;
        }
        let share = round.as_secs_f64() / elapsed.as_secs_f64();
        if let Some(place) = self.rounds.get_mut(self.next % ROUNDS) {
            *place = (self.bytes as f64 * share) as u64;
        }
        self.next = (self.next + 1) % ROUNDS;
        self.bytes = 0;
        self.began = now;
    }

    /// How many bytes to have asked for.
    pub fn limit(&self) -> u64 {
        let best = self.rounds.iter().max().copied().unwrap_or(0);
        self.floor.max(FACTOR * best)
    }

    /// How long an answer takes; `None` where none has come yet.
    pub fn pace(&self) -> Option<Duration> {
        self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn blocks_shrink_when_streams_are_many() {
        assert_eq!(block_size(1), BLOCK);
        assert_eq!(block_size(64), BLOCK);
        assert!(block_size(65) < BLOCK);
        for threads in 1..=255u8 {
            let all = block_size(threads) * u32::from(threads);
            assert!(all <= (BLOCK * FULL_STREAMS).max(SMALL_BLOCK * 255), "{threads}");
        }
    }

    #[test]
    fn a_stream_that_has_brought_nothing_asks_for_the_floor() {
        assert_eq!(Window::new(1000, Instant::now()).limit(), 1000);
    }

    #[test]
    fn a_long_fast_path_asks_for_twice_what_it_carries() {
        let start = Instant::now();
        let mut window = Window::new(1000, start);
        for step in 1..=10 {
            window.arrived(100_000, 100 * MS, start + 10 * MS * step, || Some(100 * MS));
        }
        assert_eq!(window.limit(), 2_000_000);
    }

    #[test]
    fn a_short_path_asks_for_the_share_of_one_round_trip() {
        let start = Instant::now();
        let mut window = Window::new(1000, start);
        window.arrived(10_000_000, MS, start + 10 * MS, || Some(MS));
        assert_eq!(window.limit(), 2_000_000);
    }

    #[test]
    fn one_bad_round_does_not_shrink_it_and_ten_do() {
        let start = Instant::now();
        let mut window = Window::new(1, start);
        for step in 1..=11u32 {
            let bytes = if step == 1 { 5000 } else { 100 };
            window.arrived(bytes, MS, start + 10 * MS * step, || Some(10 * MS));
            let expected = if step <= 10 { 10_000 } else { 200 };
            assert_eq!(window.limit(), expected, "step {step}");
        }
    }

    #[test]
    fn without_the_kernel_s_word_answers_are_measured() {
        let start = Instant::now();
        let mut window = Window::new(1, start);
        window.arrived(5000, 10 * MS, start + 10 * MS, || None);
        assert_eq!(window.limit(), 10_000);
    }

    #[test]
    fn a_small_answer_says_nothing_about_the_pace() {
        let start = Instant::now();
        let mut window = Window::new(1000, start);
        window.arrived(249, 80 * MS, start, || None);
        assert_eq!(window.pace(), None);
        window.arrived(250, 90 * MS, start, || None);
        assert_eq!(window.pace(), Some(90 * MS));
    }

    #[test]
    fn the_pace_follows_the_answers() {
        let start = Instant::now();
        let mut window = Window::new(1, start);
        assert_eq!(window.pace(), None);
        window.arrived(1, 80 * MS, start, || None);
        window.arrived(1, 160 * MS, start, || None);
        assert_eq!(window.pace(), Some(90 * MS));
    }

    #[test]
    fn arrivals_are_counted_over_the_shortest_time_at_least() {
        let start = Instant::now();
        let mut window = Window::new(1, start);
        let early = start + SHORTEST_ROUND - Duration::from_nanos(1);
        window.arrived(1, MS, early, || panic!("asked for the round trip too early"));
        window.arrived(999, MS, start + SHORTEST_ROUND, || Some(SHORTEST_ROUND));
        assert_eq!(window.limit(), 2000);
    }
}
