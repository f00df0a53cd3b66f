//! The answer to a GET or a HEAD: a message, or a file or an index that is sent piece by
//! piece.

#![forbid(unsafe_code)]

use crate::body::Body;
use crate::index::page::Page;
use crate::sending::{Broken, Sending};
use ropewalk::codec::http::Response;

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// This, with its body.
    Message(Response),
    /// A part of a file, or all of it, or an index.
    File(Box<Download>),
}

/// A file or an index that goes out as an answer's body.
#[derive(Debug)]
pub(crate) struct Download {
    /// The head.
    pub(crate) response: Response,
    /// The body.
    pub(crate) body: Payload,
    /// The path, for the log.
    pub(crate) path: Vec<u8>,
}

/// The body behind a head.
#[derive(Debug)]
pub(crate) enum Payload {
    /// A file, or a part of it.
    Part(Body),
    /// The index of a folder.
    Index(Box<Page>),
}

impl Payload {
    /// How many bytes it has, where that is known before they are sent.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Payload::Part(body) => Some(body.length),
            Payload::Index(page) => page.length(),
        }
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The file has changed, or a read or a write failed.
    pub(crate) fn send(&self, out: &mut Sending<'_>) -> Result<(), Broken> {
        match self {
            Payload::Part(body) => body.send(out),
            Payload::Index(page) => Ok(page.send(out)?),
        }
    }
}
