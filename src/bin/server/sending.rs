//! Sending a body on a control connection: pieces go out at the rate of the download, and
//! what the kernel took is counted.

#![forbid(unsafe_code)]

use crate::transfers::table::BodyEntry;
use ropewalk::error::system_words;
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A body on its way out.
pub(crate) struct Sending<'a> {
    stream: &'a TcpStream,
    download: &'a BodyEntry,
    /// Bytes of the body that the kernel took.
    bytes: u64,
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

/// Has `write` send a body to a client that may take nothing for `stall` at most.
pub(crate) fn send(
    stream: &TcpStream,
    stall: Duration,
    download: &BodyEntry,
    write: impl FnOnce(&mut Sending<'_>) -> Result<(), Broken>,
) -> Sent {
    let mut sending = Sending { stream, download, bytes: 0 };
    let ended = match stream.set_write_timeout(Some(stall)) {
        Ok(()) => write(&mut sending),
        Err(error) => Err(error.into()),
    };
    let bytes = sending.bytes;
    let broken = |words| Sent { bytes, broken: Some(words), changed: false };
    match ended {
        Ok(()) => Sent { bytes, ..Sent::default() },
        Err(Broken::Changed(words)) => Sent { changed: true, ..broken(words.to_string()) },
        Err(Broken::System(error)) => broken(stalled_or_broken(&error, stall)),
    }
}

impl Sending<'_> {
    /// How many of `wanted` bytes to send at once.
    pub(crate) fn piece(&self, wanted: u64) -> u64 {
        self.download.piece(wanted)
    }

    /// Waits until `bytes` of the body may go.
    pub(crate) fn wait(&self, bytes: u64) {
        self.download.take(bytes);
    }

    /// Sends bytes of the body, and counts them also when not all of them went.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        push(self.stream, bytes, &mut self.bytes)
    }

    /// Sends bytes that are not of the body, such as the size of a chunk.
    pub(crate) fn frame(&self, bytes: &[u8]) -> io::Result<()> {
        push(self.stream, bytes, &mut 0)
    }
}

/// Writes all bytes, and adds to `sent` what the kernel took.
fn push(mut stream: &TcpStream, bytes: &[u8], sent: &mut u64) -> io::Result<()> {
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
pub(crate) mod tests {
    use super::*;
    use crate::transfers::admission::Limits;
    use crate::transfers::table::Table;
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Instant;

    /// Both ends of a connection.
    pub(crate) fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, there)
    }

    /// A download without a limit on its rate.
    pub(crate) fn download() -> BodyEntry {
        let limits = Limits { transfers: 1, per_origin: 1, patience: Duration::ZERO };
        Table::new(limits, None).add_download([127, 0, 0, 1].into(), Instant::now())
    }

    #[test]
    fn only_bytes_of_the_body_are_counted() {
        let (here, mut there) = connection();
        let sent = send(&here, Duration::from_secs(60), &download(), |out| {
            out.frame(b"4\r\n")?;
            out.push(b"body")?;
            Ok(out.frame(b"\r\n")?)
        });
        drop(here);
        let mut got = String::new();
        there.read_to_string(&mut got).unwrap();
        assert_eq!((got.as_str(), sent.bytes, sent.broken), ("4\r\nbody\r\n", 4, None));
    }
}
