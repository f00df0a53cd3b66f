//! The length of a part file, and the disk space for it: taken or counted before the first
//! byte of a transfer of the ropewalk protocol is asked for.

#![forbid(unsafe_code)]

use crate::codec::amount;
use crate::error::{Error, Result};
use crate::sys::{file, volume};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// A file is made longer by this to see whether that takes space, in bytes.
const TRIAL: u64 = 1 << 20;

/// Bytes in which st_blocks counts.
const BLOCK: u64 = 512;

/// Gives the part file its length, and the space for what the server stores of it; `held`
/// bytes are there already. Where a longer file has no hole the file keeps its length, and
/// grows with what comes: else each byte would be written twice.
///
/// # Errors
/// When there is no room, or no file can be so long here. What else is refused the bytes do
/// not need.
pub fn reserve(part: &File, size: u64, stored: u64, held: u64, shown: &str) -> Result<()> {
    let failed = |error: &io::Error| Error::system(shown, error);
    let full = |missing: u64| {
        let error = failed(&io::Error::from_raw_os_error(libc::ENOSPC));
        error.advise(format_args!("{} more are needed", amount::size(missing)))
    };
    if !file::can_be_as_long(part, size) {
        return Err(failed(&io::Error::from_raw_os_error(libc::EFBIG)));
    }
    let grows = volume::writes_zeros(part);
    let stored = if grows { size } else { stored.min(size) };
    let mut taken = false;
    if stored >= size && size > 0 && !volume::is_in_memory(part) {
        let allocate = if grows { file::preallocate_behind } else { file::preallocate };
        match allocate(part, size) {
            Ok(()) => taken = true, // and longer than this it may be
            Err(error) if is_final(&error) => {
                return Err(match missing_space(part, stored, held) {
                    missing @ 1.. if error.kind() == io::ErrorKind::StorageFull => full(missing),
                    _ => failed(&error),
                });
            }
            // The file system or the kernel has no such call; space is counted instead, as it
            // is in memory.
            Err(_) => {}
        }
    }
    let length = part.metadata().map_err(|error| failed(&error))?.len();
    if length > size || (!grows && (taken || has_holes(part, length, size))) {
        match file::set_length(part, size) {
            // Where a file cannot be made longer so, it grows.
            Err(error) if length > size || is_final(&error) => return Err(failed(&error)),
            _ => {}
        }
    }
    match missing_space(part, stored, held) {
        missing @ 1.. if !taken => Err(full(missing)),
        _ => Ok(()),
    }
}

/// Whether a refused allocation means that the bytes have no place either.
fn is_final(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
}

/// Whether `part`, which has `length` bytes, can be as long as `size` without taking space
/// for that. A file system that does not tell what a file takes is believed to have holes.
fn has_holes(part: &File, length: u64, size: u64) -> bool {
    if size.saturating_sub(length) <= TRIAL {
        return true;
    }
    let blocks = || part.metadata().map(|found| found.blocks()).unwrap_or(0);
    let before = blocks();
    if part.set_len(length + TRIAL).is_err() {
        return false;
    }
    let after = blocks();
    let has_holes = after.saturating_sub(before) * BLOCK < TRIAL / 2;
    // The other way round the bytes of the trial would only be in the way of those that come.
    has_holes || part.set_len(length).is_err()
}

/// How many bytes of the disk are missing for a file of which `stored` bytes are to be stored:
/// less what `part` takes already, or the `held` ones that are known to be in it, less what is
/// free. 0 where the file system does not tell what is free.
pub fn missing_space(part: &File, stored: u64, held: u64) -> u64 {
    let taken = part.metadata().map_or(0, |found| found.blocks().saturating_mul(BLOCK));
    let needed = stored.saturating_sub(taken.max(held));
    volume::free_space(part).map_or(0, |free| needed.saturating_sub(free))
}
