//! A sink's conversation on one stream: it asks for ranges, checks what comes and stores it.
//! How the stream comes to be connected, and what follows when it breaks, is the link's.

#![forbid(unsafe_code)]

use super::Sink;
use super::delta::{Copied, Delta};
use crate::codec::message::verify::Verify;
use crate::codec::text::escape_limited;
use crate::codec::wire::{
    ErrorCode, HEADER_SIZE, Header, MAX_ERROR_TEXT, MIN_PART, Request, WireError,
};
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
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A block that is smaller than this answers the rest of a request. Smaller ones would
/// cost more in the journal than they bring.
const MIN_ANSWER: u64 = MIN_PART as u64;

/// Most requests with a hash under way on one stream: 8 MiB or so, which a path with a long
/// round trip needs. If the source has none of them, that many bytes come at once.
const MAX_HASHED: usize = 64;

const UNASKED: &str = "the server sent a block without a request";

/// Bytes asked for at least: two blocks, so that the sender always has one to send.
pub(super) const FLOOR_BLOCKS: u32 = 2;

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
    /// A header and a payload; and how much of it is filled.
    buffer: Vec<u8>,
    filled: usize,
    last_byte: Instant,
    /// When something was sent last.
    last_sent: Instant,
    /// Since when the source asks to wait for the next answer.
    waiting: Option<Instant>,
    /// When the others were last told that blocks are good.
    told: Option<Instant>,
    /// Whether the hello has gone out.
    greeted: bool,
    /// Whether there is another port to try while nothing good has come here.
    doubted: bool,
}

