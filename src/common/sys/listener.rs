//! A listening stream socket, TCP or Unix: what the streams of a transfer come to.

#![forbid(unsafe_code)]

use super::local;
use super::stream::Stream;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket. It takes only connections of this process's user.
    Local(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Listener {
        Listener::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Listener {
        Listener::Local(listener)
    }
}

impl From<OwnedFd> for Listener {
    /// The listener of a descriptor that another process handed over.
    fn from(descriptor: OwnedFd) -> Listener {
        let listener = TcpListener::from(descriptor);
        match listener.local_addr() {
            Ok(_) => Listener::Tcp(listener),
            Err(_) => Listener::Local(OwnedFd::from(listener).into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Local(listener) => listener.as_fd(),
        }
    }
}

impl Listener {
    /// Has [`Listener::accept`] fail with `WouldBlock` when no connection waits.
    ///
    /// # Errors
    /// What ioctl(2) gives.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.set_nonblocking(true),
            Listener::Local(listener) => listener.set_nonblocking(true),
        }
    }

    /// The port; 0 for a Unix socket, which has none.
    ///
    /// # Errors
    /// What getsockname(2) gives.
    pub fn port(&self) -> io::Result<u16> {
        match self {
            Listener::Tcp(listener) => Ok(listener.local_addr()?.port()),
            Listener::Local(_) => Ok(0),
        }
    }

    /// Takes a connection, with the address of a TCP peer.
    ///
    /// # Errors
    /// `PermissionDenied` for a connection of another user; what accept(2) gives.
    pub fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok((stream.into(), Some(peer)))
            }
            Listener::Local(listener) => {
                let (stream, _) = listener.accept()?;
                local::check_peer(&stream)?;
                Ok((stream.into(), None))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_descriptor_says_itself_which_listener_it_is() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let tcp = Listener::from(OwnedFd::from(tcp));
        assert_eq!(tcp.port().unwrap(), port);
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(tcp.accept().unwrap().1.is_some());
        let name = format!("ropewalk-listener-{}", std::process::id());
        let local = Listener::from(OwnedFd::from(local::listen(name.as_bytes()).unwrap()));
        assert_eq!(local.port().unwrap(), 0);
        let client = Stream::from(local::connect(name.as_bytes()).unwrap());
        let (stream, peer) = local.accept().unwrap();
        assert!(peer.is_none());
        client.write_all(b"x").unwrap();
        assert_eq!(stream.read(&mut [0; 2]).unwrap(), 1);
    }
}
