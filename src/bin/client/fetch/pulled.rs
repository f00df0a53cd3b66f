//! A fetch from a ropewalk server: resumed where an earlier one was, and gone on with
//! when the server itself goes away for a while.

#![forbid(unsafe_code)]

use super::digest::{self, Digest};
use super::lease::Lease;
use super::renewal::Renewal;
use super::transfer::Transfer;
use super::{Fetch, blame, kept, last_word};
use crate::config::Threads;
use crate::control::{RopewalkOffer, Server};
use crate::summary::Summary;
use ropewalk::app::report::Report;
use ropewalk::app::supervise::Worker;
use ropewalk::app::terminal;
use ropewalk::codec::amount;
use ropewalk::codec::message::receiver_job::{ReceiverJob, ReceiverProtocol, Sink};
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::transfer::journal::{self, Subject};
use ropewalk::transfer::output::{Output, PartFile};
use ropewalk::transfer::partial::{self, Start};
use ropewalk::transfer::space;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// A wait for the MD5 after the last byte that is worth mentioning: this long, and this
/// share of the whole time.
const MENTIONED_LAG: Duration = Duration::from_millis(200);
const MENTIONED_SHARE: u32 = 10;

/// Fetches the file, and puts it in its place.
pub(super) fn run(
    fetch: &Fetch<'_>,
    output: Output,
    server: &Server,
    offer: &RopewalkOffer,
    lease: &Lease,
) -> Result<Summary> {
    let config = fetch.config;
    let mut part = output.open_part(config.wishes.restart)?;
    let subject = Subject {
        name: config.file.clone(),
        etag: offer.etag.clone().into_bytes(),
        size: offer.size,
    };
    let start = partial::prepare(&mut part, &subject, offer.stored, config.wishes)
        .map_err(|error| keeping(error, &part, fetch))?;
    fetch.warn(part.lacks());
    let resumed = match start {
        Start::Fresh => 0,
        Start::Resumed(bytes) => bytes,
        Start::Over(reason) => {
            if !config.quiet {
                let shown = part.output().shown_part();
                terminal::log(format_args!("{shown}: starting over: {reason}"));
            }
            0
        }
    };
    let digest = Digest::begin(fetch, server, offer)?;
    let sink = Sink::Kept { sync: config.wishes.sync };
    let files = [part.file().as_fd(), part.journal().as_fd()];
    fetch.progress.begins(Some(offer.size), resumed, config.verify == Verify::Md5);
    let moved = Transfer { fetch, server, offer, lease }.run(sink, part.output().shown(), &files);
    part.keep(true);
    let report = moved.map_err(|error| give_up(error, fetch, offer, &mut part))?;
    let Report::Done { tally, md5, mended } = report else {
        return Err(Error::protocol("receiver: ended without a report"));
    };
    let last_byte = Instant::now();
    let shown = part.output().shown();
    let compared = digest::settle(fetch, digest, md5, shown).map_err(|error| {
        if error.code() != ExitCode::Integrity {
            return give_up(error, fetch, offer, &mut part);
        }
        let error = blame::add(error, fetch, (server, &offer.etag), &part);
        useless(error, &mut part)
    })?;
    let lag = Duration::from_millis(mended.md5_lag_ms) + last_byte.elapsed();
    fetch.progress.is_saved(tally.bytes);
    let refused = part.complete(offer.size, config.wishes.sync).map_err(|error| {
        // What is read back now may be in memory only.
        let _ = journal::distrust(part.journal());
        error.advise(format_args!("to go on: {}", config.command))
    })?;
    fetch.warn(refused);
    part.put_in_place(config.wishes.sync)?;
    let time = fetch.begun.elapsed();
    Ok(Summary {
        bytes: tally.bytes,
        time,
        streams: tally.streams,
        md5: compared,
        resumed,
        mended,
        md5_was_slowest: lag >= MENTIONED_LAG && lag >= time / MENTIONED_SHARE,
    })
}

