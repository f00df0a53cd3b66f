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

/// Adds to `error`, which says that the MD5s differ, on which side that is.
pub(super) fn add(
    error: Error,
    fetch: &Fetch<'_>,
    (server, etag): (&Server, &str),
    part: &PartFile,
    journal: &File,
) -> Error {
    if server.is_another(&fetch.config.file, etag, fetch.interrupt) {
        let text = "the file changed on the server while it was sent";
        return Error::new(ExitCode::Changed, text);
    }
    let shown = part.output().shown();
    match first_difference(part.file(), journal) {
        Some(offset) => error.advise(format_args!(
            "the fault is on this side: {shown}.part is not as it came from byte {offset} on, \
             so another program wrote to it, or this disk or memory is bad"
        )),
        None => error.advise(
            "the fault is on the server's side: here is what it has sent, so its file changed \
             and kept its time, or its disk or memory is bad",
        ),
    }
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
