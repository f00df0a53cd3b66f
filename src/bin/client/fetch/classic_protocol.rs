//! A fetch over the classic protocol into a part file. It cannot be resumed: until all bytes
//! have arrived, it is unknown which bytes a part file holds.

#![forbid(unsafe_code)]

use super::receiver::Received;
use super::{Fetch, compare};
use crate::control::{ClassicOffer, Server};
use crate::summary::Fetched;
use ropewalk::codec::message::receiver_job::{ReceiverJob, ReceiverProtocol};
use ropewalk::error::{Error, Result};
use ropewalk::transfer::classic::pieces;
use ropewalk::transfer::store::output::{Output, PartFile};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

/// Fetches the file and puts it in place.
pub(super) fn run(
    fetch: &Fetch<'_>,
    output: Output,
    server: &Server,
    offer: &ClassicOffer,
) -> Result<Fetched> {
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
) -> Result<Fetched> {
    let part = output.open_part(fetch.config.start_options.restart)?;
    fetch.warn(part.lacks());
    part.start_over(&fetch.config.file)?;
    fetch.progress.begin(None, 0, true);
    let job = job(fetch, server, offer, part.output().shown(), false);
    let (Received { tally, mended, .. }, md5) = {
        let pieces = pieces(&part, fetch.config.streams.at_first())?;
        let files: Vec<BorrowedFd<'_>> =
            std::iter::once(part.file()).chain(&pieces).map(AsFd::as_fd).collect();
        receive(fetch, &job, &files)?
    };
    compare(part.output().shown(), &md5, &offer.hash).map_err(|error| {
        error.advise("a stream ended early, or the file changed on the server: try again")
    })?;
    fetch.progress.saving(tally.bytes);
    fetch.warn(part.commit(tally.bytes, fetch.config.start_options.sync)?);
    Ok(Fetched {
        bytes: tally.bytes,
        time: fetch.begun.elapsed(),
        streams: tally.streams,
        md5: Some(md5),
        resumed: 0,
        same: 0,
        mended,
        md5_was_slowest: false,
    })
}

/// The job of a receiver. `shown` is the output's name in messages. With `piped` the receiver
/// writes the bytes in order.
pub(super) fn job(
    fetch: &Fetch<'_>,
    server: &Server,
    offer: &ClassicOffer,
    shown: &str,
    piped: bool,
) -> ReceiverJob {
    let (address, streams) = (server.data_address(offer.port), fetch.config.streams.at_first());
    ReceiverJob {
        shown: shown.to_string(),
        trace: fetch.config.trace.is_some(),
        rate: fetch.config.rate,
        protocol: ReceiverProtocol::Classic { address, streams, piped },
    }
}

/// Receives the file into these descriptors. Returns what came, and the MD5 of it.
pub(super) fn receive(
    fetch: &Fetch<'_>,
    job: &ReceiverJob,
    files: &[BorrowedFd<'_>],
) -> Result<(Received, String)> {
    let mut received = fetch.receive(job, files)?;
    let md5 = received.md5.take().ok_or_else(|| Error::protocol("receiver: made no MD5"))?;
    Ok((received, md5))
}

/// The files of the streams after the first, without names.
fn pieces(part: &PartFile, streams: u8) -> Result<Vec<File>> {
    let output = part.output();
    pieces::nameless(output.folder(), OsStr::new("ropewalk"), usize::from(streams) - 1)
        .map_err(|error| Error::system(output.shown(), &error))
}
