//! Sends a part of a file on a control connection: never more bytes than the head announced.
//! The last byte goes out only if all bytes are of one state of the file.

#![forbid(unsafe_code)]

use crate::sending::{Broken, Sending};
use ropewalk::hash::crc32c;
use ropewalk::transfer::source::identity::Version;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// The bytes that are read and sent at once. They are copied, since bytes that sendfile(2)
/// has taken may still change until the peer has read them.
const PIECE_SIZE: u64 = 128 << 10;

/// The time between the moments at which an append sets a file's time and its size, at most.
const APPEND_TIME: Duration = Duration::from_millis(100);

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

impl Body {
    /// Sends all of it. Stops before the last byte if the file is not what it was.
    ///
    /// # Errors
    /// The file has changed, or a read or a write failed.
    pub(crate) fn send(&self, out: &mut Sending<'_>) -> Result<(), Broken> {
        let mut buffer = vec![0; self.length.min(PIECE_SIZE) as usize];
        let (mut crc, mut doubtful, mut sent) = (0, false, 0);
        while sent < self.length {
            let left = self.length - sent;
            let count = out.piece(left).min(PIECE_SIZE);
            out.wait(count);
            let count = read_some(&self.file, &mut buffer[..count as usize], self.start + sent)?;
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
            out.push(piece)?;
            sent += count as u64;
        }
        Ok(())
    }

    /// Whether the file has changed, but may have the same bytes in this part.
    fn is_doubtful(&self) -> Result<bool, Broken> {
        let look = || Ok(Version::of(&self.file.metadata()?));
        is_doubtful(self.version, look()?, || {
            std::thread::sleep(APPEND_TIME);
            look()
        })
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

/// Whether a file has changed from `then` to `now`, but may have the same bytes: it grew, or only
/// its mode or name changed. An append sets the time before the size. So a file that seems to be
/// overwritten is looked at once more, by `later`.
fn is_doubtful(
    then: Version,
    now: Version,
    later: impl FnOnce() -> Result<Version, Broken>,
) -> Result<bool, Broken> {
    let is_overwritten = |now: Version| now.size == then.size && now.mtime != then.mtime;
    let now = if is_overwritten(now) { later()? } else { now };
    match now.size {
        _ if now == then => Ok(false),
        size if size < then.size => Err(SHORTER),
        _ if is_overwritten(now) => Err(CHANGED),
        _ => Ok(true),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sending::tests::{connection, download};
    use crate::sending::{Sent, send};
    use std::io::Read;
    use std::net::TcpStream;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn send_to(stream: &TcpStream, stall: Duration, body: &Body) -> Sent {
        send(stream, stall, &download(), |out| body.send(out))
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
        let sent = send_to(&here, PATIENCE, &body("part", b"0123456789", 3, 4));
        drop(here);
        let mut got = String::new();
        there.read_to_string(&mut got).unwrap();
        assert_eq!((got.as_str(), sent.bytes, sent.broken), ("3456", 4, None));
    }

    #[test]
    fn a_file_that_is_too_short_is_said_to_be() {
        let (here, _there) = connection();
        let sent = send_to(&here, PATIENCE, &body("short", b"0123456789", 8, 4));
        assert_eq!((sent.bytes, sent.broken.as_deref()), (2, Some("the file became shorter")));
    }

    #[test]
    fn a_file_whose_time_changes_before_its_size_has_grown() {
        let then = body("states", b"0123456789", 0, 10).version;
        let mut time = then;
        time.mtime.seconds += 1;
        let grown = Version { size: 11, ..time };
        let never = || panic!("looked at again");
        assert!(matches!(is_doubtful(then, then, never), Ok(false)));
        assert!(matches!(is_doubtful(then, grown, never), Ok(true)));
        assert!(matches!(is_doubtful(then, time, || Ok(grown)), Ok(true)));
        let Err(error) = is_doubtful(then, time, || Ok(time)) else { panic!("overwritten") };
        assert!(matches!(error, Broken::Changed("the file changed")));
    }

    #[test]
    fn a_client_that_takes_nothing_is_left() {
        let (here, _there) = connection();
        let body = body("stall", &vec![0; 64 << 20], 0, 64 << 20);
        let sent = send_to(&here, Duration::from_millis(20), &body);
        assert_eq!(sent.broken.as_deref(), Some("took no data for 0 s"));
        assert!(sent.bytes < 64 << 20);
    }
}
