//! The ropewalk protocol's sender: each stream shows the session's token, asks for
//! ranges, and gets them in blocks that can be checked (PROTOCOL.md, "Blocks"). Keeps
//! no state about what has arrived.

#![forbid(unsafe_code)]

use crate::places::Place;
use crate::streams::{Arrival, Ended, Limits, Pace, Protocol};
use crate::verdict::{Verdict, tell};
use ropewalk::app::report;
use ropewalk::codec::wire::{
    ErrorCode, HEADER_SIZE, HELLO_SIZE, Header, Hello, MIN_PART, REQUEST_SIZE, Request, WireError,
};
use ropewalk::error::{Error, ExitCode};
use ropewalk::hash::crc32c::crc32c;
use ropewalk::sys::{file, hangup, socket};
use ropewalk::transfer::identity::Version;
use ropewalk::transfer::meter::Meter;
use ropewalk::transfer::session::Token;
use ropewalk::transfer::window::block_size;
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, TcpStream};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How long a stream may take to show its token.
const HELLO_TIME: Duration = Duration::from_secs(10);

/// How long one that shows a wrong token is kept waiting.
const STRANGER_DELAY: Duration = Duration::from_secs(1);

/// Requests that are read at once.
const REQUEST_BATCH: usize = 64;

/// Keepalive of a stream: one that asks for nothing is idle, but a peer that is gone
/// without a word is noticed within two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_COUNT: u8 = 4;

/// One transfer.
pub(crate) struct Pulled {
    /// The file.
    pub(crate) file: File,
    /// What the file was when the session began, and has to stay.
    pub(crate) version: Version,
    /// Bytes that the file takes on the disk; fewer than its size where it has holes.
    pub(crate) stored: u64,
    /// What a stream has to show.
    pub(crate) token: Token,
    /// How many streams the session was asked for.
    pub(crate) threads: u8,
    /// The only address from which streams may come; any without one.
    pub(crate) peer: Option<IpAddr>,
    /// How long to wait.
    pub(crate) limits: Limits,
    /// How fast to send.
    pub(crate) pace: Pace,
    /// What was sent.
    pub(crate) meter: Meter,
    /// Whether the file has ended the session.
    pub(crate) verdict: Verdict,
}

/// Why a stream ends before its peer closes it.
enum Stop {
    /// It did not prove that it belongs here.
    Stranger,
    /// The connection is of no more use.
    Broken,
    /// The peer is told why, and then it is over.
    Tell(ErrorCode, &'static str),
    /// The peer said that all is done.
    Finished,
    /// The peer said that it gives up the rest.
    Left,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Stop {
        Stop::Broken
    }
}

impl Protocol for Pulled {
    /// A reconnecting stream need not wait until its dead one is noticed.
    fn room(&self) -> usize {
        2 * usize::from(self.threads)
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn carry(&self, arrival: &Arrival, place: &Place) -> Ended {
        let stream = &arrival.stream;
        match self.converse(stream, &arrival.hello, place) {
            Stop::Finished => Ended::Transfer(Ok(())),
            Stop::Left => {
                let text = "the client has given up the rest";
                Ended::Transfer(Err(Error::new(ExitCode::Network, text)))
            }
            Stop::Stranger => Ended::Stranger,
            Stop::Broken => Ended::Stream,
            Stop::Tell(code, text) => {
                if matches!(code, ErrorCode::Changed | ErrorCode::Read) {
                    self.verdict.fall(code, text);
                }
                let _ = tell(stream, code, text);
                match code {
                    ErrorCode::Changed => {
                        let text = format!("the file changed: {text}");
                        Ended::Transfer(Err(Error::new(ExitCode::Changed, text)))
                    }
                    ErrorCode::Read => {
                        let text = "the file cannot be read";
                        Ended::Transfer(Err(Error::new(ExitCode::System, text)))
                    }
                    ErrorCode::Version => Ended::Stranger,
                    ErrorCode::Request | ErrorCode::Session | ErrorCode::Other(_) => Ended::Stream,
                }
            }
        }
    }

    fn abandoned(&self) -> Error {
        let seconds = self.limits.idle.as_secs();
        Error::new(ExitCode::Network, format!("no stream was open for {seconds} s"))
    }

    fn told_until(&self) -> Option<Instant> {
        self.verdict.deadline()
    }

    fn report(&self) {
        report::Report::Progress(self.meter.read().into()).send();
    }
}

impl Pulled {
    /// Speaks with one peer until something ends that.
    fn converse(&self, stream: &TcpStream, begun: &[u8], place: &Place) -> Stop {
        match self.greet(stream, begun, place).and_then(|hello| self.answer_all(stream, &hello)) {
            Ok(never) => match never {},
            Err(stop) => stop,
        }
    }

