//! `--auth`: checks the credentials of each request before the server looks at any file.

#![forbid(unsafe_code)]

mod authenticator;
mod nonces;
mod passwords;

use crate::answer::{refusal, unavailable};
use crate::connections::Connection;
use authenticator::{Authenticator, Decision, REALM};
use passwords::Passwords;
use ropewalk::app::terminal;
use ropewalk::codec::http::{Refusal, RequestHead, Response, Status};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use ropewalk::sys::hangup;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The authenticator of a server, and its file of users.
pub(crate) struct Auth {
    path: PathBuf,
    authenticator: Authenticator,
}

impl Auth {
    /// Accepts the users of the file at `path`. With `md5` it also offers MD5.
    ///
    /// # Errors
    /// The file is refused (`Passwords::read`), or the system has no random bytes.
    pub(crate) fn new(path: &Path, md5: bool) -> Result<Auth> {
        let passwords = Passwords::read(path, REALM)?;
        let authenticator = Authenticator::new(passwords, md5)
            .map_err(|error| Error::system("no random bytes", &error))?;
        Ok(Auth { path: path.to_path_buf(), authenticator })
    }

    /// Reads the file again. If that fails, the server keeps the old passwords.
    pub(crate) fn reload(&self) {
        let shown = escape(self.path.as_os_str().as_bytes());
        match Passwords::read(&self.path, REALM) {
            Ok(passwords) => {
                let count = passwords.count();
                self.authenticator.replace(passwords);
                terminal::log(format_args!("{shown}: read again, users: {count}"));
            }
            Err(error) => terminal::complain(format_args!("{error}; the old passwords stay")),
        }
    }

    /// The answer to a request that is not served; `None` for one that is. Failed credentials
    /// wait here. Their connection meanwhile counts as idle, so it keeps no other out.
    pub(crate) fn refuses(&self, connection: &Connection, head: &RequestHead) -> Option<Response> {
        let stale = match self.authenticator.decide(head, Instant::now()) {
            Decision::Allowed(_) => return None,
            Decision::Challenge { stale } => stale,
            Decision::Failure { delay, reason } => {
                let peer = connection.peer();
                terminal::complain(format_args!("{peer}: {reason}"));
                let _ = hangup::rest(connection.stream().as_fd(), delay);
                false
            }
        };
        Some(self.challenge(stale).unwrap_or_else(|error| {
            refusal(&unavailable(&error)) // no random bytes
        }))
    }

    fn challenge(&self, stale: bool) -> io::Result<Response> {
        let refused = Refusal::new(Status::UNAUTHORIZED, "a password is needed");
        let mut response = refusal(&refused);
        for challenge in self.authenticator.challenges(stale, Instant::now())? {
            let value = String::from_utf8(challenge).map_err(io::Error::other)?;
            response = response.field("WWW-Authenticate", value);
        }
        Ok(response)
    }
}
