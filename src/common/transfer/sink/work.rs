//! What a sink of one file and a sink of a tree have in common.

#![forbid(unsafe_code)]

use super::health::Health;
use crate::codec::message::report::Report;
use crate::error::{Error, ExitCode, Result};
use crate::sys::thread;
use crate::transfer::link::{End, Event, Joined, Link, Stop, Terms};
use crate::transfer::queue::rate::Rate;
use crate::transfer::trace::Recorder;
use std::thread::{Scope, ScopedJoinHandle};

/// How many streams a sink wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// So many; where it grows, at most.
    pub(super) streams: u8,
    /// Whether to find out how many there should be.
    pub(super) grows: bool,
}

/// What a sink of either kind has.
pub(super) struct Parts<'a> {
    pub(super) health: &'a Health,
    /// What records the streams, where that is wanted.
    pub(super) recorder: Option<&'a Recorder>,
    /// What holds the streams to a rate.
    pub(super) rate: Option<&'a Rate>,
    pub(super) plan: Plan,
}

/// A sink of one file or of a tree.
pub(super) trait Work: Sync + Sized {
    /// The threads beside the streams whose end counts.
    type Threads<'scope>: Default
    where
        Self: 'scope;

    fn parts(&self) -> Parts<'_>;

    /// The terms in the hello of stream `number`, if this end dials.
    fn terms_of(&self, number: usize) -> Terms;

    /// Speaks on one stream, and returns why that ended.
    fn speak(&self, joined: &Joined<'_>) -> Stop;

    /// Stream `number` is gone: any stream may take what it owes.
    fn release(&self, number: usize);

    /// Ends the queue early.
    fn abort(&self);

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

    fn health(&self) -> &Health {
        self.parts().health
    }

    /// Records something, where that is wanted. That streams are closed at the end is not
    /// recorded.
    fn record(&self, record: impl FnOnce(&Recorder)) {
        if let Some(recorder) = self.parts().recorder.filter(|_| !self.is_over()) {
            record(recorder);
        }
    }

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

impl<W: Work> End for W {
    fn terms(&self, number: usize) -> Terms {
        self.terms_of(number)
    }

    /// A conversation that panics ends the transfer: what it had taken from the queue would be
    /// missing for ever.
    fn converse(&self, joined: &Joined<'_>) -> Stop {
        self.guarded(|| self.speak(joined)).unwrap_or(Stop::Over)
    }

    fn wants(&self, number: usize) -> bool {
        number < usize::from(self.health().streams())
    }

    fn notice(&self, number: usize, event: Event) {
        match event {
            Event::Reopened => self.health().reopened(),
            Event::Closed => self.release(number),
            Event::Opened | Event::Broken | Event::Stalled => {}
        }
        self.record(|to| to.notice(number, event));
    }

    fn fail(&self, error: Error) {
        self.health().fail(error);
        self.abort();
    }

    fn violated(&self, what: &str) {
        self.bad_block(false, what);
    }

    /// No stream waits for the queue or for its share of the rate any more.
    fn close(&self) {
        if !self.is_over() {
            self.fail(Error::new(ExitCode::Network, "no stream is accepted any more"));
        }
        self.parts().rate.into_iter().for_each(Rate::lift);
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
