//! The send queue of a TCP socket: the acknowledged and the unacknowledged bytes.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many bytes the peer has acknowledged so far (TCP_INFO, since Linux 4.1); `None` if the
/// kernel does not tell.
pub fn acknowledged(socket: BorrowedFd<'_>) -> Option<u64> {
    tcp_count::<120>(socket)
}

/// The number of 64 bits at this offset in the kernel's tcp_info. The C library's structure may
/// end before it.
pub(super) fn tcp_count<const OFFSET: usize>(socket: BorrowedFd<'_>) -> Option<u64> {
    const SIZE: usize = size_of::<u64>();
    let mut info = vec![0_u8; OFFSET + SIZE];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: `info` is writable for `length` bytes, and both live through the call.
    let asked = check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        )
    });
    let known = asked.is_ok() && length as usize == OFFSET + SIZE;
    let bytes = info.last_chunk().filter(|_| known)?;
    Some(u64::from_ne_bytes(*bytes))
}

/// How many bytes were written to `socket` that the peer has not acknowledged yet (tcp(7),
/// SIOCOUTQ).
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: `bytes` is writable and lives through the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn unread_bytes_stay_unacknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut there = listener.accept().unwrap().0;
        let before = acknowledged(stream.as_fd()).unwrap();
        stream.write_all(&[1; 1000]).unwrap();
        there.read_exact(&mut [0; 1000]).unwrap();
        while unacknowledged(stream.as_fd()).unwrap() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(acknowledged(stream.as_fd()), Some(before + 1000));
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[1; 65536]).is_ok() {}
        assert!(unacknowledged(stream.as_fd()).unwrap() >= 4096);
    }
}
