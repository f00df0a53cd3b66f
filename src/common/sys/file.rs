//! What std's `File` lacks: zero copy, preallocation, locks, holes. std has positioned reads and
//! writes (`read_at`, `write_at`), 64-bit everywhere. No other file may name an offset type of
//! libc.

use super::{check, check_size, retry};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

#[cfg(target_env = "musl")]
use libc::{fallocate as fallocate64, lseek as lseek64, sendfile as sendfile64};
#[cfg(not(target_env = "musl"))]
use libc::{fallocate64, lseek64, sendfile64};

/// Bytes that are compared at once.
const PIECE: u64 = 64 << 10;

/// Opens `path` for reading. Never blocks, even on a FIFO. The caller checks the type.
pub fn open_without_blocking(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Opens `path` for writing, truncates it, and creates it if it is missing. Never blocks. A write
/// to a pipe or a terminal does not block either.
///
/// # Errors
/// `ENXIO` for a FIFO without a reader; the errors of open(2).
pub fn create_without_blocking(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    File::options().write(true).create(true).truncate(true).custom_flags(flags).open(path)
}

/// Sends up to `count` bytes of `file` from `offset` into `socket`, without a copy through this
/// process. Returns the number of bytes sent; 0 at the end of the file.
pub fn send_to_socket(
    socket: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    let start = signed(offset)?;
    retry(|| {
        let mut position = start;
        // SAFETY: both descriptors are open; `position` lives through the call.
        check_size(unsafe {
            sendfile64(socket.as_raw_fd(), file.as_raw_fd(), &mut position, count)
        })
    })
}

/// Sets the length of `file` and allocates its disk space, with fallocate(2). Never uses the C
/// library's emulation, which writes every block.
///
/// # Errors
/// `EOPNOTSUPP` or `ENOSYS` if the file system or the kernel cannot do this; `ENOSPC`.
pub fn preallocate(file: &File, length: u64) -> io::Result<()> {
    let length = signed(length)?;
    retry(|| {
        // SAFETY: takes numbers only and touches no memory of ours.
        check(unsafe { fallocate64(file.as_raw_fd(), 0, 0, length) })
    })?;
    Ok(())
}

/// Whether two files have the same bytes in this range.
///
/// # Errors
/// `UnexpectedEof` if one of them is shorter; errors of the system.
pub fn has_same_bytes(one: &File, other: &File, range: Range<u64>) -> io::Result<bool> {
    let room = (range.end - range.start).min(PIECE) as usize;
    let (mut ours, mut theirs) = (vec![0; room], vec![0; room]);
    let mut at = range.start;
    while at < range.end {
        let count = (range.end - at).min(PIECE) as usize;
        one.read_exact_at(&mut ours[..count], at)?;
        other.read_exact_at(&mut theirs[..count], at)?;
        if ours[..count] != theirs[..count] {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

/// Sets the length of `file`. Does nothing if the file has it already: some file systems (FUSE)
/// refuse the call.
pub fn set_length(file: &File, length: u64) -> io::Result<()> {
    match file.metadata()?.len() == length {
        true => Ok(()),
        false => file.set_len(length),
    }
}

/// Sets the mtime of `file`: seconds since 1970, which are negative before it, and nanoseconds
/// after that second (utimensat(2)). A file system may cut the time without an error.
///
/// # Errors
/// `EPERM` for a file of another user, `EROFS`; `EINVAL` for a time that no system call takes.
pub fn set_mtime(file: &File, seconds: i64, nanoseconds: u32) -> io::Result<()> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let second = match seconds < 0 {
        true => UNIX_EPOCH.checked_sub(distance),
        false => UNIX_EPOCH.checked_add(distance),
    };
    let time = second.and_then(|at| at.checked_add(Duration::from_nanos(nanoseconds.into())));
    file.set_modified(time.ok_or(io::ErrorKind::InvalidInput)?)
}

/// Allocates the disk space for `length` bytes of `file`, and keeps its length.
///
/// # Errors
/// As [`preallocate`].
pub fn preallocate_behind(file: &File, length: u64) -> io::Result<()> {
    let length = signed(length)?;
    retry(|| {
        // SAFETY: takes numbers only and touches no memory of ours.
        check(unsafe { fallocate64(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, length) })
    })?;
    Ok(())
}

/// Waits until `file` is on its disk. `false` if the file system does not support fsync(2).
pub fn sync(file: &File) -> io::Result<bool> {
    done_or_unknown(file.sync_all())
}

/// As [`sync`], for the bytes and the length only (fdatasync(2)).
pub fn sync_data(file: &File) -> io::Result<bool> {
    done_or_unknown(file.sync_data())
}

fn done_or_unknown(synced: io::Result<()>) -> io::Result<bool> {
    match synced {
        Err(error) if is_unknown_sync(&error) => Ok(false),
        synced => synced.map(|()| true),
    }
}

/// Whether a sync failed because the file system does not support it. A disk failure has other
/// errors.
pub(super) fn is_unknown_sync(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP))
}

/// Whether the file system of `file` supports files of this length. Moves the descriptor's
/// position, which this project never uses.
pub fn can_be_as_long(file: &File, length: u64) -> bool {
    seek(file, length, libc::SEEK_SET).is_ok()
}

/// Turns `length` bytes of `file` from `offset` into a hole: they read as zeros and take no
/// space.
pub fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let (offset, length) = (signed(offset)?, signed(length)?);
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    retry(|| {
        // SAFETY: takes numbers only and touches no memory of ours.
        check(unsafe { fallocate64(file.as_raw_fd(), mode, offset, length) })
    })?;
    Ok(())
}

