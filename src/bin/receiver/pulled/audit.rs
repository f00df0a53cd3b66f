//! What an earlier run left is read again before it counts: a range whose bytes are
//! not those that the journal vouches for is asked for anew.

#![forbid(unsafe_code)]

use super::{Kept, Shared};
use ropewalk::hash::crc32c::extend;
use ropewalk::sys::file;
use ropewalk::transfer::journal::Vouched;
use std::os::unix::fs::FileExt;

/// Bytes read at once.
const BUFFER: u64 = 128 << 10;

/// Checks every range, in order, so that the prefix grows first.
pub(super) fn run(shared: &Shared, kept: &Kept) {
    let mut buffer = vec![0; BUFFER as usize];
    for (&start, &(end, vouched)) in &kept.contents {
        if shared.queue.end().is_some() {
            return;
        }
        let good = match vouched {
            Vouched::Bytes(crc) => crc_of(kept, &mut buffer, start, end) == Some(crc),
            Vouched::Hole => file::is_hole(&kept.part, start, end),
        };
        shared.queue.checked(start..end, good, vouched == Vouched::Hole);
    }
}

/// The CRC32C of a range; `None` where it cannot be read.
fn crc_of(kept: &Kept, buffer: &mut [u8], start: u64, end: u64) -> Option<u32> {
    let (mut at, mut crc) = (start, 0);
    while at < end {
        let piece = &mut buffer[..(end - at).min(BUFFER) as usize];
        kept.part.read_exact_at(piece, at).ok()?;
        crc = extend(crc, piece);
        at += piece.len() as u64;
    }
    Some(crc)
}
