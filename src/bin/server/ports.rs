//! Where the streams of transfers come in: at any free port, at those of `--data-ports`, or at a
//! Unix socket.

#![forbid(unsafe_code)]

use ropewalk::error::{Error, Result};
use ropewalk::sys::listener::Listener;
use ropewalk::sys::sync::lock;
use ropewalk::sys::{local, socket};
use ropewalk::transfer::link::session_socket;
use ropewalk::transfer::link::token::Token;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::Mutex;

/// Where streams come in.
pub(crate) enum Entrances {
    /// At ports.
    Ports(DataPorts),
    /// With `--stdio`: at a Unix socket that is named after the session's token. Others know the
    /// token of the first session already.
    Sockets(Mutex<Option<Token>>),
}

impl Entrances {
    /// Whether there are ports, which a classic transfer needs.
    pub(crate) fn has_ports(&self) -> bool {
        matches!(self, Entrances::Ports(_))
    }

    /// The token of a session that begins.
    ///
    /// # Errors
    /// The kernel has no random bytes.
    pub(crate) fn token(&self) -> io::Result<Token> {
        let first = match self {
            Entrances::Ports(_) => None,
            Entrances::Sockets(first) => lock(first).take(),
        };
        first.map_or_else(Token::random, Ok)
    }

    /// Listens for the streams of a transfer that was requested on `connection`. A session has
    /// a token.
    ///
    /// # Errors
    /// `AddrInUse` when all ports are taken; what bind(2) gives.
    pub(crate) fn listen(
        &self,
        connection: &TcpStream,
        token: Option<&Token>,
    ) -> io::Result<Listener> {
        match (self, token) {
            (Entrances::Ports(ports), _) => {
                let mut local = connection.local_addr()?;
                local.set_ip(local.ip().to_canonical());
                ports.listen(local).map(Into::into)
            }
            (Entrances::Sockets(_), Some(token)) => {
                local::listen(&session_socket::for_streams(&token.bytes())).map(Into::into)
            }
            (Entrances::Sockets(_), None) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// The ports that senders listen on.
pub(crate) struct DataPorts {
    /// Without it the system chooses.
    range: Option<RangeInclusive<u16>>,
    /// How many were taken from the range so far. Ports are taken in turn: a late classic
    /// stream has no token, and must not come to the next transfer.
    taken: Mutex<usize>,
}

impl DataPorts {
    /// The ports of `range`; without it, any free port.
    pub(crate) fn new(range: Option<RangeInclusive<u16>>) -> DataPorts {
        DataPorts { range, taken: Mutex::default() }
    }

    /// Listens on a free port at the address of `local`.
    ///
    /// # Errors
    /// `AddrInUse` when all ports of the range are taken; what bind(2) gives.
    pub(crate) fn listen(&self, mut local: SocketAddr) -> io::Result<TcpListener> {
        let Some(range) = &self.range else {
            local.set_port(0);
            return socket::listen(local);
        };
        let mut taken = lock(&self.taken);
        for _ in range.clone() {
            let port = range.clone().nth(*taken % range.len()).unwrap_or(*range.start());
            *taken = taken.wrapping_add(1);
            local.set_port(port);
            match socket::listen(local) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                other => return other,
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// Reads `A-B`, two ports of which the second is not lower.
pub(crate) fn parse(text: &str) -> Result<RangeInclusive<u16>> {
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
    text.split_once('-')
        .and_then(|(first, last)| Some(port(first)?..=port(last)?))
        .filter(|range| !range.is_empty())
        .ok_or_else(|| Error::usage("--data-ports: must be A-B, two ports from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_range_of_ports_is_refused() {
        assert_eq!(parse("5000-5009").unwrap(), 5000..=5009);
        assert_eq!(parse("1-65535").unwrap().len(), 65535);
        assert_eq!(parse("7-7").unwrap().len(), 1);
        for text in ["", "-", "5000", "5000-", "-5000", "0-9", "9-8", "1-65536", "1-2-3", "a-b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    /// Two neighbouring ports that are free on this address at this moment.
    fn free_pair(address: &str) -> RangeInclusive<u16> {
        let free = |port: &u16| TcpListener::bind((address, *port)).is_ok();
        let first = (20_000..30_000).find(|port| free(port) && free(&(port + 1))).unwrap();
        first..=first + 1
    }

    #[test]
    fn each_port_of_the_range_is_taken_once_and_in_turn() {
        let local = SocketAddr::new("127.63.0.1".parse().unwrap(), 0);
        let range = free_pair("127.63.0.1");
        let ports = DataPorts::new(Some(range.clone()));
        let listen = || ports.listen(local).map(|own| (own.local_addr().unwrap().port(), own));
        let (first, _first) = listen().unwrap();
        let (second, held) = listen().unwrap();
        assert_eq!((first, second), (*range.start(), *range.end()));
        assert_eq!(listen().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(held);
        assert_eq!(listen().unwrap().0, second);
    }

    #[test]
    fn without_a_range_the_system_chooses() {
        let local = SocketAddr::new("127.63.0.1".parse().unwrap(), 9);
        assert_ne!(DataPorts::new(None).listen(local).unwrap().local_addr().unwrap().port(), 9);
    }
}
