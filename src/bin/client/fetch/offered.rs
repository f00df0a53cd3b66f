//! The offer of a session, of a file or of a folder.

#![forbid(unsafe_code)]

use crate::control::{RopewalkOffer, Server, TreeOffer};
use crate::session_guard::SessionGuard;

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

    /// Guards the session, which `server` has just offered. `single_port` leaves out its data port.
    pub(super) fn guard(self, server: &Server, single_port: bool) -> SessionGuard {
        SessionGuard::of_fetch(server, (self.port(), self.token()), single_port)
    }

    /// How many streams the server grants, if that was left to it.
    pub(super) fn granted(self) -> Option<u8> {
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
