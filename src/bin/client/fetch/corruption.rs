//! Locates a corruption when the MD5s differ: on the server's side or on this side.
//! The client asks the server whether its file has changed. Then it compares each range on
//! this disk with the checksum that came with it.

#![forbid(unsafe_code)]

use super::Fetch;
use crate::control::Server;
use ropewalk::error::{Error, ExitCode};
use ropewalk::transfer::store::journal::{AUDIT_BUFFER, Journal};
use ropewalk::transfer::store::output::PartFile;
use std::fs::File;

const SERVER_SIDE: &str = "the fault is on the server's side: these are the bytes that it sent, \
                           so its file changed and kept its time, or its disk or memory is bad";

/// Adds the faulty side to `error`, which says that the MD5s differ. Nothing was stored here,
/// so every block was what the server had sent.
pub(super) fn locate_without_copy(
    error: Error,
    fetch: &Fetch<'_>,
    server: &Server,
    etag: &str,
) -> Error {
    changed(fetch, server, etag).unwrap_or_else(|| error.advise(SERVER_SIDE))
}

/// Adds the faulty side to `error`, which says that the MD5s differ.
pub(super) fn locate(
    error: Error,
    fetch: &Fetch<'_>,
    (server, etag): (&Server, &str),
    part: &PartFile,
) -> Error {
    if let Some(changed) = changed(fetch, server, etag) {
        return changed;
    }
    let shown = part.output().shown_part();
    match first_difference(part.file(), part.journal()) {
        Some(offset) => error.advise(format_args!(
            "the fault is on this side: {shown} differs from what arrived, from byte {offset} \
             on: another program wrote to it, or this disk or memory is bad"
        )),
        None => error.advise(SERVER_SIDE),
    }
}

/// The error that replaces the first one when the server's file has changed.
fn changed(fetch: &Fetch<'_>, server: &Server, etag: &str) -> Option<Error> {
    let has_changed = server.has_changed(&fetch.config.file, etag, fetch.interrupt);
    let text = "the file changed on the server while it was sent";
    has_changed.then(|| Error::new(ExitCode::Changed, text))
}

/// The start of the first range whose bytes differ from the checksum in the journal. `None`
/// where no range differs, or where the journal cannot be read.
fn first_difference(part: &File, journal: &File) -> Option<u64> {
    let (_, _, contents) = Journal::open(journal.try_clone().ok()?).ok()??;
    let mut buffer = vec![0; AUDIT_BUFFER];
    let wrong = contents
        .iter()
        .find(|(start, (end, recorded))| !recorded.holds_in(part, **start..*end, &mut buffer));
    wrong.map(|(start, _)| *start)
}
