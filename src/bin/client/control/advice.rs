//! Advice for the user when a server cannot be reached or refuses. It stands behind the cause
//! in the one line of an error.

#![forbid(unsafe_code)]

use ropewalk::codec::http::{ResponseHead, Status};
use ropewalk::codec::percent::encode_path;
use ropewalk::codec::text::escape_limited;
use ropewalk::error::Error;
use std::io;

/// The most bytes of a Server field that messages show.
const SHOWN_KIND: usize = 40;

/// The error for a server that could not be connected to.
pub(super) fn unreachable(typed: &str, cause: &io::Error) -> Error {
    let error = Error::network(typed, cause);
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => {
            error.advise("no server listens there: start it, or check host and port")
        }
        io::ErrorKind::TimedOut => error.advise("check the address, and firewalls on the way"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            error.advise("check that this machine is connected to that network")
        }
        _ => error,
    }
}

/// Adds advice to the error for a name without an address.
pub(super) fn unresolved(error: Error) -> Error {
    error.advise("check the name, or use an IP address")
}

/// Adds advice to the error for a refusal with this status and the server's own `words`.
/// `may_wait` tells that the reply has a Retry-After: only then the client waits.
pub(super) fn refused(error: Error, status: u16, words: &str, may_wait: bool) -> Error {
    let is = |known: Status| status == known.code();
    if is(Status::UNAUTHORIZED) {
        error.advise("--auth FILE gives a password")
    } else if is(Status::NOT_FOUND) && words.contains("not a regular file") {
        error.advise("a folder needs a folder as OFILE, and a ropewalk server of today")
    } else if is(Status::NOT_FOUND) {
        error.advise(
            "names begin at the server's --root; without --root, x is in the folder in which the server \
             was started, and /x in /",
        )
    } else if is(Status::SERVICE_UNAVAILABLE) && !may_wait {
        error.advise("try again later")
    } else if is(Status::SERVICE_UNAVAILABLE) {
        error.advise("try again later, or wait longer with --retry-for")
    } else {
        error
    }
}

/// Whether the Server field names ropewalk.
pub(super) fn is_ropewalk(head: &ResponseHead) -> bool {
    head.headers.get("Server").is_some_and(|name| name.starts_with(b"ropewalk"))
}

/// Adds the server's kind, and a command that fetches from it, to the error for an HTTP server
/// that is not ropewalk.
pub(super) fn another_kind(error: Error, typed: &str, head: &ResponseHead, file: &[u8]) -> Error {
    if is_ropewalk(head) {
        return error;
    }
    let kind =
        head.headers.get("Server").map(|kind| format!(" ({})", escape_limited(kind, SHOWN_KIND)));
    let path = encode_path(file);
    let slash = if path.starts_with('/') { "" } else { "/" };
    error.advise(format_args!(
        "the server there is not ropewalk{}; to fetch from it: curl -O http://{typed}{slash}{path}",
        kind.unwrap_or_default()
    ))
}

/// Adds advice to the error for a connection that closed without a reply.
pub(super) fn no_reply(error: Error) -> Error {
    error.advise("a classic server does that for a folder, and for a file that it cannot read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::error::ExitCode;

    #[test]
    fn advice_stands_behind_the_cause() {
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let text = unreachable("box:80", &refused).to_string();
        assert_eq!(
            text,
            "box:80: Connection refused; no server listens there: start it, or check host and port"
        );
        for number in [libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::ENETUNREACH] {
            let text = unreachable("box:80", &io::Error::from_raw_os_error(number)).to_string();
            assert!(text.contains("; check "), "{text}");
        }
    }

    #[test]
    fn an_error_names_a_server_of_another_kind_and_the_command_that_fetches_from_it() {
        let error = Error::new(ExitCode::Refused, "box:80: 405 Not Allowed");
        let head = b"HTTP/1.1 405 Not Allowed\r\nServer: nginx/1.22\xff\r\n\r\n";
        let head = ResponseHead::parse(head).unwrap().unwrap().1;
        let text = another_kind(error, "box:80", &head, b"a b").to_string();
        assert_eq!(
            text,
            "box:80: 405 Not Allowed; the server there is not ropewalk (nginx/1.22\\xff); \
             to fetch from it: curl -O http://box:80/a%20b"
        );
    }

    #[test]
    fn an_error_without_a_remedy_gets_no_advice() {
        let reset = io::Error::from_raw_os_error(libc::ECONNRESET);
        assert_eq!(unreachable("b", &reset).to_string(), "b: Connection reset by peer");
        let error = Error::new(ExitCode::Refused, "b: 500 Oops");
        assert_eq!(super::refused(error, 500, "", false).to_string(), "b: 500 Oops");
    }

    #[test]
    fn a_longer_wait_is_advised_only_where_the_client_waits() {
        let text = |may_wait| {
            let error = Error::new(ExitCode::Refused, "b: 503 Full");
            super::refused(error, 503, "", may_wait).to_string()
        };
        assert_eq!(text(false), "b: 503 Full; try again later");
        assert_eq!(text(true), "b: 503 Full; try again later, or wait longer with --retry-for");
    }
}
