//! SHA-256's compression by x86-64's own instructions (SHA-NI). Only `detect` gives access to
//! them.

#![allow(unsafe_code)]
// Newer compilers have these intrinsics as safe functions, and need no block around them.
#![allow(unused_unsafe)]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_loadu_si128, _mm_set_epi8, _mm_set_epi32,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128,
};

use super::pair::CompressPair;
use super::{Compress, ROUNDS, State};
use crate::hash::block::BLOCK;

/// `compress` by these instructions, if this processor has them.
pub(super) fn detect() -> Option<Compress> {
    let present = is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3");
    present.then_some(compress as Compress)
}

/// `compress_pair` by these instructions, if this processor has them.
pub(super) fn detect_pair() -> Option<CompressPair> {
    detect().map(|_| compress_pair as CompressPair)
}

/// Takes whole blocks into two states. Only `detect_pair` may return it.
fn compress_pair(states: &mut [State; 2], one: &[u8], other: &[u8]) {
    // SAFETY: this function is reached only through `detect_pair`, which has found SHA-NI and
    // SSSE3; it asks for nothing else.
    unsafe { compress_pair_sha(states, one, other) }
}

/// Takes whole blocks into two states, four rounds at a time. The steps of one fill the time in
/// which the other waits.
///
/// # Safety
/// The processor must have SHA-NI and SSSE3.
#[target_feature(enable = "sha,ssse3")]
unsafe fn compress_pair_sha(states: &mut [State; 2], one: &[u8], other: &[u8]) {
    // SAFETY: the caller vouches for the instructions.
    let (mut a, mut b) = unsafe { (load_state(&states[0]), load_state(&states[1])) };
    let (mut one, mut other) = (one, other);
    while let (Some((block_a, tail_a)), Some((block_b, tail_b))) =
        (one.split_first_chunk::<BLOCK>(), other.split_first_chunk::<BLOCK>())
    {
        let (a_before, b_before) = (a, b);
        // SAFETY: the caller vouches for the instructions.
        let (mut words_a, mut words_b) = unsafe { (load_words(block_a), load_words(block_b)) };
        for constants in ROUNDS.chunks_exact(4) {
            // SAFETY: the caller vouches for the instructions; the load reads the
            // 16 bytes of four constants, and needs no alignment.
            unsafe {
                let constants = _mm_loadu_si128(constants.as_ptr().cast());
                let sums_a = _mm_add_epi32(words_a[0], constants);
                let sums_b = _mm_add_epi32(words_b[0], constants);
                a.1 = _mm_sha256rnds2_epu32(a.1, a.0, sums_a);
                b.1 = _mm_sha256rnds2_epu32(b.1, b.0, sums_b);
                a.0 = _mm_sha256rnds2_epu32(a.0, a.1, _mm_shuffle_epi32::<0b1110>(sums_a));
                b.0 = _mm_sha256rnds2_epu32(b.0, b.1, _mm_shuffle_epi32::<0b1110>(sums_b));
                words_a = [words_a[1], words_a[2], words_a[3], next_words(words_a)];
                words_b = [words_b[1], words_b[2], words_b[3], next_words(words_b)];
            }
        }
        // SAFETY: the caller vouches for the instructions.
        unsafe {
            a = (_mm_add_epi32(a.0, a_before.0), _mm_add_epi32(a.1, a_before.1));
            b = (_mm_add_epi32(b.0, b_before.0), _mm_add_epi32(b.1, b_before.1));
        }
        (one, other) = (tail_a, tail_b);
    }
    // SAFETY: the caller vouches for the instructions.
    *states = unsafe { [store_state(a), store_state(b)] };
}

/// A state in the order that the rounds want, the first word in the highest place: a, b, e, f and
/// c, d, g, h.
///
/// # Safety
/// The processor must have SSE2, as every x86-64 does.
#[inline]
#[target_feature(enable = "sse2")]
unsafe fn load_state(state: &State) -> (__m128i, __m128i) {
    let [a, b, c, d, e, f, g, h] = state.map(|word| word as i32);
    // SAFETY: the caller vouches for the instructions.
    unsafe { (_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)) }
}

