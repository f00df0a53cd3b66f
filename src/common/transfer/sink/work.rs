//! What a sink of one file and a sink of a tree have in common.

#![forbid(unsafe_code)]

use super::health::Health;
use crate::codec::message::report::Report;
use crate::error::{Error, Result};
use crate::sys::thread;
use crate::transfer::link::{End, Link};
use std::thread::{Scope, ScopedJoinHandle};

/// How many streams a sink wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// So many; where it grows, at most.
    pub(super) streams: u8,
    /// Whether to find out how many there should be.
    pub(super) grows: bool,
    /// Bytes per second at most.
    pub(super) limit: Option<u64>,
}

/// A sink of one file or of a tree.
pub(super) trait Work: End + Sized {
    /// The threads beside the streams whose end counts.
    type Threads<'scope>: Default
    where
        Self: 'scope;

    fn health(&self) -> &Health;

    fn plan(&self) -> Plan;

    /// The most streams that are of use, as is known now.
    fn most_streams(&self) -> u8;

    /// Starts every thread beside the streams.
    fn start_threads<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        link: &'scope dyn Link,
        threads: &mut Self::Threads<'scope>,
    ) -> Result<()>;

    /// Waits for the end of the queue, at most for the time between two reports.
    fn wait_for_end(&self) -> bool;

    /// Whether the queue has ended and nothing is missing.
    fn is_complete(&self) -> bool;

    /// Whether the queue has ended.
    fn is_over(&self) -> bool;

    /// The figures, and what was recorded since the last call.
    fn reports(&self, report: &mut dyn FnMut(Report));

    /// Bytes that older files had, so that the source did not send them.
    fn same(&self) -> u64;

    /// The queue has just ended; the streams have not.
    fn has_ended(&self);

    /// The streams have ended: waits for the threads, and says what came of it.
    fn finish(
        &self,
        threads: Self::Threads<'_>,
        link: &dyn Link,
        report: &mut dyn FnMut(Report),
    ) -> Result<Report>;

    /// Runs what a thread does. `None` for a thread that panics, which ends the transfer.
    fn guarded<T>(&self, run: impl FnOnce() -> T) -> Option<T> {
        let done = thread::contained(run);
        if done.is_none() {
            self.fail(Error::internal("a thread died"));
        }
        done
    }

    /// A block was not good, or a stream broke the protocol.
    fn bad_block(&self, damaged: bool, what: &str) {
        if let Err(error) = self.health().bad_block(damaged, what) {
            self.fail(error);
        }
    }
}

/// Starts one thread.
pub(super) fn start_thread<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    thread::spawn_scoped(scope, name, run).map_err(|error| Error::system("thread", &error))
}