    /// Reads the hello, or what is left of it, and judges it: who shows the token joins.
    fn greet(&self, stream: &TcpStream, begun: &[u8], place: &Place) -> Result<Hello, Stop> {
        let deadline = Instant::now() + HELLO_TIME;
        let (mut bytes, mut filled) = ([0; HELLO_SIZE], begun.len().min(HELLO_SIZE));
        bytes[..filled].copy_from_slice(&begun[..filled]);
        let hello = loop {
            match Hello::parse(&bytes[..filled]) {
                Ok(Some((_, hello))) => break hello,
                Ok(None) => {}
                Err(WireError::Version(_)) => {
                    return Err(Stop::Tell(ErrorCode::Version, "this sender speaks version 2"));
                }
                Err(_) => return Err(Stop::Stranger),
            }
            match socket::read_by(stream, &mut bytes[filled..], deadline) {
                Ok(count @ 1..) => filled += count,
                _ => return Err(Stop::Stranger),
            }
        };
        if !self.token.is(&hello.token) {
            let _ = hangup::rest(stream.as_fd(), STRANGER_DELAY);
            return Err(Stop::Stranger);
        }
        match place.join() {
            true if self.verdict.fallen().is_some() => {
                Err(Stop::Tell(ErrorCode::Session, "the session has ended"))
            }
            true => Ok(hello),
            false => Err(Stop::Stranger),
        }
    }

    /// Answers requests in their order.
    fn answer_all(
        &self,
        stream: &TcpStream,
        hello: &Hello,
    ) -> Result<std::convert::Infallible, Stop> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(Some(self.limits.stall))?;
        socket::set_keepalive(stream.as_fd(), KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)?;
        socket::set_user_timeout(stream.as_fd(), self.limits.stall + socket::SILENCE)?;
        // Whatever ends the stream, no socket waits for a peer that takes no more.
        socket::reset_on_close(stream.as_fd(), true)?;
        let _open = self.meter.open();
        let mut answers = Answers::new(self, stream, hello);
        let (mut bytes, mut filled) = ([0; REQUEST_BATCH * REQUEST_SIZE], 0);
        loop {
            let mut used = 0;
            while let Some((count, request)) = Request::parse(&bytes[used..filled])
                .map_err(|_| Stop::Tell(ErrorCode::Request, "a request was damaged"))?
            {
                used += count;
                if let Some((code, text)) = self.verdict.fallen() {
                    return Err(Stop::Tell(code, text));
                }
                match request {
                    Request::Range { file: 0, offset, length } => answers.range(offset, length)?,
                    Request::Range { .. } => {
                        return Err(Stop::Tell(ErrorCode::Request, "the only file is number 0"));
                    }
                    Request::Finished => return Err(Stop::Finished),
                    Request::Leave => return Err(Stop::Left),
                }
            }
            bytes.copy_within(used..filled, 0);
            filled -= used;
            self.verdict.wait_or(stream)?;
            if let Some((code, text)) = self.verdict.fallen() {
                return Err(Stop::Tell(code, text));
            }
            match socket::read(stream, &mut bytes[filled..])? {
                0 => return Err(Stop::Broken),
                count => filled += count,
            }
        }
    }
}

/// The answers on one stream.
struct Answers<'a> {
    transfer: &'a Pulled,
    stream: &'a TcpStream,
    unchecked: bool,
    max_block: u64,
    /// A header and the bytes of a block behind it, to be sent in one piece.
    buffer: Vec<u8>,
    /// A range of which the file stores every byte, as was found out last. Requests may
    /// go back: what is before it has to be looked at again.
    data: Range<u64>,
}

