//! Choices that follow from a seed.

#![allow(dead_code)] // each of the test targets uses a part

#[path = "../../src/common/testing.rs"]
mod testing;

use std::ops::Range;
pub(crate) use testing::Random;

/// What the tests of the engine ask a generator for.
pub(crate) trait Choices {
    /// A number of this range, which is not empty.
    fn within(&mut self, range: Range<u64>) -> u64;

    /// `true` once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.within(0..times) == 0
    }

    /// One of these values, of which there is at least one.
    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.within(0..all.len() as u64) as usize]
    }

    /// Another generator, which does not depend on how much this one is used later.
    fn split(&mut self) -> Random;
}

impl Choices for Random {
    fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    fn split(&mut self) -> Random {
        Random::from_seed(self.next())
    }
}
