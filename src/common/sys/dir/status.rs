//! What a name in a folder is: its type, mode, size and stamps, from one call (statx(2), Linux
//! 4.11). A link is not followed, and nothing is opened.

use super::{Dir, component};
use crate::sys::beneath::walk;
use crate::sys::{check, retry};
use std::ffi::{CStr, OsStr};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

/// The type of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A FIFO, a socket or a device.
    Special,
}

/// The metadata of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its type.
    pub kind: Kind,
    /// Its permission bits, with the set-id bits and the sticky bit: at most 0o7777.
    pub mode: u32,
    /// Its bytes.
    pub size: u64,
    /// The bytes that it takes on its disk.
    pub stored: u64,
    /// The seconds of its mtime since 1970; negative before it.
    pub mtime: i64,
    /// The nanoseconds after that second.
    pub mtime_nanoseconds: u32,
    /// The seconds of its ctime.
    pub ctime: i64,
    /// The nanoseconds after that second.
    pub ctime_nanoseconds: u32,
    /// The file system's number.
    pub device: u64,
    /// Its number in the file system.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
    /// Its owner's number.
    pub user: u32,
    /// Its group's number.
    pub group: u32,
}

impl Kind {
    fn of(mode: u32) -> Kind {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Folder,
            libc::S_IFLNK => Kind::Link,
            _ => Kind::Special,
        }
    }
}

/// Bytes in which the kernel counts what is stored, whatever the file system's own blocks are.
const STORED_UNIT: u64 = 512;

/// All bits of a mode that are not the type.
const MODE_BITS: u32 = 0o7777;

impl From<&Metadata> for Status {
    fn from(found: &Metadata) -> Status {
        Status {
            kind: Kind::of(found.mode()),
            mode: found.mode() & MODE_BITS,
            size: found.size(),
            stored: found.blocks().saturating_mul(STORED_UNIT),
            mtime: found.mtime(),
            mtime_nanoseconds: nanoseconds(found.mtime_nsec()),
            ctime: found.ctime(),
            ctime_nanoseconds: nanoseconds(found.ctime_nsec()),
            device: found.dev(),
            inode: found.ino(),
            links: found.nlink(),
            user: found.uid(),
            group: found.gid(),
        }
    }
}

/// From what the system calls give: under a billion by contract.
fn nanoseconds(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(0)
}

impl Status {
    /// The status of an open file, or of what was opened to look at it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn of(file: impl AsFd) -> io::Result<Status> {
        let file = file.as_fd();
        match by_statx(file, c"", libc::AT_EMPTY_PATH) {
            Err(error) if lacks_statx(&error) => {
                Ok(Status::from(&File::from(file.try_clone_to_owned()?).metadata()?))
            }
            found => found,
        }
    }

    /// The status of `name` in an open folder; of a link itself.
    pub(in crate::sys) fn at(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Status> {
        match by_statx(folder, name, libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT) {
            Err(error) if lacks_statx(&error) => {
                Status::of(walk::openat(folder, name, libc::O_PATH | libc::O_NOFOLLOW)?)
            }
            found => found,
        }
    }
}

impl Dir {
    /// The status of the folder itself.
    pub fn status(&self) -> io::Result<Status> {
        Status::of(&self.descriptor)
    }

    /// The status of `name`. Does not follow a symbolic link. Needs no permission to read it.
    ///
    /// # Errors
    /// `NotFound`; other errors of the system.
    pub fn status_of(&self, name: &OsStr) -> io::Result<Status> {
        Status::at(self.descriptor.as_fd(), &component(name)?)
    }
}

/// Whether the kernel lacks statx(2), or a container's filter refuses it.
fn lacks_statx(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

fn by_statx(folder: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> io::Result<Status> {
    // SAFETY: all-zero is a valid statx.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    retry(|| {
        // SAFETY: `name` is a live C string; the folder is open; `found` is a writable
        // `struct statx` that lives through the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_statx,
                folder.as_raw_fd(),
                name.as_ptr(),
                flags,
                libc::STATX_BASIC_STATS,
                &raw mut found,
            )
        };
        check(result as libc::c_int)
    })?;
    let mode = u32::from(found.stx_mode);
    Ok(Status {
        kind: Kind::of(mode),
        mode: mode & MODE_BITS,
        size: found.stx_size,
        stored: found.stx_blocks.saturating_mul(STORED_UNIT),
        mtime: found.stx_mtime.tv_sec,
        mtime_nanoseconds: found.stx_mtime.tv_nsec,
        ctime: found.stx_ctime.tv_sec,
        ctime_nanoseconds: found.stx_ctime.tv_nsec,
        device: libc::makedev(found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        links: found.stx_nlink.into(),
        user: found.stx_uid,
        group: found.stx_gid,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Access;
    use super::*;
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_name_and_its_open_file_have_one_status() {
        let name = format!("ropewalk-status-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), [1; 5000]).unwrap();
        std::os::unix::fs::symlink("nowhere", path.join("link")).unwrap();
        std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
        let dir = Dir::open(&path).unwrap();
        let inside = dir.make_dir(OsStr::new("folder"), 0o751).unwrap();
        let kinds = [
            ("file", Kind::File),
            ("link", Kind::Link),
            ("socket", Kind::Special),
            ("folder", Kind::Folder),
        ];
        for (name, kind) in kinds {
            let name = OsStr::new(name);
            let opened = dir.open_file(name, Access::Look).unwrap().metadata().unwrap();
            let found = dir.status_of(name).unwrap();
            assert_eq!(found, Status::from(&opened));
            let looked = dir.open_file(name, Access::Look).unwrap();
            assert_eq!(Status::of(&looked).unwrap(), found);
            assert_eq!(found.kind, kind);
        }
        assert_eq!(dir.status_of(OsStr::new("file")).unwrap().size, 5000);
        assert_eq!(inside.status().unwrap(), dir.status_of(OsStr::new("folder")).unwrap());
        let missing = dir.status_of(OsStr::new("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn times_before_1970_and_past_2038_are_whole_to_the_nanosecond() {
        let path = std::env::temp_dir().join(format!("ropewalk-times-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let mtime = |status: Status| (status.mtime, status.mtime_nanoseconds);
        file.set_modified(UNIX_EPOCH - Duration::new(86_400, 1)).unwrap();
        assert_eq!(mtime(Status::of(&file).unwrap()), (-86_401, 999_999_999));
        file.set_modified(UNIX_EPOCH + Duration::new(5_000_000_000, 123_456_789)).unwrap();
        assert_eq!(mtime(Status::of(&file).unwrap()), (5_000_000_000, 123_456_789));
        fs::remove_file(path).unwrap();
    }
}
