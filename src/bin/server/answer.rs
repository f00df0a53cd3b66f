//! The fields that every answer of the server has, and the answer to a refused request.

#![forbid(unsafe_code)]

use ropewalk::codec::date;
use ropewalk::codec::http::{Refusal, Response, Status};
use ropewalk::codec::json::Value;
use ropewalk::codec::message::reason::Reason;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// The `Server` field of every reply. A ropewalk client recognises a ropewalk server by it.
const SERVER: &str = concat!("ropewalk/", env!("CARGO_PKG_VERSION"));

/// Seconds after which a client may ask a full server again.
const RETRY_AFTER: u64 = 1;

/// Why a request is not served.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The server refuses it.
    Refused(Refusal),
    /// The client has gone.
    Gone,
}

impl From<Refusal> for NoAnswer {
    fn from(refusal: Refusal) -> NoAnswer {
        NoAnswer::Refused(refusal)
    }
}

/// A response with the fields that every response has.
pub(crate) fn begin(status: Status) -> Response {
    let response = Response::new(status).field("Server", SERVER);
    match now() {
        Some(now) => response.field("Date", date::format(now)),
        None => response,
    }
}

/// Seconds since 1970; `None` on a machine without a clock.
pub(crate) fn now() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|now| now.as_secs())
}

/// A response that carries one JSON value.
pub(crate) fn respond(status: Status, body: &Value) -> Response {
    begin(status).body("application/json", format!("{body}\n").into_bytes())
}

/// The answer to a refused request.
pub(crate) fn refusal(refusal: &Refusal) -> Response {
    let response = respond(refusal.status, &Reason(refusal.reason).to_json());
    match refusal.status {
        Status::SERVICE_UNAVAILABLE => response.field("Retry-After", RETRY_AFTER.to_string()),
        _ => response,
    }
}

/// The refusal when the system has no room for what a request needs.
pub(crate) fn unavailable(error: &io::Error) -> Refusal {
    no_room().because(error.raw_os_error())
}

/// The refusal when the server has reached a limit of its own.
pub(crate) fn no_room() -> Refusal {
    Refusal::new(Status::SERVICE_UNAVAILABLE, "the server has no room now")
}
