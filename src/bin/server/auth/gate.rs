//! Whether a request may come in: Digest authentication (RFC 7616) from its fields to a
//! decision. Answers nothing and waits for nothing itself; that is the caller's.

#![forbid(unsafe_code)]

use super::nonces::{Nonces, Worth};
use super::passwords::Passwords;
use ropewalk::codec::digest_auth::{Algorithm, Challenge, Credentials};
use ropewalk::codec::http::RequestHead;
use ropewalk::codec::text::escape_limited;
use ropewalk::sys::sync::lock;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What ropewalk's passwords are for, as a client shows it.
pub(crate) const REALM: &[u8] = b"ropewalk";

/// How long the answer to a failure is held back.
pub(crate) const FAILURE_DELAY: Duration = Duration::from_secs(1);

/// How much of a name that failed is shown, in bytes.
const SHOWN_NAME: usize = 64;

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Serve it; it is from this user.
    Allowed(Vec<u8>),
    /// Answer 401 with a challenge, at once: it came without credentials, or with right
    /// ones whose nonce is not good any more (`stale`). No failure.
    Challenge {
        /// What the challenge has to say.
        stale: bool,
    },
    /// Answer 401 with a challenge after `delay`, and log the reason.
    Failure {
        /// How long to wait before the answer.
        delay: Duration,
        /// Safe to log: what was wrong, and who it claimed to be. Never a password.
        reason: String,
    },
}

/// The guard of a server: passwords, and nonces that it gave out.
pub(crate) struct Gate {
    passwords: Mutex<Arc<Passwords>>,
    nonces: Nonces,
    /// Best first.
    algorithms: &'static [Algorithm],
}

impl Gate {
    /// Lets in who knows one of these passwords; with `md5` also old clients that know
    /// no SHA-256.
    pub(crate) fn new(passwords: Passwords, md5: bool) -> io::Result<Gate> {
        const BOTH: &[Algorithm] = &[Algorithm::Sha256, Algorithm::Md5];
        let algorithms = if md5 { BOTH } else { BOTH.get(..1).unwrap_or_default() };
        let passwords = Mutex::new(Arc::new(passwords));
        Ok(Gate { passwords, nonces: Nonces::new()?, algorithms })
    }

    /// Other passwords from now on.
    pub(crate) fn replace(&self, passwords: Passwords) {
        *lock(&self.passwords) = Arc::new(passwords);
    }

    /// The values of the `WWW-Authenticate` fields of a 401, the best first.
    pub(crate) fn challenges(&self, stale: bool, now: Instant) -> io::Result<Vec<Vec<u8>>> {
        let realm = lock(&self.passwords).realm().to_vec();
        let nonce = self.nonces.issue(now)?.into_bytes();
        let write = |&algorithm: &Algorithm| {
            let (realm, nonce) = (realm.clone(), nonce.clone());
            let challenge = Challenge { realm, nonce, opaque: None, algorithm, stale };
            challenge.format().map_err(|error| io::Error::other(error.reason()))
        };
        self.algorithms.iter().map(write).collect()
    }

    /// Judges a request. Its count is used up if it is allowed.
    pub(crate) fn decide(&self, head: &RequestHead, now: Instant) -> Decision {
        let mut fields = head.headers.get_all("Authorization");
        let Some(field) = fields.next() else { return Decision::Challenge { stale: false } };
        if fields.next().is_some() {
            return failure("more than one Authorization field", None);
        }
        let credentials = match Credentials::parse(field) {
            Ok(credentials) => credentials,
            Err(error) => return failure(error.reason(), None),
        };
        let user = Some(credentials.username.as_slice());
        if !self.algorithms.contains(&credentials.algorithm) {
            return failure("an algorithm that was not offered", user);
        }
        if credentials.uri != head.target {
            return failure("credentials for another target", user);
        }
        let passwords = lock(&self.passwords).clone();
        if credentials.realm != passwords.realm() {
            return failure("credentials for another realm", user);
        }
        let method = head.method.as_bytes();
        let proves = |key: &str| credentials.proves(key, method);
        if !passwords.check(&credentials.username, credentials.algorithm, proves) {
            return failure("a wrong user or password", user);
        }
        match self.nonces.take(&credentials.nonce, credentials.nc, now) {
            Worth::Fresh => Decision::Allowed(credentials.username),
            Worth::Stale => Decision::Challenge { stale: true },
        }
    }
}

fn failure(reason: &str, user: Option<&[u8]>) -> Decision {
    let reason = match user {
        Some(user) => format!("{reason}, user '{}'", escape_limited(user, SHOWN_NAME)),
        None => reason.to_string(),
    };
    Decision::Failure { delay: FAILURE_DELAY, reason }
}

#[cfg(test)]
mod tests;
