//! Descriptors that a program inherits: listening sockets, numbered as in sd_listen_fds(3), and
//! descriptors that a shell has opened for writing.

use super::{check, retry};
use std::io;
use std::mem;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The first descriptor after standard input, output and error.
const FIRST: RawFd = 3;

/// Takes the first `count` descriptors after the standard ones as listeners, and sets them
/// close-on-exec.
///
/// This program opens every descriptor close-on-exec. A descriptor without that flag came through
/// exec and has no owner yet. A second call refuses a descriptor that is taken.
///
/// # Errors
/// A descriptor is closed, or is not a listening TCP socket. The error names it.
pub fn listeners(count: u8) -> io::Result<Vec<TcpListener>> {
    let numbers = FIRST..FIRST + RawFd::from(count);
    for number in numbers.clone() {
        if !waits_for_us(number) {
            let text = format!("descriptor {number} is not a TCP socket that listens");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    }
    numbers.map(take).collect()
}

/// A copy of descriptor `number`, which is open for writing.
///
/// # Errors
/// `EBADF` if it is not open for writing.
pub fn copy_for_writing(number: u32) -> io::Result<OwnedFd> {
    let bad = || io::Error::from_raw_os_error(libc::EBADF);
    let number = RawFd::try_from(number).map_err(|_| bad())?;
    // SAFETY: F_GETFL takes numbers only and touches no memory.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFL) })?;
    if flags & libc::O_ACCMODE == libc::O_RDONLY {
        return Err(bad());
    }
    // SAFETY: F_DUPFD_CLOEXEC takes numbers only and touches no memory.
    let copy = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, FIRST) })?;
    // SAFETY: fcntl has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Whether `number` is a listening TCP socket that came through exec.
fn waits_for_us(number: RawFd) -> bool {
    // SAFETY: F_GETFD takes numbers only and touches no memory.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFD) });
    let family = option(number, libc::SO_DOMAIN);
    flags.is_ok_and(|flags| flags & libc::FD_CLOEXEC == 0)
        && family.is_ok_and(|family| [libc::AF_INET, libc::AF_INET6].contains(&family))
        && option(number, libc::SO_TYPE).is_ok_and(|kind| kind == libc::SOCK_STREAM)
        && option(number, libc::SO_ACCEPTCONN).is_ok_and(|listens| listens == 1)
}

/// Owns `number`, of which [`waits_for_us`] is true.
fn take(number: RawFd) -> io::Result<TcpListener> {
    // SAFETY: F_SETFD takes numbers only and touches no memory.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the descriptor is open, and was not close-on-exec until just now, so nothing
    // in this program had opened it, and nothing owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) }.into())
}

/// A numeric option of a socket (socket(7)).
fn option(number: RawFd, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = mem::size_of::<libc::c_int>() as libc::socklen_t;
    retry(|| {
        let value = (&raw mut value).cast();
        // SAFETY: `value` is writable for `length` bytes, and both live through the call.
        check(unsafe { libc::getsockopt(number, libc::SOL_SOCKET, name, value, &mut length) })
    })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_listener_of_our_own_is_not_taken_twice() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(option(listener.as_raw_fd(), libc::SO_ACCEPTCONN).unwrap(), 1);
        assert!(!waits_for_us(listener.as_raw_fd()));
    }

    #[test]
    fn a_copy_shares_the_position_of_its_original() {
        use std::io::Write;
        let path = std::env::temp_dir().join(format!("ropewalk-{}-copy", std::process::id()));
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(b"before").unwrap();
        let copy = copy_for_writing(file.as_raw_fd() as u32).unwrap();
        std::fs::File::from(copy).write_all(b" behind").unwrap();
        let read = std::fs::read(&path).unwrap();
        let only_read = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(read, b"before behind");
        for number in [only_read.as_raw_fd() as u32, 1 << 20, u32::MAX] {
            let error = copy_for_writing(number).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{number}");
        }
    }

    #[test]
    fn a_closed_descriptor_is_named() {
        let error = listeners(u8::MAX).unwrap_err();
        assert!(error.to_string().ends_with("is not a TCP socket that listens"), "{error}");
    }
}
