//! How the streams of a transfer are opened, and opened again. A dialler opens streams. An acceptor
//! takes streams that come to its listener or are handed over. Either end may have the bytes.
//!
//! ```text
//!   dialler ── dial, hello ──────────────► acceptor ── token ok ──► joined
//!      ▲                                                              │
//!      └── backoff, another session ◄── broken, stalled ◄── converse ─┘
//! ```

#![forbid(unsafe_code)]

pub mod acceptor;
pub mod admission;
pub mod dial;
pub mod dialler;
pub mod handed;
pub mod hello;
pub mod keepers;
pub mod open;
pub mod route;
pub mod session_socket;
pub mod token;

use crate::codec::wire::Hello;
use crate::error::Error;
use crate::sys::stream::Stream;
use open::OpenStreams;
use std::cell::Cell;
use std::io;
use std::sync::Arc;

/// One end of a transfer, a source or a sink. An end speaks on streams, and does not know which
/// side opened them.
pub trait End: Sync {
    /// The terms in the hello of stream `number`, if this end dials. The link adds the token.
    fn terms(&self, number: usize) -> Terms;

    /// Speaks on one stream, and returns why that ended.
    fn converse(&self, joined: &Joined<'_>) -> Stop;

    /// Whether stream `number` of a dialler is wanted now.
    fn wants(&self, number: usize) -> bool;

    /// `event` has happened to stream `number`.
    fn notice(&self, number: usize, event: Event);

    /// Ends the transfer with an error.
    fn fail(&self, error: Error);

    /// The peer broke the protocol: `what` says how.
    fn violated(&self, what: &str);

    /// Ends every conversation: those waits in it that no shut stream ends.
    fn close(&self);
}

/// The streams of a dialler or of an acceptor, as the end sees them. The default methods are those
/// of an acceptor.
pub trait Link: Send + Sync {
    /// The streams that are connected.
    fn open(&self) -> &OpenStreams;

    /// How many streams there may be now.
    fn streams(&self) -> u8;

    /// A stream of session `generation` has brought something good.
    fn is_good(&self, _generation: u64) {}

    /// The session is not lost: bytes come, or the sink has no room for any.
    fn is_alive(&self) {}

    /// Whether the other end of a new stream is known to be the peer, or there is no other
    /// port to try.
    fn is_trusted(&self) -> bool {
        true
    }

    /// Whether the port that is tried first has brought something good.
    fn is_proven(&self) -> bool {
        true
    }

    /// Whether other connections use the port of the streams too.
    fn shares_port(&self) -> bool {
        false
    }

    /// Returns why the session was lost, once for each session.
    fn take_loss(&self) -> Option<String> {
        None
    }

    /// Ends every stream, now and later. With `complete`, first tells the peer that the sink has
    /// everything.
    fn end(&self, complete: Option<Terms>);
}

/// The content of a hello, beside the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Largest payload of a block, in bytes.
    pub max_block: u32,
    /// Whether blocks need no CRC32C of their payload.
    pub unchecked: bool,
    /// Whether the dialler is the source.
    pub from_source: bool,
}

impl Terms {
    /// The hello with this token.
    pub fn hello(self, token: [u8; 16]) -> Hello {
        let Terms { max_block, unchecked, from_source } = self;
        Hello { token, max_block, unchecked, from_source }
    }
}

impl From<Hello> for Terms {
    fn from(hello: Hello) -> Terms {
        let Hello { max_block, unchecked, from_source, .. } = hello;
        Terms { max_block, unchecked, from_source }
    }
}

/// A stream that has shown that it belongs to the transfer.
pub struct Joined<'a> {
    /// The link of the stream.
    pub link: &'a dyn Link,
    /// The connection.
    pub stream: &'a Arc<Stream>,
    /// The stream's number, which no other open stream of this end has.
    pub number: usize,
    /// The number of the stream's session; 0 if the stream was accepted.
    pub generation: u64,
    /// The terms in the stream's hello.
    pub terms: Terms,
    /// The hello that this end has to send before anything else; `None` if it was accepted.
    pub hello: Option<Hello>,
    /// Whether the stream has brought something good. [`End::converse`] sets this.
    pub is_good: Cell<bool>,
}

/// An event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stream is connected.
    Opened,
    /// A dialler has connected the stream again.
    Reopened,
    /// The stream is not connected any more.
    Closed,
    /// The connection broke, or could not be made.
    Broken,
    /// The connection brought nothing for too long.
    Stalled,
}

/// Why the conversation on a stream ended.
#[derive(Debug)]
pub enum Stop {
    /// The transfer is over, and nothing is missing.
    Over,
    /// The stream is not needed any more; it owes nothing.
    Unneeded,
    /// The transfer has failed.
    Fatal(Error),
    /// The connection failed. Another connection carries the rest.
    Broken(io::Error),
    /// The peer broke the protocol.
    Wrong(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Broken(error)
    }
}
