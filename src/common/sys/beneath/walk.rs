//! The lookup of openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS, done one component at
//! a time for kernels older than 5.6 and containers that refuse it. Every folder on the way stays
//! open, so no rename can redirect the lookup.
//!
//! It is stricter in one point: on file systems with magic links, it follows links only in the
//! root of /proc, which has no magic ones. It is laxer in another: it ignores the system's rules
//! on whose links may be followed, since no link leads out.

use super::super::{check, check_size, retry, volume};
use super::{Mounts, Purpose};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

#[cfg(target_env = "musl")]
use libc::{fstatfs as fstatfs64, statfs as statfs64};
#[cfg(not(target_env = "musl"))]
use libc::{fstatfs64, statfs64};

/// The most links followed in one lookup: the kernel's own limit (path_resolution(7)).
pub const MAX_LINKS: usize = 40;

/// File systems whose links may be magic: /proc, and AppArmor's with its entrance.
const PROC: u32 = 0x9fa0;
const SECURITY: u32 = 0x7363_6673;
const APPARMOR: u32 = 0x5a3c_69f0;

/// The inode number of the root of /proc, in every kernel that has one.
const PROC_ROOT_INODE: u64 = 1;

/// A lookup on its way.
pub(super) struct Walk<'a> {
    pub(super) root: BorrowedFd<'a>,
    /// The folders entered, the innermost last.
    pub(super) entered: Vec<File>,
    /// The remaining components, the next one last.
    rest: Vec<CString>,
    links: usize,
}

