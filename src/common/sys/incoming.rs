//! The receive queue of a TCP socket: the bytes that have come, and those that wait to be read.

use super::check;
use super::outgoing::tcp_count;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many bytes have come from the peer so far (TCP_INFO, since Linux 4.1); `None` if the kernel
/// does not tell.
pub fn received(socket: BorrowedFd<'_>) -> Option<u64> {
    tcp_count::<128>(socket)
}

/// How many bytes have come on `socket` that nobody has read yet (tcp(7), SIOCINQ).
pub fn unread(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: `bytes` is writable and lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn bytes_count_when_they_come_and_wait_until_they_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut there = listener.accept().unwrap().0;
        let before = received(stream.as_fd()).unwrap();
        assert_eq!(unread(stream.as_fd()).unwrap(), 0);
        there.write_all(&[1; 1000]).unwrap();
        while unread(stream.as_fd()).unwrap() < 1000 {
            std::thread::yield_now();
        }
        stream.read_exact(&mut [0; 1000]).unwrap();
        assert_eq!(unread(stream.as_fd()).unwrap(), 0);
        assert_eq!(received(stream.as_fd()), Some(before + 1000));
    }
}
