//! Passing descriptors over a Unix stream socket (SCM_RIGHTS, unix(7)).

use super::{check_size, retry};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Most descriptors in one message: the kernel's own limit (SCM_MAX_FD) is 253.
pub const MAX_DESCRIPTORS: usize = 250;

/// Room for the control data of one message, aligned for its header.
#[repr(C)]
union Control {
    bytes: [u8; 1024],
    _align: libc::cmsghdr,
}

/// Sends `bytes` (at least one) and, with the first of them, `descriptors` (at most
/// [`MAX_DESCRIPTORS`]). Returns the number of bytes sent. The descriptors go with the first
/// byte.
pub fn send(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    send_with(socket, bytes, descriptors, 0)
}

/// As [`send`], without waiting for room.
///
/// # Errors
/// `WouldBlock` if there is none; the errors of sendmsg(2).
pub fn send_now(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    send_with(socket, bytes, descriptors, libc::MSG_DONTWAIT)
}

fn send_with(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    flags: libc::c_int,
) -> io::Result<usize> {
    if bytes.is_empty() || descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control { bytes: [0; 1024] };
    // SAFETY: all-zero is a valid msghdr: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        let size = (descriptors.len() * size_of::<RawFd>()) as libc::c_uint;
        message.msg_control = (&raw mut control).cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute; 250 descriptors need 1016
        // bytes on 64-bit systems (header 16, data 1000) and fewer on 32-bit ones, so
        // the header and data written here stay inside `control`, which is aligned
        // for a header and lives until sendmsg has returned.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (index, descriptor) in descriptors.iter().enumerate() {
                data.add(index).write_unaligned(descriptor.as_raw_fd());
            }
        }
    }
    retry(|| {
        // SAFETY: `message` points at `part` and `control`, both alive and of the
        // lengths it gives.
        check_size(unsafe {
            libc::sendmsg(socket.as_raw_fd(), &message, flags | libc::MSG_NOSIGNAL)
        })
    })
}

/// The result of one receive: a message or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The number of bytes; 0 if the peer has closed.
    pub bytes: usize,
    /// Whether the kernel dropped descriptors because this process had no room for them.
    pub lost: bool,
}

/// Receives at most `buffer.len()` bytes. Appends descriptors that came with them to
/// `descriptors`, close-on-exec. Bytes of the next message are left for the next call.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<Received> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control { bytes: [0; 1024] };
    // SAFETY: all-zero is a valid msghdr: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let bytes = retry(|| {
        // SAFETY: `message` points at `part` and `control`, both alive, writable and
        // of the lengths it gives.
        check_size(unsafe {
            libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC)
        })
    })?;
    // SAFETY: the kernel filled `control` with whole, well-formed headers within
    // msg_controllen; each SCM_RIGHTS one holds descriptors that this process now
    // owns and that nothing else refers to, so each is taken into an OwnedFd once.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let size = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..size / size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    Ok(Received { bytes, lost: message.msg_flags & libc::MSG_CTRUNC != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    fn carry(count: usize) {
        let (here, there) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let sent = vec![file.as_fd(); count];
        assert_eq!(send(&here, b"job", &sent).unwrap(), 3);
        let (mut buffer, mut got) = ([0u8; 16], Vec::new());
        let received = receive(there.as_fd(), &mut buffer, &mut got).unwrap();
        assert_eq!(received, Received { bytes: 3, lost: false });
        assert_eq!((&buffer[..3], got.len()), (&b"job"[..], count));
        for descriptor in got {
            assert_eq!(
                File::from(descriptor).metadata().unwrap().ino(),
                file.metadata().unwrap().ino()
            );
        }
    }

    #[test]
    fn one_descriptor_arrives_as_the_same_file() {
        carry(1);
    }

    #[test]
    fn a_full_message_of_descriptors_arrives() {
        carry(MAX_DESCRIPTORS);
    }

    #[test]
    fn one_more_than_a_message_holds_is_refused() {
        let (here, _there) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let sent = vec![file.as_fd(); MAX_DESCRIPTORS + 1];
        assert_eq!(send(&here, b"x", &sent).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_bytes_of_the_next_message_come_later() {
        let (here, there) = UnixStream::pair().unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        send(&here, b"one", &[]).unwrap();
        send(&here, b"two", &[file.as_fd()]).unwrap();
        send(&here, b"three", &[file.as_fd()]).unwrap();
        let (mut text, mut counts) = (Vec::new(), Vec::new());
        while text.len() < 11 {
            let (mut buffer, mut got) = ([0; 64], Vec::new());
            let received = receive(there.as_fd(), &mut buffer, &mut got).unwrap();
            text.extend_from_slice(&buffer[..received.bytes]);
            counts.push((text.len(), got.len()));
        }
        assert!(counts.ends_with(&[(6, 1), (11, 1)]), "{counts:?}");
    }

    #[test]
    fn end_of_file_is_zero_bytes() {
        let (here, there) = UnixStream::pair().unwrap();
        drop(here);
        let received = receive(there.as_fd(), &mut [0; 4], &mut Vec::new()).unwrap();
        assert_eq!(received.bytes, 0);
    }
}
