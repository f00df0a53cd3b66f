//! A fetch whose bytes go to a descriptor in order, while they arrive. It keeps nothing, so
//! it cannot be resumed. A wrong MD5 is known only after the bytes are written.

#![forbid(unsafe_code)]

use super::digest::{self, Digest};
use super::offered::Offered;
use super::receiver::Received;
use super::transfer::Transfer;
use super::{Fetch, classic_protocol, compare, corruption};
use crate::control::{ClassicOffer, RopewalkOffer, Server};
use crate::destination::OpenDescriptor;
use crate::session_guard::SessionGuard;
use crate::summary::Fetched;
use ropewalk::codec::message::receiver_job::Sink;
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::{Error, ExitCode, Result};
use std::os::fd::AsFd;

/// Fetches the file over the ropewalk protocol.
pub(super) fn run_ropewalk(
    fetch: &Fetch<'_>,
    open: &OpenDescriptor,
    server: &Server,
    offer: &RopewalkOffer,
    guard: &SessionGuard,
) -> Result<Fetched> {
    let digest = Digest::begin(fetch, server, offer)?;
    fetch.progress.begin(Some(offer.size), 0, fetch.config.verify == Verify::Md5);
    let transfer = Transfer { fetch, server, offer: Offered::File(offer), guard };
    let mut received = transfer
        .run(&transfer.file_job(offer, Sink::Piped, &open.shown), &[open.descriptor.as_fd()])?;
    let md5 = digest::settle(fetch, digest, received.md5.take(), &open.shown).map_err(|error| {
        too_late(match error.code() {
            ExitCode::Integrity => {
                corruption::locate_without_copy(error, fetch, server, &offer.etag)
            }
            _ => error,
        })
    })?;
    Ok(summary(fetch, &received, md5))
}

/// Fetches the file over the classic protocol.
pub(super) fn run_classic(
    fetch: &Fetch<'_>,
    open: &OpenDescriptor,
    server: &Server,
    offer: &ClassicOffer,
) -> Result<Fetched> {
    let job = classic_protocol::job(fetch, server, offer, &open.shown, true);
    fetch.progress.begin(None, 0, true);
    let (received, md5) = classic_protocol::receive(fetch, &job, &[open.descriptor.as_fd()])?;
    compare(&open.shown, &md5, &offer.hash).map_err(too_late)?;
    Ok(summary(fetch, &received, Some(md5)))
}

/// Adds to an error about the MD5 that the reader of a pipe already has the wrong bytes.
fn too_late(error: Error) -> Error {
    match error.code() {
        ExitCode::Integrity => error.advise("the bytes that were written are not the file"),
        _ => error,
    }
}

/// The summary never blames the MD5: the reader of the descriptor may have been slow.
fn summary(fetch: &Fetch<'_>, received: &Received, md5: Option<String>) -> Fetched {
    let Received { tally, mended, .. } = received;
    fetch.progress.saving(tally.bytes);
    Fetched {
        bytes: tally.bytes,
        time: fetch.begun.elapsed(),
        streams: tally.streams,
        md5,
        resumed: 0,
        same: 0,
        mended: *mended,
        md5_was_slowest: false,
    }
}
