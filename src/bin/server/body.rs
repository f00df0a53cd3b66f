//! A part of a file on its way into a control connection, without a copy in this
//! process. Never more bytes than were announced, however the file changes.

#![forbid(unsafe_code)]

use crate::shares::DownloadShare;
use ropewalk::error::system_words;
use ropewalk::sys::file;
use std::fs::File;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Bytes that the kernel is asked to send at once.
const SEND_SIZE: u64 = 2 << 20;

/// Bytes that are copied at once where the kernel cannot send from a file.
const COPY_SIZE: usize = 64 << 10;

/// Bytes of a file that follow a response's head.
#[derive(Debug)]
pub(crate) struct Body {
    /// The file.
    pub(crate) file: File,
    /// Where they begin.
    pub(crate) start: u64,
    /// How many there are.
    pub(crate) length: u64,
}

/// How far a body got.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Bytes that the kernel took.
    pub(crate) bytes: u64,
    /// Why these are not all, in a few words.
    pub(crate) broken: Option<String>,
}

impl Body {
    /// Sends all of it; gives up when the client takes nothing for `stall`.
    /// No faster than its share allows.
    pub(crate) fn send(
        &self,
        stream: &TcpStream,
        stall: Duration,
        share: Option<&DownloadShare>,
    ) -> Sent {
        let mut bytes = 0;
        let sent = stream.set_write_timeout(Some(stall)).and_then(|()| {
            while bytes < self.length {
                match self.send_some(stream, bytes, share)? {
                    0 => return Err(io::Error::other("the file became shorter")),
                    count => bytes += count,
                }
            }
            Ok(())
        });
        Sent { bytes, broken: sent.err().map(|error| stalled_or_broken(&error, stall)) }
    }

    /// Sends some bytes behind the first `done` ones. 0 at the end of the file.
    fn send_some(
        &self,
        mut stream: &TcpStream,
        done: u64,
        share: Option<&DownloadShare>,
    ) -> io::Result<u64> {
        let (offset, left) = (self.start + done, self.length - done);
        let count = share.map_or(left, |share| share.piece(left)).min(SEND_SIZE);
        if let Some(share) = share {
            share.take(count);
        }
        let count = count as usize;
        match file::send_to_socket(stream.as_fd(), &self.file, offset, count) {
            // Some file systems have nothing to send from.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let mut buffer = vec![0; count.min(COPY_SIZE)];
                let count = self.file.read_at(&mut buffer, offset)?;
                stream.write_all(&buffer[..count])?;
                Ok(count as u64)
            }
            sent => Ok(sent? as u64),
        }
    }
}

/// Why a write failed that waited for `stall` at most, in a few words.
pub(crate) fn stalled_or_broken(error: &io::Error, stall: Duration) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => format!("took no data for {} s", stall.as_secs()),
        _ => system_words(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, there)
    }

    fn body(name: &str, bytes: &[u8], start: u64, length: u64) -> Body {
        let path = std::env::temp_dir().join(format!("ropewalk-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        Body { file, start, length }
    }

    #[test]
    fn exactly_the_part_is_sent() {
        let (here, mut there) = connection();
        let sent = body("part", b"0123456789", 3, 4).send(&here, PATIENCE, None);
        drop(here);
        let mut got = String::new();
        there.read_to_string(&mut got).unwrap();
        assert_eq!((got.as_str(), sent.bytes, sent.broken), ("3456", 4, None));
    }

    #[test]
    fn a_file_that_is_too_short_is_said_to_be() {
        let (here, _there) = connection();
        let sent = body("short", b"0123456789", 8, 4).send(&here, PATIENCE, None);
        assert_eq!((sent.bytes, sent.broken.as_deref()), (2, Some("the file became shorter")));
    }

    #[test]
    fn a_client_that_takes_nothing_is_left() {
        let (here, _there) = connection();
        let body = body("stall", &vec![0; 64 << 20], 0, 64 << 20);
        let sent = body.send(&here, Duration::from_millis(20), None);
        assert_eq!(sent.broken.as_deref(), Some("took no data for 0 s"));
        assert!(sent.bytes < 64 << 20);
    }
}
