//! Two SHA-256 digests in the making at once. A processor's own instructions make two in little
//! more than the time of one, since each waits for its own last step only.

#![forbid(unsafe_code)]

use super::{Compress, START, Sha256, State, fastest};
use crate::hash::block::BLOCK;

/// Takes whole blocks of two messages, as many of each, into their states.
pub(super) type CompressPair = fn(&mut [State; 2], &[u8], &[u8]);

/// Messages of a pair are taken in units of so many bytes.
pub const PAIR_UNIT: u64 = BLOCK as u64;

/// The digests of two messages of the same length, a multiple of [`PAIR_UNIT`].
pub struct Sha256Pair {
    states: [State; 2],
    blocks: u64,
    compress: Compress,
    both: Option<CompressPair>,
}

impl Sha256Pair {
    /// The digests of two empty messages.
    pub fn new() -> Sha256Pair {
        let (compress, both) = fastest();
        Sha256Pair { states: [START; 2], blocks: 0, compress, both }
    }

    /// Appends `one` to the first message and `other` to the second. Bytes behind the last whole
    /// unit that both have are left out.
    pub fn update(&mut self, one: &[u8], other: &[u8]) {
        let blocks = one.len().min(other.len()) / BLOCK;
        let (one, other) = (&one[..blocks * BLOCK], &other[..blocks * BLOCK]);
        self.blocks = self.blocks.wrapping_add(blocks as u64);
        match self.both {
            Some(both) => both(&mut self.states, one, other),
            None => {
                (self.compress)(&mut self.states[0], one);
                (self.compress)(&mut self.states[1], other);
            }
        }
    }

    /// The first half of the digest of the two digests, one after the other.
    pub fn finish_half(mut self) -> [u8; 16] {
        let mut last = [0; BLOCK];
        last[0] = 0x80;
        let bits = self.blocks.wrapping_mul(8 * BLOCK as u64);
        last[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        self.update(&last, &last);
        let mut joined = Sha256::new();
        self.states.iter().flatten().for_each(|word| joined.update(&word.to_be_bytes()));
        joined.finish_half()
    }
}

impl Default for Sha256Pair {
    fn default() -> Sha256Pair {
        Sha256Pair::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256::scalar;

    fn digest(bytes: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(bytes);
        hash.finish()
    }

    fn message(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + at / 251 + seed) as u8).collect()
    }

    #[test]
    fn a_pair_is_the_digest_of_both_digests() {
        for blocks in [0, 1, 2, 3, 16, 17, 40] {
            let (one, other) = (message(blocks * BLOCK, 1), message(blocks * BLOCK, 2));
            let expected = digest(&[digest(&one), digest(&other)].concat());
            for split in [0, blocks / 2, blocks] {
                let mut fast = Sha256Pair::new();
                let mut slow =
                    Sha256Pair { compress: scalar::compress, both: None, ..Sha256Pair::new() };
                for pair in [&mut fast, &mut slow] {
                    let at = split * BLOCK;
                    pair.update(&one[..at], &other[..at]);
                    pair.update(&one[at..], &other[at..]);
                }
                assert_eq!(fast.finish_half(), expected[..16], "{split} of {blocks}");
                assert_eq!(slow.finish_half(), expected[..16], "{split} of {blocks}");
            }
        }
    }
}
