//! A transfer over the ropewalk protocol, and the session that its worker gets.

#![forbid(unsafe_code)]

use super::Fetch;
use super::session_guard::SessionGuard;
use crate::config::StreamCount;
use crate::control::{RopewalkOffer, Server, TreeOffer};
use ropewalk::codec::message::session::Session;
use ropewalk::transfer::queue::growth::FIRST_STREAMS;

/// A transfer with one server. It says nothing of the sink: its worker gets that.
pub(super) struct Transfer<'a> {
    pub(super) fetch: &'a Fetch<'a>,
    pub(super) server: &'a Server,
    /// The first offer. Those of later sessions must be of the same file or folder.
    pub(super) offer: Offered<'a>,
    pub(super) guard: &'a SessionGuard,
}

/// An offer of a session.
#[derive(Clone, Copy)]
pub(super) enum Offered<'a> {
    /// Of a file.
    File(&'a RopewalkOffer),
    /// Of a folder.
    Tree(&'a TreeOffer),
}

impl Offered<'_> {
    /// The data port.
    pub(super) fn port(self) -> u16 {
        match self {
            Offered::File(offer) => offer.port,
            Offered::Tree(offer) => offer.port,
        }
    }

    /// The session's token.
    pub(super) fn token(self) -> [u8; 16] {
        match self {
            Offered::File(offer) => offer.token,
            Offered::Tree(offer) => offer.token,
        }
    }

    /// How many streams the server grants, if that was left to it.
    fn granted(self) -> Option<u8> {
        match self {
            Offered::File(offer) => offer.granted,
            Offered::Tree(offer) => offer.granted,
        }
    }

    /// Whether both are of the same state of a file, or of the same folder.
    pub(super) fn is_of_same(self, other: Offered<'_>) -> bool {
        match (self, other) {
            (Offered::File(one), Offered::File(other)) => one.etag == other.etag,
            (Offered::Tree(one), Offered::Tree(other)) => {
                one.folder.identity == other.folder.identity
            }
            (Offered::File(_), Offered::Tree(_)) | (Offered::Tree(_), Offered::File(_)) => false,
        }
    }
}

impl Transfer<'_> {
    /// The session of `offer`, as a worker gets it.
    pub(super) fn session(&self, offer: Offered<'_>) -> Session {
        let streams = match self.fetch.config.streams {
            StreamCount::Fixed(streams) => streams,
            // Without a number the server grants what the client asked for at first.
            StreamCount::Auto => offer.granted().unwrap_or(FIRST_STREAMS).max(1),
        };
        Session {
            address: self.server.data_address(offer.port()),
            control: self.server.address(),
            token: offer.token(),
            streams,
        }
    }
}