impl<'a> Conversation<'a> {
    /// On a stream that has just joined.
    pub(super) fn new(sink: &'a Sink, joined: &'a Joined<'a>) -> Conversation<'a> {
        // No answer is longer than what was asked for, whatever the peer may send.
        let block = joined.terms.max_block.min(sink.wanted.block(0));
        let now = Instant::now();
        Conversation {
            sink,
            joined,
            number: joined.number,
            stream: joined.stream,
            window: Window::new(u64::from(FLOOR_BLOCKS) * u64::from(block), now),
            asked: VecDeque::new(),
            under_way: 0,
            hashed: 0,
            buffer: vec![0; HEADER_SIZE + (block.max(MAX_ERROR_TEXT) as usize)],
            filled: 0,
            last_byte: now,
            last_sent: now,
            waiting: None,
            told: None,
            greeted: false,
            doubted: !joined.link.is_trusted(),
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
        let timing = &self.sink.timing;
        self.stream.send_at_once();
        let look = if self.doubted { timing.trust } else { timing.stall };
        self.stream.set_read_timeout(Some(look))?;
        self.stream.set_write_timeout(Some(timing.stall))?;
        let _open = self.sink.meter.open();
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
            // peer decides how many streams there are where it dials them.
            let needed = self.joined.hello.is_none() || self.sink.wants(self.number);
            if !needed && self.asked.is_empty() {
                return Err(Stop::Unneeded);
            }
            while needed && self.has_room() {
                let idle = self.asked.is_empty();
                let answer =
                    self.window.answer_time().unwrap_or_else(|| self.sink.expected_answer());
                match self.sink.queue.claim(self.number, idle, answer) {
                    Claim::Over => return Err(Stop::Over),
                    Claim::Later(delay) => {
                        later = Some(delay);
                        break;
                    }
                    Claim::Range(range) => {
                        let copied = self.copy(&range)?;
                        self.ask_for(range, copied, &mut message);
                        if copied.is_some() {
                            // The source is to look for it while the next one is copied.
                            self.send(&mut message)?;
                        }
                    }
                    Claim::Copy(range) => {
                        self.sink.record(|to| to.mark(self.number, Mark::Again));
                        self.ask_for(range, None, &mut message);
                    }
                }
            }
            self.send(&mut message)?;
            match later {
                Some(delay) if self.asked.is_empty() => {
                    let word = self.sink.timing.idle_word.saturating_sub(self.last_sent.elapsed());
                    let delay = delay.map_or(word, |delay| delay.min(word));
                    self.sink.queue.wait_for_change(version, Some(delay));
                    self.last_byte = Instant::now(); // idle is not stalled
                    self.stay_in_touch()?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Whether more may be under way.
    fn has_room(&self) -> bool {
        let most = if self.stream.is_tcp() { MAX_REQUESTS } else { MAX_LOCAL_REQUESTS };
        self.under_way < self.window.limit() && self.asked.len() < most && self.hashed < MAX_HASHED
    }

    /// Sends `message`, and empties it.
    fn send(&mut self, message: &mut Vec<u8>) -> Result<(), Stop> {
        if message.is_empty() {
            return Ok(());
        }
        self.stream.write_all(message)?;
        message.clear();
        self.last_sent = Instant::now();
        if !std::mem::replace(&mut self.greeted, true) {
            self.joined.link.open().greeted(self.number);
        }
        Ok(())
    }

    /// Tells the source that this end is there, if it has heard nothing for long. What carries
    /// the stream may end it for silence.
    fn stay_in_touch(&mut self) -> Result<(), Stop> {
        match self.last_sent.elapsed() < self.sink.timing.idle_word {
            true => Ok(()),
            false => self.send(&mut Request::Idle.encode()),
        }
    }

    /// Copies what the older file has at `range`, which was just claimed. `None` where that is
    /// of no use.
    fn copy(&self, range: &Range<u64>) -> Result<Option<Copied>, Stop> {
        let Sink { delta, queue, wanted, .. } = self.sink;
        let (Some(delta), Some(part)) = (delta, wanted.store.part()) else { return Ok(None) };
        if !delta.may_have(range) || !queue.lock(range) {
            return Ok(None);
        }
        let copied = delta.copy(range.clone(), part);
        queue.unlock(range);
        copied.map_err(|error| self.full(&error))
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
        let wrong = |what: &str| Stop::Wrong(what.to_string());
        let header = loop {
            match Header::parse(&self.buffer[..self.filled]) {
                Ok(Some((_, header))) => break header,
                Ok(None) => self.fill(self.expected())?,
                Err(error @ WireError::NotRopewalk) => return Err(io::Error::other(error).into()),
                Err(error) => return Err(Stop::Wrong(error.to_string())),
            }
        };
        let whole = HEADER_SIZE + header.payload();
        if whole > self.buffer.len() {
            return Err(wrong("a block is longer than agreed"));
        }
        // Where it belongs is checked before its bytes are waited for.
        let answer = self.place(&header)?;
        while self.filled < whole {
            self.fill(whole)?;
        }
        match answer {
            Answer::Data(range, crc) => self.data(range, crc)?,
            Answer::Hole(range, run) => self.hole(range, run)?,
            Answer::Same(range, copied) => self.same(range, copied)?,
            Answer::Wait => self.wait()?,
            Answer::Error(code, crc) => return Err(self.peer_error(code, crc, whole)),
        }
        self.buffer.copy_within(whole..self.filled, 0);
        self.filled -= whole;
        Ok(())
    }

    /// How many bytes the buffer may hold so that nothing of a further block is in it,
    /// if the next one is as long as it can be.
    fn expected(&self) -> usize {
        let owed = self.asked.front().map_or(0, |Asked { range, .. }| range.end - range.start);
        self.buffer.len().min(HEADER_SIZE + owed as usize)
    }

    /// Reads at least one byte more, up to `target` bytes in the buffer.
    fn fill(&mut self, target: usize) -> Result<(), Stop> {
        let rate = self.sink.wanted.rate.as_ref();
        let most = (target - self.filled) as u64;
        let most = rate.map_or(most, |rate| rate.portion(most, self.sink.streams().into()));
        loop {
            let target = self.filled + most as usize;
            match self.stream.read(&mut self.buffer[self.filled..target]) {
                Ok(0) => return Err(Stop::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.filled += count;
                    self.sink.arrived.fetch_add(count, Ordering::Relaxed);
                    if let Some(rate) = rate {
                        rate.take(count as u64);
                    }
                    self.last_byte = Instant::now();
                    return self.stay_in_touch();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.is_stalled() {
                        return Err(Stop::Broken(io::Error::from_raw_os_error(libc::ETIMEDOUT)));
                    }
                    self.stay_in_touch()?;
                }
                Err(error) => return Err(Stop::Broken(error)),
            }
        }
    }

    /// Whether nothing has come for too long.
    fn is_stalled(&self) -> bool {
        let timing = &self.sink.timing;
        let limit = match self.sink.others_move(timing.stall) {
            _ if self.doubted && !self.joined.link.is_proven() => timing.trust,
            true => timing.stall,
            false => timing.lonely_stall,
        };
        self.last_byte.elapsed() >= limit
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
            Header::Hole { offset, length, run } => (offset, u64::from(length), run),
            Header::Wait => return Ok(Answer::Wait),
            Header::Same { offset, length } => match copied {
                Some(copied) if *range == (offset..offset + u64::from(length)) => {
                    return Ok(Answer::Same(range.clone(), *copied));
                }
                _ => return wrong(UNASKED),
            },
            Header::Entries { .. } | Header::Refused { .. } | Header::Error { .. } => {
                return wrong("the server answered another request");
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

    /// The source needs longer for the next answer.
    fn wait(&mut self) -> Result<(), Stop> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        match since.elapsed() < self.sink.timing.longest_wait {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT).into()),
        }
    }

    /// Takes `range` off what is under way. It has cost the path as much as `payload` bytes.
    fn arrived(&mut self, range: &Range<u64>, payload: u64) {
        let now = Instant::now();
        self.waiting = None;
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
        let length = range.end - range.start;
        if let (Some(delta), Some(Asked { range, copied: Some(_), .. })) =
            (&self.sink.delta, self.asked.front())
        {
            delta.miss(range.end - range.start);
        }
        self.arrived(&range, length);
        let payload = &self.buffer[HEADER_SIZE..HEADER_SIZE + length as usize];
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
        self.sink.meter.add(length, range.end);
        self.is_good();
        Ok(())
    }

    /// What was copied is what the source has.
    fn same(&mut self, range: Range<u64>, copied: Copied) -> Result<(), Stop> {
        // The window counts what was asked for. So it grows to what a round trip can answer.
        self.arrived(&range, range.end - range.start);
        for part in self.sink.queue.take(self.number, range.clone()) {
            let crc = (part == range).then_some(copied.crc);
            let kept = self.sink.wanted.store.keep(part.clone(), crc);
            kept.map_err(|error| self.full(&error))?;
            self.sink.queue.finish(part, false);
        }
        self.sink.delta.iter().for_each(Delta::hit);
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
        self.doubted = false;
        self.sink.good_block();
        if self.told.is_none_or(|told| told.elapsed() >= self.sink.timing.tell) {
            self.told = Some(Instant::now());
            self.sink.keeps_moving(self.number, self.window.answer_time());
            self.joined.link.is_good(self.joined.generation);
        }
    }

    fn full(&self, error: &io::Error) -> Stop {
        Stop::Fatal(Error::system(&self.sink.wanted.shown, error))
    }

    /// What the sender says instead of a block. Nothing follows it.
    fn peer_error(&self, code: ErrorCode, crc: u32, whole: usize) -> Stop {
        let text = &self.buffer[HEADER_SIZE..whole];
        if crc32c(text) != crc {
            return Stop::Wrong("an error's checksum differs".into());
        }
        let words = escape_limited(text, MAX_ERROR_TEXT as usize);
        match code {
            ErrorCode::Changed => {
                let text = format!("the file changed on the server while it was sent: {words}");
                Stop::Fatal(Error::new(ExitCode::Changed, text))
            }
            ErrorCode::Read => Stop::Fatal(Error::new(
                ExitCode::Refused,
                format!("the server cannot read the file: {words}"),
            )),
            ErrorCode::Version => {
                Stop::Fatal(Error::protocol(format!("the sender refuses the stream: {words}")))
            }
            ErrorCode::Session => Stop::Broken(io::Error::new(io::ErrorKind::NotFound, words)),
            ErrorCode::Request | ErrorCode::Other(_) => Stop::Wrong(format!("sender: {words}")),
        }
    }
}
