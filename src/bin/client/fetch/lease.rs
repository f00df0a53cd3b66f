//! The place that a session has on the server: a fetch that ends early says so, and the
//! place is free at once. Otherwise it would stay taken until the server misses the streams.

#![forbid(unsafe_code)]

use crate::control::{RopewalkOffer, Server};
use ropewalk::codec::wire::{Hello, MIN_BLOCK, Request};
use ropewalk::sys::sync::lock;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

/// How long it may take to reach the session at one of its ports.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// The session of a fetch. When this is dropped, a session that is not over is ended.
pub(super) struct Lease {
    session: Mutex<Option<Session>>,
}

/// A session that has a place on the server.
struct Session {
    token: [u8; 16],
    /// Where its streams may go, the likelier place first.
    addresses: Vec<SocketAddr>,
}

impl Lease {
    /// Of the session that `server` has just offered. With `single_port` its data port is
    /// not tried.
    pub(super) fn new(server: &Server, offer: &RopewalkOffer, single_port: bool) -> Lease {
        let data = (!single_port).then(|| server.data_address(offer.port));
        let addresses = data.into_iter().chain([server.address()]).collect();
        Lease { session: Mutex::new(Some(Session { token: offer.token, addresses })) }
    }

    /// The fetch goes on with `other`, and its session before that is not needed.
    pub(super) fn replace(&self, other: Lease) {
        let session = lock(&other.session).take();
        let before = std::mem::replace(&mut *lock(&self.session), session);
        before.iter().for_each(Session::leave);
    }

    /// The receiver has ended the session: it has the whole file.
    pub(super) fn is_over(&self) {
        lock(&self.session).take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.session).iter().for_each(Session::leave);
    }
}

impl Session {
    /// Ends the session. One that cannot be reached ends by itself after a while.
    fn leave(&self) {
        let hello = Hello { token: self.token, max_block: MIN_BLOCK, unchecked: false };
        let words = [&hello.encode()[..], &Request::Leave.encode()].concat();
        let _ = self.addresses.iter().any(|address| {
            // So few bytes need no wait: the buffer of the socket takes them.
            TcpStream::connect_timeout(address, LEAVE_TIME)
                .and_then(|mut stream| stream.write_all(&words))
                .is_ok()
        });
    }
}
