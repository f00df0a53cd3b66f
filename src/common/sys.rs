//! Safe functions over libc. Only this layer and the hardware hashes contain `unsafe`. Each
//! wrapper takes borrowed descriptors, returns an `io::Result`, retries when a signal interrupts
//! it, and speaks 64-bit offsets.

#![allow(unsafe_code)]

pub mod backoff;
pub mod beneath;
mod component;
pub mod connect;
pub mod dir;
pub mod entries;
pub mod file;
pub mod hangup;
pub mod incoming;
pub mod inherited;
pub mod listener;
pub mod local;
pub mod number;
pub mod outgoing;
pub mod pass;
pub mod peer_watch;
pub mod poll;
pub mod process;
pub mod pump;
pub mod random;
pub mod sandbox;
pub mod socket;
mod standard;
pub mod stream;
pub mod sync;
pub mod terminal;
pub mod thread;
pub mod user;
pub mod volume;

use std::io;

/// Turns the result -1 of a C function into the thread's errno.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// As [`check`], for calls that return a number of bytes.
fn check_size(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Repeats `call` while signals interrupt it.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