/// Says what to do when a transfer has failed that can be gone on with, or has to be
/// started over.
fn give_up(error: Error, fetch: &Fetch<'_>, offer: &RopewalkOffer, part: &mut PartFile) -> Error {
    if error.code() == ExitCode::Changed {
        return useless(error, part);
    }
    if error.code() == ExitCode::System && !part.has_records() {
        part.keep(false); // mostly no receiver could be started
    }
    let error = match space::missing_space(part.file(), offer.stored.min(offer.size), 0) {
        missing @ 1.. if error.code() == ExitCode::System => {
            error.advise(format_args!("{} more are needed", amount::size(missing)))
        }
        _ => error,
    };
    keeping(error, part, fetch)
}

/// Nothing that has come so far is of any use.
fn useless(error: Error, part: &mut PartFile) -> Error {
    part.keep(false);
    match error.code() {
        ExitCode::Changed => error.advise("the same command fetches it as it is now"),
        _ => error,
    }
}

/// Adds to `error` what stays, if it does. Where a signal came that is said later, for all
/// fetches in one place.
fn keeping(error: Error, part: &PartFile, fetch: &Fetch<'_>) -> Error {
    match fetch.interrupt.error() {
        Some(interrupted) => interrupted,
        None if part.is_kept() => kept::add(error, part.output(), &fetch.config.command),
        None => error,
    }
}

impl Transfer<'_> {
    /// Starts a receiver and follows it to its end. `sink` and `files` say where the bytes
    /// go; `shown` is the output's name.
    pub(super) fn run(&self, sink: Sink, shown: &str, files: &[BorrowedFd<'_>]) -> Result<Report> {
        let mut worker = self.start(sink, shown, files)?;
        let failed = |error| Error::system("receiver", &error);
        let lifeline = worker.lifeline().try_clone().map_err(failed)?;
        let last = std::thread::scope(|scope| {
            let mut renewal = None;
            let last = self.follow(&mut worker, |lost, since| {
                // An earlier one has ended: the receiver had its session, and lost that.
                renewal.take().map_or(Ok(()), Renewal::end)?;
                renewal = Some(Renewal::start(scope, self, &lifeline, lost, since)?);
                Ok(())
            });
            // Where there is no other session, the receiver has ended for that.
            renewal.map_or(Ok(()), Renewal::end)?;
            last
        })?;
        let done = last_word(&worker, last)?;
        self.lease.is_over();
        Ok(done)
    }

    /// Reads reports to the last one, which is the answer. `renew` is called for each
    /// session that was lost, with why, and when the first was of a row of losses without
    /// a byte between them.
    fn follow(
        &self,
        worker: &mut Worker,
        mut renew: impl FnMut(String, Instant) -> Result<()>,
    ) -> Result<Option<Report>> {
        let failed = |error| Error::system("receiver", &error);
        let mut last = None;
        let mut moved = 0;
        let mut lost_since: Option<Instant> = None;
        while let Some(report) = worker.reports.next_report().map_err(failed)? {
            match &report {
                Report::Progress(tally) => {
                    if tally.bytes != moved {
                        moved = tally.bytes;
                        lost_since = None;
                    }
                    self.fetch.progress.moves(*tally);
                }
                Report::Lost { text } => {
                    self.fetch.progress.is_lost();
                    renew(text.clone(), *lost_since.get_or_insert_with(Instant::now))?;
                }
                Report::Trace(slice) => self.fetch.gathered.add(slice),
                Report::Confined { .. } | Report::Done { .. } | Report::Failed { .. } => {}
            }
            last = Some(report);
        }
        Ok(last)
    }

    fn start(&self, sink: Sink, shown: &str, files: &[BorrowedFd<'_>]) -> Result<Worker> {
        let Transfer { fetch, offer, .. } = self;
        let config = fetch.config;
        let protocol = ReceiverProtocol::Pulled {
            session: self.session(offer),
            sink,
            size: offer.size,
            grows: config.threads == Threads::Auto,
            verify: config.verify,
            single_port: config.single_port,
        };
        let (shown, trace) = (shown.to_string(), config.trace.is_some());
        let job = ReceiverJob { shown, trace, rate: config.rate, protocol };
        fetch
            .supervisor
            .start_worker(&fetch.receiver, job.to_json(), files)
            .map_err(|error| Error::system("receiver", &error))
    }
}
