//! Receives one file, or everything below a folder: for a client, over streams that it opens; for a
//! server, over streams that come to it; or by hand, into part files. A parent hands it the open
//! output.

#![forbid(unsafe_code)]

mod config;
mod stop;

use config::{Target, Transfer};
use ropewalk::app::job::Job;
use ropewalk::app::options::Arguments;
use ropewalk::app::report::{Mended, Report, Tally};
use ropewalk::app::streams::Link;
use ropewalk::app::{program, programs};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::hash::hex;
use ropewalk::sys::sandbox::Peers;
use ropewalk::sys::{process, sandbox};
use ropewalk::transfer::classic::blocks::MAX_STREAMS;
use ropewalk::transfer::classic::pieces;
use ropewalk::transfer::classic::sink;
use ropewalk::transfer::link::End;
use ropewalk::transfer::meter::Reading;
use ropewalk::transfer::store::tree::MAX_HELD;
use ropewalk::transfer::timing::Timing;
use ropewalk::transfer::trace::{Position, Recorder};
use std::os::fd::AsFd;
use stop::Stop;

/// Descriptors of a receiver: for each stream its socket, a copy of that and a file, and
/// some for the rest.
const DESCRIPTORS: u64 = 3 * MAX_STREAMS + 64;

/// The same for a tree: each stream has a file that it writes, and folders on the way to it. The
/// store keeps 64 folders open, four large files have four descriptors each, and complete ones
/// keep their locks.
const DESCRIPTORS_IN_TREE: u64 = 8 * MAX_STREAMS + 256 + MAX_HELD as u64;

fn main() -> std::process::ExitCode {
    // A file-size limit is an error like any other, not the end of the process.
    process::ignore(libc::SIGXFSZ);
    // Streams and part files hold descriptors. Where the limit cannot be raised, some
    // of the streams cannot be had.
    let _ = process::raise_descriptor_limit();
    program::main(&programs::RECEIVER, |arguments| match arguments.has("job") {
        true => run_job(),
        false => run_by_hand(&arguments),
    })
}

/// Started by a client or a server: reports go to it, errors too.
fn run_job() -> Result<ExitCode> {
    let mut job = Job::from_parent()?;
    // The parent tells the user what is wrong.
    let transfer = match config::from_job(&mut job) {
        Ok(transfer) => transfer,
        Err(error) => {
            Report::failed(&error).send();
            return Ok(error.code());
        }
    };
    let stop = match &transfer {
        Transfer::Tree { .. } => Some(Stop::install()?),
        _ => None,
    };
    // Before the first thread, which Landlock would leave as it was.
    let confined = confine(&transfer);
    Report::Confined { text: confined.to_string() }.send();
    let report = |report: Report| report.send();
    let outcome = match transfer {
        Transfer::Classic(target) => {
            job.watch_lifeline(|_, _| {})?;
            receive_and_join(target)
        }
        Transfer::ClassicPiped(piped) => {
            job.watch_lifeline(|_, _| {})?;
            piped.receive(report)
        }
        Transfer::Ropewalk { sink, link, rate } => {
            link.watch_lifeline(&job, rate)?;
            match link {
                Link::Dialled { dialler, .. } => sink.dial(&dialler, report),
                Link::Accepted { acceptor, token } => sink.accept(*acceptor, &token, report),
            }
        }
        Transfer::Tree { sink, link, rate, .. } => {
            link.watch_lifeline(&job, rate)?;
            let receive = || match link {
                Link::Dialled { dialler, .. } => sink.dial(&dialler, report),
                Link::Accepted { acceptor, token } => sink.accept(*acceptor, &token, report),
            };
            match stop {
                Some(stop) => stop.during(|error| sink.fail(error), receive),
                None => receive(),
            }
        }
    };
    match outcome {
        Ok(done) => {
            done.send();
            Ok(ExitCode::Success)
        }
        Err(error) => {
            Report::failed(&error).send();
            Ok(error.code())
        }
    }
}

/// Gives up the rights that the transfer does not need.
fn confine(transfer: &Transfer) -> sandbox::Report {
    let peers = |link: &Link| match link {
        Link::Dialled { .. } => Peers::AreDialled,
        Link::Accepted { .. } => Peers::Come,
    };
    match transfer {
        Transfer::Classic(_) | Transfer::ClassicPiped(_) => {
            sandbox::confine_receiver(DESCRIPTORS, Peers::AreDialled)
        }
        Transfer::Ropewalk { link, .. } | Transfer::Tree { link, folder: None, .. } => {
            sandbox::confine_receiver(DESCRIPTORS, peers(link))
        }
        Transfer::Tree { link, folder: Some(folder), .. } => {
            sandbox::confine_tree_sink(DESCRIPTORS_IN_TREE, folder.as_fd(), peers(link))
        }
    }
}

/// Receives into the pieces and makes one file of them.
fn receive_and_join(target: Target) -> Result<Report> {
    let Target { addresses, shown, rate, trace, mut files } = target;
    let recorder = trace.then(Recorder::default);
    let recorded = || {
        if let Some(recorder) = &recorder {
            Report::Trace(recorder.take(Position::default())).send();
        }
    };
    let (rate, streams) = (rate.as_ref(), recorder.as_ref());
    let timing = &Timing::default();
    let received = sink::receive(&addresses, &files, &shown, rate, streams, timing, |reading| {
        Report::Progress(reading.into()).send();
        recorded();
    });
    recorded();
    let reading = received?;
    // With no stream left the parent knows what it waits for now.
    Report::Progress(Tally { streams: 0, ..reading.into() }).send();
    let others = files.split_off(1);
    let first = &files[0];
    let (md5, bytes) =
        pieces::join(first, others).map_err(|error| Error::system(&shown, &error))?;
    let tally = Tally { bytes, streams: reading.peak, offset: bytes, ..Tally::default() };
    Ok(Report::Done { tally, md5: Some(hex(&md5)), mended: Mended::default() })
}

/// Started by hand: quiet when all goes well, and the part files stay.
fn run_by_hand(arguments: &Arguments) -> Result<ExitCode> {
    let Target { addresses, shown, files, .. } = config::from_arguments(arguments)?;
    sandbox::confine_receiver(DESCRIPTORS, Peers::AreDialled);
    let timing = &Timing::default();
    sink::receive(&addresses, &files, &shown, None, None, timing, |_: Reading| {})?;
    Ok(ExitCode::Success)
}
