//! The file system of an open file: its kind, its free space, and the limits of its kind
//! (statfs(2)).

use super::{check, retry};
use std::fs::File;
use std::io;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

#[cfg(target_env = "musl")]
use libc::{
    fstatfs as fstatfs64, fstatvfs as fstatvfs64, statfs as statfs64, statvfs as statvfs64,
};
#[cfg(not(target_env = "musl"))]
use libc::{fstatfs64, fstatvfs64, statfs64, statvfs64};

/// Kinds, numbered as in statfs(2); a few only in the kernel's sources.
const TMPFS: u32 = 0x0102_1994;
const RAMFS: u32 = 0x8584_58f6;
const FAT: u32 = 0x4d44;
const EXFAT: u32 = 0x2011_bab0;
const FUSE: u32 = 0x6573_5546;
const SMB: u32 = 0x517b;
const CIFS: u32 = 0xff53_4d42;
const SMB2: u32 = 0xfe53_4d42;
const VBOXSF: u32 = 0x786f_4256;
const PROC: u32 = 0x9fa0;
const SYSFS: u32 = 0x6265_6572;
const CGROUP: u32 = 0x0027_e0eb;
const CGROUP2: u32 = 0x6367_7270;

/// Kinds whose inode numbers change with each mount.
const WITHOUT_INODES: [u32; 7] = [FAT, EXFAT, FUSE, SMB, CIFS, SMB2, VBOXSF];

/// Asks statx(2) for the number of the mount.
const STATX_MNT_ID: libc::c_uint = 0x1000;

/// The first kernel whose syncfs(2) returns the errors of the writes before it.
const FIRST_HONEST_SYNC: (u32, u32) = (5, 8);

/// The kind of the file system of `file`; `None` if it does not tell.
fn kind(file: impl AsFd) -> Option<u32> {
    // SAFETY: all-zero is a valid statfs.
    let mut stat: statfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable and lives through the call.
    retry(|| check(unsafe { fstatfs64(file.as_fd().as_raw_fd(), &mut stat) })).ok()?;
    #[allow(clippy::unnecessary_cast)] // its width and sign differ between systems
    let kind = stat.f_type as u32;
    Some(kind)
}

/// Whether `file` is in memory (tmpfs, ramfs): there, preallocation is as slow as writing and
/// gains nothing.
pub fn is_in_memory(file: &File) -> bool {
    matches!(kind(file), Some(TMPFS | RAMFS))
}

/// Whether a file keeps its inode number over a new mount. `false` if the file system does not
/// tell its kind.
pub fn keeps_inodes(file: impl AsFd) -> bool {
    kind(file).is_some_and(|kind| !WITHOUT_INODES.contains(&kind))
}

/// Whether what is there is no stored file but a view of the kernel: proc, sysfs, cgroup.
pub fn shows_kernel(file: impl AsFd) -> bool {
    matches!(kind(file), Some(PROC | SYSFS | CGROUP | CGROUP2))
}

/// Whether the file system writes zeros to the disk when a file is extended.
pub fn writes_zeros(file: &File) -> bool {
    matches!(kind(file), Some(FAT | EXFAT))
}

/// The number of the mount of an open file (statx(2), Linux 5.8; proc_pid_fdinfo(5), 3.15);
/// `None` if the kernel does not tell. A worker that Landlock confines has no /proc.
pub fn mount_of(file: BorrowedFd<'_>) -> Option<u64> {
    mount_by_statx(file).or_else(|| mount_by_proc(file))
}

fn mount_by_statx(file: BorrowedFd<'_>) -> Option<u64> {
    // SAFETY: all-zero is a valid statx.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the empty name is a constant C string; `found` is a writable `struct statx` that
    // lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_statx,
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            STATX_MNT_ID,
            &raw mut found,
        )
    };
    check(result as libc::c_int).ok()?;
    // qemu's emulation of statx sets the bit in the mask, and leaves the number 0.
    let is_known = found.stx_mask & STATX_MNT_ID != 0 && found.stx_mnt_id != 0;
    is_known.then_some(found.stx_mnt_id)
}

fn mount_by_proc(file: BorrowedFd<'_>) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// The room of a file system, for an ordinary user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its bytes.
    pub bytes: u64,
    /// Those that can still be written.
    pub free_bytes: u64,
    /// The files that it can hold. 0 where it has no fixed number.
    pub files: u64,
    /// Those that can still be made.
    pub free_files: u64,
}

/// Bytes that an ordinary user can still write to the file system of `file`. `None` if it does
/// not tell.
pub fn free_space(file: &File) -> Option<u64> {
    room(file).map(|room| room.free_bytes)
}