/// Whether `file` stores nothing from `start` to `end`. `false` if the file system does not tell.
pub fn is_hole(file: &File, start: u64, end: u64) -> bool {
    match next_data(file, start) {
        Ok(data) => data.is_none_or(|data| data >= end),
        Err(_) => false,
    }
}

/// Makes the bytes from `start` to `end` read as zeros; `end` is greater. Does nothing in a hole,
/// else punches one, or writes zeros if the file system cannot punch holes. A shorter file is
/// extended to `end`.
pub fn make_hole(file: &File, start: u64, end: u64) -> io::Result<()> {
    if is_hole(file, start, end) {
        // Not with ftruncate: another thread may write after the end at the same time.
        return match file.metadata()?.len() < end {
            true => file.write_all_at(&[0], end - 1),
            false => Ok(()),
        };
    }
    match punch_hole(file, start, end - start) {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)
            ) => {}
        done => return done,
    }
    let zeros = vec![0; 64 << 10];
    let mut at = start;
    while at < end {
        let count = (end - at).min(zeros.len() as u64) as usize;
        file.write_all_at(&zeros[..count], at)?;
        at += count as u64;
    }
    Ok(())
}

/// Takes the exclusive flock(2) of `file`. `false` if another descriptor holds it.
pub fn try_lock(file: &File) -> io::Result<bool> {
    let locked = retry(|| {
        // SAFETY: takes numbers only and touches no memory of ours.
        check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })
    });
    match locked {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// The first offset at or after `offset` at which `file` stores data; `None` if there is only a
/// hole up to the end. Moves the descriptor's position, which this project never uses.
pub fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    seek(file, offset, libc::SEEK_DATA)
}

/// The first offset at or after `offset` in a hole; the end of the file counts as a hole. `None`
/// if `offset` is past the end.
pub fn next_hole(file: &File, offset: u64) -> io::Result<Option<u64>> {
    seek(file, offset, libc::SEEK_HOLE)
}

/// A part of a file that is all data, or all hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its bytes; never empty.
    pub range: Range<u64>,
    /// Whether the file system stores nothing of it.
    pub hole: bool,
}

