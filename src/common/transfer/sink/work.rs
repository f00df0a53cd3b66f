//! The frame of a sink at work, whatever it receives: streams are dialled or accepted, threads
//! help, reports go out, and everything is joined at the end.

#![forbid(unsafe_code)]

use super::health::Health;
use super::pool::Pool;
use crate::codec::message::report::Report;
use crate::error::{Error, Result};
use crate::sys::thread;
use crate::transfer::link::acceptor::Acceptor;
use crate::transfer::link::dialler::Dialler;
use crate::transfer::link::hello::{Accepted, Greeter};
use crate::transfer::link::token::Token;
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

/// The streams of a sink, while they may come.
enum Streams<'scope, W: Work> {
    Dialled(Pool<'scope, W>),
    /// Called at the end: the acceptor takes no stream any more.
    Accepted(Box<dyn FnOnce() + 'scope>),
}

/// Receives everything over streams that `dialler` opens.
pub(super) fn dial<W: Work>(
    work: &W,
    dialler: &Dialler,
    report: impl FnMut(Report),
) -> Result<Report> {
    std::thread::scope(|scope| {
        let start = || Pool::start(scope, work, dialler).map(Streams::Dialled);
        run(work, scope, dialler, start, report)
    })
}

/// Receives everything over streams that come to `acceptor` and show `token`.
pub(super) fn accept<W: Work>(
    work: &W,
    acceptor: Acceptor,
    token: &Token,
    report: impl FnMut(Report),
) -> Result<Report> {
    let accepted = &*Accepted::new(work.plan().streams);
    let greeter = &Greeter {
        end: work,
        is_sink: true,
        token,
        accepted,
        timing: work.health().timing,
        told_until: &|| None,
    };
    std::thread::scope(|scope| {
        let start = || {
            work.health().want(work.plan().streams);
            let entrance = acceptor.entrance();
            let serve = move || match acceptor.serve(greeter, &mut || {}) {
                Err(error) if !work.is_over() => work.fail(error),
                // This sink has heard of it, or has everything.
                Ok(()) | Err(_) => {}
            };
            start_thread(scope, "acceptor", serve)?;
            Ok(Streams::Accepted(Box::new(move || entrance.close())))
        };
        run(work, scope, accepted, start, report)
    })
}

/// Starts every thread, waits for the end of the queue, and ends what is left.
fn run<'scope, 'env, W: Work>(
    work: &'scope W,
    scope: &'scope Scope<'scope, 'env>,
    link: &'scope dyn Link,
    start_streams: impl FnOnce() -> Result<Streams<'scope, W>>,
    mut report: impl FnMut(Report),
) -> Result<Report> {
    let mut threads = W::Threads::default();
    let started = work.start_threads(scope, link, &mut threads).and_then(|()| start_streams());
    let mut streams = started.map_err(|error| work.fail(error)).ok();
    while !work.wait_for_end() {
        if let Some(text) = link.take_loss() {
            report(Report::Lost { text });
        }
        work.reports(&mut report);
        work.health().look_whether_bytes_come(link);
        if let Some(Streams::Dialled(pool)) = &mut streams {
            pool.adjust(scope);
        }
    }
    work.reports(&mut report); // the parent may show what is waited for
    work.has_ended();
    end_streams(work, link, streams);
    work.finish(threads, link, &mut report)
}

/// Ends every stream. The source hears that it is not needed any more, where that is so.
fn end_streams<W: Work>(work: &W, link: &dyn Link, streams: Option<Streams<'_, W>>) {
    link.end(work.is_complete().then(|| work.terms(0)));
    if let Some(Streams::Accepted(close)) = streams {
        close();
    }
    work.close();
}

/// Starts one thread.
pub(super) fn start_thread<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    thread::spawn_scoped(scope, name, run).map_err(|error| Error::system("thread", &error))
}
