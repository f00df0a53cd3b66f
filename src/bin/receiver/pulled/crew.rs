//! The threads of the streams: starts as many as are wanted, and with `auto` finds out
//! how many that should be.

#![forbid(unsafe_code)]

use super::{Shared, lane, spawn};
use ropewalk::error::Result;
use ropewalk::transfer::growth::Growth;
use std::sync::atomic::Ordering;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Instant;

/// The streams' threads, by the streams' numbers.
pub(super) struct Crew<'scope> {
    threads: Vec<ScopedJoinHandle<'scope, ()>>,
    growth: Option<Growth>,
    begun: Instant,
    /// Bytes that have come, and what the counter of them said then.
    bytes: u64,
    counted: usize,
}

impl<'scope> Crew<'scope> {
    /// Starts as many streams as a transfer begins with.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        shared: &'scope Shared,
    ) -> Result<Crew<'scope>> {
        let growth = shared.job.grows.then(|| Growth::new(shared.job.threads, shared.job.limit));
        let first = growth.as_ref().map_or(shared.job.threads, Growth::streams);
        let (threads, begun) = (Vec::new(), Instant::now());
        let mut crew = Crew { threads, growth, begun, bytes: 0, counted: 0 };
        shared.want(first.min(shared.job.most_streams()));
        crew.fill(scope, shared)?;
        Ok(crew)
    }

    /// Takes a reading, and starts or ends streams where that is to help. To be called
    /// several times a second.
    pub(super) fn adjust<'env>(
        &mut self,
        scope: &'scope Scope<'scope, 'env>,
        shared: &'scope Shared,
    ) {
        let Some(growth) = &mut self.growth else { return };
        // The counter may start over, where a word is short, but not between two calls.
        let counted = shared.arrived.load(Ordering::Relaxed);
        self.bytes += counted.wrapping_sub(std::mem::replace(&mut self.counted, counted)) as u64;
        growth.stop_at(shared.sessions.streams());
        let now = self.begun.elapsed();
        let wanted = growth.sample(now, self.bytes, shared.sessions.round_trip());
        shared.want(wanted.min(shared.job.most_streams()));
        if self.fill(scope, shared).is_err() {
            // The system has no room for so many threads. It goes on with those.
            let most = u8::try_from(self.threads.len()).unwrap_or(u8::MAX);
            if let Some(growth) = &mut self.growth {
                growth.stop_at(most);
            }
            shared.want(most);
        }
    }

    /// Starts the streams that are wanted and have no thread.
    fn fill<'env>(
        &mut self,
        scope: &'scope Scope<'scope, 'env>,
        shared: &'scope Shared,
    ) -> Result<()> {
        for number in 0..usize::from(shared.wanted()) {
            // One that was ended may still be at what it owes; it stays then.
            match self.threads.get(number) {
                Some(thread) if !thread.is_finished() => continue,
                _ => {}
            }
            let run = move || shared.guarded(|| lane::run(shared, number));
            let thread = spawn(scope, "stream", run)?;
            match self.threads.get_mut(number) {
                Some(ended) => *ended = thread,
                None => self.threads.push(thread),
            }
        }
        Ok(())
    }
}
