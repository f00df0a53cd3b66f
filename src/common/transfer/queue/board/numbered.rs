//! Maps by a number that this side has counted up: of a folder, a file or a stream.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by a number. No peer can choose numbers that collide.
pub(super) type Numbered<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// The hash of a number is its product with an odd number, whose high bits differ too (Knuth, The
/// Art of Computer Programming, 6.4).
#[derive(Default)]
pub(super) struct NumberHasher(u64);

/// 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for NumberHasher {
    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(FACTOR);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FACTOR));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    #[test]
    fn numbers_in_a_row_differ_in_the_low_and_in_the_high_bits_of_their_hashes() {
        let hashes = BuildHasherDefault::<NumberHasher>::default();
        let hashed: Vec<u64> = (0..128_u64).map(|number| hashes.hash_one(number)).collect();
        let low: HashSet<u64> = hashed.iter().map(|hash| hash % 128).collect();
        let high: HashSet<u64> = hashed.iter().map(|hash| hash >> 57).collect();
        assert_eq!(low.len(), 128);
        assert!(high.len() > 64, "{}", high.len());
    }
}
