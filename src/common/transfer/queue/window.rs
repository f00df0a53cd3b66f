//! How large blocks are, how many bytes a stream should have asked for, and how long an answer
//! takes. The window learns from what has arrived. The caller tells the time.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// Bytes of a block, up to [`FULL_STREAMS`] streams.
const BLOCK: u32 = 128 << 10;

/// Up to this many streams use whole blocks. More streams share the memory that these take.
const FULL_STREAMS: u32 = 64;

/// The smallest block, in bytes.
const SMALL_BLOCK: u32 = 16 << 10;

/// The best of this many last round trips counts.
const ROUNDS: usize = 10;

/// The shortest time over which arrived bytes are counted. A round trip on one machine is
/// shorter than the time that one block takes.
const SHORTEST_ROUND: Duration = Duration::from_millis(5);

/// Most requests under way on one stream over TCP.
pub const MAX_REQUESTS: usize = 1024;

/// The same on a Unix socket. It takes some 277 small writes, however short they are (unix(7) counts
/// the memory). When it is full both ways, both ends write, and neither reads.
pub const MAX_LOCAL_REQUESTS: usize = 128;

/// How many bandwidth-delay products are asked for. With one, a loss leaves the path idle; with
/// two, a transfer took half the time (measured at 100 ms and 0.1% loss).
const FACTOR: u64 = 2;

/// A stream is quick if it brings its least window in this time. It then has a window of twice as
/// much, and asks less often: 50,000 files of 4 KiB took 6% less time on one machine. A slower
/// stream would hold back the end of the file for too long.
const QUICK: Duration = Duration::from_millis(20);

/// An answer is small if it has fewer bytes than the floor divided by this.
const SMALL_SHARE: u64 = 4;

/// Bytes of a block with this many streams. Many streams have smaller blocks, so that all
/// blocks together take no more memory.
pub fn block_size(streams: u8) -> u32 {
    let streams = u32::from(streams.max(1));
    let share = BLOCK * FULL_STREAMS / streams.max(FULL_STREAMS);
    (share / 4096 * 4096).max(SMALL_BLOCK)
}

/// The window of one stream.
#[derive(Debug)]
pub struct Window {
    /// The least window of a stream that is not quick, in bytes.
    floor: u64,
    /// Whether the stream is quick.
    is_quick: bool,
    /// How many bytes each of the last round trips brought.
    rounds: [u64; ROUNDS],
    next: usize,
    began: Instant,
    bytes: u64,
    answer: Option<Duration>,
    /// The shortest answer.
    quickest: Option<Duration>,
}

impl Window {
    /// The window of a stream that begins at `now`. It is never smaller than `floor` bytes.
    pub fn new(floor: u64, now: Instant) -> Window {
        let rounds = [0; ROUNDS];
        Window {
            floor,
            is_quick: false,
            rounds,
            next: 0,
            began: now,
            bytes: 0,
            answer: None,
            quickest: None,
        }
    }

