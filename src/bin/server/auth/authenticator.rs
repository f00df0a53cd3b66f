//! The authenticator: decides by Digest authentication (RFC 7616) whether a request is
//! served. The caller sends the answer, and waits before it where that is needed.

#![forbid(unsafe_code)]

use super::nonces::{Freshness, Nonces};
use super::passwords::Passwords;
use ropewalk::codec::digest_auth::{Algorithm, Challenge, Credentials};
use ropewalk::codec::http::RequestHead;
use ropewalk::codec::text::escape_limited;
use ropewalk::sys::sync::lock;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The realm: the name that a client shows for what the passwords protect.
pub(crate) const REALM: &[u8] = b"ropewalk";

/// How long the server holds back its answer to failed credentials.
pub(crate) const FAILURE_DELAY: Duration = Duration::from_secs(1);

/// The most bytes of a refused user name that the log shows.
const SHOWN_NAME: usize = 64;

/// How the server treats a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Serve it. It comes from this user.
    Allowed(Vec<u8>),
    /// Answer 401 with a challenge at once. The credentials are missing, or only stale.
    Challenge {
        /// Whether the credentials are right but for a nonce that is used or too old.
        stale: bool,
    },
    /// Answer 401 with a challenge after `delay`, and log the reason.
    Failure {
        /// How long to wait before the answer.
        delay: Duration,
        /// What is wrong, and the user that the request names. Safe to log; never a password.
        reason: String,
    },
}

/// The passwords and the nonces of a server.
pub(crate) struct Authenticator {
    passwords: Mutex<Arc<Passwords>>,
    nonces: Nonces,
    /// The algorithms that are offered, the best first.
    algorithms: &'static [Algorithm],
}

impl Authenticator {
    /// Accepts these users. With `md5` it also offers MD5, for clients without SHA-256.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(crate) fn new(passwords: Passwords, md5: bool) -> io::Result<Authenticator> {
        const BOTH: &[Algorithm] = &[Algorithm::Sha256, Algorithm::Md5];
        let algorithms = if md5 { BOTH } else { BOTH.get(..1).unwrap_or_default() };
        let passwords = Mutex::new(Arc::new(passwords));
        Ok(Authenticator { passwords, nonces: Nonces::new()?, algorithms })
    }

    /// Uses these passwords from now on.
    pub(crate) fn replace(&self, passwords: Passwords) {
        *lock(&self.passwords) = Arc::new(passwords);
    }

    /// The values of the `WWW-Authenticate` fields of a 401, the best algorithm first.
    ///
    /// # Errors
    /// The system has no random bytes.
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

    /// Decides about a request. An allowed request uses up the count of its nonce.
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
            return failure("the algorithm was not offered", user);
        }
        if credentials.uri != head.target {
            return failure("the credentials are for another target", user);
        }
        let passwords = lock(&self.passwords).clone();
        if credentials.realm != passwords.realm() {
            return failure("the credentials are for another realm", user);
        }
        let method = head.method.as_bytes();
        let proves = |key: &str| credentials.proves(key, method);
        if !passwords.check(&credentials.username, credentials.algorithm, proves) {
            return failure("a wrong user or password", user);
        }
        match self.nonces.accept(&credentials.nonce, credentials.nc, now) {
            Freshness::Fresh => Decision::Allowed(credentials.username),
            Freshness::Stale => Decision::Challenge { stale: true },
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
