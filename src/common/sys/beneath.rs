//! Regular files and folders looked up beneath a folder held open, and nowhere else, however a
//! name is spelled and whatever is renamed meanwhile: by openat2(2) where the kernel
//! has it, else step by step (`beneath/walk.rs`). Does not judge which names may be
//! asked for; a name is relative here, so an absolute one is refused.

mod walk;

use super::{check, number, retry};
use std::ffi::{CStr, CString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

pub use walk::MAX_LINKS;

/// The longest name, in bytes: one less than the kernel's PATH_MAX, which counts the
/// NUL at the end.
pub const MAX_NAME: usize = libc::PATH_MAX as usize - 1;

/// How often openat2(2) is asked again when something else was renamed during a
/// lookup with `..` in it (EAGAIN). Then the walk, which does not mind, is taken.
const MAX_ATTEMPTS: usize = 64;

/// How often a file is looked up again that was replaced between looking and opening,
/// where that can happen at all: without /proc.
const MAX_SWAPS: usize = 64;

/// openat2(2)'s `resolve`: nothing outside the folder, no absolute link.
const RESOLVE_BENEATH: u64 = 0x08;
/// openat2(2)'s `resolve`: no link of /proc that is a door rather than a name.
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;

/// Who looks a name up.
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
    /// To see what it is: nothing is opened in a device's sense.
    Look,
    /// To read it; never blocks, never becomes the terminal.
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

/// Opens the folder at `path` as a place to look names up in. Needs no permission to
/// list it.
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    Ok(File::options().read(true).custom_flags(flags).open(path)?.into())
}

/// Opens the regular file `name` beneath `root` for reading. What it is, is known
/// before it is opened, and again after: a FIFO or a device is left alone.
///
/// # Errors
/// `EXDEV` for a name that leaves `root`, `ELOOP` for a magic link or too many links,
/// `InvalidInput` for a name with NUL or an empty one and for what is no regular file;
/// else what the system says.
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

/// Opens the folder `name` beneath `root` to read the names in it. A file is not
/// opened.
///
/// # Errors
/// Those of [`open_regular`], and `ENOTDIR` for what is no folder.
pub fn open_dir(root: BorrowedFd<'_>, name: &[u8], lookup: Lookup) -> io::Result<File> {
    let seen = resolve(root, &c_name(name)?, Purpose::Look, lookup)?;
    // `.` in an open folder is that folder, whatever has its name by now.
    walk::openat(seen.as_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY)
}

/// What `name` beneath `root` is, or what it leads to. Opens it for looking only.
///
/// # Errors
/// Those of [`open_regular`], but that it may be anything.
pub fn look(root: BorrowedFd<'_>, name: &[u8], lookup: Lookup) -> io::Result<Metadata> {
    resolve(root, &c_name(name)?, Purpose::Look, lookup)?.metadata()
}

/// Whether both are the same regular file.
fn same_regular(seen: &File, opened: &File) -> io::Result<bool> {
    let (seen, opened) = (seen.metadata()?, opened.metadata()?);
    Ok(opened.is_file() && (seen.dev(), seen.ino()) == (opened.dev(), opened.ino()))
}

/// Opens for reading what is open for looking, without its name: no swap can come
/// in between.
fn reopen(seen: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", seen.as_raw_fd());
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Whether [`reopen`] failed for want of /proc: a link of it leads to an open file, so
/// that cannot be what is not found.
fn lacks_proc(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

fn resolve(
    root: BorrowedFd<'_>,
    name: &CStr,
    purpose: Purpose,
    lookup: Lookup,
) -> io::Result<File> {
    match lookup {
        Lookup::Kernel => by_kernel(root, name, purpose),
        Lookup::Walk => walk::resolve(root, name, purpose),
        Lookup::Best => match by_kernel(root, name, purpose) {
            // No such call, one that a container's filter refuses, or a busy system.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOSYS | libc::EPERM | libc::EAGAIN)
                ) =>
            {
                walk::resolve(root, name, purpose)
            }
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

fn by_kernel(root: BorrowedFd<'_>, name: &CStr, purpose: Purpose) -> io::Result<File> {
    let flags = u64::from(purpose.flags().unsigned_abs());
    let how = OpenHow { flags, mode: 0, resolve: RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
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
