//! What the system knows of a file, without opening it: statx(2), whose times have 64 bits on
//! every system, else fstatat(2). Never follows a link, never triggers an automounter.

use super::{check, retry};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_env = "musl")]
use libc::{fstatat as fstatat64, stat as stat64};
#[cfg(not(target_env = "musl"))]
use libc::{fstatat64, stat64};

/// Set once the kernel (before Linux 4.11) or a container's filter has refused statx(2).
static LACKS_STATX: AtomicBool = AtomicBool::new(false);

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A file with bytes.
    Regular,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A FIFO, a socket or a device.
    Special,
}

/// A time: seconds since 1970, negative before it, and nanoseconds after that second.
pub type Time = (i64, u32);

/// The facts of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its type.
    pub file_type: FileType,
    /// Its permission bits with set-id and sticky bits: 12 bits.
    pub mode: u32,
    /// The number of its file system.
    pub device: u64,
    /// Its number in that file system.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
    /// The number of its owner.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// Its length in bytes.
    pub size: u64,
    /// What it takes on the disk, in units of 512 bytes.
    pub blocks: u64,
    /// When its bytes were last written.
    pub mtime: Time,
    /// When its inode was last changed.
    pub ctime: Time,
}

impl Stat {
    /// The facts of an open file, or of what was opened to look at it.
    pub fn of(file: impl AsFd) -> io::Result<Stat> {
        read(file.as_fd(), c"", libc::AT_EMPTY_PATH)
    }

    /// The facts of `name` in an open folder; of a link itself.
    pub fn at(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Stat> {
        read(folder, name, libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT)
    }
}

fn read(folder: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> io::Result<Stat> {
    if !LACKS_STATX.load(Ordering::Relaxed) {
        match by_statx(folder, name, flags) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                LACKS_STATX.store(true, Ordering::Relaxed);
            }
            done => return done,
        }
    }
    by_fstatat(folder, name, flags)
}

fn by_statx(folder: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> io::Result<Stat> {
    // SAFETY: all-zero is a valid statx.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    retry(|| {
        // SAFETY: `name` is a live C string; `stat` is writable and lives through the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_statx,
                folder.as_raw_fd(),
                name.as_ptr(),
                flags,
                libc::STATX_BASIC_STATS,
                &raw mut stat,
            )
        };
        check(done as libc::c_int)
    })?;
    #[allow(clippy::unnecessary_cast)] // its width differs between systems
    let device = libc::makedev(stat.stx_dev_major, stat.stx_dev_minor) as u64;
    Ok(Stat {
        file_type: file_type(stat.stx_mode.into()),
        mode: u32::from(stat.stx_mode) & 0o7777,
        device,
        inode: stat.stx_ino,
        links: stat.stx_nlink.into(),
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        blocks: stat.stx_blocks,
        mtime: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        ctime: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
    })
}

#[allow(clippy::unnecessary_cast)] // the fields differ between systems
fn by_fstatat(folder: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> io::Result<Stat> {
    // SAFETY: all-zero is a valid stat.
    let mut stat: stat64 = unsafe { std::mem::zeroed() };
    retry(|| {
        // SAFETY: `name` is a live C string; `stat` is writable and lives through the call.
        check(unsafe { fstatat64(folder.as_raw_fd(), name.as_ptr(), &mut stat, flags) })
    })?;
    Ok(Stat {
        file_type: file_type(stat.st_mode as u32),
        mode: stat.st_mode as u32 & 0o7777,
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        links: stat.st_nlink as u64,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
    })
}

fn file_type(mode: u32) -> FileType {
    #[allow(clippy::unnecessary_cast)] // its width differs between systems
    match mode & libc::S_IFMT as u32 {
        kind if kind == libc::S_IFREG as u32 => FileType::Regular,
        kind if kind == libc::S_IFDIR as u32 => FileType::Folder,
        kind if kind == libc::S_IFLNK as u32 => FileType::Link,
        _ => FileType::Special,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::fs::{self, File};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::time::{Duration, UNIX_EPOCH};

    fn scratch(test: &str) -> std::path::PathBuf {
        let path = format!("ropewalk-stat-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(path);
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn both_calls_and_the_standard_library_say_the_same() {
        let path = scratch("same");
        fs::write(path.join("file"), vec![1; 10_000]).unwrap();
        fs::hard_link(path.join("file"), path.join("again")).unwrap();
        symlink("file", path.join("link")).unwrap();
        fs::create_dir(path.join("folder")).unwrap();
        let folder = File::open(&path).unwrap();
        for name in ["file", "again", "link", "folder"] {
            let c_name = CString::new(name).unwrap();
            let stat = Stat::at(folder.as_fd(), &c_name).unwrap();
            let flags = libc::AT_SYMLINK_NOFOLLOW;
            assert_eq!(by_fstatat(folder.as_fd(), &c_name, flags).unwrap(), stat);
            let known = fs::symlink_metadata(path.join(name)).unwrap();
            assert_eq!((stat.device, stat.inode), (known.dev(), known.ino()));
            assert_eq!((stat.links, stat.mode), (known.nlink(), known.mode() & 0o7777));
            assert_eq!((stat.uid, stat.gid), (known.uid(), known.gid()));
            assert_eq!((stat.size, stat.blocks), (known.size(), known.blocks()));
            assert_eq!(stat.mtime, (known.mtime(), known.mtime_nsec() as u32));
            assert_eq!(stat.ctime, (known.ctime(), known.ctime_nsec() as u32));
        }
        let file = File::open(path.join("file")).unwrap();
        assert_eq!(Stat::of(&file).unwrap(), Stat::at(folder.as_fd(), c"file").unwrap());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn each_type_is_told_apart_and_a_link_is_not_followed() {
        let path = scratch("types");
        let folder = File::open(&path).unwrap();
        fs::write(path.join("file"), b"").unwrap();
        symlink("/etc/passwd", path.join("link")).unwrap();
        let fifo = CString::new(path.join("fifo").as_os_str().as_bytes()).unwrap();
        // SAFETY: the name is a live C string.
        check(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }).unwrap();
        let kind = |name: &CStr| Stat::at(folder.as_fd(), name).unwrap().file_type;
        assert_eq!(kind(c"file"), FileType::Regular);
        assert_eq!(kind(c"link"), FileType::Link);
        assert_eq!(kind(c"fifo"), FileType::Special);
        assert_eq!(kind(c"."), FileType::Folder);
        assert!(Stat::at(folder.as_fd(), c"none").is_err());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn times_before_1970_and_past_2038_are_whole_to_the_nanosecond() {
        let path = scratch("times");
        let file = File::create(path.join("file")).unwrap();
        let past = UNIX_EPOCH - Duration::new(86_400, 1);
        file.set_modified(past).unwrap();
        assert_eq!(Stat::of(&file).unwrap().mtime, (-86_401, 999_999_999));
        file.set_modified(UNIX_EPOCH + Duration::new(5_000_000_000, 123_456_789)).unwrap();
        assert_eq!(Stat::of(&file).unwrap().mtime, (5_000_000_000, 123_456_789));
        fs::remove_dir_all(path).unwrap();
    }
}
