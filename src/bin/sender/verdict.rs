//! The end of a session that its file has brought about: it changed, or cannot be read.
//! Every stream is told so, an idle one at once, and one that comes later that there is
//! no such session any more.

#![forbid(unsafe_code)]

use ropewalk::codec::wire::{ErrorCode, Header};
use ropewalk::hash::crc32c::crc32c;
use ropewalk::sys::{poll, socket};
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the peer of a stream that ends with an error has to read it.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// What ended a session, and when.
#[derive(Clone, Copy)]
struct Reason {
    code: ErrorCode,
    text: &'static str,
    since: Instant,
}

/// Whether a session has come to such an end.
pub(crate) struct Verdict {
    reason: OnceLock<Reason>,
    /// Comes to its end with the session, for streams that wait for requests.
    bell: UnixStream,
    ringer: UnixStream,
}

impl Verdict {
    /// Of a session that has not ended.
    pub(crate) fn new() -> io::Result<Verdict> {
        let (bell, ringer) = UnixStream::pair()?;
        Ok(Verdict { reason: OnceLock::new(), bell, ringer })
    }

    /// Ends the session with this error, unless it has ended already.
    pub(crate) fn fall(&self, code: ErrorCode, text: &'static str) {
        let _ = self.reason.set(Reason { code, text, since: Instant::now() });
        let _ = self.ringer.shutdown(Shutdown::Both);
    }

    /// What a stream is told of the end, where it has come.
    pub(crate) fn fallen(&self) -> Option<(ErrorCode, &'static str)> {
        self.reason.get().map(|reason| (reason.code, reason.text))
    }

    /// Until when streams are told, where the end has come.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.reason.get().map(|reason| reason.since + LINGER_TIME)
    }

    /// Waits until `stream` has something to read, or the session has ended.
    pub(crate) fn wait_or(&self, stream: &TcpStream) -> io::Result<()> {
        poll::readable(&[stream.as_fd(), self.bell.as_fd()], None).map(drop)
    }
}

/// Ends a stream with an error that the peer gets to read: requests of its that were
/// not answered would otherwise turn the end into a reset.
pub(crate) fn tell(mut stream: &TcpStream, code: ErrorCode, text: &str) -> io::Result<()> {
    let header = Header::Error { code, length: text.len() as u32, crc: crc32c(text.as_bytes()) };
    stream.write_all(&[&header.encode()[..], text.as_bytes()].concat())?;
    socket::reset_on_close(stream.as_fd(), false)?;
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + LINGER_TIME;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if socket::read(stream, &mut [0; 4096])? == 0 {
            return Ok(());
        }
    }
}
