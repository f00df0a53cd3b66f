//! What the server answers to each request.

#![forbid(unsafe_code)]

use crate::transfers::{Offer, Transfers};
use ropewalk::app::connections::Connection;
use ropewalk::codec::http::{Method, Refusal, RequestHead, Response, Status};
use ropewalk::codec::json::{self, Value};
use ropewalk::error::system_words;
use ropewalk::sys::file;
use ropewalk::transfer::blocks::MAX_STREAMS;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// The `Server` field of every reply: a ropewalk client knows its own kind by it.
const SERVER: &str = concat!("ropewalk/", env!("CARGO_PKG_VERSION"));

/// What methods there are, for a request with another one.
const ALLOW: &str = "POST";

/// The answer to a complete request.
pub(crate) fn answer(
    connection: &Connection,
    transfers: &Arc<Transfers>,
    head: &RequestHead,
    body: &[u8],
) -> Response {
    let offered = match head.method {
        Method::Post => post(connection, transfers, head, body),
        Method::Get | Method::Head | Method::Other(_) => {
            let refused = Refusal::new(Status::METHOD_NOT_ALLOWED, "only POST is served");
            return refusal(&refused).field("Allow", ALLOW);
        }
    };
    match offered {
        Ok(offer) => {
            let reply = Value::object([
                ("hash", Value::from(offer.hash)),
                ("port", Value::from_u64(offer.port.into())),
            ]);
            respond(Status::OK, &reply)
        }
        Err(refused) => refusal(&refused),
    }
}

/// The answer to a request that is not served.
pub(crate) fn refusal(refusal: &Refusal) -> Response {
    respond(refusal.status, &Value::object([("error", Value::from(refusal.reason))]))
}

fn respond(status: Status, body: &Value) -> Response {
    let body = format!("{body}\n").into_bytes();
    Response::new(status).field("Server", SERVER).body("application/json", body)
}

/// A classic request: which file, over how many streams.
fn post(
    connection: &Connection,
    transfers: &Arc<Transfers>,
    head: &RequestHead,
    body: &[u8],
) -> Result<Offer, Refusal> {
    if head.body_length()?.is_none() {
        return Err(Refusal::new(Status::LENGTH_REQUIRED, "a Content-Length is needed"));
    }
    let threads = threads(body)?;
    let file = open(&head.target)?;
    transfers.offer(connection, file, &head.target, threads)
}

/// The number of streams that a request's body asks for.
fn threads(body: &[u8]) -> Result<u8, Refusal> {
    let bad = |reason| Refusal::new(Status::BAD_REQUEST, reason);
    let body = json::parse(body).map_err(|_| bad("the body is not one JSON object"))?;
    if !matches!(body, Value::Object(_)) {
        return Err(bad("the body is not one JSON object"));
    }
    let threads = body.get("threads").ok_or(bad("'threads' is missing"))?;
    threads
        .as_u64()
        .filter(|threads| (1..=MAX_STREAMS).contains(threads))
        .and_then(|threads| u8::try_from(threads).ok())
        .ok_or(bad("'threads' must be a whole number from 1 to 255"))
}

/// Opens the regular file that `target` names, as it came: nothing is decoded.
fn open(target: &[u8]) -> Result<File, Refusal> {
    let path = Path::new(OsStr::from_bytes(target));
    let not_regular = Refusal::new(Status::NOT_FOUND, "not a regular file");
    // Looked at before it is opened, since opening a device can have effects; and
    // after, since it may have been replaced in between.
    if !fs::metadata(path).map_err(|error| unreadable(&error))?.is_file() {
        return Err(not_regular);
    }
    let file = file::open_without_blocking(path).map_err(|error| unreadable(&error))?;
    match file.metadata() {
        Ok(found) if found.is_file() => Ok(file),
        Ok(_) => Err(not_regular),
        Err(error) => Err(unreadable(&error)),
    }
}

/// What to answer when a file cannot be opened.
fn unreadable(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Refusal::new(Status::FORBIDDEN, "permission denied"),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => unavailable(error),
        _ => Refusal::new(Status::NOT_FOUND, "no such file"),
    }
}

/// What to answer when the server has come to a limit of its own.
pub(crate) fn unavailable(error: &io::Error) -> Refusal {
    ropewalk::app::terminal::complain(format_args!("request refused: {}", system_words(error)));
    Refusal::new(Status::SERVICE_UNAVAILABLE, "the server has no room now")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(body: &str) -> u16 {
        threads(body.as_bytes()).unwrap_err().status.code()
    }

    #[test]
    fn every_number_of_threads_is_understood() {
        for number in 1..=255u8 {
            assert_eq!(threads(format!("{{\"threads\": {number}}}").as_bytes()), Ok(number));
        }
    }

    #[test]
    fn other_keys_are_passed_over() {
        assert_eq!(threads(b"{\"x\": [1], \"threads\": 4, \"y\": null}"), Ok(4));
    }

    #[test]
    fn a_body_that_asks_for_nothing_sensible_is_refused() {
        for body in [
            "",
            "4",
            "[]",
            "{}",
            "{\"threads\": 0}",
            "{\"threads\": 256}",
            "{\"threads\": -1}",
            "{\"threads\": 4.0}",
            "{\"threads\": \"4\"}",
            "{\"threads\": 4} {}",
            "{\"threads\": 4",
        ] {
            assert_eq!(status(body), 400, "{body}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_found() {
        for target in ["/", "/dev/null", "/nonexistent", "/etc/passwd/x", "/dev/stdin/../.."] {
            assert_eq!(open(target.as_bytes()).unwrap_err().status.code(), 404, "{target}");
        }
    }
}
