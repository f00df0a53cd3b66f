//! The way to the output: symbolic links are followed once, to a folder and a name in it.

#![forbid(unsafe_code)]

use crate::sys::dir::Dir;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many symbolic links are followed to the output, as in the kernel.
const MAX_LINKS: usize = 40;

/// The folder and the name that a file at `path` has: a symbolic link is followed.
pub(super) fn find(path: &Path) -> io::Result<(Dir, OsString)> {
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
    Ok((Dir::open_to_change(parent)?, name))
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
