//! Writes bytes in order to a descriptor that other processes share: a pipe, a file, a socket or a
//! device. Waits as long as the reader takes nothing. Never changes the descriptor's flags.

#![forbid(unsafe_code)]

use crate::sys::poll;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

/// How many zeros are written at once.
const ZEROS: usize = 64 << 10;

/// A descriptor that takes bytes in order.
pub struct Pipe {
    /// A descriptor of any kind: write(2) is the same for all.
    descriptor: File,
}

impl Pipe {
    /// Writes to `descriptor` from its current offset on.
    pub fn new(descriptor: OwnedFd) -> Pipe {
        Pipe { descriptor: File::from(descriptor) }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// An error of write(2); `BrokenPipe` when no process will read the bytes.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match (&self.descriptor).write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Another process has made the descriptor non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll::writable(self.descriptor.as_fd())?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes `count` zeros.
    ///
    /// # Errors
    /// As [`Pipe::write`].
    pub fn write_zeros(&self, count: u64) -> io::Result<()> {
        static NOTHING: [u8; ZEROS] = [0; ZEROS];
        let mut left = count;
        while left > 0 {
            let now = left.min(ZEROS as u64);
            self.write(&NOTHING[..now as usize])?;
            left -= now;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn bytes_and_zeros_come_out_in_order() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let pipe = Pipe::new(here.into());
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            there.read_to_end(&mut all).unwrap();
            all
        });
        pipe.write(b"before").unwrap();
        pipe.write_zeros(ZEROS as u64 + 1).unwrap();
        pipe.write(b"behind").unwrap();
        drop(pipe);
        let all = reader.join().unwrap();
        assert!(all.starts_with(b"before\0") && all.ends_with(b"\0behind"));
        assert_eq!(all.len(), 12 + ZEROS + 1);
    }

    #[test]
    fn a_write_waits_for_a_descriptor_that_does_not_block() {
        let (here, mut there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let pipe = Pipe::new(here.into());
        let size = 8 << 20;
        let writer = std::thread::spawn(move || pipe.write(&vec![7; size]));
        let mut all = Vec::new();
        there.read_to_end(&mut all).unwrap();
        writer.join().unwrap().unwrap();
        assert!(all.len() == size && all.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_reader_that_is_gone_is_an_error() {
        for blocking in [true, false] {
            let (here, there) = UnixStream::pair().unwrap();
            here.set_nonblocking(!blocking).unwrap();
            drop(there);
            let error = Pipe::new(here.into()).write(b"x").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
    }

    #[test]
    fn a_device_that_is_full_is_an_error() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = Pipe::new(full.into()).write(b"x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    }
}
