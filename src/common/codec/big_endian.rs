//! Numbers of fixed size in bytes of fixed places. Big-endian.

#![forbid(unsafe_code)]

/// The two bytes at `at`, a place that the caller knows to exist.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes[at..at + 2].iter().fold(0, |number, byte| number << 8 | u16::from(*byte))
}

/// The four bytes at `at`, as [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) << 16 | u32::from(u16_at(bytes, at + 2))
}

/// The eight bytes at `at`, as [`u16_at`].
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}
