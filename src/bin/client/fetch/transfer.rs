//! A transfer over the ropewalk protocol, and the session that its worker gets.

#![forbid(unsafe_code)]

use super::Fetch;
use super::offered::Offered;
use super::session_guard::SessionGuard;
use crate::config::StreamCount;
use crate::control::Server;
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