/// The state that [`load_state`] takes.
///
/// # Safety
/// The processor must have SSE2, as every x86-64 does.
#[inline]
#[target_feature(enable = "sse2")]
unsafe fn store_state((abef, cdgh): (__m128i, __m128i)) -> State {
    // SAFETY: the caller vouches for the instructions.
    let ([f, e, b, a], [h, g, d, c]) = unsafe { (store(abef), store(cdgh)) };
    [a, b, c, d, e, f, g, h]
}

/// Takes whole blocks into the state. Only `detect` may return it.
fn compress(state: &mut State, whole: &[u8]) {
    // SAFETY: this function is reached only through `detect`, which has found
    // SHA-NI and SSSE3; it asks for nothing else.
    unsafe { compress_sha(state, whole) }
}

/// Takes whole blocks into the state, four rounds at a time.
///
/// # Safety
/// The processor must have SHA-NI and SSSE3.
#[target_feature(enable = "sha,ssse3")]
unsafe fn compress_sha(state: &mut State, whole: &[u8]) {
    // SAFETY: the caller vouches for the instructions.
    let (mut abef, mut cdgh) = unsafe { load_state(state) };
    let mut rest = whole;
    while let Some((block, tail)) = rest.split_first_chunk::<BLOCK>() {
        let (abef_before, cdgh_before) = (abef, cdgh);
        // SAFETY: the caller vouches for the instructions.
        let mut words = unsafe { load_words(block) };
        for constants in ROUNDS.chunks_exact(4) {
            // SAFETY: the caller vouches for the instructions; the load reads the
            // 16 bytes of four constants, and needs no alignment.
            unsafe {
                let constants = _mm_loadu_si128(constants.as_ptr().cast());
                let sums = _mm_add_epi32(words[0], constants);
                // Each does two rounds, and what it makes is the next one's other half.
                cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sums);
                abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32::<0b1110>(sums));
                words = [words[1], words[2], words[3], next_words(words)];
            }
        }
        // SAFETY: the caller vouches for the instructions.
        unsafe {
            abef = _mm_add_epi32(abef, abef_before);
            cdgh = _mm_add_epi32(cdgh, cdgh_before);
        }
        rest = tail;
    }
    // SAFETY: the caller vouches for the instructions.
    *state = unsafe { store_state((abef, cdgh)) };
}

/// The first sixteen words of the message schedule, four in each.
///
/// # Safety
/// The processor must have SSSE3.
#[inline]
#[target_feature(enable = "ssse3")]
unsafe fn load_words(block: &[u8; BLOCK]) -> [__m128i; 4] {
    let at: *const __m128i = block.as_ptr().cast();
    // SAFETY: the caller vouches for the instructions; the loads read the 64 bytes
    // of the block, and need no alignment.
    unsafe {
        let big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
        [
            _mm_shuffle_epi8(_mm_loadu_si128(at), big_endian),
            _mm_shuffle_epi8(_mm_loadu_si128(at.add(1)), big_endian),
            _mm_shuffle_epi8(_mm_loadu_si128(at.add(2)), big_endian),
            _mm_shuffle_epi8(_mm_loadu_si128(at.add(3)), big_endian),
        ]
    }
}

/// The four words of the message schedule that come after these sixteen.
///
/// # Safety
/// The processor must have SHA-NI and SSSE3.
#[inline]
#[target_feature(enable = "sha,ssse3")]
unsafe fn next_words([first, second, third, fourth]: [__m128i; 4]) -> __m128i {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let seven_back = _mm_alignr_epi8::<4>(fourth, third);
        let sums = _mm_add_epi32(_mm_sha256msg1_epu32(first, second), seven_back);
        _mm_sha256msg2_epu32(sums, fourth)
    }
}

/// The four words of a register, the lowest first.
///
/// # Safety
/// The processor must have SSE2, as every x86-64 does.
#[inline]
#[target_feature(enable = "sse2")]
unsafe fn store(register: __m128i) -> [u32; 4] {
    let mut words = [0; 4];
    // SAFETY: the caller vouches for the instruction; it writes the 16 bytes of
    // `words`, and needs no alignment.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), register) };
    words
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
