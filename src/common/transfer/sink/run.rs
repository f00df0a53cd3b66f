//! The run of a sink, whatever it receives: streams are dialled or accepted, threads help, reports
//! go out, and everything is joined at the end.

#![forbid(unsafe_code)]

use super::pool::Pool;
use super::search::Search;
use super::work::{Work, start_thread};
use crate::codec::message::report::Report;
use crate::error::Result;
use crate::transfer::link::acceptor::Acceptor;
use crate::transfer::link::dialler::Dialler;
use crate::transfer::link::hello::{Accepted, Greeter};
use crate::transfer::link::token::Token;
use crate::transfer::link::{End, Link};
use crate::transfer::trace::Recorder;
use std::thread::Scope;

/// The streams of a sink, while they may come.
enum Streams<'scope, W: Work> {
    Dialled(Pool<'scope, W>),
    Accepted {
        /// How many there should be.
        search: Search,
        /// Called at the end: the acceptor takes no stream any more.
        close: Box<dyn FnOnce() + 'scope>,
    },
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
    let accepted = &*Accepted::new(work.parts().plan.streams);
    let first = acceptor.first_streams();
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
            let search = Search::begin(work, first);
            work.health().is_dialled(work.parts().plan.grows);
            let entrance = acceptor.entrance();
            let serve = move || match acceptor.serve(greeter, &mut || {}) {
                Err(error) if !work.is_over() => work.fail(error),
                // This sink has heard of it, or has everything.
                Ok(()) | Err(_) => {}
            };
            start_thread(scope, "acceptor", serve)?;
            Ok(Streams::Accepted { search, close: Box::new(move || entrance.close()) })
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
        match &mut streams {
            Some(Streams::Dialled(pool)) => pool.adjust(scope),
            // The peer opens and closes them.
            Some(Streams::Accepted { search, .. }) => {
                search.go_on(work, link);
            }
            None => {}
        }
    }
    work.reports(&mut report); // the parent may show what is waited for
    work.has_ended();
    work.parts().recorder.into_iter().for_each(Recorder::end);
    end_streams(work, link, streams);
    work.finish(threads, link, &mut report)
}

/// Ends every stream. The source hears that it is not needed any more, where that is so.
fn end_streams<W: Work>(work: &W, link: &dyn Link, streams: Option<Streams<'_, W>>) {
    link.end(work.is_complete().then(|| work.terms(0)));
    if let Some(Streams::Accepted { close, .. }) = streams {
        close();
    }
    work.close();
}
