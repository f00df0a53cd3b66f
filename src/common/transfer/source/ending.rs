//! The end of a session that its file has brought about: the file changed, or cannot be read.
//! Every stream is told so: an idle stream at once, and a stream that comes later that there
//! is no such session any more.

#![forbid(unsafe_code)]

use crate::codec::wire::ErrorCode;
use crate::sys::poll;
use crate::sys::stream::Stream;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What ended a session, and when.
#[derive(Clone, Copy)]
struct Reason {
    code: ErrorCode,
    text: &'static str,
    since: Instant,
}

/// Whether the file has ended the session.
pub(super) struct Ending {
    reason: OnceLock<Reason>,
    /// Comes to its end with the session, for streams that wait for requests.
    bell: UnixStream,
    ringer: UnixStream,
}

impl Ending {
    /// Of a session that has not ended.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn new() -> io::Result<Ending> {
        let (bell, ringer) = UnixStream::pair()?;
        Ok(Ending { reason: OnceLock::new(), bell, ringer })
    }

    /// Ends the session with this error, unless it has ended already.
    pub(super) fn set(&self, code: ErrorCode, text: &'static str) {
        let _ = self.reason.set(Reason { code, text, since: Instant::now() });
        let _ = self.ringer.shutdown(Shutdown::Both);
    }

    /// What a stream is told of the end, where it has come.
    pub(super) fn reason(&self) -> Option<(ErrorCode, &'static str)> {
        self.reason.get().map(|reason| (reason.code, reason.text))
    }

    /// When the session ended.
    pub(super) fn since(&self) -> Option<Instant> {
        self.reason.get().map(|reason| reason.since)
    }

    /// Waits until `stream` has something to read, or the session has ended; for `limit` at most.
    ///
    /// # Errors
    /// `ETIMEDOUT` after the limit; what poll(2) gives.
    pub(super) fn wait_or(&self, stream: &Stream, limit: Option<Duration>) -> io::Result<()> {
        match poll::readable(&[stream.as_fd(), self.bell.as_fd()], limit)?.as_slice() {
            [false, false] if limit.is_some() => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
            _ => Ok(()),
        }
    }
}
