//! A transfer from a ropewalk server: what it needs, and what its receiver is told of a
//! session. pulled.rs runs it.

#![forbid(unsafe_code)]

use super::Fetch;
use super::lease::Lease;
use crate::config::Threads;
use crate::control::{PulledOffer, Server};
use ropewalk::codec::json::Value;
use ropewalk::transfer::growth::FIRST_STREAMS;

/// The receiver's work, and new sessions for it.
pub(super) struct Transfer<'a> {
    pub(super) fetch: &'a Fetch<'a>,
    pub(super) server: &'a Server,
    pub(super) offer: &'a PulledOffer,
    pub(super) lease: &'a Lease,
}

impl Transfer<'_> {
    /// The keys that tell a receiver where to go, and with how many streams at most.
    pub(super) fn session(&self, offer: &PulledOffer) -> Vec<(String, Value)> {
        let address = self.server.data_address(offer.port);
        // A server that grants no more than was asked for at first gets no more.
        let threads = match self.fetch.config.threads {
            Threads::Fixed(threads) => threads,
            Threads::Auto => offer.max_threads.unwrap_or(FIRST_STREAMS).max(1),
        };
        vec![
            ("address".to_string(), Value::from(address.to_string())),
            ("control".to_string(), Value::from(self.server.address().to_string())),
            ("session".to_string(), Value::from(offer.session.to_hex())),
            ("threads".to_string(), Value::from_u64(threads.into())),
        ]
    }
}
