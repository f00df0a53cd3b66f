//! Why a message is refused: the errors of both sides. They have fixed words only, never a peer's
//! bytes.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use super::Status;
use super::section::Fault;

/// A refused request. The server answers with the status. After a fault of the head it closes the
/// connection: the start of the next request is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: Status,
    /// The reason, in a few words for a person; safe to log and to send.
    pub reason: &'static str,
    /// The system's error number that caused the refusal: for the owner's log, never sent.
    cause: Option<i32>,
}

impl Refusal {
    /// A refusal with this status.
    pub fn new(status: Status, reason: &'static str) -> Refusal {
        Refusal { status, reason, cause: None }
    }

    /// The same refusal, caused by this error number of the system, if there is one.
    pub fn because(self, cause: Option<i32>) -> Refusal {
        Refusal { cause, ..self }
    }

    /// The system's error that caused the refusal: for the owner's log, never for a client.
    pub fn cause(&self) -> Option<io::Error> {
        self.cause.map(io::Error::from_raw_os_error)
    }

    /// A request that breaks the grammar: 400.
    pub(super) fn bad(reason: &'static str) -> Refusal {
        Refusal::new(Status::BAD_REQUEST, reason)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        match fault {
            Fault::Malformed(reason) => Refusal::bad(reason),
            Fault::TooLarge(reason) => Refusal::new(Status::FIELDS_TOO_LARGE, reason),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.reason)
    }
}

impl std::error::Error for Refusal {}

/// A response that is invalid, or a message that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpError {
    reason: &'static str,
}

impl HttpError {
    pub(super) fn new(reason: &'static str) -> HttpError {
        HttpError { reason }
    }

    /// The reason, in a few words for a person; safe to print.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl From<Fault> for HttpError {
    fn from(fault: Fault) -> HttpError {
        match fault {
            Fault::Malformed(reason) | Fault::TooLarge(reason) => HttpError { reason },
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for HttpError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_its_status_and_its_reason() {
        let refusal = Refusal::from(Fault::TooLarge("too many header fields"));
        assert_eq!(
            refusal.to_string(),
            "431 Request Header Fields Too Large: too many header fields"
        );
    }

    #[test]
    fn bad_grammar_is_a_bad_request() {
        assert_eq!(Refusal::from(Fault::Malformed("x")), Refusal::bad("x"));
    }

    #[test]
    fn an_error_shows_its_reason() {
        assert_eq!(HttpError::from(Fault::Malformed("odd")).to_string(), "odd");
        assert_eq!(HttpError::from(Fault::Malformed("odd")).reason(), "odd");
    }

    #[test]
    fn a_refusal_keeps_the_system_s_error_behind_it_and_does_not_show_it() {
        let refusal = Refusal::new(Status::NOT_FOUND, "no such file");
        assert!(refusal.cause().is_none());
        let caused = refusal.because(Some(13));
        assert_eq!(caused.cause().and_then(|error| error.raw_os_error()), Some(13));
        assert_eq!(caused.to_string(), refusal.to_string());
    }
}
