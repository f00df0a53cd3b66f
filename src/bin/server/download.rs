//! What a GET or a HEAD gets: a message, or a file or an index that is sent piece by piece.

#![forbid(unsafe_code)]

use crate::body::{Body, Sent};
use crate::index::page::Page;
use crate::shares::DownloadShare;
use ropewalk::codec::http::Response;
use std::net::TcpStream;
use std::time::Duration;

/// What a request gets.
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
    /// What follows it.
    pub(crate) body: Payload,
    /// The path, for the log.
    pub(crate) path: Vec<u8>,
}

/// What follows a head.
#[derive(Debug)]
pub(crate) enum Payload {
    /// A file, or a part of it.
    Part(Body),
    /// What is in a folder.
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

    /// Sends all of it; gives up when the client takes nothing for `stall`. No faster
    /// than its share allows.
    pub(crate) fn send(
        &self,
        stream: &TcpStream,
        stall: Duration,
        share: Option<&DownloadShare>,
    ) -> Sent {
        match self {
            Payload::Part(body) => body.send(stream, stall, share),
            Payload::Index(page) => page.send(stream, stall, share),
        }
    }
}
