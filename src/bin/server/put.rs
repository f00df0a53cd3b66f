//! PUT: takes a whole file from any HTTP client, into the folder of `--writable`. The file has its
//! name only when it is whole, checked and on the disk.

#![forbid(unsafe_code)]

use crate::answer::{NoAnswer, refusal};
use crate::config::Volume;
use crate::connections::Connection;
use crate::service::Service;
use crate::target;
use crate::transfers::table::BodyEntry;
use crate::transfers::totals::Outcome;
use crate::uploads::digests::Digests;
use crate::uploads::file::Incoming;
use crate::uploads::landing;
use ropewalk::app::http::Http;
use ropewalk::app::terminal;
use ropewalk::codec::http::{Refusal, RequestHead, Response, Status};
use ropewalk::codec::text::escape;
use ropewalk::error::system_words;
use std::io;
use std::time::{Duration, Instant};

/// The bytes that are received and written at once.
const PIECE_SIZE: usize = 128 << 10;

/// How an upload ended without a file in place.
enum Failed {
    /// The client gets this answer.
    Refused(Refusal),
    /// The client has gone. The reason is for the log.
    Gone(String),
}

/// The answer to a PUT. Everything that can be refused is refused before the client is told to
/// send the body.
pub(crate) fn answer(
    service: &Service,
    connection: &Connection,
    http: &mut Http,
    head: &RequestHead,
) -> Result<Response, NoAnswer> {
    let uploads = service.uploads()?;
    let path = target::path(&head.target)?;
    let size = size(head)?;
    let digests = Digests::from_fields(&head.headers)?;
    let mut incoming = uploads.begin(&path, size, &head.headers)?;

    let begun = Instant::now();
    let entry = service.table.add_upload(connection.peer().ip(), begun);
    let receive = || receive(http, head, &mut incoming, digests, &entry, service.stall);
    let received = connection.while_receiving(receive);
    let land = |()| uploads.land(&mut incoming, &head.headers).map_err(Failed::Refused);
    let landed = received.and_then(land);
    let (outcome, words) = match &landed {
        Ok(_) => (Outcome::Complete, "complete".to_string()),
        Err(Failed::Refused(refused)) => (Outcome::Failed, in_words(refused)),
        Err(Failed::Gone(words)) => (Outcome::Failed, words.clone()),
    };
    let written = incoming.written();
    drop(incoming); // what did not land is gone before the client hears of it
    entry.end(written, outcome, begun.elapsed());
    if service.volume > Volume::Quiet || is_own_error(&landed) {
        terminal::log(format_args!(
            "{} PUT {} {written} bytes of {size} in {:.3} s: {words}",
            connection.peer(),
            escape(&path),
            begun.elapsed().as_secs_f64(),
        ));
    }
    match landed {
        Ok(response) => Ok(response),
        Err(Failed::Refused(refused)) => Ok(refusal(&refused)),
        Err(Failed::Gone(_)) => Err(NoAnswer::Gone),
    }
}

/// The size of the file that a PUT brings.
fn size(head: &RequestHead) -> Result<u64, Refusal> {
    let no_length = || {
        let words = "a Content-Length is needed, so a pipe cannot be sent: \
                     write it to a file first, and send that";
        Refusal::new(Status::LENGTH_REQUIRED, words)
    };
    if head.headers.get("Content-Range").is_some() {
        let words = "a part of a file cannot be sent, only the whole";
        return Err(Refusal::new(Status::BAD_REQUEST, words));
    }
    match head.announced_length() {
        Ok(Some(size)) => Ok(size),
        Ok(None) => Err(no_length()),
        Err(refused) if refused.status == Status::NOT_IMPLEMENTED => Err(no_length()),
        Err(refused) => Err(refused),
    }
}

/// Receives the body, and checks its digests.
fn receive(
    http: &mut Http,
    head: &RequestHead,
    incoming: &mut Incoming<'_>,
    mut digests: Digests,
    entry: &BodyEntry,
    stall: Duration,
) -> Result<(), Failed> {
    let gone = |error: &io::Error| match error.kind() {
        io::ErrorKind::TimedOut => {
            let words = "no data came for too long";
            Failed::Refused(Refusal::new(Status::REQUEST_TIMEOUT, words))
        }
        io::ErrorKind::UnexpectedEof => Failed::Gone("the client ended it".to_string()),
        _ => Failed::Gone(system_words(error)),
    };
    http.invite_body(head).map_err(|error| gone(&error))?;
    let mut buffer = vec![0; PIECE_SIZE];
    loop {
        let most = entry.piece(PIECE_SIZE as u64).min(PIECE_SIZE as u64) as usize;
        let count = http.read_body(&mut buffer[..most], stall).map_err(|error| gone(&error))?;
        if count == 0 {
            break;
        }
        let piece = &buffer[..count];
        entry.take(count as u64);
        incoming.write(piece).map_err(|error| Failed::Refused(landing::refusal(error)))?;
        digests.update(piece);
    }
    match digests.match_body() {
        true => Ok(()),
        false => {
            let words = "the bytes that came do not have the digest that was sent";
            Err(Failed::Refused(Refusal::new(Status::BAD_REQUEST, words)))
        }
    }
}

/// Whether the system has failed the server, which is logged with `-q` too.
fn is_own_error(landed: &Result<Response, Failed>) -> bool {
    match landed {
        Err(Failed::Refused(refused)) => refused.status.code() >= 500 && refused.cause().is_some(),
        Err(Failed::Gone(_)) | Ok(_) => false,
    }
}

/// A refusal for the log, with its cause.
fn in_words(refused: &Refusal) -> String {
    match refused.cause() {
        Some(cause) => format!("{refused} ({})", system_words(&cause)),
        None => refused.to_string(),
    }
}