/// Walks the extents of `file` within `range`, in order and without a gap. A file system
/// that does not know holes has one extent of data. So has a range behind the file's end:
/// reading tells the end.
pub fn extents(file: &File, range: Range<u64>) -> Extents<'_> {
    Extents { file, range }
}

/// The iterator of [`extents`].
#[derive(Debug)]
pub struct Extents<'a> {
    file: &'a File,
    /// What is left to walk.
    range: Range<u64>,
}

impl Iterator for Extents<'_> {
    type Item = Extent;

    fn next(&mut self) -> Option<Extent> {
        let Range { start, end } = self.range;
        if start >= end {
            return None;
        }
        let (stop, hole) = match next_data(self.file, start) {
            Ok(Some(data)) if data > start => (data, true),
            Ok(Some(_)) => match next_hole(self.file, start) {
                Ok(Some(hole)) if hole > start => (hole, false),
                _ => (end, false),
            },
            // A hole up to the file's end, or no byte of the file.
            Ok(None) => (end, matches!(next_hole(self.file, start), Ok(Some(_)))),
            Err(_) => (end, false),
        };
        self.range.start = stop.min(end);
        Some(Extent { range: start..self.range.start, hole })
    }
}

fn seek(file: &File, offset: u64, whence: libc::c_int) -> io::Result<Option<u64>> {
    // SAFETY: takes numbers only and touches no memory of ours.
    let found = unsafe { lseek64(file.as_raw_fd(), signed(offset)?, whence) };
    match u64::try_from(found) {
        Ok(found) => Ok(Some(found)),
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            error => Err(error),
        },
    }
}

