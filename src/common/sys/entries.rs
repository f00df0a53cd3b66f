//! The names in an open folder, from getdents64(2): in no order, without `.` and `..`. Its
//! numbers have 64 bits on every system; the readdir of some C libraries fails on numbers beyond
//! 32 bits. Opens no file.

use super::{check_size, retry};
use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;

/// Size of the buffer of one call, in bytes.
const BUFFER_SIZE: usize = 32 << 10;

/// The offsets of a record's length and of its name (`struct linux_dirent64`). An inode number
/// and an offset come first; a byte with the type comes before the name.
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;

/// Iterates over the names of a folder once.
#[derive(Debug)]
pub struct Entries<'a> {
    folder: BorrowedFd<'a>,
    buffer: Vec<u8>,
    /// The unread part of the buffer.
    rest: Range<usize>,
}

impl Entries<'_> {
    /// Begins at the descriptor's position, and moves it: the folder must be opened for this
    /// alone.
    pub(super) fn new(folder: BorrowedFd<'_>) -> Entries<'_> {
        Entries { folder, buffer: vec![0; BUFFER_SIZE], rest: 0..0 }
    }

    /// The next name; `None` at the end.
    pub fn next_name(&mut self) -> io::Result<Option<&[u8]>> {
        while let Some(name) = self.next_record()? {
            if !matches!(&self.buffer[name.clone()], b"." | b"..") {
                return Ok(Some(&self.buffer[name]));
            }
        }
        Ok(None)
    }

    /// Where the buffer has the next record's name.
    fn next_record(&mut self) -> io::Result<Option<Range<usize>>> {
        if self.rest.is_empty() {
            let count = retry(|| {
                // SAFETY: the folder is open; `buffer` is writable for the length given.
                let count = unsafe {
                    libc::syscall(
                        libc::SYS_getdents64,
                        self.folder.as_raw_fd(),
                        self.buffer.as_mut_ptr(),
                        self.buffer.len(),
                    )
                };
                check_size(count as libc::ssize_t)
            })?;
            self.rest = 0..count;
        }
        let Some(rest) = self.buffer.get(self.rest.clone()).filter(|rest| !rest.is_empty()) else {
            return Ok(None);
        };
        let (length, name) = take(rest).ok_or(io::ErrorKind::InvalidData)?;
        let start = self.rest.start;
        self.rest.start += length;
        Ok(Some(start + name.start..start + name.end))
    }
}

/// The length of the first record, and where its name is. `None` for an invalid record.
fn take(bytes: &[u8]) -> Option<(usize, Range<usize>)> {
    let length = bytes.get(LENGTH_AT..)?.first_chunk().map(|two| u16::from_ne_bytes(*two))?;
    let name = bytes.get(NAME_AT..usize::from(length))?;
    let end = name.iter().position(|&byte| byte == 0)?;
    Some((length.into(), NAME_AT..NAME_AT + end))
}

impl Iterator for Entries<'_> {
    type Item = io::Result<OsString>;

    fn next(&mut self) -> Option<io::Result<OsString>> {
        let name = self.next_name().transpose()?;
        Some(name.map(|name| OsString::from_vec(name.to_vec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    fn folder(test: &str) -> std::path::PathBuf {
        let name = format!("ropewalk-entries-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn every_name_of_a_large_folder_comes_once() {
        let path = folder("many");
        let mut names: BTreeSet<OsString> =
            (0..2000).map(|n| format!("{n}{}", "x".repeat(n % 200)).into()).collect();
        names.insert(OsString::from_vec(b".\xff \n".to_vec()));
        names.iter().for_each(|name| drop(File::create(path.join(name)).unwrap()));
        let open = File::open(&path).unwrap();
        let found: Vec<_> = Entries::new(open.as_fd()).map(Result::unwrap).collect();
        fs::remove_dir_all(path).unwrap();
        assert_eq!(found.len(), names.len());
        assert_eq!(BTreeSet::from_iter(found), names);
    }

    #[test]
    fn an_empty_folder_has_no_names() {
        let path = folder("empty");
        let open = File::open(&path).unwrap();
        assert!(Entries::new(open.as_fd()).next().is_none());
        fs::remove_dir(path).unwrap();
    }

    #[test]
    fn a_file_has_no_names() {
        let open = File::open("/proc/self/status").unwrap();
        assert!(Entries::new(open.as_fd()).next().unwrap().is_err());
    }

    #[test]
    fn an_invalid_record_is_refused() {
        let record =
            |length: u16, name: &[u8]| [&[0; 16][..], &length.to_ne_bytes(), &[8], name].concat();
        assert_eq!(take(&record(22, b"ab\0")), Some((22, 19..21)));
        for bytes in [record(0, b"ab\0"), record(23, b"ab\0"), record(21, b"ab\0"), vec![0; 17]] {
            assert_eq!(take(&bytes), None);
        }
    }
}
