//! CRC-32C by AArch64's own instructions (its CRC32 extension). Only `detect` gives access to
//! them.

#![allow(unsafe_code)]
// Newer compilers have these intrinsics as safe functions, and need no block around them.
#![allow(unused_unsafe)]

use std::arch::aarch64::{__crc32cb, __crc32cd};
use std::arch::is_aarch64_feature_detected;

use super::Extend;
use super::shift::Shift;

/// Bytes in one lane of a long triple; a multiple of 8. It is long, so that joining the lanes
/// takes a small part of the time.
const LONG: usize = 4096;

/// Bytes in one lane of a short triple, for the rest after the long ones.
const SHORT: usize = 256;

/// Over one long lane.
static OVER_LONG: Shift = Shift::over(LONG);

/// Over one short lane.
static OVER_SHORT: Shift = Shift::over(SHORT);

/// `extend` by these instructions, if this processor has them.
pub(super) fn detect() -> Option<Extend> {
    is_aarch64_feature_detected!("crc").then_some(extend as Extend)
}

/// See `hash::crc32c::extend`. Only `detect` may return it.
fn extend(crc: u32, bytes: &[u8]) -> u32 {
    // SAFETY: this function is reached only through `detect`, which has found
    // the CRC32 extension; it asks for nothing else.
    unsafe { extend_crc(crc, bytes) }
}

/// Three lanes at a time, then word by word.
///
/// # Safety
/// The processor must have the CRC32 extension.
#[target_feature(enable = "crc")]
unsafe fn extend_crc(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = !crc;
    let mut rest = bytes;
    while let Some((triple, tail)) = rest.split_at_checked(3 * LONG) {
        // SAFETY: the caller vouches for the CRC32 extension.
        crc = unsafe { three_lanes(crc, triple, &OVER_LONG) };
        rest = tail;
    }
    while let Some((triple, tail)) = rest.split_at_checked(3 * SHORT) {
        // SAFETY: the caller vouches for the CRC32 extension.
        crc = unsafe { three_lanes(crc, triple, &OVER_SHORT) };
        rest = tail;
    }
    while let Some((word, tail)) = rest.split_first_chunk() {
        // SAFETY: the caller vouches for the CRC32 extension.
        crc = unsafe { __crc32cd(crc, u64::from_le_bytes(*word)) };
        rest = tail;
    }
    for byte in rest {
        // SAFETY: the caller vouches for the CRC32 extension.
        crc = unsafe { __crc32cb(crc, *byte) };
    }
    !crc
}

/// The register after `triple`, three lanes whose length `over` shifts by. Most
/// processors start one instruction a cycle but finish it later: hence three lanes.
///
/// # Safety
/// The processor must have the CRC32 extension.
#[inline]
#[target_feature(enable = "crc")]
unsafe fn three_lanes(crc: u32, triple: &[u8], over: &Shift) -> u32 {
    let lane = triple.len() / 3;
    let (first, others) = triple.split_at(lane);
    let (second, third) = others.split_at(lane);
    let mut crcs = [crc, 0, 0];
    let lanes = first.chunks_exact(8).zip(second.chunks_exact(8)).zip(third.chunks_exact(8));
    for ((first, second), third) in lanes {
        // SAFETY: the caller vouches for the CRC32 extension.
        unsafe {
            crcs[0] = __crc32cd(crcs[0], word(first));
            crcs[1] = __crc32cd(crcs[1], word(second));
            crcs[2] = __crc32cd(crcs[2], word(third));
        }
    }
    let [first, second, third] = crcs;
    over.apply(over.apply(first) ^ second) ^ third
}

/// Eight bytes as a word, the first in the lowest place.
#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::crc32c::table;

    #[test]
    fn lanes_are_whole_words() {
        assert_eq!((LONG % 8, SHORT % 8), (0, 0));
    }

    #[test]
    fn lengths_around_the_triples_agree_with_the_tables() {
        let Some(extend) = detect() else { return };
        let message: Vec<u8> = (0..7 * LONG).map(|at| (at * 31 + at / 7) as u8).collect();
        for edge in [3 * SHORT, 3 * LONG, 3 * LONG + 3 * SHORT, 6 * LONG] {
            for length in edge - 9..edge + 9 {
                let bytes = &message[..length];
                assert_eq!(extend(7, bytes), table::extend(7, bytes), "{length}");
            }
        }
    }
}