/// The room of the file system of `file`. `None` if it does not tell: ramfs and many FUSE file
/// systems have no size.
pub fn room(file: impl AsFd) -> Option<Room> {
    // SAFETY: all-zero is a valid statvfs.
    let mut stat: statvfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable and lives through the call.
    retry(|| check(unsafe { fstatvfs64(file.as_fd().as_raw_fd(), &mut stat) })).ok()?;
    #[allow(clippy::unnecessary_cast)] // 32 bits wide on some systems
    let (all, free, unit, large) =
        (stat.f_blocks as u64, stat.f_bavail as u64, stat.f_frsize as u64, stat.f_bsize as u64);
    #[allow(clippy::unnecessary_cast)]
    let (files, free_files) = (stat.f_files as u64, stat.f_favail as u64);
    let unit = if unit > 0 { unit } else { large };
    (all > 0 && unit > 0).then(|| Room {
        bytes: all.saturating_mul(unit),
        free_bytes: free.saturating_mul(unit),
        files,
        free_files,
    })
}

/// Whether [`sync`] of `file` works and tells of every write that failed. FUSE does not, nor does
/// a kernel before 5.8. A container's filter may refuse the call.
pub fn reports_failed_writes(file: &File) -> bool {
    kind(file) != Some(FUSE)
        && kernel_release() >= FIRST_HONEST_SYNC
        && has_sync()
        && !is_for_lookups(file)
}

/// Whether the kernel has syncfs(2) and lets this process call it.
fn has_sync() -> bool {
    // SAFETY: takes a number only and touches no memory of ours. No file has this number.
    let refused = check(unsafe { libc::syncfs(-1) });
    refused.is_err_and(|error| error.raw_os_error() == Some(libc::EBADF))
}

/// Whether `file` was opened for lookups only (O_PATH).
fn is_for_lookups(file: &File) -> bool {
    // SAFETY: takes numbers only and touches no memory of ours.
    let flags = check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) });
    flags.is_ok_and(|flags| flags & libc::O_PATH != 0)
}

/// The running kernel's version, its first two numbers; zeros if it does not tell.
fn kernel_release() -> (u32, u32) {
    // SAFETY: all-zero is a valid utsname.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is writable and lives through the call.
    if check(unsafe { libc::uname(&mut name) }).is_err() {
        return (0, 0);
    }
    let release = name.release.iter().map(|&byte| byte as u8 as char);
    parse_release(&release.take_while(|&letter| letter != '\0').collect::<String>())
}

/// The first two numbers of a release such as `6.1.0-13-amd64`.
fn parse_release(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || numbers.next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
    (next(), next())
}

/// Waits until everything on the file system of `file` is on its disk (syncfs(2)).
pub fn sync(file: &File) -> io::Result<()> {
    // SAFETY: takes a number only and touches no memory of ours.
    retry(|| check(unsafe { libc::syncfs(file.as_raw_fd()) })).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_two_numbers() {
        assert_eq!(parse_release("6.1.0-13-amd64"), (6, 1));
        assert_eq!(parse_release("5.10-rc1"), (5, 10));
        assert_eq!(parse_release("4"), (4, 0));
        assert_eq!(parse_release(""), (0, 0));
        assert!(kernel_release() > (2, 0));
    }

    #[test]
    fn a_file_system_of_the_kernel_reports_failed_writes_if_the_kernel_does() {
        let file = File::open("/proc/self/status").unwrap();
        assert_eq!(reports_failed_writes(&file), kernel_release() >= (5, 8));
        assert!(has_sync());
    }

    #[test]
    fn a_folder_that_is_open_for_lookups_cannot_be_synced() {
        let folder = super::super::beneath::open_folder(&std::env::temp_dir()).unwrap();
        assert!(!reports_failed_writes(&File::from(folder)));
    }

    #[test]
    fn files_in_memory_differ_from_files_of_proc() {
        let path = format!("/dev/shm/ropewalk-{}-memory", std::process::id());
        if let Ok(file) = File::create(&path) {
            std::fs::remove_file(&path).unwrap();
            assert!(is_in_memory(&file) && keeps_inodes(&file) && !writes_zeros(&file));
            sync(&file).unwrap();
        }
        assert!(!is_in_memory(&File::open("/proc/self/status").unwrap()));
    }

    #[test]
    fn proc_and_sysfs_show_the_kernel_and_a_folder_of_files_does_not() {
        assert!(shows_kernel(File::open("/proc").unwrap()));
        assert!(shows_kernel(File::open("/proc/self/status").unwrap()));
        assert!(File::open("/sys/kernel").map_or(true, shows_kernel));
        assert!(!shows_kernel(File::open(std::env::temp_dir()).unwrap()));
    }

    #[test]
    fn both_ways_to_ask_for_a_mount_agree() {
        let (root, proc) = (File::open("/").unwrap(), File::open("/proc").unwrap());
        for file in [&root, &proc] {
            let by_statx = mount_by_statx(file.as_fd());
            assert!(by_statx.is_none() || by_statx == mount_by_proc(file.as_fd()));
        }
        assert_ne!(mount_of(root.as_fd()), mount_of(proc.as_fd()));
    }

    #[test]
    fn free_space_is_more_than_nothing_and_unknown_where_there_is_no_size() {
        assert!(free_space(&File::open(std::env::temp_dir()).unwrap()).unwrap() > 0);
        assert_eq!(free_space(&File::open("/proc/self/status").unwrap()), None);
    }
}
