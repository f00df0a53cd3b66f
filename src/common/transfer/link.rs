//! How the streams of a transfer come to be and come back, whichever end has the bytes: a
//! dialler opens them, an acceptor takes those that come or are handed over.
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
pub mod hello;
pub mod open;
pub mod route;
pub mod token;

use crate::codec::wire::Hello;
use crate::error::Error;
use crate::sys::stream::Stream;
use open::OpenStreams;
use std::cell::Cell;
use std::io;
use std::sync::Arc;

/// One end of a transfer, a source or a sink. It knows what is said on a stream, and not
/// which side opened the stream.
pub trait End: Sync {
    /// What stream `number` says in its hello where this end dials. The token is the link's.
    fn terms(&self, number: usize) -> Terms;

    /// Speaks on one stream until something ends that.
    fn converse(&self, joined: &Joined<'_>) -> Stop;

    /// Whether stream `number` of a dialler is wanted now.
    fn wants(&self, number: usize) -> bool;

    /// This happened to stream `number`.
    fn notice(&self, number: usize, event: Event);

    /// Ends the transfer with an error.
    fn fail(&self, error: Error);

    /// The peer broke the protocol in this way.
    fn violated(&self, what: &str);

    /// No conversation goes on: ends every wait of one that is not a wait for its stream.
    fn close(&self);
}

/// The streams of one end, as that end sees them: those of a dialler, or of an acceptor. What
/// only a dialler knows has an answer here that fits an acceptor.
pub trait Link: Send + Sync {
    /// The streams that are connected.
    fn open(&self) -> &OpenStreams;

    /// How many streams there may be now.
    fn streams(&self) -> u8;

    /// A stream of this session brought something good.
    fn is_good(&self, _generation: u64) {}

    /// The session is not lost: bytes come, or there is no room for any.
    fn is_alive(&self) {}

    /// Whether the other end of a new stream is known to be the peer, or there is no other
    /// port to try.
    fn is_trusted(&self) -> bool {
        true
    }

    /// Whether something good came from the port that is tried first.
    fn is_proven(&self) -> bool {
        true
    }

    /// Whether streams go to a port that they share with other connections.
    fn shares_port(&self) -> bool {
        false
    }

    /// Why the session was lost, once for each session.
    fn take_loss(&self) -> Option<String> {
        None
    }

    /// Ends every stream, now and later. A peer whose sink has everything is told so.
    fn end(&self, complete: Option<Terms>);
}

/// What a hello agrees on, beside the token.
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

/// A stream that belongs to the transfer.
pub struct Joined<'a> {
    /// The link that it belongs to.
    pub link: &'a dyn Link,
    /// The connection.
    pub stream: &'a Arc<Stream>,
    /// Its number: no other open stream of this end has it.
    pub number: usize,
    /// Which of the sessions it belongs to, for an end that dials.
    pub generation: u64,
    /// What its hello agrees on.
    pub terms: Terms,
    /// The hello, where this end has to send it; it goes before anything else.
    pub hello: Option<Hello>,
    /// Whether it has brought something good: set by the conversation.
    pub is_good: Cell<bool>,
}

/// What happens to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is connected.
    Opened,
    /// A dialler has connected it again.
    Reopened,
    /// It is not connected any more.
    Closed,
    /// Its connection broke, or could not be made.
    Broken,
    /// Its connection brought nothing for too long.
    Stalled,
}

/// Why the conversation on a stream ended.
#[derive(Debug)]
pub enum Stop {
    /// The transfer is over, and nothing is missing.
    Over,
    /// The stream is not needed any more; it owes nothing.
    Unneeded,
    /// The transfer cannot go on.
    Fatal(Error),
    /// The connection is of no more use. The rest goes over another one.
    Broken(io::Error),
    /// The peer broke the protocol.
    Wrong(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Broken(error)
    }
}