/// Looks `name` up beneath `root`.
pub(super) fn resolve(root: BorrowedFd<'_>, name: &CStr, purpose: Purpose) -> io::Result<File> {
    let mut walk = Walk::new(root);
    walk.push(name.to_bytes())?;
    while let Some(component) = walk.enter_all_but_last(usize::MAX)? {
        if let Some(found) = walk.open_last(&component, purpose)? {
            return Ok(found);
        }
    }
    // The name ended in a folder.
    openat(walk.here(), c".", libc::O_PATH | libc::O_DIRECTORY)
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Walk<'a> {
        Walk { root, entered: Vec::new(), rest: Vec::new(), links: 0 }
    }

    /// Walks up to the last component, which is not looked up. `None` where the name ends with a
    /// folder: with a slash, `.` or `..`.
    ///
    /// # Errors
    /// `EXDEV` for a name that leaves the root; `ENAMETOOLONG` for more folders than `most` on the
    /// way; errors of the system.
    pub(super) fn enter_all_but_last(&mut self, most: usize) -> io::Result<Option<CString>> {
        while let Some(component) = self.rest.pop() {
            match component.to_bytes() {
                b"." => self.check_searchable()?,
                b".." => {
                    self.check_searchable()?;
                    if self.entered.pop().is_none() {
                        return Err(leaves());
                    }
                }
                _ if self.rest.is_empty() => return Ok(Some(component)),
                _ if self.entered.len() >= most => {
                    return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
                }
                _ => self.enter(&component)?,
            }
        }
        Ok(None)
    }

    /// The folder in which the next component is looked up.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.entered.last().map_or(self.root, AsFd::as_fd)
    }

    /// Puts the components of `path` before the remaining ones.
    pub(super) fn push(&mut self, path: &[u8]) -> io::Result<()> {
        if path.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        if path.first() == Some(&b'/') {
            return Err(leaves());
        }
        if path.last() == Some(&b'/') {
            self.rest.push(c".".to_owned()); // it must be a folder
        }
        for component in path.rsplit(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
            let component = CString::new(component);
            self.rest.push(component.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?);
        }
        Ok(())
    }

    /// Even a lookup of `.` needs the permission to search the folder.
    fn check_searchable(&self) -> io::Result<()> {
        openat(self.here(), c".", libc::O_PATH | libc::O_DIRECTORY).map(|_| ())
    }

    /// Steps into a folder, or continues with the target of a link.
    fn enter(&mut self, name: &CStr) -> io::Result<()> {
        // O_DIRECTORY triggers an automounter, as the kernel's own lookup does.
        let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_DIRECTORY;
        match openat(self.here(), name, flags) {
            Ok(folder) => {
                self.entered.push(folder);
                Ok(())
            }
            Err(error) if is_no_folder(&error) => {
                let found = openat(self.here(), name, libc::O_PATH | libc::O_NOFOLLOW)?;
                let kind = found.metadata()?;
                if kind.is_symlink() {
                    self.follow(&found)
                } else if kind.is_dir() {
                    self.entered.push(found); // swapped in between, and still no link
                    Ok(())
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the last component; `None` if it is a link: the lookup continues with its target.
    fn open_last(&mut self, name: &CStr, purpose: Purpose) -> io::Result<Option<File>> {
        let flags = purpose.flags() | libc::O_NOFOLLOW;
        let found = match (purpose, openat(self.here(), name, flags)) {
            (Purpose::Look, found) => found?,
            (Purpose::Read, Err(error)) if error.raw_os_error() == Some(libc::ELOOP) => {
                openat(self.here(), name, libc::O_PATH | libc::O_NOFOLLOW)?
            }
            (Purpose::Read, found) => return found.map(Some),
        };
        if !found.metadata()?.is_symlink() {
            return Ok(Some(found));
        }
        self.follow(&found)?;
        Ok(None)
    }

    /// Continues with the target of an open link.
    fn follow(&mut self, link: &File) -> io::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS || self.may_be_magic()? {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        // An empty name means the descriptor itself (Linux 2.6.39).
        self.push(&read_link(link.as_fd(), c"")?)
    }

    /// Whether a link in this folder may lead to an open file instead of a name.
    fn may_be_magic(&self) -> io::Result<bool> {
        Ok(match file_system(self.here())? {
            PROC => {
                let here = openat(self.here(), c".", libc::O_PATH | libc::O_DIRECTORY)?;
                here.metadata()?.ino() != PROC_ROOT_INODE
            }
            SECURITY | APPARMOR => true,
            _ => false,
        })
    }
}

/// Opens the folder at `path` with these flags. No component may be a link.
pub(super) fn open_plain(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: libc::c_int,
    mounts: Mounts,
) -> io::Result<File> {
    let mut components = path.to_bytes().split(|&byte| byte == b'/').peekable();
    let mut here: Option<File> = None;
    while let Some(component) = components.next() {
        let component = CString::new(component).map_err(|_| io::ErrorKind::InvalidInput)?;
        let flags = if components.peek().is_some() { libc::O_PATH } else { flags };
        let flags = flags | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let parent = here.as_ref().map_or(root, AsFd::as_fd);
        let entered = openat(parent, &component, flags)?;
        if mounts == Mounts::Refuse && !shares_mount(parent, &entered)? {
            return Err(leaves());
        }
        here = Some(entered);
    }
    here.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Whether a folder and one in it are on the same mount, as far as the kernel tells.
fn shares_mount(parent: BorrowedFd<'_>, entered: &File) -> io::Result<bool> {
    let parent_device = File::from(parent.try_clone_to_owned()?).metadata()?.dev();
    Ok(parent_device == entered.metadata()?.dev()
        && volume::mount_of(parent) == volume::mount_of(entered.as_fd()))
}

/// Whether the opening failed because the file is no folder. For a link, some kernels give
/// ENOTDIR, others ELOOP.
fn is_no_folder(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP))
}

/// The error of openat2(2) for a name that leads out of the root.
pub(super) fn leaves() -> io::Error {
    io::Error::from_raw_os_error(libc::EXDEV)
}

/// Opens a name in a folder, close-on-exec.
pub(in crate::sys) fn openat(
    folder: BorrowedFd<'_>,
    name: &CStr,
    flags: libc::c_int,
) -> io::Result<File> {
    let fd = retry(|| {
        // SAFETY: `name` is a live C string; the folder is open.
        check(unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags | libc::O_CLOEXEC) })
    })?;
    // SAFETY: openat has just returned this descriptor, and nothing else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// The target of the link `name` in a folder.
pub(super) fn read_link(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
    let mut target = vec![0; libc::PATH_MAX as usize];
    // SAFETY: `name` is a live C string; `target` is writable for the length given.
    let length = check_size(unsafe {
        libc::readlinkat(
            folder.as_raw_fd(),
            name.as_ptr(),
            target.as_mut_ptr().cast(),
            target.len(),
        )
    })?;
    if length == target.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    target.truncate(length);
    Ok(target)
}

/// The magic number of the file system that a folder is on.
fn file_system(folder: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: all-zero is a valid statfs.
    let mut stat: statfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable and lives through the call.
    retry(|| check(unsafe { fstatfs64(folder.as_raw_fd(), &mut stat) }))?;
    Ok(stat.f_type as u32)
}
