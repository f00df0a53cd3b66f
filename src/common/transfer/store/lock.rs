//! The lock of what one run at a time may write: a file on its way, or the folder of a tree.

#![forbid(unsafe_code)]

use crate::sys::dir::{Access, Dir};
use crate::sys::file;
use crate::transfer::timing::Timing;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::thread;
use std::time::Instant;

/// Locks `file` within [`Timing::let_go`]. `false` where another process holds it for longer.
///
/// # Errors
/// When the file system has no locks.
pub fn lock_soon(file: &File, timing: &Timing) -> io::Result<bool> {
    let deadline = Instant::now() + timing.let_go;
    while !file::try_lock(file)? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(timing.let_go_pause);
    }
    Ok(true)
}

/// Whether a process holds the lock of the file `name`.
pub fn is_being_written(folder: &Dir, name: &OsStr) -> bool {
    let opened = folder.open_file(name, Access::Update);
    opened.is_ok_and(|file| file::try_lock(&file).is_ok_and(|locked| !locked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_being_written_while_its_lock_is_held() {
        let path = std::env::temp_dir().join(format!("ropewalk-held-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let (dir, name) = (Dir::open(&path).unwrap(), OsStr::new("file"));
        let file = dir.open_file(name, Access::Create(0o600)).unwrap();
        assert!(!is_being_written(&dir, name));
        assert!(file::try_lock(&file).unwrap());
        assert!(is_being_written(&dir, name));
        drop(file);
        assert!(!is_being_written(&dir, name) && !is_being_written(&dir, OsStr::new("none")));
        std::fs::remove_dir_all(path).unwrap();
    }
}
