//! Digest authentication (RFC 7616) with `qop=auth`: the fields of both sides, and the proof of a
//! password. The caller keeps passwords and makes and checks nonces.

#![forbid(unsafe_code)]

mod challenge;
mod credentials;
mod params;
mod proof;

pub use challenge::{Challenge, parse_challenges};
pub use credentials::Credentials;
pub use params::{MAX_PARAMS, MAX_SCHEMES, MAX_TEXT, MAX_URI, MAX_VALUE};
pub use proof::{Algorithm, Proof, key};

/// Why a field of Digest authentication is refused or cannot be written: fixed words, safe to
/// log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestError {
    reason: &'static str,
}

impl DigestError {
    fn new(reason: &'static str) -> DigestError {
        DigestError { reason }
    }

    /// The reason.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl std::fmt::Display for DigestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for DigestError {}
