//! A sink's conversation on one stream: it asks for ranges, checks what comes and stores it.
//! How the stream comes to be connected, and what follows when it breaks, is the link's.

#![forbid(unsafe_code)]

use super::channel::Channel;
use super::delta::{Copied, Pieces};
use super::health::FLOOR_BLOCKS;
use super::work::Work;
use super::{Sink, TOO_LARGE};
use crate::codec::message::verify::Verify;
use crate::codec::wire::{ErrorCode, HEADER_SIZE, Header, MIN_PART, Request};
use crate::error::{Error, ExitCode};
use crate::hash::crc32c::crc32c;
use crate::sys::stream::Stream;
use crate::transfer::link::{End, Joined, Stop};
use crate::transfer::queue::Claim;
use crate::transfer::queue::window::{MAX_LOCAL_REQUESTS, MAX_REQUESTS, Window};
use crate::transfer::trace::Mark;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::Instant;

/// A block that is smaller than this answers the rest of a request. Smaller ones would
/// cost more in the journal than they bring.
const MIN_ANSWER: u64 = MIN_PART as u64;

/// Requests with a hash under way on one stream, beyond which there are no more claims: 8 MiB,
/// which a path with a long round trip needs. If the source has none of them, that many bytes
/// come at once.
const MAX_HASHED: usize = 128;

const UNASKED: &str = "a block came without a request";

/// What was asked for.
struct Asked {
    range: Range<u64>,
    since: Instant,
    /// What was copied there, until a byte of it comes.
    copied: Option<Copied>,
}

/// What a block is, and where its bytes belong.
enum Answer {
    Data(Range<u64>, u32),
    Hole(Range<u64>, u64),
    Same(Range<u64>, Copied),
    /// There are so many bytes, and no more.
    End(u64),
    Wait,
    Error(ErrorCode, u32),
}

/// One conversation.
pub(super) struct Conversation<'a> {
    sink: &'a Sink,
    joined: &'a Joined<'a>,
    number: usize,
    stream: &'a Stream,
    window: Window,
    /// What was asked for and has not come.
    asked: VecDeque<Asked>,
    /// Bytes in `asked`.
    under_way: u64,
    /// Requests in `asked` that have a hash.
    hashed: usize,
    channel: Channel<'a>,
}

