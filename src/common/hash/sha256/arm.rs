//! SHA-256's compression by AArch64's own instructions (its SHA2 extension). Only `detect` gives
//! access to them.

#![allow(unsafe_code)]
// Newer compilers have these intrinsics as safe functions, and need no block around them.
#![allow(unused_unsafe)]

use std::arch::aarch64::{
    uint32x4_t, vaddq_u32, vld1q_u8, vld1q_u32, vreinterpretq_u32_u8, vrev32q_u8, vsha256h2q_u32,
    vsha256hq_u32, vsha256su0q_u32, vsha256su1q_u32, vst1q_u32,
};
use std::arch::is_aarch64_feature_detected;

use super::{Compress, ROUNDS, State};
use crate::hash::block::BLOCK;

/// `compress` by these instructions, if this processor has them.
pub(super) fn detect() -> Option<Compress> {
    let present = is_aarch64_feature_detected!("sha2") && is_aarch64_feature_detected!("neon");
    present.then_some(compress as Compress)
}

/// Takes whole blocks into the state. Only `detect` may return it.
fn compress(state: &mut State, whole: &[u8]) {
    // SAFETY: this function is reached only through `detect`, which has found
    // SHA2 and NEON; it asks for nothing else.
    unsafe { compress_sha(state, whole) }
}

/// Takes whole blocks into the state, four rounds at a time.
///
/// # Safety
/// The processor must have SHA2 and NEON.
#[target_feature(enable = "neon,sha2")]
unsafe fn compress_sha(state: &mut State, whole: &[u8]) {
    // SAFETY: the caller vouches for the instructions; the loads read four words
    // each of the eight in `state`.
    let (mut abcd, mut efgh) =
        unsafe { (vld1q_u32(state.as_ptr()), vld1q_u32(state.as_ptr().add(4))) };
    let mut rest = whole;
    while let Some((block, tail)) = rest.split_first_chunk::<BLOCK>() {
        let (abcd_before, efgh_before) = (abcd, efgh);
        // SAFETY: the caller vouches for the instructions.
        let mut words = unsafe { load_words(block) };
        for constants in ROUNDS.chunks_exact(4) {
            // SAFETY: the caller vouches for the instructions; the load reads the
            // four constants.
            unsafe {
                let sums = vaddq_u32(words[0], vld1q_u32(constants.as_ptr()));
                // Both do the same four rounds, each for its half of the state.
                let abcd_now = abcd;
                abcd = vsha256hq_u32(abcd, efgh, sums);
                efgh = vsha256h2q_u32(efgh, abcd_now, sums);
                words = [words[1], words[2], words[3], next_words(words)];
            }
        }
        // SAFETY: the caller vouches for the instructions.
        unsafe {
            abcd = vaddq_u32(abcd, abcd_before);
            efgh = vaddq_u32(efgh, efgh_before);
        }
        rest = tail;
    }
    // SAFETY: the caller vouches for the instructions; the stores write four words
    // each of the eight in `state`.
    unsafe {
        vst1q_u32(state.as_mut_ptr(), abcd);
        vst1q_u32(state.as_mut_ptr().add(4), efgh);
    }
}

/// The first sixteen words of the message schedule, four in each.
///
/// # Safety
/// The processor must have NEON.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_words(block: &[u8; BLOCK]) -> [uint32x4_t; 4] {
    let at = block.as_ptr();
    // SAFETY: the caller vouches for the instructions; the loads read the 64 bytes
    // of the block, and need no alignment.
    unsafe {
        [
            vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(at))),
            vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(at.add(16)))),
            vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(at.add(32)))),
            vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(at.add(48)))),
        ]
    }
}

/// The four words of the message schedule that come after these sixteen.
///
/// # Safety
/// The processor must have SHA2 and NEON.
#[inline]
#[target_feature(enable = "neon,sha2")]
unsafe fn next_words([first, second, third, fourth]: [uint32x4_t; 4]) -> uint32x4_t {
    // SAFETY: the caller vouches for the instructions.
    unsafe { vsha256su1q_u32(vsha256su0q_u32(first, second), third, fourth) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256::{START, scalar};

    #[test]
    fn the_state_comes_back_in_its_order() {
        let Some(compress) = detect() else { return };
        let mut state = START;
        compress(&mut state, &[]);
        assert_eq!(state, START);
    }

    #[test]
    fn any_state_and_blocks_compress_as_by_scalar_code() {
        let Some(compress) = detect() else { return };
        let blocks: Vec<u8> = (0..10 * BLOCK).map(|at| (at * 31 + at / 7) as u8).collect();
        let mut state = START;
        for count in 0..=10 {
            let mut expected = state;
            scalar::compress(&mut expected, &blocks[..count * BLOCK]);
            compress(&mut state, &blocks[..count * BLOCK]);
            assert_eq!(state, expected, "{count} blocks");
        }
    }
}
