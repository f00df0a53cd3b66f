//! When the MD5s differ: which side has other bytes than it had. The server is asked
//! whether its file is another one; then each block on this disk is compared with the
//! checksum that it came with.

#![forbid(unsafe_code)]

use super::Fetch;
use crate::control::Server;
use ropewalk::error::{Error, ExitCode};
use ropewalk::transfer::journal::{AUDIT_BUFFER, Journal};
use ropewalk::transfer::output::PartFile;
use std::fs::File;

const SERVER_SIDE: &str = "the fault is on the server's side: these are the bytes that it sent, \
                           so its file changed and kept its time, or its disk or memory is bad";

/// Adds to `error`, which says that the MD5s differ, on which side that is, where nothing was
/// kept here that could be looked at: each block was what the server had sent.
pub(super) fn add_unkept(error: Error, fetch: &Fetch<'_>, server: &Server, etag: &str) -> Error {
    changed(fetch, server, etag).unwrap_or_else(|| error.advise(SERVER_SIDE))
}

/// Adds to `error`, which says that the MD5s differ, on which side that is.
pub(super) fn add(
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

/// The error to end with instead when the server's file is another one by now.
fn changed(fetch: &Fetch<'_>, server: &Server, etag: &str) -> Option<Error> {
    let another = server.is_another(&fetch.config.file, etag, fetch.interrupt);
    let text = "the file changed on the server while it was sent";
    another.then(|| Error::new(ExitCode::Changed, text))
}

/// Where the first range begins that does not hold what the journal vouches for. `None`
/// where all do, or where the journal cannot be read.
fn first_difference(part: &File, journal: &File) -> Option<u64> {
    let (_, _, contents) = Journal::open(journal.try_clone().ok()?).ok()??;
    let mut buffer = vec![0; AUDIT_BUFFER];
    let wrong = contents
        .iter()
        .find(|(start, (end, vouched))| !vouched.holds_in(part, **start..*end, &mut buffer));
    wrong.map(|(start, _)| *start)
}
