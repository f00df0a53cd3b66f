//! A fetch over the ropewalk protocol into a part file, which becomes the output. It
//! continues an earlier fetch, and it survives a server that goes away for a while.

#![forbid(unsafe_code)]

use super::digest::{self, Digest};
use super::offered::Offered;
use super::receiver::Received;
use super::transfer::Transfer;
use super::{Fetch, corruption, resume_hint};
use crate::control::{RopewalkOffer, Server};
use crate::session_guard::SessionGuard;
use crate::summary::Fetched;
use ropewalk::app::terminal;
use ropewalk::codec::amount;
use ropewalk::codec::message::receiver_job::Sink;
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::transfer::store::basis;
use ropewalk::transfer::store::journal::{self, Subject};
use ropewalk::transfer::store::output::{Output, PartFile};
use ropewalk::transfer::store::partial::{self, Start};
use ropewalk::transfer::store::space;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The summary mentions an MD5 that ended so long after the last byte, and took so large a
/// part of the whole time.
const MENTIONED_LAG: Duration = Duration::from_millis(200);
const MENTIONED_SHARE: u32 = 10;

/// Fetches the file and puts it in place.
pub(super) fn run(
    fetch: &Fetch<'_>,
    output: Output,
    server: &Server,
    offer: &RopewalkOffer,
    guard: &SessionGuard,
) -> Result<Fetched> {
    let mut part = output.open_part(fetch.config.start_options.restart)?;
    let resumed = prepare(fetch, &mut part, offer)?;
    let digest = Digest::begin(fetch, server, offer)?;
    fetch.progress.begin(Some(offer.size), resumed, fetch.config.verify == Verify::Md5);
    let transfer = Transfer { fetch, server, offer: Offered::File(offer), guard };
    let Received { tally, md5, mended } = receive(&transfer, offer, &mut part)?;
    let last_byte = Instant::now();
    let md5 = compare(&transfer, offer, &mut part, (digest, md5))?;
    let lag = Duration::from_millis(mended.md5_lag_ms) + last_byte.elapsed();
    fetch.progress.saving(tally.bytes);
    put_in_place(fetch, part, offer)?;
    let time = fetch.begun.elapsed();
    Ok(Fetched {
        bytes: tally.bytes,
        time,
        streams: tally.streams,
        md5,
        resumed,
        same: tally.same,
        mended,
        md5_was_slowest: lag >= MENTIONED_LAG && lag >= time / MENTIONED_SHARE,
    })
}

/// Makes the part file ready for this offer. Returns how many bytes an earlier run left.
fn prepare(fetch: &Fetch<'_>, part: &mut PartFile, offer: &RopewalkOffer) -> Result<u64> {
    let subject = Subject {
        name: fetch.config.file.clone(),
        etag: offer.etag.clone().into_bytes(),
        size: offer.size,
    };
    let start = partial::prepare(part, &subject, offer.stored, fetch.config.start_options)
        .map_err(|error| with_hint(error, part, fetch))?;
    fetch.warn(part.lacks());
    Ok(match start {
        Start::Fresh => 0,
        Start::Resumed(bytes) => bytes,
        Start::Over(reason) => {
            if !fetch.config.quiet {
                let shown = part.output().shown_part();
                terminal::log(format_args!("{shown}: starting over: {reason}"));
            }
            0
        }
    })
}

/// Receives every byte that is missing.
fn receive(
    transfer: &Transfer<'_>,
    offer: &RopewalkOffer,
    part: &mut PartFile,
) -> Result<Received> {
    let sync = transfer.fetch.config.start_options.sync;
    let sink = Sink::Kept { sync, basis: part.basis().is_some() };
    let mut files = vec![part.file().as_fd(), part.journal().as_fd()];
    files.extend(part.basis().map(AsFd::as_fd));
    let job = transfer.file_job(offer, sink, part.output().shown());
    let received = transfer.run(&job, &files);
    part.keep(true);
    received.map_err(|error| give_up(error, transfer, offer, part))
}

/// Compares the MD5s. Returns the MD5, where there were two to compare.
fn compare(
    transfer: &Transfer<'_>,
    offer: &RopewalkOffer,
    part: &mut PartFile,
    (digest, md5): (Option<Digest>, Option<String>),
) -> Result<Option<String>> {
    let Transfer { fetch, server, .. } = transfer;
    digest::settle(fetch, digest, md5, part.output().shown()).map_err(|error| {
        if error.code() != ExitCode::Integrity {
            return give_up(error, transfer, offer, part);
        }
        match corruption::locate(error, fetch, (server, &offer.etag), part) {
            error if error.code() == ExitCode::Changed => leave_basis(error, part, fetch),
            error => {
                part.keep(false); // no byte of it can be used again
                error
            }
        }
    })
}

/// Writes the file to the disk and gives it its name.
fn put_in_place(fetch: &Fetch<'_>, mut part: PartFile, offer: &RopewalkOffer) -> Result<()> {
    let sync = fetch.config.start_options.sync;
    let warning = part.complete(offer.size, offer.mtime, sync).map_err(|error| {
        // After a failed write, reads may come from memory and hide what the disk lacks.
        let _ = journal::distrust(part.journal());
        error.advise(format_args!("to continue: {}", fetch.config.command))
    })?;
    fetch.warn(warning);
    part.put_in_place(sync)
}

/// Decides what a failed transfer leaves, and adds to `error` how to continue.
fn give_up(
    error: Error,
    transfer: &Transfer<'_>,
    offer: &RopewalkOffer,
    part: &mut PartFile,
) -> Error {
    if error.code() == ExitCode::Changed {
        return leave_basis(error, part, transfer.fetch);
    }
    if error.code() == ExitCode::System && !part.has_records() {
        part.keep(false); // nothing has arrived: usually no receiver could be started
    }
    let bytes = offer.stored.min(offer.size);
    let error = match space::missing_space(part.file(), bytes, 0) {
        missing @ 1.. if error.code() == ExitCode::System => {
            error.advise(format_args!("{} more are needed", amount::size(missing)))
        }
        _ => error,
    };
    with_hint(error, part, transfer.fetch)
}

/// Decides what is left after the file has changed on the server: what has arrived, as basis for
/// the next fetch, unless that is too little or the user wants none. Adds to `error` what to do.
fn leave_basis(error: Error, part: &mut PartFile, fetch: &Fetch<'_>) -> Error {
    let kept = part.output().kept().map_or(0, |(bytes, _)| bytes);
    part.keep(kept >= basis::LEAST && !fetch.config.start_options.whole);
    let advice = "the same command fetches it as it is now";
    match part.is_kept() {
        true => {
            let shown = part.output().shown_part();
            error.advise(format_args!("{advice}, less what is the same in {shown}"))
        }
        false => error.advise(advice),
    }
}

/// Adds the hint how to continue. After a signal the main thread adds it, for every fetch.
fn with_hint(error: Error, part: &PartFile, fetch: &Fetch<'_>) -> Error {
    match fetch.interrupt.error() {
        Some(interrupted) => interrupted,
        None if part.is_kept() => resume_hint::add(error, part.output(), &fetch.config.command),
        None => error,
    }
}
