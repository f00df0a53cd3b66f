//! A fetch from a server that speaks the classic protocol only. Nothing of it can be
//! resumed: which bytes a part file holds is not known before all have come.

#![forbid(unsafe_code)]

use super::{Fetch, Summary, compare, last_word};
use crate::control::{ClassicOffer, Server};
use ropewalk::app::report::Report;
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
    let part = output.open_part()?;
    part.start_over()?;
    let threads = fetch.config.threads.at_first();
    let mut job = vec![
        ("protocol".to_string(), Value::from_u64(1)),
        ("address".to_string(), Value::from(server.data_address(offer.port).to_string())),
        ("threads".to_string(), Value::from_u64(threads.into())),
        ("trace".to_string(), Value::from_u64(fetch.config.trace.is_some().into())),
        ("shown".to_string(), Value::from(part.output().shown())),
    ];
    job.extend(fetch.config.rate.map(|rate| ("rate".to_string(), Value::from_u64(rate))));
    let mut worker = {
        let pieces = pieces(&part, threads)?;
        let files: Vec<BorrowedFd<'_>> =
            std::iter::once(part.file()).chain(&pieces).map(AsFd::as_fd).collect();
        fetch
            .supervisor
            .start_worker(&fetch.receiver, job, &files)
            .map_err(|error| Error::system("receiver", &error))?
    };
    let mut last = None;
    while let Some(report) =
        worker.reports.next_report().map_err(|error| Error::system("receiver", &error))?
    {
        if let Report::Trace(slice) = &report {
            fetch.gathered.add(slice);
        }
        last = Some(report);
    }
    let Report::Done { tally, md5: Some(md5), mended } = last_word(&worker, last)? else {
        return Err(Error::protocol("receiver: made no MD5"));
    };
    compare(&part, &md5, &offer.hash)?;
    part.commit(fetch.config.wishes.sync)?;
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

/// The files of the streams after the first.
fn pieces(part: &PartFile, threads: u8) -> Result<Vec<File>> {
    let output = part.output();
    pieces::nameless(output.folder(), OsStr::new("ropewalk"), usize::from(threads) - 1)
        .map_err(|error| Error::system(output.shown(), &error))
}
