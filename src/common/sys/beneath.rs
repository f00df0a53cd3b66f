//! Looks up regular files and folders beneath an open folder, and nowhere else, whatever the name
//! is and whatever is renamed meanwhile: with openat2(2) if the kernel has it, else step by step
//! (`beneath/walk.rs`). Names are relative; an absolute one is refused. The caller decides which
//! names are allowed.

mod folder;
mod place;
pub(super) mod walk;

use super::{check, number, retry};
use std::ffi::{CStr, CString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

pub use folder::Folder;
pub use place::{MAX_DEPTH, NoPlace, Place, find_place, open_to_change};
pub use walk::MAX_LINKS;

/// The longest name, in bytes: one less than the kernel's PATH_MAX, which counts the
/// NUL at the end.
pub const MAX_NAME: usize = libc::PATH_MAX as usize - 1;

/// How often openat2(2) is repeated if a rename disturbs a lookup with `..` (EAGAIN). After that
/// the walk does the lookup: renames do not disturb it.
const MAX_ATTEMPTS: usize = 64;

/// How often a lookup is repeated if the file was replaced between the check and the opening.
/// That can only happen without /proc.
const MAX_SWAPS: usize = 64;

/// openat2(2)'s `resolve`: nothing outside the folder, no absolute link.
const RESOLVE_BENEATH: u64 = 0x08;
/// openat2(2)'s `resolve`: no symbolic link at all.
const RESOLVE_NO_SYMLINKS: u64 = 0x04;
/// openat2(2)'s `resolve`: no other mount.
const RESOLVE_NO_XDEV: u64 = 0x01;
/// openat2(2)'s `resolve`: no magic link of /proc, which leads to an open file and not to a name.
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;

/// The way of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The kernel if it can, else the walk.
    Best,
    /// Only the kernel.
    Kernel,
    /// Only the walk.
    Walk,
}

/// What a descriptor is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To inspect it (O_PATH): no device is opened.
    Look,
    /// To read it. Never blocks, and never becomes the controlling terminal.
    Read,
}

impl Purpose {
    fn flags(self) -> libc::c_int {
        libc::O_CLOEXEC
            | match self {
                Purpose::Look => libc::O_PATH,
                Purpose::Read => READ | libc::O_LARGEFILE,
            }
    }
}

/// How a file is opened for reading.
const READ: libc::c_int = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;

/// Opens the folder at `path` for lookups. Needs no permission to list it.
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    Ok(File::options().read(true).custom_flags(flags).open(path)?.into())
}