impl<'a> Conversation<'a> {
    /// On a stream that has just joined.
    pub(super) fn new(sink: &'a Sink, joined: &'a Joined<'a>) -> Conversation<'a> {
        // No answer is longer than what was asked for, whatever the peer may send.
        let block = joined.terms.max_block.min(sink.wanted.block(0));
        let (now, room) = (Instant::now(), HEADER_SIZE + block as usize);
        Conversation {
            sink,
            joined,
            number: joined.number,
            stream: joined.stream,
            window: Window::new(u64::from(FLOOR_BLOCKS) * u64::from(block), now),
            asked: VecDeque::new(),
            under_way: 0,
            hashed: 0,
            channel: Channel::new(&sink.health, sink.wanted.rate.as_deref(), joined, room),
        }
    }

    /// Shows the hello, where there is one to show, and receives until something ends that.
    pub(super) fn run(mut self) -> Stop {
        match self.receive_all() {
            Ok(never) => match never {},
            Err(stop) => stop,
        }
    }

    fn receive_all(&mut self) -> Result<std::convert::Infallible, Stop> {
        self.channel.begin()?;
        let _open = self.sink.health.meter.open();
        let mut first = self.joined.hello.map(|hello| hello.encode().to_vec()).unwrap_or_default();
        loop {
            self.ask(&mut first)?;
            self.receive_block()?;
            self.joined.is_good.set(true);
        }
    }

    /// Asks for as much as the window allows, and waits while there is nothing to ask
    /// for and nothing under way. `first` goes before the first request.
    fn ask(&mut self, first: &mut Vec<u8>) -> Result<(), Stop> {
        let mut message = std::mem::take(first);
        loop {
            let (mut later, version) = (None, self.sink.queue.version());
            // A dialled stream that is not wanted any more brings what it owes, and no more. The
            // peer closes streams where it dials them.
            let needed = self.joined.hello.is_none() || self.sink.wants(self.number);
            if !needed && self.asked.is_empty() {
                return Err(Stop::Unneeded);
            }
            while needed && self.has_room() {
                let idle = self.asked.is_empty();
                let answer =
                    self.window.answer_time().unwrap_or_else(|| self.sink.health.expected_answer());
                match self.sink.queue.claim(self.number, idle, answer) {
                    Claim::Over => return Err(Stop::Over),
                    Claim::Later(delay) => {
                        later = Some(delay);
                        break;
                    }
                    Claim::Range(range) => self.ask_in_pieces(range, &mut message)?,
                    Claim::Copy(range) => {
                        self.sink.record(|to| to.mark(self.number, Mark::Again));
                        self.ask_for(range, None, &mut message);
                    }
                }
            }
            self.channel.send(&mut message)?;
            match later {
                Some(delay) if self.asked.is_empty() => {
                    let delay = self.channel.until_word(delay);
                    self.sink.queue.wait_for_change(version, Some(delay));
                    self.channel.was_idle()?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Whether more may be under way.
    fn has_room(&self) -> bool {
        let most = if self.stream.is_tcp() { MAX_REQUESTS } else { MAX_LOCAL_REQUESTS };
        self.window.has_room(self.under_way) && self.asked.len() < most && self.hashed < MAX_HASHED
    }

    /// Asks for `range`, which was just claimed, with the hashes of what the older file may have.
    fn ask_in_pieces(&mut self, range: Range<u64>, message: &mut Vec<u8>) -> Result<(), Stop> {
        let Sink { delta, queue, wanted, .. } = self.sink;
        for piece in Pieces::new(delta.as_ref(), queue, wanted.store.part(), range) {
            let (range, copied) = piece.map_err(|error| self.full(&error))?;
            self.ask_for(range, copied, message);
            if copied.is_some() {
                // The source is to look for it while the next one is copied.
                self.channel.send(message)?;
            }
        }
        Ok(())
    }

    fn ask_for(&mut self, range: Range<u64>, copied: Option<Copied>, message: &mut Vec<u8>) {
        let (start, length) = (range.start, range.end - range.start);
        self.under_way += length;
        self.hashed += usize::from(copied.is_some());
        let hash = copied.map(|copied| copied.hash);
        Request::of_single_file(start, length as u32, hash).encode_into(message);
        self.asked.push_back(Asked { range, since: Instant::now(), copied });
    }

    /// Reads the next block whole, and deals with it.
    fn receive_block(&mut self) -> Result<(), Stop> {
        // Nothing of a further block is read, if the next one is as long as it can be.
        let owed = self.asked.front().map_or(0, |Asked { range, .. }| range.end - range.start);
        let header = self.channel.header(self.channel.room().min(HEADER_SIZE + owed as usize))?;
        let whole = HEADER_SIZE + header.payload();
        // Where it belongs is checked before its bytes are waited for.
        let answer = self.place(&header)?;
        self.channel.wait_for(whole, whole)?;
        match answer {
            Answer::Data(range, crc) => self.data(range, crc)?,
            Answer::Hole(range, run) => self.hole(range, run)?,
            Answer::Same(range, copied) => self.same(range, copied)?,
            Answer::End(size) => self.end(size)?,
            Answer::Wait => self.channel.wait()?,
            Answer::Error(code, crc) => return Err(self.channel.peer_error(code, crc, whole)),
        }
        self.channel.pass(whole);
        Ok(())
    }

    /// What a block is. Its bytes have to be the start of what was asked for first; a hole may
    /// go on behind that, but not past the end of the file.
    fn place(&self, header: &Header) -> Result<Answer, Stop> {
        let wrong = |what: &str| Err(Stop::Wrong(what.into()));
        if let Header::Error { code, crc, .. } = *header {
            return Ok(Answer::Error(code, crc));
        }
        let Some(Asked { range, copied, .. }) = self.asked.front() else {
            return wrong(UNASKED);
        };
        let (offset, length, run) = match *header {
            Header::Data { offset, length, .. } => (offset, u64::from(length), 0),
            Header::Hole { .. } if self.sink.is_open_ended => return wrong("input has no holes"),
            Header::Hole { offset, length, run } => (offset, u64::from(length), run),
            Header::Wait => return Ok(Answer::Wait),
            Header::End { size } if self.sink.is_open_ended && size < range.end => {
                return Ok(Answer::End(size));
            }
            Header::Same { offset, length } => match copied {
                Some(copied) if *range == (offset..offset + u64::from(length)) => {
                    return Ok(Answer::Same(range.clone(), *copied));
                }
                _ => return wrong(UNASKED),
            },
            Header::Entries { .. }
            | Header::Refused { .. }
            | Header::End { .. }
            | Header::Md5 { .. }
            | Header::Error { .. } => {
                return wrong("another request was answered");
            }
        };
        let is_asked = range.start == offset
            && length <= range.end - range.start
            && run <= self.sink.wanted.size - offset;
        let end = offset + length;
        match header {
            _ if !is_asked => wrong(UNASKED),
            _ if length < MIN_ANSWER && end < range.end => wrong("a block is too short"),
            Header::Data { crc, .. } => Ok(Answer::Data(offset..end, *crc)),
            _ => Ok(Answer::Hole(offset..end, run)),
        }
    }

    /// Takes `range` off what is under way. It has cost the path as much as `payload` bytes.
    fn arrived(&mut self, range: &Range<u64>, payload: u64) {
        let now = Instant::now();
        self.channel.has_answer();
        self.under_way -= range.end - range.start;
        if let Some(first) = self.asked.front_mut() {
            self.hashed -= usize::from(first.copied.take().is_some());
            let answer = now.saturating_duration_since(first.since);
            first.range.start = range.end;
            if first.range.is_empty() {
                self.asked.pop_front();
            }
            let stream = self.stream;
            self.window.arrived(payload, answer, now, || stream.round_trip());
        }
    }

    fn data(&mut self, range: Range<u64>, crc: u32) -> Result<(), Stop> {
        if self.sink.is_open_ended && range.end > self.sink.wanted.size {
            return Err(Stop::Fatal(Error::new(ExitCode::Refused, TOO_LARGE)));
        }
        let length = range.end - range.start;
        if let (Some(delta), Some(Asked { range, copied: Some(_), .. })) =
            (&self.sink.delta, self.asked.front())
        {
            delta.miss(range.end - range.start);
        }
        self.arrived(&range, length);
        let payload = self.channel.payload(HEADER_SIZE + length as usize);
        let found = crc32c(payload);
        if self.sink.wanted.verify != Verify::None && found != crc {
            self.sink.queue.reject(self.number, range);
            self.sink.record(|to| to.mark(self.number, Mark::Damaged));
            self.sink.bad_block(true, "its checksum differs");
            return Ok(());
        }
        self.sink.record(|to| to.brought(self.number, length));
        let parts = self.sink.queue.take(self.number, range.clone());
        for part in parts {
            let from = (part.start - range.start) as usize;
            let bytes = &payload[from..from + (part.end - part.start) as usize];
            let crc = if part == range { found } else { crc32c(bytes) };
            let store = &self.sink.wanted.store;
            store.put(part.start, bytes, crc).map_err(|error| self.full(&error))?;
            self.sink.queue.finish(part, false);
        }
        self.sink.health.meter.add(length, range.end);
        self.is_good();
        Ok(())
    }

    /// What was copied is what the source has.
    fn same(&mut self, range: Range<u64>, copied: Copied) -> Result<(), Stop> {
        // The window counts what was asked for. So it grows to what a round trip can answer.
        self.arrived(&range, range.end - range.start);
        let mut bytes = 0;
        for part in self.sink.queue.take(self.number, range.clone()) {
            bytes += part.end - part.start;
            let crc = (part == range).then_some(copied.crc);
            let kept = self.sink.wanted.store.keep(part.clone(), crc);
            kept.map_err(|error| self.full(&error))?;
            self.sink.queue.finish(part, false);
        }
        self.sink.delta.iter().for_each(|delta| delta.hit(bytes));
        self.is_good();
        Ok(())
    }

    /// Nothing is behind `size`, also of what was asked for first.
    fn end(&mut self, size: u64) -> Result<(), Stop> {
        if !self.sink.queue.ends_at(size) {
            return Err(Stop::Wrong("the end is before something that has come".into()));
        }
        self.channel.has_answer();
        if let Some(Asked { range, .. }) = self.asked.front_mut() {
            let end = size.max(range.start);
            self.under_way -= range.end - end;
            range.end = end;
            if range.is_empty() {
                self.asked.pop_front();
            }
        }
        self.is_good();
        Ok(())
    }

    fn hole(&mut self, range: Range<u64>, run: u64) -> Result<(), Stop> {
        self.arrived(&range, HEADER_SIZE as u64);
        for part in self.sink.queue.take_hole(self.number, range, run) {
            let store = &self.sink.wanted.store;
            store.put_hole(part.clone()).map_err(|error| self.full(&error))?;
            self.sink.queue.finish(part, true);
        }
        self.is_good();
        Ok(())
    }

    fn is_good(&mut self) {
        self.channel.is_good(self.window.answer_time());
    }

    fn full(&self, error: &io::Error) -> Stop {
        Stop::Fatal(Error::system(&self.sink.wanted.shown, error))
    }
}
