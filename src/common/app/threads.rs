//! Starting threads that only move bytes and wait.

#![forbid(unsafe_code)]

use super::SMALL_STACK;
use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread called `name` with a small stack: its buffers are on the heap.
///
/// # Errors
/// What pthread_create(3) gives, such as a limit on threads. `run` is dropped then.
pub fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).stack_size(SMALL_STACK).spawn(run)
}