    /// Counts `bytes` that have arrived at `now`, `answer` after their request. Calls
    /// `round_trip` once a round; it gives the kernel's measure of a round trip.
    pub fn arrived(
        &mut self,
        bytes: u64,
        answer: Duration,
        now: Instant,
        round_trip: impl FnOnce() -> Option<Duration>,
    ) {
        self.bytes += bytes;
        // A small answer, as for the last piece of the file, does not tell how long a block
        // takes.
        if bytes >= self.floor / SMALL_SHARE {
            self.quickest = Some(self.quickest.map_or(answer, |quickest| quickest.min(answer)));
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
        // Without the kernel's measure, the quickest answer is the best guess. Later ones take
        // longer the more is asked for, and would let the window grow without end.
        let round = round_trip().or(self.quickest).unwrap_or(elapsed);
        if elapsed < round {
            return;
        }
        let (bytes, seconds) = (self.bytes as f64, elapsed.as_secs_f64());
        self.is_quick = bytes * QUICK.as_secs_f64() >= self.floor as f64 * seconds;
        if let Some(place) = self.rounds.get_mut(self.next % ROUNDS) {
            *place = (bytes * round.as_secs_f64() / seconds) as u64;
        }
        self.next = (self.next + 1) % ROUNDS;
        self.bytes = 0;
        self.began = now;
    }

    /// How many bytes the stream should have asked for and not received.
    pub fn limit(&self) -> u64 {
        let best = self.rounds.iter().max().copied().unwrap_or(0);
        (2 * self.step()).max(FACTOR * best)
    }

    /// Whether so much may be asked for, beside the bytes under way, that it is worth a message.
    pub fn has_room(&self, under_way: u64) -> bool {
        under_way + self.step() <= self.limit()
    }

    /// How many bytes are asked for at once: half of the least window.
    fn step(&self) -> u64 {
        match self.is_quick {
            true => self.floor,
            false => self.floor / 2,
        }
    }

    /// How long an answer takes; `None` before the first answer.
    pub fn answer_time(&self) -> Option<Duration> {
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
        for streams in 1..=255u8 {
            let all = block_size(streams) * u32::from(streams);
            assert!(all <= (BLOCK * FULL_STREAMS).max(SMALL_BLOCK * 255), "{streams}");
        }
    }

    #[test]
    fn a_stream_that_has_brought_nothing_asks_for_the_floor() {
        assert_eq!(Window::new(1000, Instant::now()).limit(), 1000);
    }

    #[test]
    fn a_long_path_asks_for_twice_what_one_round_trip_carries() {
        let start = Instant::now();
        let mut window = Window::new(1000, start);
        for step in 1..=10 {
            window.arrived(100_000, 100 * MS, start + 10 * MS * step, || Some(100 * MS));
        }
        assert_eq!(window.limit(), 2_000_000);
    }

    #[test]
    fn a_short_path_asks_for_twice_what_one_round_trip_carries() {
        let start = Instant::now();
        let mut window = Window::new(1000, start);
        window.arrived(10_000_000, MS, start + 10 * MS, || Some(MS));
        assert_eq!(window.limit(), 2_000_000);
    }

    #[test]
    fn a_quick_stream_asks_for_twice_the_floor_and_for_half_of_that_at_once() {
        let start = Instant::now();
        let mut window = Window::new(1000, start);
        assert!(window.has_room(500) && !window.has_room(501));
        window.arrived(1000, MS, start + QUICK, || Some(Duration::ZERO));
        assert!(window.has_room(1000) && !window.has_room(1001));
        window.arrived(999, MS, start + 2 * QUICK, || Some(Duration::ZERO));
        assert!(window.has_room(500) && !window.has_room(501));
    }

    #[test]
    fn one_slow_round_does_not_shrink_the_window_and_ten_do() {
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
    fn without_the_kernel_s_measure_the_quickest_answer_is_the_round_trip() {
        let start = Instant::now();
        let mut window = Window::new(1, start);
        window.arrived(5000, 10 * MS, start + 10 * MS, || None);
        assert_eq!(window.limit(), 10_000);
        for step in 2..=20u32 {
            // The more is under way, the longer an answer takes.
            window.arrived(5000, 10 * MS * step, start + 10 * MS * step, || None);
            assert_eq!(window.limit(), 10_000, "step {step}");
        }
    }

    #[test]
    fn a_small_answer_does_not_change_the_answer_time() {
        let start = Instant::now();
        let mut window = Window::new(1000, start);
        window.arrived(249, 80 * MS, start, || None);
        assert_eq!(window.answer_time(), None);
        window.arrived(250, 90 * MS, start, || None);
        assert_eq!(window.answer_time(), Some(90 * MS));
    }

    #[test]
    fn the_answer_time_follows_the_answers() {
        let start = Instant::now();
        let mut window = Window::new(1, start);
        assert_eq!(window.answer_time(), None);
        window.arrived(1, 80 * MS, start, || None);
        window.arrived(1, 160 * MS, start, || None);
        assert_eq!(window.answer_time(), Some(90 * MS));
    }

    #[test]
    fn arrived_bytes_are_counted_over_the_shortest_time_at_least() {
        let start = Instant::now();
        let mut window = Window::new(1, start);
        let early = start + SHORTEST_ROUND - Duration::from_nanos(1);
        window.arrived(1, MS, early, || panic!("asked for the round trip too early"));
        window.arrived(999, MS, start + SHORTEST_ROUND, || Some(SHORTEST_ROUND));
        assert_eq!(window.limit(), 2000);
    }
}
