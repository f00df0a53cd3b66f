//! Threads with a small stack and a name.

#![forbid(unsafe_code)]

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

/// Stack of a thread that only moves bytes and waits, in bytes.
pub const SMALL_STACK: usize = 256 << 10;

fn builder(name: &str) -> Builder {
    Builder::new().name(name.into()).stack_size(SMALL_STACK)
}

/// Starts a thread with a small stack. `name` has at most 15 bytes and no NUL.
///
/// # Errors
/// The system has no room for a thread.
pub fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    builder(name).spawn(run)
}

/// As [`spawn`], for a thread that ends before `scope` does.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    builder(name).spawn_scoped(scope, run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thread_has_its_name() {
        let name = || thread::current().name().map(str::to_string);
        assert_eq!(spawn("free", name).unwrap().join().unwrap().as_deref(), Some("free"));
        let scoped =
            thread::scope(|scope| spawn_scoped(scope, "scoped", name).unwrap().join().unwrap());
        assert_eq!(scoped.as_deref(), Some("scoped"));
    }
}
