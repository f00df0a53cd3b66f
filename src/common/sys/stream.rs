//! A stream socket, TCP or Unix: the connection that the engine moves bytes over.

#![forbid(unsafe_code)]

use super::socket;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A connected stream socket. TCP's own options are best effort: a Unix socket has none, and
/// no byte depends on them.
#[derive(Debug)]
pub struct Stream {
    /// std's type for a stream socket. The calls that this file makes of it are the same for
    /// both families.
    socket: TcpStream,
    tcp: bool,
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Stream {
        Stream { socket, tcp: true }
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Stream {
        Stream { socket: TcpStream::from(OwnedFd::from(socket)), tcp: false }
    }
}

impl From<OwnedFd> for Stream {
    /// The stream of a descriptor that another process handed over.
    fn from(descriptor: OwnedFd) -> Stream {
        let socket = TcpStream::from(descriptor);
        let tcp = socket.local_addr().is_ok();
        Stream { socket, tcp }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Stream {
    /// A connected pair of Unix sockets.
    ///
    /// # Errors
    /// What socketpair(2) gives.
    pub fn pair() -> io::Result<(Stream, Stream)> {
        let (one, other) = UnixStream::pair()?;
        Ok((one.into(), other.into()))
    }

    /// Whether this is TCP.
    pub fn is_tcp(&self) -> bool {
        self.tcp
    }

    /// The address of a TCP peer; `None` for a Unix socket and for a peer that is gone.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()
    }

    /// Reads what has come. Goes on when the process was stopped and continued.
    ///
    /// # Errors
    /// `WouldBlock` when the read timeout has passed; what read(2) gives.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        socket::read(&self.socket, buffer)
    }

    /// Reads what has come, until `deadline` at most.
    ///
    /// # Errors
    /// `ETIMEDOUT`; what read(2) gives.
    pub fn read_by(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        socket::read_by(&self.socket, buffer, deadline)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// `WouldBlock` when the write timeout has passed without a byte; what send(2) gives.
    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.socket).write_all(bytes)
    }

    /// Writes all of `bytes`. The kernel waits for the bytes that follow before it makes a
    /// packet (MSG_MORE, send(2)).
    ///
    /// # Errors
    /// As [`Stream::write_all`].
    pub fn write_more(&self, bytes: &[u8]) -> io::Result<()> {
        socket::send_more(self.as_fd(), bytes)
    }

    /// How long a read may wait for a byte; `None` for as long as it takes.
    ///
    /// # Errors
    /// What setsockopt(2) gives.
    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(limit)
    }

    /// How long a write may wait until the peer takes a byte.
    ///
    /// # Errors
    /// What setsockopt(2) gives.
    pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(limit)
    }

    /// Sends small messages at once (TCP_NODELAY). Does nothing for a Unix socket.
    pub fn send_at_once(&self) {
        if self.tcp {
            let _ = self.socket.set_nodelay(true);
        }
    }

    /// Has the kernel notice a peer that is gone: a silent one by probes, and one that
    /// acknowledges nothing after `limit`. Does nothing for a Unix socket, whose peer cannot
    /// go without a word.
    pub fn detect_dead_peer(&self, probes: socket::Keepalive, limit: Duration) {
        if self.tcp {
            let _ = socket::detect_dead_peer(self.as_fd(), probes, limit);
        }
    }

    /// Whether a close breaks the connection off with a reset (socket(7), SO_LINGER). Has no
    /// effect on a Unix socket.
    pub fn reset_on_close(&self, on: bool) {
        if self.tcp {
            let _ = socket::reset_on_close(self.as_fd(), on);
        }
    }

    /// How long a round trip takes, as the kernel measured it; `None` where it does not say.
    pub fn round_trip(&self) -> Option<Duration> {
        self.tcp.then(|| socket::round_trip(self.as_fd())).flatten()
    }

    /// Ends the stream in these directions. Every thread that waits for it hears of that.
    pub fn shut(&self, how: Shutdown) {
        let _ = self.socket.shutdown(how);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_is_read_written_and_shut_like_a_tcp_one() {
        let (here, there) = Stream::pair().unwrap();
        assert!(!here.tcp && here.peer().is_none() && here.round_trip().is_none());
        here.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(here.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        there.write_more(b"a").unwrap();
        there.write_all(b"b").unwrap();
        there.shut(Shutdown::Write);
        let (mut all, mut buffer) = (Vec::new(), [0; 4]);
        loop {
            match here.read(&mut buffer).unwrap() {
                0 => break,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
        assert_eq!(all, b"ab");
    }

    #[test]
    fn options_of_tcp_are_passed_over_by_a_unix_socket() {
        let (here, _there) = Stream::pair().unwrap();
        here.send_at_once();
        here.reset_on_close(true);
        let second = Duration::from_secs(1);
        here.detect_dead_peer(
            socket::Keepalive { idle: second, interval: second, count: 1 },
            second,
        );
        here.write_all(b"x").unwrap();
    }

    #[test]
    fn a_descriptor_says_itself_whether_it_is_tcp() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(Stream::from(OwnedFd::from(there)).tcp);
        let (here, _there) = UnixStream::pair().unwrap();
        assert!(!Stream::from(OwnedFd::from(here)).tcp);
    }
}
