//! How an accepted stream of the ropewalk protocol shows that it belongs to the transfer: it sends
//! a hello with the session's token.

#![forbid(unsafe_code)]

use super::acceptor::{Arrival, Ended, Service};
use super::admission::Admitted;
use super::open::OpenStreams;
use super::{End, Event, Joined, Link, Stop, Terms};
use crate::codec::wire::{ErrorCode, HELLO_SIZE, Header, Hello, Request, WireError};
use crate::error::{Error, ExitCode};
use crate::hash::crc32c::crc32c;
use crate::sys::hangup;
use crate::sys::stream::Stream;
use crate::transfer::link::token::Token;
use crate::transfer::timing::Timing;
use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

/// The accepted streams of one end that have shown the token.
pub struct Accepted {
    open: OpenStreams,
    streams: u8,
}

impl Accepted {
    /// No streams yet; the peer may open `streams` of them.
    pub fn new(streams: u8) -> Arc<Accepted> {
        Arc::new(Accepted { open: OpenStreams::default(), streams })
    }
}

impl Link for Accepted {
    fn open(&self) -> &OpenStreams {
        &self.open
    }

    fn streams(&self) -> u8 {
        self.streams
    }

    fn end(&self, complete: Option<Terms>) {
        self.open.end(complete.map(|_| Request::Finished));
    }
}

/// Serves the accepted streams of one end.
pub struct Greeter<'a, E> {
    /// The source or the sink.
    pub end: &'a E,
    /// Whether `end` is the sink. Then the peer has to be a source.
    pub is_sink: bool,
    /// The token that a stream has to show.
    pub token: &'a Token,
    /// The streams that have shown the token.
    pub accepted: &'a Accepted,
    /// How long to wait.
    pub timing: Timing,
    /// Until when streams are told how the transfer has ended; `None` if they are not told.
    pub told_until: &'a (dyn Fn() -> Option<Instant> + Sync),
}

impl<E: End> Service for Greeter<'_, E> {
    /// Twice the number of streams: a peer may connect again before the broken stream is noticed.
    fn room(&self) -> usize {
        2 * usize::from(self.accepted.streams)
    }

    fn serve(&self, arrival: &Arrival, admitted: &Admitted) -> Ended {
        let stream = &arrival.stream;
        let hello = match self.greet(stream, &arrival.begun) {
            Ok(hello) if admitted.join() => hello,
            Err(Greeting::Version) => {
                let text = "this end speaks version 2";
                let _ = tell(stream, ErrorCode::Version, text, self.timing);
                return Ended::Stranger;
            }
            Ok(_) | Err(Greeting::Strange) => return Ended::Stranger,
        };
        let Some(number) = self.accepted.open.join(stream) else { return Ended::Stream };
        let joined = Joined {
            link: self.accepted,
            stream,
            number,
            generation: 0,
            terms: Terms::from(hello),
            hello: None,
            is_good: Cell::new(false),
        };
        self.end.notice(number, Event::Opened);
        let stop = self.end.converse(&joined);
        self.end.notice(number, Event::Closed);
        let ended = match stop {
            // The stream stays open, since the sink says on each stream that it has everything.
            Stop::Over if self.is_sink => return Ended::Stream,
            Stop::Over => Ended::Transfer(Ok(())),
            Stop::Fatal(error) => {
                self.end.fail(error.clone());
                Ended::Transfer(Err(error))
            }
            Stop::Unneeded => Ended::Stream,
            Stop::Broken(_) => {
                self.end.notice(number, Event::Broken);
                Ended::Stream
            }
            Stop::Wrong(what) => {
                self.end.notice(number, Event::Broken);
                self.end.violated(&what);
                Ended::Stream
            }
        };
        self.accepted.open.remove(number);
        ended
    }

    fn abandoned(&self) -> Error {
        let seconds = self.timing.idle.as_secs();
        let error = Error::new(ExitCode::Network, format!("no stream was open for {seconds} s"));
        self.end.fail(error.clone());
        error
    }

    fn told_until(&self) -> Option<Instant> {
        (self.told_until)()
    }

    fn end(&self) {
        self.accepted.open.end(None);
        self.end.close();
    }
}

/// Why a hello was refused.
enum Greeting {
    /// The stream did not show that it belongs to the transfer.
    Strange,
    /// The peer speaks another version.
    Version,
}

impl<E: End> Greeter<'_, E> {
    /// Reads the hello, of which the bytes `begun` were read before, and checks it.
    fn greet(&self, stream: &Stream, begun: &[u8]) -> Result<Hello, Greeting> {
        let deadline = Instant::now() + self.timing.hello;
        let (mut bytes, mut filled) = ([0; HELLO_SIZE], begun.len().min(HELLO_SIZE));
        bytes[..filled].copy_from_slice(&begun[..filled]);
        let hello = loop {
            match Hello::parse(&bytes[..filled]) {
                Ok(Some((_, hello))) => break hello,
                Ok(None) => {}
                Err(WireError::Version(_)) => return Err(Greeting::Version),
                Err(_) => return Err(Greeting::Strange),
            }
            match stream.read_by(&mut bytes[filled..], deadline) {
                Ok(count @ 1..) => filled += count,
                _ => return Err(Greeting::Strange),
            }
        };
        if !self.token.is(&hello.token) {
            let _ = hangup::rest(stream.as_fd(), self.timing.stranger);
            return Err(Greeting::Strange);
        }
        match hello.from_source == self.is_sink {
            true => Ok(hello),
            false => Err(Greeting::Strange),
        }
    }
}

/// Ends a stream with an error, and waits until the peer has read it. Without the wait, unanswered
/// requests of the peer would turn the end into a reset.
///
/// # Errors
/// The stream has failed.
pub fn tell(stream: &Stream, code: ErrorCode, text: &str, timing: Timing) -> io::Result<()> {
    let header = Header::Error { code, length: text.len() as u32, crc: crc32c(text.as_bytes()) };
    stream.write_all(&[&header.encode()[..], text.as_bytes()].concat())?;
    close(stream, timing)
}

/// Ends a stream, and waits until the peer has read all that was sent on it.
///
/// # Errors
/// The stream has failed.
pub fn close(stream: &Stream, timing: Timing) -> io::Result<()> {
    stream.reset_on_close(false);
    stream.shut(Shutdown::Write);
    let deadline = Instant::now() + timing.linger;
    while stream.read_by(&mut [0; 4096], deadline)? > 0 {}
    Ok(())
}
