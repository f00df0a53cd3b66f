//! Unix sockets with an abstract name (unix(7)): they leave nothing in a file system. Everybody on
//! the machine may connect to such a name, so both ends look who the other one is.

use super::check;
use super::process::effective_user;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Listens under this name.
///
/// # Errors
/// `AddrInUse`; what bind(2) gives.
pub fn listen(name: &[u8]) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// Connects to the listener of this user that has this name.
///
/// # Errors
/// `ConnectionRefused` if nobody listens; `PermissionDenied` if another user does.
pub fn connect(name: &[u8]) -> io::Result<UnixStream> {
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    check_peer(&stream)?;
    Ok(stream)
}

/// Looks whether the process at the other end has this process's user (SO_PEERCRED).
///
/// # Errors
/// `PermissionDenied` if it has another one.
pub fn check_peer(stream: &UnixStream) -> io::Result<()> {
    match peer_user(stream)? == effective_user() {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// The user who connected, or who listens.
fn peer_user(stream: &UnixStream) -> io::Result<u32> {
    // SAFETY: all-zero is a valid ucred.
    let mut peer: libc::ucred = unsafe { mem::zeroed() };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `peer` is writable for `length` bytes, and both live through the call.
    check(unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &mut length,
        )
    })?;
    Ok(peer.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn both_ends_of_a_name_reach_each_other_and_are_this_user() {
        let name = format!("ropewalk-local-{}", std::process::id());
        let listener = listen(name.as_bytes()).unwrap();
        assert_eq!(listen(name.as_bytes()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let mut there = connect(name.as_bytes()).unwrap();
        let (mut here, _) = listener.accept().unwrap();
        check_peer(&here).unwrap();
        assert_eq!(peer_user(&here).unwrap(), effective_user());
        there.write_all(b"x").unwrap();
        assert_eq!(here.read(&mut [0; 2]).unwrap(), 1);
        drop(listener);
        let gone = connect(name.as_bytes()).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::ConnectionRefused);
    }
}