/// Opens the regular file `name` beneath `root` for reading. Its type is checked before and after
/// the opening: no FIFO or device is opened.
///
/// # Errors
/// `EXDEV` for a name that leaves `root`; `ELOOP` for a magic link or too many links;
/// `InvalidInput` for an empty name, a name with NUL and anything but a regular file; other
/// errors of the system.
pub fn open_regular(root: BorrowedFd<'_>, name: &[u8], lookup: Lookup) -> io::Result<File> {
    let name = c_name(name)?;
    for _ in 0..MAX_SWAPS {
        let seen = resolve(root, &name, Purpose::Look, lookup)?;
        if !seen.metadata()?.is_file() {
            return Err(not_regular());
        }
        let file = match reopen(&seen) {
            Err(error) if lacks_proc(&error) => resolve(root, &name, Purpose::Read, lookup),
            other => other,
        }?;
        if same_regular(&seen, &file)? {
            return Ok(file);
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// Opens the folder `name` beneath `root` to list it. Does not open a file.
///
/// # Errors
/// Those of [`open_regular`], and `ENOTDIR` for anything but a folder.
pub fn open_dir(root: BorrowedFd<'_>, name: &[u8], lookup: Lookup) -> io::Result<File> {
    let seen = resolve(root, &c_name(name)?, Purpose::Look, lookup)?;
    // `.` in an open folder is that folder, even if its name now means something else.
    walk::openat(seen.as_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY)
}

/// Whether a lookup may enter another mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// It may.
    Enter,
    /// It fails there with `EXDEV`.
    Refuse,
}

/// Opens the folder at `path` beneath `root` to list it and to change names in it. Not one
/// component may be a link, `.` or `..`. A folder that may be searched but not listed is opened
/// for lookups only.
///
/// # Errors
/// `ELOOP` or `ENOTDIR` if a component is a link; `EXDEV` at a mount that is refused;
/// `InvalidInput` for an empty path or one with NUL; other errors of the system.
pub fn open_plain_dir(
    root: BorrowedFd<'_>,
    path: &[u8],
    mounts: Mounts,
    lookup: Lookup,
) -> io::Result<File> {
    if path.split(|&byte| byte == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let path = c_name(path)?;
    let open = |flags| match lookup {
        Lookup::Kernel => plain_by_kernel(root, &path, flags, mounts),
        Lookup::Walk => walk::open_plain(root, &path, flags, mounts),
        Lookup::Best => match plain_by_kernel(root, &path, flags, mounts) {
            Err(error) if lacks_call(&error) => walk::open_plain(root, &path, flags, mounts),
            opened => opened,
        },
    };
    match open(libc::O_RDONLY) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => open(libc::O_PATH),
        opened => opened,
    }
}

fn plain_by_kernel(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: libc::c_int,
    mounts: Mounts,
) -> io::Result<File> {
    let barred = if mounts == Mounts::Refuse { RESOLVE_NO_XDEV } else { 0 };
    let flags = flags | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    openat2(root, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | barred)
}

/// The metadata of `name` beneath `root`, with links followed. Opens it only to inspect it.
///
/// # Errors
/// Those of [`open_regular`], but any type of file is allowed.
pub fn look(root: BorrowedFd<'_>, name: &[u8], lookup: Lookup) -> io::Result<Metadata> {
    resolve(root, &c_name(name)?, Purpose::Look, lookup)?.metadata()
}

/// Whether both are the same regular file.
fn same_regular(seen: &File, opened: &File) -> io::Result<bool> {
    let (seen, opened) = (seen.metadata()?, opened.metadata()?);
    Ok(opened.is_file() && (seen.dev(), seen.ino()) == (opened.dev(), opened.ino()))
}

/// Opens an inspected file for reading, through its descriptor and not its name: nothing can
/// replace it in between.
fn reopen(seen: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", seen.as_raw_fd());
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Whether [`reopen`] failed for lack of /proc: a link of /proc leads to an open file, so the
/// file itself exists.
fn lacks_proc(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// Whether the kernel lacks openat2(2), a container's filter refuses it, or the system is busy.
fn lacks_call(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EAGAIN))
}

fn resolve(
    root: BorrowedFd<'_>,
    name: &CStr,
    purpose: Purpose,
    lookup: Lookup,
) -> io::Result<File> {
    match lookup {
        Lookup::Kernel => by_kernel(root, name, purpose.flags(), 0),
        Lookup::Walk => walk::resolve(root, name, purpose),
        Lookup::Best => match by_kernel(root, name, purpose.flags(), 0) {
            Err(error) if lacks_call(&error) => walk::resolve(root, name, purpose),
            other => other,
        },
    }
}

/// The argument of openat2(2), `struct open_how`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Opens `name` with openat2(2). `rules` go to its `resolve`, with those that always hold.
fn by_kernel(
    root: BorrowedFd<'_>,
    name: &CStr,
    flags: libc::c_int,
    rules: u64,
) -> io::Result<File> {
    openat2(root, name, flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | rules)
}

fn openat2(
    root: BorrowedFd<'_>,
    name: &CStr,
    flags: libc::c_int,
    resolve: u64,
) -> io::Result<File> {
    let how = OpenHow { flags: u64::from(flags.unsigned_abs()), mode: 0, resolve };
    let mut left = MAX_ATTEMPTS;
    loop {
        let opened = retry(|| {
            // SAFETY: `name` is a live C string, `how` a live `struct open_how` of the
            // size given, and the folder is open.
            let opened = unsafe {
                libc::syscall(
                    number::OPENAT2,
                    root.as_raw_fd(),
                    name.as_ptr(),
                    &raw const how,
                    size_of::<OpenHow>(),
                )
            };
            check(opened as libc::c_int)
        });
        left -= 1;
        match opened {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && left > 0 => {}
            Err(error) => return Err(error),
            // SAFETY: openat2 has just returned this descriptor, and nothing else owns it.
            Ok(fd) => return Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) })),
        }
    }
}

/// A name as the kernel takes it.
fn c_name(name: &[u8]) -> io::Result<CString> {
    if name.len() > MAX_NAME {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    if name.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    CString::new(name).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(test)]
mod tests;
