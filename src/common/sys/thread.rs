//! Threads that need little stack.

#![forbid(unsafe_code)]

use std::thread::Builder;

/// Stack, in bytes, of a thread that only moves bytes and waits.
pub const SMALL_STACK: usize = 256 << 10;

/// Begins a thread with a small stack. Its `name`, at most 15 bytes, is what `ps` shows.
pub fn small(name: &str) -> Builder {
    Builder::new().name(name.to_string()).stack_size(SMALL_STACK)
}
