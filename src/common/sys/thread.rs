//! Threads with a small stack: a box with little memory has room for 255 of them.

#![forbid(unsafe_code)]

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

/// Stack of every thread but the main one, in bytes.
pub const STACK: usize = 256 << 10;

/// Starts a thread of this name.
///
/// # Errors
/// What pthread_create(3) gives: the system has no room for another thread.
pub fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).stack_size(STACK).spawn(run)
}

/// Starts a thread of this name that `scope` joins.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().name(name.into()).stack_size(STACK).spawn_scoped(scope, run)
}
