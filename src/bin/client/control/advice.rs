//! What a person can do when a server cannot be reached or says no. Part of the one line
//! of an error, behind what went wrong.

#![forbid(unsafe_code)]

use ropewalk::codec::http::Status;
use ropewalk::error::Error;
use std::io;

/// No connection to the server `typed` came about.
pub(super) fn unreachable(typed: &str, cause: &io::Error) -> Error {
    let error = Error::network(typed, cause);
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => error.advise("is the server running there?"),
        io::ErrorKind::TimedOut => {
            error.advise("is the address right, and does no firewall stand in between?")
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            error.advise("is this machine connected to that network?")
        }
        _ => error,
    }
}

/// The name of the server's host gave no address.
pub(super) fn unresolved(error: Error) -> Error {
    error.advise("is the name right? an IP address needs none")
}

/// The server answered with this status. `may_wait` tells whether it said when to ask again:
/// only then the client waits.
pub(super) fn refused(error: Error, status: u16, may_wait: bool) -> Error {
    let is = |known: Status| status == known.code();
    if is(Status::UNAUTHORIZED) {
        error.advise("see --auth")
    } else if is(Status::NOT_FOUND) {
        error.advise("names begin at the folder that the server was started in, or at its --root")
    } else if is(Status::SERVICE_UNAVAILABLE) && !may_wait {
        error.advise("try again later")
    } else if is(Status::SERVICE_UNAVAILABLE) {
        error.advise("try again later, or wait longer: see --retry-for")
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::error::ExitCode;

    #[test]
    fn what_can_be_done_is_said_behind_what_went_wrong() {
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let text = unreachable("box:80", &refused).to_string();
        assert_eq!(text, "box:80: Connection refused; is the server running there?");
        for number in [libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::ENETUNREACH] {
            let text = unreachable("box:80", &io::Error::from_raw_os_error(number)).to_string();
            assert!(text.contains("; is "), "{text}");
        }
    }

    #[test]
    fn where_nothing_can_be_done_nothing_is_added() {
        let reset = io::Error::from_raw_os_error(libc::ECONNRESET);
        assert_eq!(unreachable("b", &reset).to_string(), "b: Connection reset by peer");
        let error = Error::new(ExitCode::Refused, "b: 500 Oops");
        assert_eq!(super::refused(error, 500, false).to_string(), "b: 500 Oops");
    }

    #[test]
    fn a_longer_wait_is_advised_only_where_the_client_waits() {
        let text = |may_wait| {
            let error = Error::new(ExitCode::Refused, "b: 503 Full");
            super::refused(error, 503, may_wait).to_string()
        };
        assert_eq!(text(false), "b: 503 Full; try again later");
        assert_eq!(text(true), "b: 503 Full; try again later, or wait longer: see --retry-for");
    }
}