/// Starts writing `length` bytes of `file` from `offset` to the disk, and does not wait for it.
/// It is a hint: errors are ignored.
pub fn start_write_back(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (signed(offset), signed(length)) else { return };
    // SAFETY: takes numbers only and touches no memory of ours.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}

/// An offset as the kernel takes it: at most 2^63 - 1.
fn signed(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    /// A nameless file in the system's folder for temporary files.
    fn scratch(name: &str) -> File {
        let path = std::env::temp_dir().join(format!("ropewalk-{}-{name}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn a_range_goes_into_a_socket() {
        let file = scratch("send");
        file.write_all_at(b"0123456789", 0).unwrap();
        let (here, mut there) = UnixStream::pair().unwrap();
        assert_eq!(send_to_socket(here.as_fd(), &file, 3, 4).unwrap(), 4);
        assert_eq!(send_to_socket(here.as_fd(), &file, 10, 4).unwrap(), 0);
        drop(here);
        let mut got = String::new();
        there.read_to_string(&mut got).unwrap();
        assert_eq!(got, "3456");
    }

    #[test]
    fn an_mtime_is_kept_before_1970_and_after_2038() {
        let file = scratch("mtime");
        for (seconds, nanoseconds) in
            [(-1, 999_999_999), (-86_400, 0), (0, 0), (1_700_000_001, 987_654_321), (1 << 32, 1)]
        {
            set_mtime(&file, seconds, nanoseconds).unwrap();
            let found = file.metadata().unwrap();
            assert_eq!((found.mtime(), found.mtime_nsec()), (seconds, nanoseconds.into()));
        }
        assert!(set_mtime(&file, i64::MAX, 2_000_000_000).is_err());
    }

    #[test]
    fn a_lock_is_held_once() {
        let path = std::env::temp_dir().join(format!("ropewalk-{}-lock", std::process::id()));
        let first = File::create(&path).unwrap();
        let second = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(try_lock(&first).unwrap());
        assert!(!try_lock(&second).unwrap());
        drop(first);
        assert!(try_lock(&second).unwrap());
    }

    #[test]
    fn holes_past_four_gibibytes_are_found() {
        let file = scratch("holes");
        file.set_len(6 << 30).unwrap();
        file.write_all_at(&[1; 4096], 5 << 30).unwrap();
        assert_eq!(next_data(&file, 0).unwrap(), Some(5 << 30));
        assert_eq!(next_hole(&file, 5 << 30).unwrap(), Some((5 << 30) + 4096));
        assert_eq!(next_data(&file, (5 << 30) + 4096).unwrap(), None);
        assert_eq!(next_hole(&file, 6 << 30).unwrap(), None);
    }

    /// The extents of the first `length` bytes: start, end and whether it is a hole.
    fn walk(file: &File, start: u64, end: u64) -> Vec<(u64, u64, bool)> {
        let walked = extents(file, start..end);
        walked.map(|extent| (extent.range.start, extent.range.end, extent.hole)).collect()
    }

    #[test]
    fn extents_cover_their_range_in_order() {
        let file = scratch("extents");
        file.set_len(1 << 30).unwrap();
        assert_eq!(walk(&file, 0, 1 << 30), [(0, 1 << 30, true)]);
        file.write_all_at(&[1; 65536], 65536).unwrap();
        file.write_all_at(&[1; 65536], 1 << 20).unwrap();
        let (second, third) = (1 << 20, (1 << 20) + 65536);
        assert_eq!(
            walk(&file, 0, 1 << 30),
            [
                (0, 65536, true),
                (65536, 131_072, false),
                (131_072, second, true),
                (second, third, false),
                (third, 1 << 30, true),
            ]
        );
        let middle = [(70_000, 131_072, false), (131_072, 200_000, true)];
        assert_eq!(walk(&file, 70_000, 200_000), middle);
        assert_eq!(walk(&file, 7, 7), []);
    }

    #[test]
    fn bytes_behind_the_end_are_one_extent_of_data() {
        let file = scratch("beyond");
        file.write_all_at(&[1; 100], 0).unwrap();
        assert_eq!(walk(&file, 200, 300), [(200, 300, false)]);
    }

    #[test]
    fn a_hole_is_made_where_bytes_were_stored() {
        let file = scratch("make");
        file.write_all_at(&[1; 16384], 0).unwrap();
        make_hole(&file, 4096, 12288).unwrap();
        let mut bytes = [9; 16384];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes[4096..12288].iter().all(|byte| *byte == 0));
        assert!(bytes[..4096].iter().chain(&bytes[12288..]).all(|byte| *byte == 1));
    }

    #[test]
    fn a_hole_after_the_end_makes_the_file_longer() {
        let file = scratch("behind");
        file.write_all_at(&[1; 100], 0).unwrap();
        make_hole(&file, 4096, 12288).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 12288);
        make_hole(&file, 4096, 8192).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 12288);
    }

    #[test]
    fn the_greatest_length_of_the_file_system_is_known() {
        let file = scratch("length");
        assert!(can_be_as_long(&file, 1 << 30));
        assert!(!can_be_as_long(&file, u64::MAX));
        // ext4 refuses this length, and tmpfs takes it.
        let longest = i64::MAX as u64;
        assert_eq!(can_be_as_long(&file, longest), file.set_len(longest).is_ok());
    }

    #[test]
    fn preallocation_takes_the_space_or_is_an_error() {
        let file = scratch("space");
        match preallocate(&file, 1 << 20) {
            Ok(()) => {
                let data = file.metadata().unwrap();
                assert_eq!(data.len(), 1 << 20);
                assert!(data.blocks() * 512 >= 1 << 20);
            }
            Err(error) => {
                assert!(matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)))
            }
        }
    }

    #[test]
    fn an_offset_beyond_63_bits_is_refused() {
        let file = scratch("offset");
        assert!(next_data(&file, 1 << 63).is_err());
        assert!(preallocate(&file, u64::MAX).is_err());
    }

    #[test]
    fn opening_a_fifo_does_not_block() {
        let path = std::env::temp_dir().join(format!("ropewalk-{}-fifo", std::process::id()));
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let opened = open_without_blocking(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(!opened.unwrap().metadata().unwrap().is_file());
    }
}
