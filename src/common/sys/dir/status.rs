//! What a name in a folder is: its type, mode, size and stamps, from one call (statx(2), Linux
//! 4.11). A link is not followed, and nothing is opened.

use super::{Access, Dir, component};
use crate::sys::{check, retry};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::fd::AsRawFd;
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

impl Dir {
    /// The status of the folder itself.
    pub fn status(&self) -> io::Result<Status> {
        Ok(Status::from(&self.metadata()?))
    }

    /// The status of `name`. Does not follow a symbolic link. Needs no permission to read it.
    ///
    /// # Errors
    /// `NotFound`; other errors of the system.
    pub fn status_of(&self, name: &OsStr) -> io::Result<Status> {
        match self.status_by_statx(name) {
            // The kernel lacks the call, or a container's filter refuses it.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                Ok(Status::from(&self.open_file(name, Access::Look)?.metadata()?))
            }
            found => found,
        }
    }

    fn status_by_statx(&self, name: &OsStr) -> io::Result<Status> {
        let name = component(name)?;
        // SAFETY: all-zero is a valid statx.
        let mut found: libc::statx = unsafe { std::mem::zeroed() };
        let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
        retry(|| {
            // SAFETY: `name` is a live C string; the folder is open; `found` is a writable
            // `struct statx` that lives through the call.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_statx,
                    self.descriptor.as_raw_fd(),
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
            assert_eq!(found.kind, kind);
        }
        assert_eq!(dir.status_of(OsStr::new("file")).unwrap().size, 5000);
        assert_eq!(inside.status().unwrap(), dir.status_of(OsStr::new("folder")).unwrap());
        let missing = dir.status_of(OsStr::new("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(path).unwrap();
    }
}
