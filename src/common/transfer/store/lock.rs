//! The lock of what one run at a time may write: a part file, or the folder of a tree.

#![forbid(unsafe_code)]

use crate::sys::file;
use crate::transfer::timing::Timing;
use std::fs::File;
use std::io;
use std::thread;
use std::time::Instant;

/// Locks `file` within [`Timing::let_go`]. `false` where another process holds it for longer.
///
/// # Errors
/// When the file system has no locks.
pub(super) fn lock_soon(file: &File, timing: &Timing) -> io::Result<bool> {
    let deadline = Instant::now() + timing.let_go;
    while !file::try_lock(file)? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(timing.let_go_pause);
    }
    Ok(true)
}
