//! The threads that keep the streams of a dialler connected, by the streams' numbers.

#![forbid(unsafe_code)]

use crate::sys::thread;
use std::io;
use std::thread::{Scope, ScopedJoinHandle};

/// The threads. The scope joins those that have not ended.
#[derive(Default)]
pub struct Keepers<'scope>(Vec<ScopedJoinHandle<'scope, ()>>);

impl<'scope> Keepers<'scope> {
    /// Starts a thread that calls `keep` for each of so many streams, from number 0 on, that has
    /// none.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn fill(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        streams: u8,
        keep: impl Fn(usize) + Copy + Send + 'scope,
    ) -> io::Result<()> {
        for number in 0..usize::from(streams) {
            // A stream that is not wanted may still be at what it owes. It stays then.
            match self.0.get(number) {
                Some(thread) if !thread.is_finished() => continue,
                _ => {}
            }
            let thread = thread::spawn_scoped(scope, "stream", move || keep(number))?;
            match self.0.get_mut(number) {
                Some(ended) => *ended = thread,
                None => self.0.push(thread),
            }
        }
        Ok(())
    }

    /// The most streams that had a thread at once.
    pub fn most(&self) -> u8 {
        u8::try_from(self.0.len()).unwrap_or(u8::MAX)
    }
}
