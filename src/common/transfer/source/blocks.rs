//! The blocks that answer a range of one file: its bytes, its holes, or that they are the same.

#![forbid(unsafe_code)]

use super::feed::Feed;
use super::{Content, Source};
use crate::codec::wire::{HASH_SIZE, HEADER_SIZE, Header, MIN_PART};
use crate::hash::crc32c::crc32c;
use crate::hash::sha256::{PAIR_UNIT, Sha256Pair};
use crate::hash::{MD5_UNIT, Md5};
use crate::sys::file::{self, Extent, extents};
use crate::sys::stream::Stream;
use crate::transfer::link::Joined;
use crate::transfer::queue::window::block_size;
use crate::transfer::source::identity::Version;
use crate::transfer::source::wait_blocks::WaitBlocks;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

/// A block of at most so many bytes is sent together with others.
const TOGETHER: usize = 32 << 10;

/// No block waits longer for others.
const LONGEST_TOGETHER: Duration = Duration::from_millis(5);

/// Why a range is not answered, or not to its end.
pub(super) enum Fault {
    /// The connection is of no more use.
    Broken(io::Error),
    /// The range is not in the file.
    Beyond,
    /// The file is in another state.
    Changed,
    /// The file, or its state, cannot be read.
    Unreadable,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Broken(error)
    }
}

/// The file that a range is of.
pub(super) struct Subject<'a> {
    pub(super) file: &'a File,
    /// Its device and inode, where its name was looked at before it was opened.
    pub(super) number: Option<(u64, u64)>,
    /// The state that the file has to be in.
    pub(super) version: Version,
    /// A range of which the file stores every byte, as was found out last. Requests may
    /// go back: what is before it has to be looked at again.
    pub(super) data: &'a mut Range<u64>,
}

impl Subject<'_> {
    /// The end of the hole at `at`; `None` where bytes are stored.
    fn hole_until(&mut self, at: u64, end: u64) -> Option<u64> {
        if self.data.contains(&at) {
            return None;
        }
        // `at` is before the end of the file, so there is an extent.
        let next = extents(self.file, at..self.version.size).next();
        let Extent { range, hole } = next.unwrap_or(Extent { range: at..end, hole: false });
        // A hole that is too small for a block of its own goes as data.
        if hole && range.end >= end.min(at + u64::from(MIN_PART)) {
            return Some(range.end);
        }
        let stored = if hole { at } else { range.end };
        // A block has so many bytes at least, whatever the file system says.
        *self.data = at..stored.max(at + u64::from(MIN_PART));
        None
    }

    /// Reads the bytes at `at`. They are those of the file's state: that is looked at after
    /// they were read.
    fn read(&self, bytes: &mut [u8], at: u64) -> Result<(), Fault> {
        let read = self.file.read_exact_at(bytes, at);
        self.check_unchanged()?;
        read.map_err(|_| Fault::Unreadable)
    }

    fn check_unchanged(&self) -> Result<(), Fault> {
        let found = self.file.metadata().map_err(|_| Fault::Unreadable)?;
        let is_it = self.number.is_none_or(|number| number == (found.dev(), found.ino()));
        match is_it && self.version == Version::of(&found) {
            true => Ok(()),
            false => Err(Fault::Changed),
        }
    }
}