impl<'a> Answers<'a> {
    fn new(transfer: &'a Pulled, stream: &'a TcpStream, hello: &Hello) -> Answers<'a> {
        // The receiver says what it takes; how much memory that may cost is decided here:
        // the more streams are open, the less a further one gets.
        let open = u8::try_from(transfer.meter.read().open).unwrap_or(u8::MAX);
        let max_block = hello.max_block.min(block_size(open));
        let room = if hello.unchecked { 0 } else { max_block as usize };
        let sparse = transfer.stored < transfer.version.size;
        Answers {
            transfer,
            stream,
            unchecked: hello.unchecked,
            max_block: u64::from(max_block),
            buffer: vec![0; HEADER_SIZE + room],
            data: if sparse { 0..0 } else { 0..u64::MAX },
        }
    }

    /// Answers one request with as many blocks as it takes.
    fn range(&mut self, offset: u64, length: u32) -> Result<(), Stop> {
        let end = offset + u64::from(length); // the codec has checked that it exists
        if end > self.transfer.version.size {
            return Err(Stop::Tell(ErrorCode::Request, "the range is not in the file"));
        }
        let mut at = offset;
        while at < end {
            let answered = match self.hole_until(at, end)? {
                Some(hole_end) => self.hole(at, end, hole_end)?,
                None => {
                    let stored = self.data.end.max(at + u64::from(MIN_PART));
                    self.data(at, end.min(stored).min(at + self.max_block))?
                }
            };
            at += answered;
        }
        Ok(())
    }

    /// The end of the hole at `at`; `None` where bytes are stored.
    fn hole_until(&mut self, at: u64, end: u64) -> Result<Option<u64>, Stop> {
        if self.data.contains(&at) {
            return Ok(None);
        }
        let (file, size) = (&self.transfer.file, self.transfer.version.size);
        match file::next_data(file, at) {
            // A hole too small for a block of its own goes as data.
            Ok(Some(data)) if data >= end.min(at + u64::from(MIN_PART)) && data > at => {
                return Ok(Some(data.min(size)));
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Some(size)),
            Err(_) => {
                // A file system that does not tell: everything counts as stored.
                self.data = 0..u64::MAX;
                return Ok(None);
            }
        }
        let hole = file::next_hole(file, at).ok().flatten().unwrap_or(u64::MAX);
        // On by as much as a block has to have, whatever the file system says.
        self.data = at..hole.max(at + u64::from(MIN_PART));
        Ok(None)
    }

    fn hole(&mut self, at: u64, end: u64, hole_end: u64) -> Result<u64, Stop> {
        // A file that shrank has no data there either.
        self.check_unchanged()?;
        let length = hole_end.min(end) - at;
        let header = Header::Hole { offset: at, length: length as u32, run: hole_end - at };
        self.stream.write_all(&header.encode())?;
        self.transfer.meter.add(0, at + length);
        Ok(length)
    }

    fn data(&mut self, at: u64, end: u64) -> Result<u64, Stop> {
        let length = end - at;
        // Counted just before they are sent: the peer may end the session on another stream
        // as soon as it has them, and the log is to be right then.
        if self.unchecked {
            self.check_unchanged()?;
            let header = Header::Data { offset: at, length: length as u32, crc: 0 };
            socket::send_more(self.stream.as_fd(), &header.encode())?;
            self.copy(at, end)?;
            // What has changed by now may have changed before it was sent.
            self.check_unchanged()?;
        } else {
            let (header, rest) = self.buffer.split_at_mut(HEADER_SIZE);
            let payload = &mut rest[..length as usize];
            let read = self.transfer.file.read_exact_at(payload, at);
            // Looked at after the bytes were read: if it is still the same then, they
            // are its bytes.
            check_unchanged(self.transfer)?;
            read.map_err(|_| Stop::Tell(ErrorCode::Read, "the file cannot be read"))?;
            let crc = crc32c(payload);
            let block = Header::Data { offset: at, length: length as u32, crc };
            header.copy_from_slice(&block.encode());
            let whole = HEADER_SIZE + payload.len();
            let mut rest = &self.buffer[..whole];
            let mut left = length;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(self.transfer.pace.wait(rest.len()));
                let still = left.min(later.len() as u64); // the header's bytes do not count
                self.transfer.meter.add(left - still, end - still);
                self.stream.write_all(now)?;
                (rest, left) = (later, still);
            }
        }
        Ok(length)
    }

    /// Sends the bytes of the file themselves, without looking at them.
    fn copy(&self, at: u64, end: u64) -> Result<(), Stop> {
        let (mut at, mut counted) = (at, at);
        while at < end {
            let count = self.transfer.pace.wait((end - at) as usize);
            // What was not sent of it then is not counted again.
            let now = counted.max(at + count as u64);
            self.transfer.meter.add(now - counted, now);
            counted = now;
            match file::send_to_socket(self.stream.as_fd(), &self.transfer.file, at, count)? {
                0 => return Err(Stop::Broken), // it shrank in the middle of a block
                sent => at += sent as u64,
            }
        }
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), Stop> {
        check_unchanged(self.transfer)
    }
}

fn check_unchanged(transfer: &Pulled) -> Result<(), Stop> {
    let found = transfer
        .file
        .metadata()
        .map_err(|_| Stop::Tell(ErrorCode::Read, "the file's times cannot be read"))?;
    match transfer.version == Version::of(&found) {
        true => Ok(()),
        false => Err(Stop::Tell(ErrorCode::Changed, "its size or its time stamps differ")),
    }
}
