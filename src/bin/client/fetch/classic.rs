//! A fetch from a server that speaks the classic protocol only. Nothing of it can be
//! resumed: which bytes a part file holds is not known before all have come.

#![forbid(unsafe_code)]

use super::{Fetch, compare, last_word};
use crate::control::{ClassicOffer, Server};
use crate::summary::Summary;
use ropewalk::app::report::{Mended, Report, Tally};
use ropewalk::codec::json::Value;
use ropewalk::error::{Error, Result};
use ropewalk::transfer::output::{Output, PartFile};
use ropewalk::transfer::pieces;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

/// Fetches the file, and puts it in its place.
pub(super) fn run(
    fetch: &Fetch<'_>,
    output: Output,
    server: &Server,
    offer: &ClassicOffer,
) -> Result<Summary> {
    fetch_file(fetch, output, server, offer).map_err(|error| match fetch.interrupt.error() {
        Some(stopped) => stopped.advise("nothing is kept, since a classic server cannot resume"),
        None => error,
    })
}

fn fetch_file(
    fetch: &Fetch<'_>,
    output: Output,
    server: &Server,
    offer: &ClassicOffer,
) -> Result<Summary> {
    let part = output.open_part(fetch.config.wishes.restart)?;
    fetch.warn(part.lacks());
    part.start_over(&fetch.config.file)?;
    fetch.progress.begins(None, 0, true);
    let job = job(fetch, server, offer, part.output().shown());
    let (tally, md5, mended) = {
        let pieces = pieces(&part, fetch.config.threads.at_first())?;
        let files: Vec<BorrowedFd<'_>> =
            std::iter::once(part.file()).chain(&pieces).map(AsFd::as_fd).collect();
        receive(fetch, job, &files)?
    };
    compare(part.output().shown(), &md5, &offer.hash).map_err(|error| {
        error.advise("a stream ended early, or the file changed on the server: try again")
    })?;
    fetch.progress.is_saved(tally.bytes);
    fetch.warn(part.commit(tally.bytes, fetch.config.wishes.sync)?);
    Ok(Summary {
        bytes: tally.bytes,
        time: fetch.begun.elapsed(),
        streams: tally.streams,
        md5: Some(md5),
        resumed: 0,
        mended,
        md5_was_slowest: false,
    })
}

/// What a receiver is told; `shown` is the output's name.
pub(super) fn job(
    fetch: &Fetch<'_>,
    server: &Server,
    offer: &ClassicOffer,
    shown: &str,
) -> Vec<(String, Value)> {
    let threads = fetch.config.threads.at_first();
    let mut job = vec![
        ("protocol".to_string(), Value::from_u64(1)),
        ("address".to_string(), Value::from(server.data_address(offer.port).to_string())),
        ("threads".to_string(), Value::from_u64(threads.into())),
        ("trace".to_string(), Value::from_u64(fetch.config.trace.is_some().into())),
        ("shown".to_string(), Value::from(shown)),
    ];
    job.extend(fetch.config.rate.map(|rate| ("rate".to_string(), Value::from_u64(rate))));
    job
}

/// Starts a receiver with these descriptors and sees it through. Answers with what came,
/// and the MD5 of it.
pub(super) fn receive(
    fetch: &Fetch<'_>,
    job: Vec<(String, Value)>,
    files: &[BorrowedFd<'_>],
) -> Result<(Tally, String, Mended)> {
    let failed = |error| Error::system("receiver", &error);
    let mut worker = fetch.supervisor.start_worker(&fetch.receiver, job, files).map_err(failed)?;
    let mut last = None;
    while let Some(report) = worker.reports.next_report().map_err(failed)? {
        match &report {
            Report::Progress(tally) => fetch.progress.moves(*tally),
            Report::Trace(slice) => fetch.gathered.add(slice),
            Report::Confined { .. }
            | Report::Lost { .. }
            | Report::Done { .. }
            | Report::Failed { .. } => {}
        }
        last = Some(report);
    }
    match last_word(&worker, last)? {
        Report::Done { tally, md5: Some(md5), mended } => Ok((tally, md5, mended)),
        _ => Err(Error::protocol("receiver: made no MD5")),
    }
}

/// The files of the streams after the first.
fn pieces(part: &PartFile, threads: u8) -> Result<Vec<File>> {
    let output = part.output();
    pieces::nameless(output.folder(), OsStr::new("ropewalk"), usize::from(threads) - 1)
        .map_err(|error| Error::system(output.shown(), &error))
}
