//! The answers of a source to the requests on one stream: blocks of the file, and its holes.

#![forbid(unsafe_code)]

use super::Source;
use crate::codec::wire::{ErrorCode, HASH_SIZE, HEADER_SIZE, Header, MIN_PART};
use crate::hash::Sha256;
use crate::hash::crc32c::crc32c;
use crate::sys::file::{self, Extent, extents};
use crate::sys::stream::Stream;
use crate::transfer::link::Terms;
use crate::transfer::queue::window::block_size;
use crate::transfer::source::identity::Version;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

const UNREADABLE: &str = "the file cannot be read";

/// Why a request is not answered.
pub(super) enum Refusal {
    /// The connection is of no more use.
    Broken(io::Error),
    /// The peer is told why, and then the stream is over.
    Tell(ErrorCode, &'static str),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Broken(error)
    }
}

/// The answers on one stream.
pub(super) struct Answers<'a> {
    source: &'a Source,
    stream: &'a Stream,
    unchecked: bool,
    max_block: u64,
    /// A header and the bytes of a block behind it, to be sent in one piece.
    buffer: Vec<u8>,
    /// A range of which the file stores every byte, as was found out last. Requests may
    /// go back: what is before it has to be looked at again.
    data: Range<u64>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(source: &'a Source, stream: &'a Stream, terms: Terms) -> Answers<'a> {
        // The receiver says what it takes; how much memory that may cost is decided here:
        // the more streams are open, the less a further one gets.
        let open = u8::try_from(source.meter.read().open).unwrap_or(u8::MAX);
        let max_block = terms.max_block.min(block_size(open));
        let room = if terms.unchecked { 0 } else { max_block as usize };
        let sparse = source.stored < source.version.size;
        Answers {
            source,
            stream,
            unchecked: terms.unchecked,
            max_block: u64::from(max_block),
            buffer: vec![0; HEADER_SIZE + room],
            data: if sparse { 0..0 } else { 0..u64::MAX },
        }
    }

    /// Answers one request with as many blocks as it takes; or with a word, where the bytes
    /// have this hash.
    pub(super) fn range(
        &mut self,
        offset: u64,
        length: u32,
        hash: Option<[u8; HASH_SIZE]>,
    ) -> Result<(), Refusal> {
        let end = offset + u64::from(length); // the codec has checked that it exists
        if end > self.source.version.size {
            return Err(Refusal::Tell(ErrorCode::Request, "the range is not in the file"));
        }
        if let Some(hash) = hash {
            if self.has_hash(offset..end, hash)? {
                self.stream.write_all(&Header::Same { offset, length }.encode())?;
                self.source.meter.add(0, end);
                return Ok(());
            }
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

    /// Whether these bytes have this hash. Not asked of a hole, which says more.
    fn has_hash(&mut self, range: Range<u64>, hash: [u8; HASH_SIZE]) -> Result<bool, Refusal> {
        if self.hole_until(range.start, range.end)?.is_some() {
            return Ok(false);
        }
        // Without a CRC of the payload, no block needs the buffer.
        self.buffer.resize(HEADER_SIZE + self.max_block as usize, 0);
        let (mut digest, mut at) = (Sha256::new(), range.start);
        while at < range.end {
            let count = (range.end - at).min(self.max_block) as usize;
            let bytes = &mut self.buffer[..count];
            let read = self.source.file.read_exact_at(bytes, at);
            check_unchanged(self.source)?;
            read.map_err(|_| Refusal::Tell(ErrorCode::Read, UNREADABLE))?;
            digest.update(bytes);
            at += count as u64;
        }
        Ok(digest.finish_half() == hash)
    }

    /// The end of the hole at `at`; `None` where bytes are stored.
    fn hole_until(&mut self, at: u64, end: u64) -> Result<Option<u64>, Refusal> {
        if self.data.contains(&at) {
            return Ok(None);
        }
        // `at` is before the end of the file, so there is an extent.
        let next = extents(&self.source.file, at..self.source.version.size).next();
        let Extent { range, hole } = next.unwrap_or(Extent { range: at..end, hole: false });
        // A hole that is too small for a block of its own goes as data.
        if hole && range.end >= end.min(at + u64::from(MIN_PART)) {
            return Ok(Some(range.end));
        }
        let stored = if hole { at } else { range.end };
        // A block has so many bytes at least, whatever the file system says.
        self.data = at..stored.max(at + u64::from(MIN_PART));
        Ok(None)
    }

    fn hole(&mut self, at: u64, end: u64, hole_end: u64) -> Result<u64, Refusal> {
        // A file that shrank has no data there either.
        self.check_unchanged()?;
        let length = hole_end.min(end) - at;
        let header = Header::Hole { offset: at, length: length as u32, run: hole_end - at };
        self.stream.write_all(&header.encode())?;
        self.source.meter.add(0, at + length);
        Ok(length)
    }

    fn data(&mut self, at: u64, end: u64) -> Result<u64, Refusal> {
        let length = end - at;
        // Counted just before they are sent: the peer may end the session on another stream
        // as soon as it has them, and the log is to be right then.
        if self.unchecked {
            self.check_unchanged()?;
            let header = Header::Data { offset: at, length: length as u32, crc: 0 };
            self.stream.write_more(&header.encode())?;
            self.copy(at, end)?;
            // What has changed by now may have changed before it was sent.
            self.check_unchanged()?;
        } else {
            let (header, rest) = self.buffer.split_at_mut(HEADER_SIZE);
            let payload = &mut rest[..length as usize];
            let read = self.source.file.read_exact_at(payload, at);
            // Looked at after the bytes were read: if it is still the same then, they
            // are its bytes.
            check_unchanged(self.source)?;
            read.map_err(|_| Refusal::Tell(ErrorCode::Read, UNREADABLE))?;
            let crc = crc32c(payload);
            let block = Header::Data { offset: at, length: length as u32, crc };
            header.copy_from_slice(&block.encode());
            let whole = HEADER_SIZE + payload.len();
            let mut rest = &self.buffer[..whole];
            let mut left = length;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(self.source.throttle.wait(rest.len()));
                let still = left.min(later.len() as u64); // the header's bytes do not count
                self.source.meter.add(left - still, end - still);
                self.stream.write_all(now)?;
                (rest, left) = (later, still);
            }
        }
        Ok(length)
    }

    /// Sends the bytes of the file themselves, without looking at them.
    fn copy(&self, at: u64, end: u64) -> Result<(), Refusal> {
        let (mut at, mut counted) = (at, at);
        while at < end {
            let count = self.source.throttle.wait((end - at) as usize);
            // What was not sent of it then is not counted again.
            let now = counted.max(at + count as u64);
            self.source.meter.add(now - counted, now);
            counted = now;
            match file::send_to_socket(self.stream.as_fd(), &self.source.file, at, count)? {
                // It shrank in the middle of a block.
                0 => return Err(Refusal::Broken(io::ErrorKind::UnexpectedEof.into())),
                sent => at += sent as u64,
            }
        }
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), Refusal> {
        check_unchanged(self.source)
    }
}

fn check_unchanged(source: &Source) -> Result<(), Refusal> {
    let found = source
        .file
        .metadata()
        .map_err(|_| Refusal::Tell(ErrorCode::Read, "the file's times cannot be read"))?;
    match source.version == Version::of(&found) {
        true => Ok(()),
        false => Err(Refusal::Tell(ErrorCode::Changed, "its size or its time stamps differ")),
    }
}
