//! Waits that end when the peer of a socket goes away. They read nothing from the socket.

use super::poll;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The event that counts as the peer's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The peer sends no more, even if it still reads.
    Silence,
    /// The connection has ended in both directions, or is broken.
    End,
}

impl Watch {
    /// The events of poll(2) that show it.
    fn events(self) -> libc::c_short {
        match self {
            Watch::Silence => libc::POLLRDHUP,
            Watch::End => 0, // POLLHUP and POLLERR are reported in any case
        }
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The bell is readable, or its other end was closed.
    Rung,
    /// The peer has gone.
    HungUp,
    /// The time has run out.
    Late,
}

/// Waits until `bell` rings or the peer of `socket` goes; without `limit`, forever. If both have
/// happened, the bell counts.
pub fn wait(
    bell: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
    watch: Watch,
    limit: Option<Duration>,
) -> io::Result<Wake> {
    let mut set = [
        libc::pollfd { fd: bell.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: socket.as_raw_fd(), events: watch.events(), revents: 0 },
    ];
    poll::wait(&mut set, limit.map(|limit| Instant::now() + limit))?;
    Ok(match set.map(|entry| entry.revents != 0) {
        [true, _] => Wake::Rung,
        [false, true] => Wake::HungUp,
        [false, false] => Wake::Late,
    })
}

/// Whether the peer of `socket` has gone.
pub fn has_gone(socket: BorrowedFd<'_>, watch: Watch) -> io::Result<bool> {
    let mut set = [libc::pollfd { fd: socket.as_raw_fd(), events: watch.events(), revents: 0 }];
    poll::wait(&mut set, Some(Instant::now()))?;
    Ok(set[0].revents != 0)
}

/// Waits for `limit`, or until the connection of `socket` is over in both directions.
pub fn rest(socket: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    let mut set = [libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 }];
    poll::wait(&mut set, Some(Instant::now() + limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    const SHORT: Option<Duration> = Some(Duration::from_millis(1));

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, there)
    }

    #[test]
    fn a_rest_ends_with_its_time_or_its_connection() {
        let (here, mut there) = connection();
        there.write_all(b"GET").unwrap();
        let begun = Instant::now();
        rest(here.as_fd(), Duration::from_millis(20)).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(20));
        here.shutdown(Shutdown::Both).unwrap();
        rest(here.as_fd(), Duration::from_secs(1000)).unwrap();
    }

    #[test]
    fn a_bell_that_is_closed_rings() {
        let ((bell, ringer), (here, there)) = (UnixStream::pair().unwrap(), connection());
        drop(ringer);
        drop(there);
        assert_eq!(wait(bell.as_fd(), here.as_fd(), Watch::Silence, None).unwrap(), Wake::Rung);
    }

    #[test]
    fn a_peer_that_sends_has_not_gone() {
        let ((bell, _ringer), (here, mut there)) = (UnixStream::pair().unwrap(), connection());
        there.write_all(b"GET").unwrap();
        assert_eq!(wait(bell.as_fd(), here.as_fd(), Watch::Silence, SHORT).unwrap(), Wake::Late);
    }

    #[test]
    fn an_end_is_noticed_before_the_unread_bytes_are_read() {
        let ((bell, _ringer), (here, mut there)) = (UnixStream::pair().unwrap(), connection());
        there.write_all(b"GET").unwrap();
        there.shutdown(Shutdown::Write).unwrap();
        assert_eq!(wait(bell.as_fd(), here.as_fd(), Watch::Silence, None).unwrap(), Wake::HungUp);
        assert_eq!(wait(bell.as_fd(), here.as_fd(), Watch::End, SHORT).unwrap(), Wake::Late);
    }

    #[test]
    fn a_connection_that_was_ended_here_is_at_its_end() {
        let ((bell, _ringer), (here, _there)) = (UnixStream::pair().unwrap(), connection());
        here.shutdown(Shutdown::Both).unwrap();
        assert_eq!(wait(bell.as_fd(), here.as_fd(), Watch::End, None).unwrap(), Wake::HungUp);
    }
}
