//! A benchmark that only scripts/bench/slow.sh runs, and no test. One stream of four is held to a
//! trickle. The whole must take little longer than the sum of all four rates allows.

#![allow(clippy::print_stdout)] // a benchmark prints

use crate::support::path::Path;
use crate::support::relay::Faults;
use std::time::Instant;

/// The rate of the slow stream, and of each of the other three, in bytes a second.
const SLOW: u64 = 1_000_000;
const FAST: u64 = 30_000_000;

/// The size of the file in bytes: two seconds at the sum of all rates.
const SIZE: usize = 2 * (SLOW + 3 * FAST) as usize;

const ROUNDS: usize = 5;

#[test]
#[ignore = "a benchmark: scripts/bench/slow.sh runs it"]
fn one_slow_stream_of_four_takes_little_longer_than_the_ideal() {
    let rate = |stream: usize| Some(if stream % 4 == 0 { SLOW } else { FAST });
    let faults = Faults { rate: Box::new(rate), ..Faults::default() };
    let path = Path::new("slow-stream", SIZE, faults);
    let ideal = SIZE as f64 / (SLOW + 3 * FAST) as f64;
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            path.fetch(4);
            begun.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "one stream of four held to 1 MB/s, three to 30: {:.2} of the ideal {ideal:.2} s \
         (median of {ROUNDS}, wanted: at most 1.6)",
        times[ROUNDS / 2] / ideal
    );
}
