//! Threads with a small stack: a box with little memory has room for 255 of them.

#![forbid(unsafe_code)]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// Runs `run`. `None` if it panics: without this, a scope hands the panic of one of its threads
/// on to the thread that waits at its end. What `run` shares must be consistent at each step.
pub fn contained<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
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
