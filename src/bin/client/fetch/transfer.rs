//! A transfer from a ropewalk server: what it needs, and what its receiver is told of a
//! session. pulled.rs runs it.

#![forbid(unsafe_code)]

use super::Fetch;
use super::lease::Lease;
use crate::config::Threads;
use crate::control::{RopewalkOffer, Server};
use ropewalk::codec::message::session::Session;
use ropewalk::transfer::growth::FIRST_STREAMS;

/// The receiver's work, and new sessions for it.
pub(super) struct Transfer<'a> {
    pub(super) fetch: &'a Fetch<'a>,
    pub(super) server: &'a Server,
    pub(super) offer: &'a RopewalkOffer,
    pub(super) lease: &'a Lease,
}

impl Transfer<'_> {
    /// The session that `offer` gives a receiver.
    pub(super) fn session(&self, offer: &RopewalkOffer) -> Session {
        // A server that grants no more than was asked for at first gets no more.
        let streams = match self.fetch.config.threads {
            Threads::Fixed(threads) => threads,
            Threads::Auto => offer.granted.unwrap_or(FIRST_STREAMS).max(1),
        };
        Session {
            address: self.server.data_address(offer.port),
            control: self.server.address(),
            token: offer.token,
            streams,
        }
    }
}
