//! `--auth`: judges every request before the server looks at anything about a file.

#![forbid(unsafe_code)]

mod gate;
mod nonces;
mod passwords;

use crate::answer::{refusal, unavailable};
use crate::connections::Connection;
use gate::{Decision, Gate, REALM};
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

/// Who may ask, and the file that says so.
pub(crate) struct Auth {
    path: PathBuf,
    gate: Gate,
}

impl Auth {
    /// Lets in who knows a password of the file at `path`.
    pub(crate) fn new(path: &Path, md5: bool) -> Result<Auth> {
        let passwords = Passwords::read(path, REALM)?;
        let gate = Gate::new(passwords, md5).map_err(|error| Error::system("random", &error))?;
        Ok(Auth { path: path.to_path_buf(), gate })
    }

    /// Reads the file again. If that fails the passwords stay as they are.
    pub(crate) fn reload(&self) {
        let shown = escape(self.path.as_os_str().as_bytes());
        match Passwords::read(&self.path, REALM) {
            Ok(passwords) => {
                let count = passwords.count();
                self.gate.replace(passwords);
                terminal::log(format_args!("{shown}: read again, users: {count}"));
            }
            Err(error) => terminal::complain(format_args!("{error}; the old passwords stay")),
        }
    }

    /// What a request gets that may not come in. A failure takes its time here, while the
    /// connection still counts as one that waits: it never keeps out anybody else.
    pub(crate) fn refuses(&self, connection: &Connection, head: &RequestHead) -> Option<Response> {
        let stale = match self.gate.decide(head, Instant::now()) {
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
        for challenge in self.gate.challenges(stale, Instant::now())? {
            let value = String::from_utf8(challenge).map_err(io::Error::other)?;
            response = response.field("WWW-Authenticate", value);
        }
        Ok(response)
    }
}
