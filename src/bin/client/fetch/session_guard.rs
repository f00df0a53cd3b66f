//! Ends the session on the server when the transfer ends early. Without that the session
//! counts against the server's limits until its idle timeout.

#![forbid(unsafe_code)]

use super::offered::Offered;
use crate::control::Server;
use ropewalk::codec::wire::{Hello, MIN_BLOCK, Request};
use ropewalk::sys::sync::lock;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

/// Time for one attempt to reach the session at one of its ports.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// Owns the session of a transfer. Dropping it ends the session, unless the session is over.
pub(super) struct SessionGuard {
    session: Mutex<Option<LiveSession>>,
}

/// A session that the server still holds.
struct LiveSession {
    token: [u8; 16],
    /// Where its streams may go, the likelier address first.
    addresses: Vec<SocketAddr>,
}

impl SessionGuard {
    /// Guards the session that `server` has just offered. `single_port` leaves out its data
    /// port.
    pub(super) fn new(server: &Server, offer: Offered<'_>, single_port: bool) -> SessionGuard {
        let data = (!single_port).then(|| server.data_address(offer.port()));
        let ports = data.into_iter().chain([server.address()]);
        // Without ports the end of the connection ends the session.
        let addresses = ports.filter(|_| server.children().is_none()).collect();
        let session = LiveSession { token: offer.token(), addresses };
        SessionGuard { session: Mutex::new(Some(session)) }
    }

    /// Guards the session of `other` from now on, and ends the session before it.
    pub(super) fn replace(&self, other: SessionGuard) {
        let session = lock(&other.session).take();
        let before = std::mem::replace(&mut *lock(&self.session), session);
        before.iter().for_each(LiveSession::end);
    }

    /// The session is over: its worker has ended it.
    pub(super) fn release(&self) {
        lock(&self.session).take();
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        lock(&self.session).iter().for_each(LiveSession::end);
    }
}

impl LiveSession {
    /// Ends the session. The server's idle timeout ends a session that cannot be reached.
    fn end(&self) {
        let hello =
            Hello { token: self.token, max_block: MIN_BLOCK, unchecked: false, from_source: false };
        let words = [&hello.encode()[..], &Request::Leave.encode()].concat();
        let _ = self.addresses.iter().any(|address| {
            // The buffer of the socket takes so few bytes without a wait.
            TcpStream::connect_timeout(address, LEAVE_TIME)
                .and_then(|mut stream| stream.write_all(&words))
                .is_ok()
        });
    }
}
