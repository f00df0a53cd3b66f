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
/// [`MAX_DESCRIPTORS`]). Returns how many bytes went; the descriptors went with them.
pub fn send(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
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
        check_size(unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) })
    })
}

/// Receives at most `buffer.len()` bytes, and appends descriptors that came with
/// them to `descriptors`, close-on-exec. 0 bytes mean that the peer has closed.
///
/// # Errors
/// `InvalidData` when the kernel had to drop descriptors for lack of room.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control { bytes: [0; 1024] };
    // SAFETY: all-zero is a valid msghdr: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let received = retry(|| {
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
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..bytes / size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were lost"));
    }
    Ok(received)
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
        assert_eq!(receive(there.as_fd(), &mut buffer, &mut got).unwrap(), 3);
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
    fn as_many_as_one_message_holds() {
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
    fn end_of_file_is_zero_bytes() {
        let (here, there) = UnixStream::pair().unwrap();
        drop(here);
        assert_eq!(receive(there.as_fd(), &mut [0; 4], &mut Vec::new()).unwrap(), 0);
    }
}