/// Sends the blocks of one stream.
pub(super) struct Blocks<'a> {
    source: &'a Source,
    stream: &'a Stream,
    /// The stream's number.
    number: usize,
    unchecked: bool,
    /// Whether bytes go from the file to the stream unread. A change is then found when they are
    /// sent: too late for a file of a tree, whose request they have answered.
    unread: bool,
    max_block: u64,
    /// A header and the bytes of a block behind it, to be sent in one piece. Blocks of small files
    /// are sent together.
    buffer: Vec<u8>,
    /// How many bytes at the start of the buffer are to be sent, and since when.
    waiting: usize,
    waiting_since: Instant,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(source: &'a Source, joined: &'a Joined<'a>) -> Blocks<'a> {
        let (terms, number) = (joined.terms, joined.number);
        // The receiver says what it takes; how much memory that may cost is decided here:
        // the more streams are open, the less a further one gets.
        let open = u8::try_from(source.meter.read().open).unwrap_or(u8::MAX);
        let max_block = terms.max_block.min(block_size(open));
        let unread = terms.unchecked && matches!(source.content, Content::File { .. });
        let room = if unread { 0 } else { max_block as usize };
        Blocks {
            source,
            stream: joined.stream,
            number,
            unchecked: terms.unchecked,
            unread,
            max_block: u64::from(max_block),
            buffer: vec![0; HEADER_SIZE + room],
            waiting: 0,
            waiting_since: Instant::now(),
        }
    }

    /// Answers one request with as many blocks as it takes; or with one that says so, where the
    /// bytes have this hash.
    pub(super) fn range(
        &mut self,
        mut subject: Subject<'_>,
        range: Range<u64>,
        hash: Option<[u8; HASH_SIZE]>,
    ) -> Result<(), Fault> {
        let Range { start, end } = range;
        if end > subject.version.size {
            return Err(Fault::Beyond);
        }
        if let Some(hash) = hash {
            if self.has_hash(&mut subject, start..end, hash)? {
                let length = (end - start) as u32;
                self.stream.write_all(&Header::Same { offset: start, length }.encode())?;
                self.count(&subject, 0, start..end);
                if matches!(self.source.content, Content::File { .. }) {
                    self.source.meter.add_same(end - start);
                }
                return Ok(());
            }
        }
        let mut at = start;
        while at < end {
            let answered = match subject.hole_until(at, end) {
                Some(hole_end) => self.hole(&subject, at, end, hole_end)?,
                None => {
                    let stored = subject.data.end.max(at + u64::from(MIN_PART));
                    self.data(&subject, at, end.min(stored).min(at + self.max_block))?
                }
            };
            at += answered;
        }
        Ok(())
    }

    /// Whether these bytes have this hash. Not asked of a hole, which says more.
    fn has_hash(
        &mut self,
        subject: &mut Subject<'_>,
        range: Range<u64>,
        hash: [u8; HASH_SIZE],
    ) -> Result<bool, Fault> {
        self.flush()?;
        if subject.hole_until(range.start, range.end).is_some() {
            return Ok(false);
        }
        // Where bytes go unread, no block needs the buffer.
        self.buffer.resize(HEADER_SIZE + self.max_block as usize, 0);
        let mut waits = WaitBlocks::begin(self.stream, self.source.timing.wait);
        let half = (range.end - range.start) / 2;
        let most = self.max_block / 2 / PAIR_UNIT * PAIR_UNIT;
        let (mut digests, mut done) = (Sha256Pair::new(), 0);
        while done < half {
            let count = (half - done).min(most) as usize;
            let (one, other) = self.buffer[..2 * count].split_at_mut(count);
            subject.read(one, range.start + done)?;
            subject.read(other, range.start + half + done)?;
            digests.update(one, other);
            done += count as u64;
            waits.send_if_due();
        }
        waits.end()?;
        Ok(digests.finish_half() == hash)
    }

    /// Answers with the state of the file's MD5 behind a range, from that before it; at the end of
    /// the file, with the MD5.
    pub(super) fn md5(
        &mut self,
        mut subject: Subject<'_>,
        range: Range<u64>,
        state: [u8; 16],
    ) -> Result<(), Fault> {
        let Range { start, end } = range;
        let is_last = end == subject.version.size;
        if end > subject.version.size || !(is_last || end % MD5_UNIT == 0) {
            return Err(Fault::Beyond);
        }
        let mut md5 = Md5::after(start, state).ok_or(Fault::Beyond)?;
        self.flush()?;
        let mut waits = WaitBlocks::begin(self.stream, self.source.timing.wait);
        let mut at = start;
        while at < end {
            let step = end.min(at + self.max_block);
            at = match subject.hole_until(at, step) {
                Some(hole_end) => {
                    subject.check_unchanged()?;
                    md5.update_zeros(hole_end.min(step) - at);
                    hole_end.min(step)
                }
                None => {
                    let until = step.min(subject.data.end);
                    let bytes = &mut self.buffer[..(until - at) as usize];
                    subject.read(bytes, at)?;
                    md5.update(bytes);
                    until
                }
            };
            waits.send_if_due();
        }
        waits.end()?;
        let md5 = if is_last { md5.finish() } else { md5.state() };
        let header = Header::Md5 { length: (end - start) as u32, md5 };
        self.stream.write_all(&header.encode())?;
        // A transfer that only compares is not silent.
        self.source.meter.add_of_tree(0, end - start, false);
        Ok(())
    }

    fn hole(
        &mut self,
        subject: &Subject<'_>,
        at: u64,
        end: u64,
        hole_end: u64,
    ) -> Result<u64, Fault> {
        self.flush()?;
        // A file that shrank has no data there either.
        subject.check_unchanged()?;
        let length = hole_end.min(end) - at;
        let header = Header::Hole { offset: at, length: length as u32, run: hole_end - at };
        self.stream.write_all(&header.encode())?;
        self.count(subject, 0, at..at + length);
        // The sink asks for nothing more of the hole.
        self.cover(at..hole_end);
        Ok(length)
    }

    fn data(&mut self, subject: &Subject<'_>, at: u64, end: u64) -> Result<u64, Fault> {
        let length = end - at;
        if self.unread {
            subject.check_unchanged()?;
            let header = Header::Data { offset: at, length: length as u32, crc: 0 };
            self.stream.write_more(&header.encode())?;
            self.copy(subject, at, end)?;
            // What has changed by now may have changed before it was sent.
            subject.check_unchanged()?;
            return Ok(length);
        }
        let whole = HEADER_SIZE + length as usize;
        if self.waiting + whole > self.buffer.len() {
            self.flush()?;
        }
        let start = self.waiting;
        let (header, payload) = self.buffer[start..start + whole].split_at_mut(HEADER_SIZE);
        subject.read(payload, at)?;
        let crc = if self.unchecked { 0 } else { crc32c(payload) };
        let block = Header::Data { offset: at, length: length as u32, crc };
        header.copy_from_slice(&block.encode());
        if whole <= TOGETHER && matches!(self.source.content, Content::Tree(_)) {
            self.count(subject, length, at..end);
            return self.wait_to_send(whole).map(|()| length).map_err(Fault::from);
        }
        self.flush()?;
        let mut left = length;
        self.send(&self.buffer[start..start + whole], |later| {
            let still = left.min(later as u64); // the header's bytes do not count
            self.count(subject, left - still, end - left..end - still);
            left = still;
        })?;
        Ok(length)
    }

    /// Sends these bytes of what is read in order.
    pub(super) fn fed(&mut self, feed: &Feed, range: Range<u64>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(self.max_block);
            let whole = HEADER_SIZE + length as usize;
            let (header, payload) = self.buffer[..whole].split_at_mut(HEADER_SIZE);
            feed.read(at, payload);
            let crc = if self.unchecked { 0 } else { crc32c(payload) };
            let block = Header::Data { offset: at, length: length as u32, crc };
            header.copy_from_slice(&block.encode());
            at += length;
            self.source.meter.add(length, at);
            self.record(length);
            self.send(&self.buffer[..whole], |_| {})?;
        }
        Ok(())
    }

    /// Leaves a block of so many bytes, behind those that wait, to be sent with further ones; but
    /// not for long.
    fn wait_to_send(&mut self, whole: usize) -> io::Result<()> {
        if self.waiting == 0 {
            self.waiting_since = Instant::now();
        }
        self.waiting += whole;
        match self.waiting_since.elapsed() < LONGEST_TOGETHER {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// Sends the blocks that wait. To be called before anything else is sent, and before the next
    /// request is waited for.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.waiting) {
            0 => Ok(()),
            waiting => self.send(&self.buffer[..waiting], |_| {}),
        }
    }

    /// Sends `bytes` as fast as the rate allows. Before each piece, `before` is told how many
    /// bytes come behind it.
    pub(super) fn send(&self, bytes: &[u8], mut before: impl FnMut(usize)) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.source.throttle.wait(rest.len()));
            before(later.len());
            self.stream.write_all(now)?;
            rest = later;
        }
        Ok(())
    }

    /// Sends the bytes of the file themselves, without looking at them.
    fn copy(&self, subject: &Subject<'_>, at: u64, end: u64) -> Result<(), Fault> {
        let (mut at, mut counted) = (at, at);
        while at < end {
            let count = self.source.throttle.wait((end - at) as usize);
            // What was not sent of it then is not counted again.
            let now = counted.max(at + count as u64);
            self.count(subject, now - counted, counted..now);
            counted = now;
            match file::send_to_socket(self.stream.as_fd(), subject.file, at, count)? {
                // It shrank in the middle of a block.
                0 => return Err(Fault::Broken(io::ErrorKind::UnexpectedEof.into())),
                sent => at += sent as u64,
            }
        }
        Ok(())
    }

    fn record(&self, bytes: u64) {
        self.source.recorder.iter().for_each(|recorder| recorder.brought(self.number, bytes));
    }

    /// Counts a part of a single file as covered by answers.
    fn cover(&self, part: Range<u64>) {
        if matches!(self.source.content, Content::File { .. }) {
            self.source.meter.cover(part);
        }
    }

    /// Counts an answer, of which so many bytes are sent. Called just before that: the peer may
    /// end the session on another stream as soon as it has them, and the log is to be right then.
    fn count(&self, subject: &Subject<'_>, bytes: u64, answer: Range<u64>) {
        let meter = &self.source.meter;
        self.record(bytes);
        match self.source.content {
            Content::File { .. } | Content::Feed(_) => {
                meter.add(bytes, answer.end);
                self.cover(answer);
            }
            Content::Tree(_) => {
                let ends_file = answer.end == subject.version.size && !answer.is_empty();
                meter.add_of_tree(bytes, answer.end - answer.start, ends_file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_with_another_number_is_not_sent_whatever_its_size_and_stamps_are() {
        let path = std::env::temp_dir().join(format!("ropewalk-blocks-{}", std::process::id()));
        fs::write(&path, b"bytes").unwrap();
        let file = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let found = file.metadata().unwrap();
        let (version, own) = (Version::of(&found), (found.dev(), found.ino()));
        let read = |number| {
            let subject = Subject { file: &file, number, version, data: &mut (0..5) };
            subject.read(&mut [0; 5], 0)
        };
        assert!(matches!(read(Some(own)), Ok(())));
        assert!(matches!(read(None), Ok(())));
        assert!(matches!(read(Some((own.0, own.1 + 1))), Err(Fault::Changed)));
        assert!(matches!(read(Some((own.0 + 1, own.1))), Err(Fault::Changed)));
    }
}
