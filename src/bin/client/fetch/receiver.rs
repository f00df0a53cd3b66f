//! The receiver process of a fetch: how the client starts it, follows its reports, and
//! judges how it ended.

#![forbid(unsafe_code)]

use super::Fetch;
use super::transfer::Transfer;
use crate::config::StreamCount;
use crate::control::RopewalkOffer;
use crate::session_request::{Loss, SessionRequest};
use ropewalk::app::report::{Act, Mended, Report, Tally};
use ropewalk::app::supervise::Worker;
use ropewalk::app::terminal;
use ropewalk::codec::message::receiver_job::{ReceiverJob, ReceiverProtocol, Sink, TreeJob};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::process::Ended;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// What a receiver brought that reached its end.
pub(super) struct Received {
    pub(super) tally: Tally,
    /// The MD5 of the bytes, where the receiver made one.
    pub(super) md5: Option<String>,
    pub(super) mended: Mended,
}

impl Fetch<'_> {
    /// Runs a receiver without sessions to its end, with these `files` in the order that its
    /// job wants.
    pub(super) fn receive(&self, job: &ReceiverJob, files: &[BorrowedFd<'_>]) -> Result<Received> {
        let mut worker = self.start_receiver(job, files)?;
        let last = self.follow(&mut worker, |_| Ok(()), || Ok(()))?;
        judge(&worker, last)
    }

    fn start_receiver(&self, job: &ReceiverJob, files: &[BorrowedFd<'_>]) -> Result<Worker> {
        self.supervisor.start_worker(&self.receiver, job.to_json(), files).map_err(|e| failed(&e))
    }

    /// Reads reports to the last one, which is the answer. Calls `lost` for each session that
    /// the receiver lost, and `want` for each stream that this program has to open.
    fn follow(
        &self,
        worker: &mut Worker,
        mut lost: impl FnMut(Loss) -> Result<()>,
        want: impl Fn() -> Result<()>,
    ) -> Result<Option<Report>> {
        let mut last = None;
        let mut bytes = 0;
        let mut lost_since: Option<Instant> = None;
        while let Some(report) = worker.reports.next_report().map_err(|error| failed(&error))? {
            match &report {
                Report::Progress(tally) => {
                    if tally.bytes != bytes {
                        bytes = tally.bytes;
                        lost_since = None;
                    }
                    self.progress.update(*tally);
                }
                Report::Lost { text } => {
                    self.progress.server_lost();
                    let since = *lost_since.get_or_insert_with(Instant::now);
                    lost(Loss { text: text.clone(), since })?;
                }
                Report::Trace(slice) => self.collector.add(slice),
                Report::Tree(tally) => self.progress.update_tree(*tally),
                Report::Moving { path } => self.progress.moves(path),
                Report::Entry { act, path, reason } => {
                    self.tell(*act, path, reason.as_deref());
                    continue; // not the last word
                }
                Report::Stream => want()?,
                Report::Confined { .. } | Report::Done { .. } | Report::Failed { .. } => {}
            }
            last = Some(report);
        }
        Ok(last)
    }

    /// Tells the user what became of an entry of a folder. What could not be had goes to standard
    /// error, whatever the user wants to see.
    fn tell(&self, act: Act, path: &str, reason: Option<&str>) {
        let reason = reason.unwrap_or_default();
        match act {
            Act::Refused => {
                let shown = if path.is_empty() { "the folder itself" } else { path };
                terminal::log(format_args!("{shown}: {reason}"));
            }
            Act::Warning => self.warn(Some(reason.to_string())),
            Act::File | Act::Link | Act::Folder | Act::Deleted | Act::Skipped => {
                let word = if act == Act::File { "" } else { act.word() };
                let gap = if word.is_empty() { "" } else { " " };
                // An error of standard output is none of the fetch.
                let _ = terminal::print(format!("{word}{gap}{path}\n").as_bytes());
            }
        }
    }
}

impl Transfer<'_> {
    /// Runs a receiver to its end, and gets it another session for each that it loses. `files`
    /// are what its job wants.
    pub(super) fn run(&self, job: &ReceiverJob, files: &[BorrowedFd<'_>]) -> Result<Received> {
        let mut worker = self.fetch.start_receiver(job, files)?;
        let lifeline = worker.lifeline().try_clone().map_err(|error| failed(&error))?;
        let children = self.server.children();
        if let Some(children) = children {
            children.serve(worker.lifeline().try_clone().map_err(|error| failed(&error))?);
        }
        let want = || children.map_or(Ok(()), |children| children.want());
        let last = std::thread::scope(|scope| {
            let mut request = None;
            let lost = |loss| {
                // The request before has ended: the receiver got its session and lost that too.
                request.take().map_or(Ok(()), SessionRequest::end)?;
                request = Some(SessionRequest::start(scope, self, &lifeline, loss)?);
                Ok(())
            };
            let last = self.fetch.follow(&mut worker, lost, want);
            // A request without success has ended the receiver: its error comes first.
            request.map_or(Ok(()), SessionRequest::end)?;
            last
        })?;
        let received = judge(&worker, last)?;
        self.guard.release();
        Ok(received)
    }

    /// The job for a file. `sink` says where the bytes go; `shown` is the output's name in messages.
    pub(super) fn file_job(&self, offer: &RopewalkOffer, sink: Sink, shown: &str) -> ReceiverJob {
        let config = self.fetch.config;
        let protocol = ReceiverProtocol::Ropewalk {
            streams: self.streams(),
            sink,
            size: offer.size,
            is_open_ended: false,
            grows: config.streams == StreamCount::Auto,
            verify: config.verify,
        };
        self.job(protocol, shown)
    }

    /// The job for a folder, with what every job has.
    pub(super) fn tree_job(&self, tree: TreeJob, shown: &str) -> ReceiverJob {
        self.job(ReceiverProtocol::Tree(Box::new(tree)), shown)
    }

    fn job(&self, protocol: ReceiverProtocol, shown: &str) -> ReceiverJob {
        let config = self.fetch.config;
        let (shown, trace) = (shown.to_string(), config.trace.is_some());
        ReceiverJob { shown, trace, rate: config.rate, protocol }
    }
}

fn failed(error: &io::Error) -> Error {
    Error::system("receiver", error)
}

/// Waits for a worker whose last report was read, and turns its end into a result.
fn judge(worker: &Worker, last: Option<Report>) -> Result<Received> {
    let died = |what: &str| Error::new(ExitCode::System, format!("receiver: {what}"));
    match (last, worker.wait()) {
        (Some(Report::Failed { code, text }), _) => Err(Error::new(code, text)),
        (Some(Report::Done { tally, md5, mended }), Some(Ended::Exited(0))) => {
            Ok(Received { tally, md5, mended })
        }
        (_, Some(Ended::Killed(signal))) => Err(died(&format!("stopped by signal {signal}"))),
        (_, Some(Ended::Exited(code))) => Err(died(&format!("ended with exit code {code}"))),
        (_, None) => Err(died("was lost")),
    }
}
