//! The place of the output: its folder and its name there. Symbolic links are followed once.

#![forbid(unsafe_code)]

use crate::sys::dir::Dir;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many symbolic links are followed to the output, as in the kernel.
const MAX_LINKS: usize = 40;

/// Where a file is, after symbolic links.
pub(super) struct Place {
    /// The path to the file. No symbolic link has its name.
    pub(super) path: PathBuf,
    /// The folder of the file.
    pub(super) folder: Dir,
    /// The name of the file in the folder.
    pub(super) name: OsString,
}

/// The place of the file at `path`, or of the target of a symbolic link there.
///
/// # Errors
/// The path is that of a folder, its folder cannot be opened, or there are too many links.
pub(super) fn find(path: &Path) -> io::Result<Place> {
    let target = follow_links(path)?;
    let is_folder = || io::Error::from_raw_os_error(libc::EISDIR);
    let spelled = target.as_os_str().as_bytes();
    if spelled.ends_with(b"/") || spelled.ends_with(b"/.") {
        return Err(is_folder());
    }
    let name = target.file_name().ok_or_else(is_folder)?.to_os_string();
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = Dir::open_to_change(parent)?;
    Ok(Place { path: target, folder, name })
}

/// The path that the symbolic links at `path` lead to; it need not exist.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&path)?;
                path.pop();
                path.push(target);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}
