//! Random numbers for tests. Each run has another seed; a test that fails prints its seed, and
//! `ROPEWALK_SEED=N` repeats it. Tests in `tests/` include this file.

#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, clippy::unwrap_used)] // as in any test

use std::hash::{BuildHasher, RandomState};

/// The environment variable that sets the seed.
const SEED: &str = "ROPEWALK_SEED";

/// The seed of this run: `ROPEWALK_SEED`, or a new one.
///
/// # Panics
/// `ROPEWALK_SEED` is not a whole number.
pub(crate) fn seed() -> u64 {
    match std::env::var(SEED) {
        Ok(text) => text.parse().unwrap(),
        // Short, to be typed again.
        Err(_) => RandomState::new().hash_one(0) % 1_000_000_000,
    }
}

/// A generator of numbers (SplitMix64). When its test fails, it prints the seed.
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// A generator with the seed of this run.
    pub(crate) fn new() -> Random {
        Random::from_seed(seed())
    }

    /// A generator with this seed.
    pub(crate) fn from_seed(seed: u64) -> Random {
        Random { seed, state: seed }
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `limit`; 0 if that is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % (limit as u64).max(1)) as usize
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{SEED}={}", self.seed);
        }
    }
}
