//! Ends the session on the server when the transfer ends early. Without that the session
//! counts against the server's limits until its idle timeout.

#![forbid(unsafe_code)]

use crate::control::Server;
use ropewalk::codec::wire::{ErrorCode, Header, Hello, MIN_BLOCK, Request};
use ropewalk::hash::crc32c::crc32c;
use ropewalk::sys::sync::lock;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

/// Time for one attempt to reach the session at one of its ports.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// Owns the session of a transfer. Dropping it ends the session, unless the session is over.
pub(crate) struct SessionGuard {
    session: Mutex<Option<LiveSession>>,
}

/// A session that the server still holds.
struct LiveSession {
    token: [u8; 16],
    /// Whether the client is the source.
    is_push: bool,
    /// Where its streams may go, the likelier address first.
    addresses: Vec<SocketAddr>,
}

impl SessionGuard {
    /// Guards the session of a fetch, with this port and token, which `server` has just offered.
    /// `single_port` leaves out its data port.
    pub(crate) fn of_fetch(
        server: &Server,
        session: (u16, [u8; 16]),
        single_port: bool,
    ) -> SessionGuard {
        SessionGuard::new(server, session, single_port, false)
    }

    /// The same for a push.
    pub(crate) fn of_push(
        server: &Server,
        session: (u16, [u8; 16]),
        single_port: bool,
    ) -> SessionGuard {
        SessionGuard::new(server, session, single_port, true)
    }

    fn new(
        server: &Server,
        (port, token): (u16, [u8; 16]),
        single_port: bool,
        is_push: bool,
    ) -> SessionGuard {
        let data = (!single_port).then(|| server.data_address(port));
        let ports = data.into_iter().chain([server.address()]);
        // Without ports the end of the connection ends the session.
        let addresses = ports.filter(|_| server.children().is_none()).collect();
        let session = LiveSession { token, is_push, addresses };
        SessionGuard { session: Mutex::new(Some(session)) }
    }

    /// Guards the session of `other` from now on, and ends the session before it.
    pub(crate) fn replace(&self, other: SessionGuard) {
        let session = lock(&other.session).take();
        let before = std::mem::replace(&mut *lock(&self.session), session);
        before.iter().for_each(LiveSession::end);
    }

    /// The session is over: its worker has ended it.
    pub(crate) fn release(&self) {
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
        let LiveSession { token, is_push: from_source, .. } = *self;
        let hello = Hello { token, max_block: MIN_BLOCK, unchecked: false, from_source };
        let farewell = match from_source {
            true => {
                let (code, crc) = (ErrorCode::Left, crc32c(b""));
                Header::Error { code, length: 0, crc }.encode().to_vec()
            }
            false => Request::Leave.encode(),
        };
        let words = [&hello.encode()[..], &farewell].concat();
        let _ = self.addresses.iter().any(|address| {
            // The buffer of the socket takes so few bytes without a wait.
            TcpStream::connect_timeout(address, LEAVE_TIME)
                .and_then(|mut stream| stream.write_all(&words))
                .is_ok()
        });
    }
}
