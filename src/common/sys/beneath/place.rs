//! The place that a name to write means: the open folder of its last component. Found by the walk
//! alone, which knows each folder that it went through.

use super::super::dir::{Dir, Status};
use super::c_name;
use super::walk::{Walk, leaves, openat};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The most folders on the way to a place: each of them stays open during the walk.
pub const MAX_DEPTH: usize = 256;

/// A name that may be written, and its folder.
#[derive(Debug)]
pub struct Place {
    /// The folder, open to change names in it.
    pub folder: Dir,
    /// The name in it: no slash, not `.` or `..`.
    pub name: OsString,
}

/// Why a name is no place to write to.
#[derive(Debug)]
pub enum NoPlace {
    /// It is not beneath the limit, or leads to nothing there. A stranger is not to be told what is
    /// there.
    Outside(io::Error),
    /// The way to it leads beneath the limit, and ends there with this error.
    Within(io::Error),
    /// It is beneath the limit, and names a folder: it ends with a slash, `.` or `..`.
    Folder,
}

/// Finds the place that `name` means beneath `root`, if that is beneath the folder with the device
/// and the inode of `limit` too. Links on the way are followed while they stay beneath `root`; the
/// last component is not looked up. Every folder on the way stays open until the end of the walk,
/// so no rename redirects it. Whoever knows the limit's numbers keeps it open: then no other
/// folder gets them.
///
/// # Errors
/// [`NoPlace`], with `ENOENT` for a missing folder, `ENOTDIR` for what is no folder, `ENAMETOOLONG`
/// for a way of more than [`MAX_DEPTH`] folders.
pub fn find_place(root: BorrowedFd<'_>, name: &[u8], limit: (u64, u64)) -> Result<Place, NoPlace> {
    let mut walk = Walk::new(root);
    let found = c_name(name)
        .and_then(|name| walk.push(name.to_bytes()))
        .and_then(|()| walk.enter_all_but_last(MAX_DEPTH));
    let is_within = has_passed(&walk, limit).map_err(NoPlace::Outside)?;
    match found {
        Ok(_) if !is_within => Err(NoPlace::Outside(leaves())),
        Err(error) if !is_within || error.raw_os_error() == leaves().raw_os_error() => {
            Err(NoPlace::Outside(error))
        }
        Err(error) => Err(NoPlace::Within(error)),
        Ok(None) => Err(NoPlace::Folder),
        Ok(Some(name)) => {
            let folder = Dir::from(open(walk.here()).map_err(NoPlace::Within)?);
            Ok(Place { folder, name: OsString::from_vec(name.into_bytes()) })
        }
    }
}

/// Whether the walk is beneath the folder with this device and inode.
fn has_passed(walk: &Walk<'_>, (device, inode): (u64, u64)) -> io::Result<bool> {
    for folder in walk.entered.iter().map(AsFd::as_fd).chain([walk.root]) {
        let found = Status::of(folder)?;
        if (found.device, found.inode) == (device, inode) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opens a folder by its path on this machine, to change names in it.
///
/// # Errors
/// What openat(2) gives.
pub fn open_to_change(path: &Path) -> io::Result<Dir> {
    let folder = super::open_folder(path)?;
    open(folder.as_fd()).map(Dir::from)
}

/// Opens a folder to list it and to change names in it; only the latter where it may not be listed.
fn open(folder: BorrowedFd<'_>) -> io::Result<File> {
    match openat(folder, c".", libc::O_RDONLY | libc::O_DIRECTORY) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            openat(folder, c".", libc::O_PATH | libc::O_DIRECTORY)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests;
