//! The length of a part file, and its disk space. Both are settled before a transfer of the
//! ropewalk protocol asks for its first byte.

#![forbid(unsafe_code)]

use crate::codec::amount;
use crate::error::{Error, Result};
use crate::sys::{file, volume};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// By how many bytes a file is made longer, to see whether that takes space.
const TRIAL: u64 = 1 << 20;

/// Bytes in which st_blocks counts.
const BLOCK: u64 = 512;

/// Gives the part file its length, and disk space for the `stored` bytes of the server's file. An
/// earlier run has left `held` bytes of it. On a file system without holes, the file grows with the
/// bytes that come; otherwise each byte would be written twice.
///
/// # Errors
/// The disk has too little space, or no file can be so long here. Other refusals are ignored, since
/// the bytes can be written without that.
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
            Ok(()) => taken = true, // the file may still be longer than `size`
            Err(error) if is_final(&error) => {
                return Err(match missing_space(part, stored, held) {
                    missing @ 1.. if error.kind() == io::ErrorKind::StorageFull => full(missing),
                    _ => failed(&error),
                });
            }
            // The file system or the kernel has no such call. Free space is counted instead, as for
            // a file in memory.
            Err(_) => {}
        }
    }
    let length = part.metadata().map_err(|error| failed(&error))?.len();
    if length > size || (!grows && (taken || has_holes(part, length, size))) {
        match file::set_length(part, size) {
            // A file that cannot be made longer at once grows with its bytes.
            Err(error) if length > size || is_final(&error) => return Err(failed(&error)),
            _ => {}
        }
    }
    match missing_space(part, stored, held) {
        missing @ 1.. if !taken => Err(full(missing)),
        _ => Ok(()),
    }
}

/// Whether a refused allocation means that the bytes cannot be written either.
fn is_final(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
}

/// Whether `part`, which has `length` bytes, can be made `size` bytes long without taking space. A
/// file system that does not tell how much space a file takes counts as having holes.
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
    // Without holes, the zeros of the trial would only be written over.
    has_holes || part.set_len(length).is_err()
}

/// How many bytes of disk space are missing for a file with `stored` bytes. `part` takes some of
/// them already: its blocks, or `held` bytes if that is more. 0 where the file system does not tell
/// how much space is free.
pub fn missing_space(part: &File, stored: u64, held: u64) -> u64 {
    let taken = part.metadata().map_or(0, |found| found.blocks().saturating_mul(BLOCK));
    let needed = stored.saturating_sub(taken.max(held));
    volume::free_space(part).map_or(0, |free| needed.saturating_sub(free))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use std::path::{Path, PathBuf};

    const TIB: u64 = 1 << 40;

    fn path(folder: &Path, test: &str) -> PathBuf {
        folder.join(format!("ropewalk-space-{}-{test}", std::process::id()))
    }

    /// A file without a name.
    fn scratch(test: &str) -> File {
        let path = path(&std::env::temp_dir(), test);
        let file = File::create_new(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    /// A file of so many zeros that can only be read.
    fn read_only(test: &str, length: usize) -> File {
        let path = path(&std::env::temp_dir(), test);
        std::fs::write(&path, vec![0; length]).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    fn length(file: &File) -> u64 {
        file.metadata().unwrap().len()
    }

    fn taken(file: &File) -> u64 {
        file.metadata().unwrap().blocks() * BLOCK
    }

    #[test]
    fn a_length_that_no_file_can_have_is_refused() {
        let file = scratch("length");
        let error = reserve(&file, u64::MAX, 0, 0, "out").unwrap_err();
        assert_eq!(error.to_string(), "out: File too large");
        assert_eq!(length(&file), 0);
    }

    #[test]
    fn without_space_the_error_says_how_much_more_is_needed() {
        let file = scratch("room");
        // With a hole, so that nothing is taken on the disk meanwhile.
        let stored = volume::free_space(&file).unwrap() + TIB;
        let error = reserve(&file, stored + 1, stored, 0, "out").unwrap_err().to_string();
        assert!(error.starts_with("out: No space left on device; "), "{error}");
        assert!(error.ends_with(" more are needed"), "{error}");
        reserve(&file, stored + 1, stored, 2 * TIB, "out").unwrap(); // an earlier run left so much
    }

    #[test]
    fn the_disk_space_of_a_file_is_taken_where_the_file_system_can() {
        let (file, other) = (scratch("taken"), scratch("other"));
        reserve(&file, TRIAL, TRIAL, 0, "out").unwrap();
        assert_eq!(length(&file), TRIAL);
        if !volume::is_in_memory(&other) && file::preallocate(&other, TRIAL).is_ok() {
            assert_eq!(taken(&file), taken(&other));
        }
    }

    #[test]
    fn no_disk_space_is_taken_for_a_file_with_a_hole() {
        let file = scratch("hole");
        reserve(&file, TRIAL, TRIAL - 1, 0, "out").unwrap();
        assert_eq!(length(&file), TRIAL);
        if !volume::writes_zeros(&file) {
            assert!(taken(&file) < TRIAL / 2);
        }
    }

    #[test]
    fn a_file_in_memory_takes_no_memory_beforehand() {
        let path = path(Path::new("/dev/shm"), "memory");
        if let Ok(file) = File::create(&path) {
            std::fs::remove_file(path).unwrap();
            reserve(&file, 4 * TRIAL, 4 * TRIAL, 0, "out").unwrap();
            assert_eq!((length(&file), taken(&file)), (4 * TRIAL, 0));
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_cut_or_refused() {
        let file = scratch("cut");
        file.write_all_at(b"not ours", 0).unwrap();
        reserve(&file, 3, 3, 0, "out").unwrap();
        assert_eq!(length(&file), 3);
        reserve(&file, 0, 0, 0, "out").unwrap();
        assert_eq!(length(&file), 0);
        assert!(reserve(&read_only("refused", 8), 3, 3, 0, "out").is_err());
    }

    #[test]
    fn a_file_that_cannot_be_made_longer_grows() {
        let file = read_only("grows", 8);
        for size in [9, 8 + TRIAL, 9 + TRIAL] {
            reserve(&file, size, size, 0, "out").unwrap();
            assert_eq!(length(&file), 8);
        }
    }

    #[test]
    fn a_trial_finds_holes_where_the_file_gets_much_longer() {
        let file = scratch("tried");
        assert!(has_holes(&file, 0, TRIAL) && length(&file) == 0);
        let has_holes = has_holes(&file, 0, TRIAL + 1);
        assert_eq!(length(&file), if has_holes { TRIAL } else { 0 });
        assert_eq!(has_holes, taken(&file) == 0);
        assert!(!super::has_holes(&read_only("refuses", 0), 0, TRIAL + 1));
    }

    #[test]
    fn only_a_lack_of_space_ends_a_transfer() {
        for (number, ends) in [
            (libc::ENOSPC, true),
            (libc::EDQUOT, true),
            (libc::EFBIG, true),
            (libc::EOPNOTSUPP, false),
            (libc::ENOSYS, false),
            (libc::EINVAL, false),
        ] {
            assert_eq!(is_final(&io::Error::from_raw_os_error(number)), ends, "{number}");
        }
    }
}
