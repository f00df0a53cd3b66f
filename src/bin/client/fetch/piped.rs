//! A fetch whose bytes go to a descriptor in order, while they arrive. Nothing is
//! kept, so there is nothing to resume and nothing to put in place; and when the MD5
//! differs, the bytes have gone out all the same.

#![forbid(unsafe_code)]

use super::digest::{self, Digest};
use super::lease::Lease;
use super::transfer::Transfer;
use super::{Fetch, blame, classic, compare};
use crate::control::{ClassicOffer, RopewalkOffer, Server};
use crate::destination::Open;
use crate::summary::Summary;
use ropewalk::app::report::{Mended, Report};
use ropewalk::codec::message::receiver_job::Sink;
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::{Error, ExitCode, Result};
use std::os::fd::AsFd;

/// Fetches the file from a ropewalk server.
pub(super) fn pulled(
    fetch: &Fetch<'_>,
    open: &Open,
    server: &Server,
    offer: &RopewalkOffer,
    lease: &Lease,
) -> Result<Summary> {
    let digest = Digest::begin(fetch, server, offer)?;
    fetch.progress.begins(Some(offer.size), 0, fetch.config.verify == Verify::Md5);
    let transfer = Transfer { fetch, server, offer, lease };
    let report = transfer.run(Sink::Piped, &open.shown, &[open.descriptor.as_fd()])?;
    let Report::Done { tally, md5, mended } = report else {
        return Err(Error::protocol("receiver: ended without a report"));
    };
    let md5 = digest::settle(fetch, digest, md5, &open.shown).map_err(|error| {
        too_late(match error.code() {
            ExitCode::Integrity => blame::add_unkept(error, fetch, server, &offer.etag),
            _ => error,
        })
    })?;
    Ok(summary(fetch, tally.bytes, tally.streams, md5, mended))
}

/// Fetches the file from a server that speaks the classic protocol only.
pub(super) fn classic(
    fetch: &Fetch<'_>,
    open: &Open,
    server: &Server,
    offer: &ClassicOffer,
) -> Result<Summary> {
    let job = classic::job(fetch, server, offer, &open.shown, true);
    fetch.progress.begins(None, 0, true);
    let (tally, md5, mended) = classic::receive(fetch, &job, &[open.descriptor.as_fd()])?;
    compare(&open.shown, &md5, &offer.hash).map_err(too_late)?;
    Ok(summary(fetch, tally.bytes, tally.streams, Some(md5), mended))
}

/// Who reads a pipe has had the bytes before anybody could know that they are wrong.
fn too_late(error: Error) -> Error {
    match error.code() {
        ExitCode::Integrity => error.advise("the bytes that were written are not the file"),
        _ => error,
    }
}

/// How fast the reader was is not to be held against the MD5.
fn summary(
    fetch: &Fetch<'_>,
    bytes: u64,
    streams: u64,
    md5: Option<String>,
    mended: Mended,
) -> Summary {
    fetch.progress.is_saved(bytes);
    let time = fetch.begun.elapsed();
    Summary { bytes, time, streams, md5, resumed: 0, mended, md5_was_slowest: false }
}
