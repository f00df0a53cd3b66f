//! Sends a part of a file on a control connection: never more bytes than the head announced.
//! The last byte goes out only if all bytes are of one state of the file.

#![forbid(unsafe_code)]

use crate::shares::DownloadShare;
use ropewalk::error::system_words;
use ropewalk::hash::crc32c;
use ropewalk::transfer::identity::Version;
use std::fs::File;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The bytes that are read and sent at once. They are copied, since bytes that sendfile(2)
/// has taken may still change until the peer has read them.
const PIECE_SIZE: u64 = 128 << 10;

/// The reason in the log where the file lost bytes.
const SHORTER: Broken = Broken::Changed("the file became shorter");

/// The reason in the log where the file's bytes were overwritten.
const CHANGED: Broken = Broken::Changed("the file changed");

/// The part of a file that follows a response's head.
#[derive(Debug)]
pub(crate) struct Body {
    /// The file.
    pub(crate) file: File,
    /// The state of the file that the head describes.
    pub(crate) version: Version,
    /// The offset of the first byte.
    pub(crate) start: u64,
    /// The number of bytes.
    pub(crate) length: u64,
}

/// How far a body got.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Bytes that the kernel took.
    pub(crate) bytes: u64,
    /// Why these are not all, in a few words.
    pub(crate) broken: Option<String>,
    /// Whether that is because the file changed.
    pub(crate) changed: bool,
}

/// Why a body ends early.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Its file is not the one that was announced.
    Changed(&'static str),
    /// A read or a write failed.
    System(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::System(error)
    }
}

impl Sent {
    /// So many bytes went to a client that may take nothing for `stall`.
    pub(crate) fn new(bytes: u64, ended: Result<(), Broken>, stall: Duration) -> Sent {
        match ended {
            Ok(()) => Sent { bytes, ..Sent::default() },
            Err(Broken::Changed(words)) => {
                Sent { bytes, broken: Some(words.to_string()), changed: true }
            }
            Err(Broken::System(error)) => {
                Sent { bytes, broken: Some(stalled_or_broken(&error, stall)), changed: false }
            }
        }
    }
}

impl Body {
    /// Sends all of it; gives up when the client takes nothing for `stall`, and before the
    /// last byte when the file is not what it was. No faster than its share allows.
    pub(crate) fn send(
        &self,
        stream: &TcpStream,
        stall: Duration,
        share: Option<&DownloadShare>,
    ) -> Sent {
        let mut bytes = 0;
        let ended = match stream.set_write_timeout(Some(stall)) {
            Ok(()) => self.send_pieces(stream, share, &mut bytes),
            Err(error) => Err(error.into()),
        };
        Sent::new(bytes, ended, stall)
    }

    /// Adds to `sent` what the kernel took.
    fn send_pieces(
        &self,
        stream: &TcpStream,
        share: Option<&DownloadShare>,
        sent: &mut u64,
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; self.length.min(PIECE_SIZE) as usize];
        let (mut crc, mut doubtful) = (0, false);
        while *sent < self.length {
            let left = self.length - *sent;
            let count = share.map_or(left, |share| share.piece(left)).min(PIECE_SIZE);
            if let Some(share) = share {
                share.take(count);
            }
            let count = read_some(&self.file, &mut buffer[..count as usize], self.start + *sent)?;
            let piece = match count {
                0 => return Err(SHORTER),
                count => &buffer[..count],
            };
            // Checked after the read, since a write sets the time before it changes the bytes.
            doubtful |= self.is_doubtful()?;
            crc = crc32c::extend(crc, piece);
            if doubtful && count as u64 == left {
                self.compare(crc)?;
            }
            push(stream, piece, sent)?;
        }
        Ok(())
    }

    /// Whether the file has changed, but may have the same bytes in this part: it grew, or
    /// only its mode or name changed.
    fn is_doubtful(&self) -> Result<bool, Broken> {
        let (then, now) = (self.version, Version::of(&self.file.metadata()?));
        match now.size {
            _ if now == then => Ok(false),
            size if size < then.size => Err(SHORTER),
            size if size == then.size && now.mtime != then.mtime => Err(CHANGED),
            _ => Ok(true),
        }
    }

    /// Reads the part again, and fails unless it still has this CRC32C.
    fn compare(&self, expected: u32) -> Result<(), Broken> {
        let mut buffer = vec![0; self.length.min(PIECE_SIZE) as usize];
        let (mut crc, mut done) = (0, 0);
        while done < self.length {
            let count = (self.length - done).min(PIECE_SIZE) as usize;
            let count = match read_some(&self.file, &mut buffer[..count], self.start + done)? {
                0 => return Err(SHORTER),
                count => count,
            };
            crc = crc32c::extend(crc, &buffer[..count]);
            done += count as u64;
        }
        self.is_doubtful()?;
        if crc == expected { Ok(()) } else { Err(CHANGED) }
    }
}

fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Writes all bytes, and adds to `sent` what the kernel took, also when not all went.
pub(crate) fn push(mut stream: &TcpStream, bytes: &[u8], sent: &mut u64) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match stream.write(rest) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(count) => {
                *sent += count as u64;
                rest = rest.get(count..).unwrap_or_default();
            }
        }
    }
    Ok(())
}

/// Why a write failed that waited for `stall` at most, in a few words.
fn stalled_or_broken(error: &io::Error, stall: Duration) -> String {
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
        let version = Version::of(&file.metadata().unwrap());
        Body { file, version, start, length }
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
