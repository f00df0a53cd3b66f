//! The threads of a sink's dialled streams: as many as are wanted. With `auto` the pool finds
//! out how many that should be.

#![forbid(unsafe_code)]

use super::work::{Plan, Work, start_thread};
use crate::error::Result;
use crate::transfer::link::Link;
use crate::transfer::link::dialler::Dialler;
use crate::transfer::queue::growth::Growth;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Instant;

/// The streams' threads, by the streams' numbers.
pub(super) struct Pool<'scope, W: Work> {
    work: &'scope W,
    dialler: &'scope Dialler,
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
    growth: Option<Growth>,
    begun: Instant,
    /// Bytes that have come, and what the counter of them said then.
    bytes: u64,
    counted: usize,
}

impl<'scope, W: Work> Pool<'scope, W> {
    /// Starts as many streams as a transfer begins with.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        work: &'scope W,
        dialler: &'scope Dialler,
    ) -> Result<Pool<'scope, W>> {
        let Plan { streams, grows, limit } = work.parts().plan;
        let growth = grows.then(|| Growth::new(streams, limit));
        let first = growth.as_ref().map_or(streams, Growth::streams);
        let (threads, begun) = (Vec::new(), Instant::now());
        let mut pool = Pool { work, dialler, threads, growth, begun, bytes: 0, counted: 0 };
        work.health().want(first.min(work.most_streams()));
        pool.fill(scope)?;
        Ok(pool)
    }

    /// Takes a reading, and starts or ends streams where that is to help. To be called
    /// several times a second.
    pub(super) fn adjust<'env>(&mut self, scope: &'scope Scope<'scope, 'env>) {
        let (work, health) = (self.work, self.work.health());
        let Some(growth) = &mut self.growth else { return };
        // The counter may start over, where a word is short, but not between two calls.
        let counted = health.all_arrived();
        self.bytes += counted.wrapping_sub(std::mem::replace(&mut self.counted, counted)) as u64;
        growth.stop_at(self.dialler.streams());
        let now = self.begun.elapsed();
        // A stream that finds bytes to be the same helps as much as one that brings them.
        let bytes = self.bytes + work.same();
        let wanted = growth.sample(now, bytes, self.dialler.open().round_trip());
        health.want(wanted.min(work.most_streams()));
        if self.fill(scope).is_err() {
            // The system has no room for so many threads. It goes on with those.
            let most = u8::try_from(self.threads.len()).unwrap_or(u8::MAX);
            if let Some(growth) = &mut self.growth {
                growth.stop_at(most);
            }
            health.want(most);
        }
    }

    /// Starts the streams that are wanted and have no thread.
    fn fill<'env>(&mut self, scope: &'scope Scope<'scope, 'env>) -> Result<()> {
        let work = self.work;
        for number in 0..usize::from(work.health().streams()) {
            // A stream that is not wanted may still be at what it owes. It stays then.
            match self.threads.get(number) {
                Some(thread) if !thread.is_finished() => continue,
                _ => {}
            }
            let dialler = self.dialler;
            let thread = start_thread(scope, "stream", move || {
                work.guarded(|| dialler.keep(number, work));
            })?;
            match self.threads.get_mut(number) {
                Some(ended) => *ended = thread,
                None => self.threads.push(thread),
            }
        }
        Ok(())
    }
}
