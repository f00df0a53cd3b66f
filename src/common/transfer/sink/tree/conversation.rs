//! A tree sink's conversation on one stream: asks for what the board hands out, checks what comes,
//! and stores it. Answers come in the order of the requests.

#![forbid(unsafe_code)]

use super::super::channel::Channel;
use super::super::delta::{Copied, Pieces};
use super::super::health::FLOOR_BLOCKS;
use super::super::work::Work;
use super::entries::TOO_LARGE;
use super::large::{self, Large};
use super::md5::{self, Question};
use super::{Here, Meta, TreeSink};
use crate::codec::entry::{Entry, EntryError, EntryType, IDENTITY_SIZE, Page};
use crate::codec::message::report::Act;
use crate::codec::message::verify::Verify;
use crate::codec::text::escape;
use crate::codec::wire::{
    HEADER_SIZE, Header, MAX_ROOM, MIN_PART, PageEnd as WireEnd, RefusalCode, Request,
};
use crate::error::{Error, Result};
use crate::hash::Md5;
use crate::hash::crc32c::crc32c;
use crate::sys::stream::Stream;
use crate::sys::sync::lock;
use crate::transfer::link::{End, Joined, Stop};
use crate::transfer::queue::board::entries::{Beyond, Fate, File, Folder, Kind, PageEnd};
use crate::transfer::queue::board::{Ask, Claim, Claimed, MAX_CLAIMS, Taken};
use crate::transfer::queue::window::{MAX_REQUESTS, Window};
use crate::transfer::queue::{self};
use crate::transfer::store::tree::{NewFile, Target};
use crate::transfer::trace::Mark;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Instant;

/// Most bytes of requests under way. With more, both ends could write and none read.
const MAX_REQUEST_BYTES: usize = 32 << 10;

/// Bytes of a request beside its names, at most.
const REQUEST_OVERHEAD: usize = 64;

/// Most requests with a hash under way.
const MAX_HASHED: usize = 128;

const UNASKED: &str = "a block came without a request";

/// What was asked for and has not come.
struct Asked {
    what: What,
    since: Instant,
    /// Bytes of the request.
    request: usize,
    /// Bytes of content, and of what goes with it, that have not come.
    under_way: u64,
}

enum What {
    /// Entries of a folder.
    List { folder: Arc<Folder<Meta>>, after: Option<Arc<[u8]>> },
    /// A whole file, of which so many bytes have come.
    Small { file: Arc<File<Meta>>, at: u64, writing: Writing },
    /// A range of a large file, and what was copied there.
    Part { large: Arc<Large>, range: Range<u64>, copied: Option<Copied> },
    /// The MD5 of so many bytes.
    Md5 { length: u32, of: Hashed },
}

/// Whose MD5 is asked for.
enum Hashed {
    /// That of a small file. The request follows that for the file.
    Small(Arc<File<Meta>>),
    /// That of a large file, or of the start of it.
    Large(Question),
}

/// What becomes of the bytes of a small file.
enum Writing {
    /// None has come.
    Before,
    /// They are written.
    To(NewFile),
    /// They are of no use: another stream was first, or something was wrong.
    Nowhere,
}

/// One conversation.
pub(super) struct Conversation<'a> {
    sink: &'a TreeSink,
    joined: &'a Joined<'a>,
    number: usize,
    stream: &'a Stream,
    window: Window,
    asked: VecDeque<Asked>,
    /// Bytes of content, of requests, and requests with a hash in `asked`.
    under_way: u64,
    request_bytes: usize,
    hashed: usize,
    /// Of the small file that is written.
    md5: Md5,
    /// A small file that is written and whose MD5 the source is to say.
    uncompared: Option<(NewFile, [u8; 16])>,
    channel: Channel<'a>,
}

impl<'a> Conversation<'a> {
    /// On a stream that has just joined.
    pub(super) fn new(sink: &'a TreeSink, joined: &'a Joined<'a>) -> Conversation<'a> {
        let block = joined.terms.max_block.min(sink.block(0));
        let room = HEADER_SIZE + block.max(MAX_ROOM) as usize;
        Conversation {
            sink,
            joined,
            number: joined.number,
            stream: joined.stream,
            window: Window::new(u64::from(FLOOR_BLOCKS) * u64::from(block), Instant::now()),
            asked: VecDeque::new(),
            under_way: 0,
            request_bytes: 0,
            hashed: 0,
            md5: Md5::new(),
            uncompared: None,
            channel: Channel::new(&sink.health, sink.wanted.rate.as_deref(), joined, room),
        }
    }

    /// Shows the hello, where there is one to show, and receives until something ends that.
    pub(super) fn run(mut self) -> Stop {
        let stop = match self.receive_all() {
            Ok(never) => match never {},
            Err(stop) => stop,
        };
        for asked in self.asked.drain(..) {
            if let What::Md5 { of: Hashed::Large(question), .. } = asked.what {
                self.sink.questions.put(question);
                self.sink.board.wake();
            }
        }
        stop
    }

    fn receive_all(&mut self) -> std::result::Result<std::convert::Infallible, Stop> {
        self.channel.begin()?;
        let _open = self.sink.health.meter.open();
        let mut first = self.joined.hello.map(|hello| hello.encode().to_vec()).unwrap_or_default();
        loop {
            self.ask(&mut first)?;
            self.receive_block()?;
            self.joined.is_good.set(true);
        }
    }

    /// Asks for as much as the window allows, and waits while there is nothing to ask for and
    /// nothing under way. `first` goes before the first request.
    fn ask(&mut self, first: &mut Vec<u8>) -> std::result::Result<(), Stop> {
        let mut message = std::mem::take(first);
        loop {
            let (mut later, version) = (None, self.sink.board.version());
            // The peer closes streams where it dials them.
            let needed = self.joined.hello.is_none() || self.sink.wants(self.number);
            if !needed && self.asked.is_empty() {
                return Err(Stop::Unneeded);
            }
            while needed && self.has_room() {
                if self.ask_for_md5(&mut message) {
                    continue;
                }
                match self.sink.board.claim(self.number, &self.room()) {
                    Claimed::Over => return Err(Stop::Over),
                    Claimed::Later(delay) => {
                        later = Some(delay);
                        break;
                    }
                    Claimed::Work(claims) => {
                        for claim in claims {
                            self.ask_for(claim, &mut message)?;
                        }
                    }
                }
            }
            self.channel.send(&mut message)?;
            match later {
                Some(delay) if self.asked.is_empty() => {
                    let delay = self.channel.until_word(delay);
                    self.sink.board.wait_for_change(version, Some(delay));
                    self.channel.was_idle()?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Whether so much may be asked for that it is worth a message.
    fn has_room(&self) -> bool {
        self.asked.is_empty()
            || (self.window.has_room(self.under_way)
                && self.request_bytes <= MAX_REQUEST_BYTES / 4 * 3
                && self.asked.len() + self.requests_of_a_file() * MAX_CLAIMS <= MAX_REQUESTS
                && self.hashed < MAX_HASHED)
    }

    /// How many requests a small file may take: its MD5 has one of its own.
    fn requests_of_a_file(&self) -> usize {
        match self.sink.wanted.verify {
            Verify::Md5 => 2,
            Verify::Crc32c | Verify::None => 1,
        }
    }

    /// What may be claimed now.
    fn room(&self) -> Ask {
        let names = MAX_REQUEST_BYTES.saturating_sub(self.request_bytes);
        let names = names / self.requests_of_a_file();
        let requests = (names / (2 * REQUEST_OVERHEAD)).clamp(1, MAX_CLAIMS);
        Ask {
            requests,
            names: names.saturating_sub(requests * REQUEST_OVERHEAD),
            content: self.window.limit().saturating_sub(self.under_way),
            idle: self.asked.is_empty(),
            answer_time: self
                .window
                .answer_time()
                .unwrap_or_else(|| self.sink.health.expected_answer()),
        }
    }

    /// Writes the request for a claim.
    fn ask_for(
        &mut self,
        claim: Claim<Meta>,
        message: &mut Vec<u8>,
    ) -> std::result::Result<(), Stop> {
        let begin = message.len();
        let (what, content, again) = match claim {
            Claim::Open { file } => {
                return large::open(self.sink, file).map_err(Stop::Fatal);
            }
            Claim::List { folder, after, bytes, again } => {
                let name = folder.path();
                let after_name = after.as_deref().unwrap_or(b"");
                Request::List { name: &name, after: after_name, room: bytes }.encode_into(message);
                (What::List { folder, after }, 0, again)
            }
            Claim::Small { file, again } => {
                range_of(&file, 0..file.size, None).encode(&file.path(), message);
                let size = file.size + HEADER_SIZE as u64;
                (What::Small { file, at: 0, writing: Writing::Before }, size, again)
            }
            Claim::Part { file, range, again, queue } => {
                let Some(large) = lock(&self.sink.large).get(&file.id).cloned() else {
                    queue.release(self.number); // it was given up meanwhile
                    return Ok(());
                };
                self.mark_again(again);
                if !again {
                    return self.ask_in_pieces(&large, range, message);
                }
                self.ask_for_part(&large, range, None, message);
                return Ok(());
            }
        };
        self.mark_again(again);
        let whole = match &what {
            What::Small { file, .. } => Some(file.clone()),
            _ => None,
        };
        self.has_asked(what, message.len() - begin, content);
        if let Some(file) = whole.filter(|file| self.sink.compares_md5_of(file.size)) {
            let begin = message.len();
            md5::encode_small(&file, message);
            let what = What::Md5 { length: file.size as u32, of: Hashed::Small(file) };
            self.has_asked(what, message.len() - begin, 0);
        }
        Ok(())
    }

    /// Notes down a request of so many bytes, for so many bytes of content.
    fn has_asked(&mut self, what: What, request: usize, content: u64) {
        self.under_way += content;
        self.request_bytes += request;
        self.asked.push_back(Asked { what, since: Instant::now(), request, under_way: content });
    }

    /// Asks for the MD5 of a large file, if one is needed. A stream asks for one at a time: others
    /// may be idle.
    fn ask_for_md5(&mut self, message: &mut Vec<u8>) -> bool {
        let is_other = |asked: &Asked| matches!(asked.what, What::Md5 { of: Hashed::Large(_), .. });
        if self.asked.iter().any(is_other) {
            return false;
        }
        let Some(question) = self.sink.questions.take() else { return false };
        let begin = message.len();
        question.encode(message);
        let what = What::Md5 { length: question.length(), of: Hashed::Large(question) };
        self.has_asked(what, message.len() - begin, 0);
        true
    }

    fn mark_again(&self, again: bool) {
        if again {
            self.sink.record(|to| to.mark(self.number, Mark::Again));
        }
    }

    /// Asks for a range of a large file, which was just claimed, with the hashes of what the older
    /// file may have.
    fn ask_in_pieces(
        &mut self,
        large: &Arc<Large>,
        range: Range<u64>,
        message: &mut Vec<u8>,
    ) -> std::result::Result<(), Stop> {
        let part = large.store.part();
        for piece in Pieces::new(large.delta.as_ref(), &large.queue, part, range) {
            let (range, copied) = piece.map_err(|error| self.full(large, &error))?;
            self.ask_for_part(large, range, copied, message);
            if copied.is_some() {
                // The source is to look for it while the next one is copied.
                self.channel.send(message)?;
            }
        }
        Ok(())
    }

    fn ask_for_part(
        &mut self,
        large: &Arc<Large>,
        range: Range<u64>,
        copied: Option<Copied>,
        message: &mut Vec<u8>,
    ) {
        let (begin, size) = (message.len(), range.end - range.start);
        let hash = copied.map(|copied| copied.hash);
        range_of(&large.file, range.clone(), hash).encode(&large.file.path(), message);
        self.hashed += usize::from(copied.is_some());
        let what = What::Part { large: large.clone(), range, copied };
        self.has_asked(what, message.len() - begin, size);
    }

    /// The output of a large file cannot be written.
    fn full(&self, large: &Large, error: &io::Error) -> Stop {
        let path = escape(&large.file.path());
        Stop::Fatal(Error::system(format!("{}/{path}", self.sink.wanted.shown), error))
    }

    /// Reads the next block whole, and deals with it.
    fn receive_block(&mut self) -> std::result::Result<(), Stop> {
        let room = self.channel.room();
        let header = self.channel.header(room)?;
        let whole = HEADER_SIZE + header.payload();
        // Whether it belongs anywhere is checked before its bytes are waited for.
        self.check(&header)?;
        self.channel.wait_for(whole, room)?;
        match header {
            Header::Error { code, crc, .. } => {
                return Err(self.channel.peer_error(code, crc, whole));
            }
            Header::Wait => self.channel.wait()?,
            Header::Entries { end, folder, crc, .. } => self.page(end, folder, crc, whole)?,
            Header::Refused { code, crc, .. } => self.refused(code, crc, whole)?,
            Header::Data { offset, length, crc } => {
                self.data(offset..offset + u64::from(length), crc, whole)?;
            }
            Header::Hole { offset, length, run } => {
                self.hole(offset..offset + u64::from(length), run)?;
            }
            Header::Same { offset, length } => self.same(offset..offset + u64::from(length))?,
            Header::Md5 { md5, .. } => self.md5(md5)?,
            Header::End { .. } => return Err(Stop::Wrong(UNASKED.into())),
        }
        self.channel.pass(whole);
        Ok(())
    }

    /// Whether a block answers what was asked for first.
    fn check(&self, header: &Header) -> std::result::Result<(), Stop> {
        let wrong = |what: &str| Err(Stop::Wrong(what.into()));
        if matches!(header, Header::Error { .. } | Header::Wait) {
            return Ok(());
        }
        let Some(Asked { what, .. }) = self.asked.front() else { return wrong(UNASKED) };
        let another = "another request was answered";
        let (left, size) = match (what, header) {
            (What::List { .. }, Header::Entries { .. }) | (_, Header::Refused { .. }) => {
                return Ok(());
            }
            (What::Md5 { length: wanted, .. }, Header::Md5 { length, .. }) if wanted == length => {
                return Ok(());
            }
            (What::List { .. } | What::Md5 { .. }, _)
            | (_, Header::Entries { .. } | Header::Md5 { .. }) => return wrong(another),
            (What::Small { file, at, .. }, _) => (*at..file.size, file.size),
            (What::Part { large, range, .. }, _) => (range.clone(), large.file.size),
        };
        let (offset, length, run) = match *header {
            Header::Data { offset, length, .. } => (offset, u64::from(length), 0),
            Header::Hole { offset, length, run } => (offset, u64::from(length), run),
            Header::Same { offset, length } => match what {
                What::Part { range, copied: Some(_), .. }
                    if *range == (offset..offset + u64::from(length)) =>
                {
                    return Ok(());
                }
                _ => return wrong(UNASKED),
            },
            _ => return wrong(UNASKED),
        };
        if left.start != offset || length > left.end - left.start || run > size - offset {
            return wrong(UNASKED);
        }
        match length < u64::from(MIN_PART) && offset + length < left.end {
            true => wrong("a block is too short"),
            false => Ok(()),
        }
    }

    /// Takes so many bytes of content off what is under way; with `is_last`, all of the first
    /// request. `payload` is what came over the path.
    fn arrived(&mut self, content: u64, payload: u64, is_last: bool) -> Option<Asked> {
        let now = Instant::now();
        self.channel.has_answer();
        let front = self.asked.front_mut()?;
        let taken = if is_last { front.under_way } else { content.min(front.under_way) };
        front.under_way -= taken;
        self.under_way -= taken;
        let answer = now.saturating_duration_since(front.since);
        let stream = self.stream;
        self.window.arrived(payload, answer, now, || stream.round_trip());
        if !is_last {
            return None;
        }
        let asked = self.asked.pop_front()?;
        self.request_bytes -= asked.request;
        Some(asked)
    }

    fn is_good(&mut self) {
        self.channel.is_good(self.window.answer_time());
    }

    /// Counts what does not have its checksum.
    fn is_damaged(&self) {
        self.sink.record(|to| to.mark(self.number, Mark::Damaged));
        self.sink.bad_block(true, "its checksum differs");
    }
}

/// A range request, but for its name.
struct RangeRequest {
    identity: [u8; IDENTITY_SIZE],
    range: Range<u64>,
    hash: Option<[u8; 16]>,
}

fn range_of(file: &File<Meta>, range: Range<u64>, hash: Option<[u8; 16]>) -> RangeRequest {
    RangeRequest { identity: file.meta.identity, range, hash }
}

impl RangeRequest {
    fn encode(self, name: &[u8], message: &mut Vec<u8>) {
        let RangeRequest { identity, range, hash } = self;
        let (offset, length) = (range.start, (range.end - range.start) as u32);
        Request::Range { name, identity, offset, length, hash }.encode_into(message);
    }
}

// Pages.
impl Conversation<'_> {
    /// A page of entries has come.
    fn page(
        &mut self,
        end: WireEnd,
        identity: [u8; IDENTITY_SIZE],
        crc: u32,
        whole: usize,
    ) -> std::result::Result<(), Stop> {
        let payload = self.channel.payload(whole);
        if crc32c(payload) != crc {
            self.is_damaged();
            return Err(Stop::Wrong("the checksum of a page differs".into()));
        }
        // The page is read once more below, when the request is taken off.
        let Some(Asked { what: What::List { folder, after }, .. }) = self.asked.front() else {
            return Err(Stop::Wrong(UNASKED.into()));
        };
        let (folder, after) = (folder.clone(), after.clone());
        let entries: std::result::Result<Vec<Entry<'_>>, EntryError> =
            Page::new(payload, after.as_deref().unwrap_or(b"")).collect();
        let entries = entries.map_err(|error| Stop::Wrong(error.to_string()))?;
        let end = match end {
            WireEnd::More => PageEnd::More,
            WireEnd::Whole if identity != folder.meta.identity => PageEnd::Other,
            WireEnd::Whole => PageEnd::Whole,
            WireEnd::Partial => PageEnd::Broken,
        };
        let kinds: Vec<(&[u8], Kind)> =
            entries.iter().map(|entry| (entry.name, self.sink.kind_of(&folder, entry))).collect();
        match self.sink.board.take_page(self.number, &kinds, end) {
            Taken::Discard => {}
            Taken::Wrong => return Err(Stop::Wrong("a page has wrong names".into())),
            Taken::Entries(count) => {
                let kept = entries.iter().zip(&kinds).take(count);
                let found = kept
                    .filter(|(_, (_, kind))| *kind != Kind::LeftOut)
                    .map(|(entry, _)| self.sink.prepare(&folder, entry))
                    .collect::<Result<Vec<_>>>()
                    .map_err(Stop::Fatal)?;
                if end == PageEnd::Broken {
                    let words =
                        format!("the {} could not list all of it", self.sink.health.source());
                    self.sink.tell_refused(&folder.path(), &words);
                }
                self.sink.tell_beyond(&folder, self.sink.board.page(self.number, found, end));
            }
        }
        self.arrived(0, whole as u64, true);
        self.is_good();
        Ok(())
    }
}

impl TreeSink {
    fn tell_beyond(&self, folder: &Folder<Meta>, beyond: Vec<(Box<[u8]>, Beyond)>) {
        for (name, why) in beyond {
            let reason = match why {
                Beyond::Path => "its path is longer than 4095 bytes",
                Beyond::Depth => "it is more than 256 folders deep",
            };
            self.tell_refused(&folder.path_of(&name), reason);
        }
    }
}

// Bytes.
impl Conversation<'_> {
    /// Bytes of a file have come.
    fn data(&mut self, range: Range<u64>, crc: u32, whole: usize) -> std::result::Result<(), Stop> {
        let length = range.end - range.start;
        let is_unchecked = self.sink.wanted.verify == Verify::None;
        let payload = self.channel.payload(whole);
        let is_intact = match self.asked.front().map(|asked| &asked.what) {
            Some(What::Small { .. }) => {
                let is_intact = is_unchecked || crc32c(payload) == crc;
                self.small(range, whole, is_intact)?;
                is_intact
            }
            Some(What::Part { .. }) => {
                let found = crc32c(payload); // the journal needs it in any case
                let is_intact = is_unchecked || found == crc;
                self.part(range, whole, is_intact.then_some(found))?;
                is_intact
            }
            Some(What::List { .. } | What::Md5 { .. }) | None => {
                return Err(Stop::Wrong(UNASKED.into()));
            }
        };
        if !is_intact {
            self.is_damaged();
            return Ok(());
        }
        self.sink.record(|to| to.brought(self.number, length));
        self.sink.health.meter.add(length, 0);
        self.is_good();
        Ok(())
    }

    /// Bytes of a small file have come; `whole` is 0 for those of a hole.
    fn small(
        &mut self,
        range: Range<u64>,
        whole: usize,
        is_intact: bool,
    ) -> std::result::Result<(), Stop> {
        let Conversation { sink, channel, asked, number, md5, .. } = self;
        let Some(Asked { what: What::Small { file, at, writing }, .. }) = asked.front_mut() else {
            return Err(Stop::Wrong(UNASKED.into()));
        };
        let (file, is_compared) = (file.clone(), sink.compares_md5_of(file.size));
        if matches!(writing, Writing::Before) {
            *md5 = Md5::new();
            *writing = match sink.board.take_file(*number) {
                true => {
                    *lock(&sink.begun) = Some(file.clone());
                    sink.begin(&file, *number).map_err(Stop::Fatal)?
                }
                false => Writing::Nowhere,
            };
        }
        *at = range.end;
        let is_last = range.end == file.size;
        if let Writing::To(new) = writing {
            let put = match whole {
                0 => new.put_hole(range.clone()),
                _ => new.put(range.start, channel.payload(whole)),
            };
            match whole {
                _ if !is_compared => {}
                0 => md5.update_zeros(range.end - range.start),
                _ => md5.update(channel.payload(whole)),
            }
            match put {
                _ if !is_intact => {
                    *writing = Writing::Nowhere;
                    sink.board.put_back(*number);
                }
                Ok(()) => {}
                Err(error) => {
                    *writing = Writing::Nowhere;
                    sink.give_up(&file, &error).map_err(Stop::Fatal)?;
                }
            }
        }
        let payload = if whole == 0 { HEADER_SIZE as u64 } else { range.end - range.start };
        if let Some(Asked { what: What::Small { writing: Writing::To(new), .. }, .. }) =
            self.arrived(range.end - range.start, payload, is_last)
        {
            match is_compared {
                true => self.uncompared = Some((new, std::mem::take(&mut self.md5).finish())),
                false => self.sink.complete(&file, new, self.number).map_err(Stop::Fatal)?,
            }
        }
        Ok(())
    }

    /// The source has said an MD5.
    fn md5(&mut self, theirs: [u8; 16]) -> std::result::Result<(), Stop> {
        let asked = self.arrived(0, HEADER_SIZE as u64, true);
        let Some(Asked { what: What::Md5 { of, .. }, .. }) = asked else {
            return Err(Stop::Wrong(UNASKED.into()));
        };
        match of {
            Hashed::Large(question) => question.answer(theirs),
            Hashed::Small(file) => match self.uncompared.take() {
                Some((new, ours)) if ours == theirs => {
                    self.sink.count_hashed();
                    self.sink.complete(&file, new, self.number).map_err(Stop::Fatal)?;
                }
                Some(_) => self.sink.differs(&file),
                None => {} // the bytes were of no use
            },
        }
        self.is_good();
        Ok(())
    }

    /// Bytes of a large file have come, with this checksum; `None` if it is a wrong one.
    fn part(
        &mut self,
        range: Range<u64>,
        whole: usize,
        found: Option<u32>,
    ) -> std::result::Result<(), Stop> {
        let Some((large, left, was_hashed)) = self.first_part(&range) else {
            return Err(Stop::Wrong(UNASKED.into()));
        };
        if let (Some(delta), true) = (&large.delta, was_hashed) {
            delta.miss(left.end - left.start);
        }
        if let Some(found) = found {
            let payload = self.channel.payload(whole);
            for part in large.queue.take(self.number, range.clone()) {
                let from = (part.start - range.start) as usize;
                let bytes = &payload[from..from + (part.end - part.start) as usize];
                let crc = if part == range { found } else { crc32c(bytes) };
                let stored = large.store.put(part.start, bytes, crc);
                stored.map_err(|error| self.full(&large, &error))?;
                large.queue.finish(part, false);
            }
        } else {
            large.queue.reject(self.number, range.clone());
            self.sink.board.wake();
        }
        let length = range.end - range.start;
        self.arrived(length, length, range.end == left.end);
        large::complete_if_whole(self.sink, &large).map_err(Stop::Fatal)
    }

    /// The large file that was asked for first, what is left of the request, and whether this is
    /// the first answer to a request with a hash. Takes `range` off the request.
    fn first_part(&mut self, range: &Range<u64>) -> Option<(Arc<Large>, Range<u64>, bool)> {
        let Some(Asked { what: What::Part { large, range: left, copied }, .. }) =
            self.asked.front_mut()
        else {
            return None;
        };
        let (before, was_hashed) = (left.clone(), copied.take().is_some());
        left.start = range.end;
        self.hashed -= usize::from(was_hashed);
        Some((large.clone(), before, was_hashed))
    }

    fn hole(&mut self, range: Range<u64>, run: u64) -> std::result::Result<(), Stop> {
        if let Some(Asked { what: What::Small { .. }, .. }) = self.asked.front() {
            self.small(range, 0, true)?;
            self.is_good();
            return Ok(());
        }
        let Some((large, left, _)) = self.first_part(&range) else {
            return Err(Stop::Wrong(UNASKED.into()));
        };
        for part in large.queue.take_hole(self.number, range.clone(), run) {
            large.store.put_hole(part.clone()).map_err(|error| self.full(&large, &error))?;
            large.queue.finish(part, true);
        }
        let length = range.end - range.start;
        self.arrived(length, HEADER_SIZE as u64, range.end == left.end);
        self.is_good();
        large::complete_if_whole(self.sink, &large).map_err(Stop::Fatal)
    }

    /// What was copied is what the source has.
    fn same(&mut self, range: Range<u64>) -> std::result::Result<(), Stop> {
        let copied = match self.asked.front() {
            Some(Asked { what: What::Part { copied: Some(copied), .. }, .. }) => *copied,
            _ => return Err(Stop::Wrong(UNASKED.into())),
        };
        let Some((large, ..)) = self.first_part(&range) else {
            return Err(Stop::Wrong(UNASKED.into()));
        };
        let mut bytes = 0;
        for part in large.queue.take(self.number, range.clone()) {
            bytes += part.end - part.start;
            let crc = (part == range).then_some(copied.crc);
            large.store.keep(part.clone(), crc).map_err(|error| self.full(&large, &error))?;
            large.queue.finish(part, false);
        }
        large.delta.iter().for_each(|delta| delta.hit(bytes));
        self.sink.count_same(bytes);
        // The window counts what was asked for. So it grows to what a round trip can answer.
        let length = range.end - range.start;
        self.arrived(length, length, true);
        self.is_good();
        large::complete_if_whole(self.sink, &large).map_err(Stop::Fatal)
    }

    /// The source does not answer what was asked for first, or not the rest of it.
    fn refused(
        &mut self,
        code: RefusalCode,
        crc: u32,
        whole: usize,
    ) -> std::result::Result<(), Stop> {
        let payload = self.channel.payload(whole);
        if crc32c(payload) != crc {
            self.is_damaged();
            return Err(Stop::Wrong("the checksum of a refusal differs".into()));
        }
        let changed = match code {
            RefusalCode::Changed => {
                let entry = Entry::parse(payload).map_err(|e| Stop::Wrong(e.to_string()))?;
                Some((entry.1.entry_type == EntryType::File, entry.1.size, {
                    Meta::of(&entry.1, Here::Done)
                }))
            }
            _ => None,
        };
        let Some(Asked { what, .. }) = self.arrived(0, whole as u64, true) else {
            return Err(Stop::Wrong(UNASKED.into()));
        };
        match what {
            What::List { folder, .. } => self.list_refused(&folder, code),
            What::Small { file, writing, .. } => {
                let is_ours = match writing {
                    Writing::Before => self.sink.board.take_file(self.number),
                    Writing::To(new) => {
                        drop(new);
                        true
                    }
                    Writing::Nowhere => false,
                };
                if is_ours {
                    self.sink.not_had(&file, code, changed);
                }
            }
            What::Part { large, copied, .. } => {
                self.hashed -= usize::from(copied.is_some());
                self.sink.large_not_had(&large, code, changed);
            }
            What::Md5 { of: Hashed::Large(question), .. } => {
                self.sink.large_not_had(&question.large, code, changed);
            }
            What::Md5 { of: Hashed::Small(file), .. } => {
                if self.uncompared.take().is_some() {
                    self.sink.not_had(&file, code, changed);
                }
            }
        }
        self.is_good();
        Ok(())
    }

    fn list_refused(&self, folder: &Folder<Meta>, code: RefusalCode) {
        let end = match code {
            // Without the top of the tree there is nothing to be had.
            RefusalCode::Gone if folder.parent.is_some() => PageEnd::Gone,
            RefusalCode::NotEntered if folder.parent.is_some() => PageEnd::NotEntered,
            _ => PageEnd::Broken,
        };
        if let Taken::Entries(_) = self.sink.board.take_page(self.number, &[], end) {
            self.sink.board.page(self.number, Vec::new(), end);
            match end {
                PageEnd::Broken => {
                    self.sink.tell_refused(&folder.path(), &words(code, self.sink.health.source()))
                }
                PageEnd::NotEntered => self.sink.tell(Act::Skipped, || folder.path()),
                _ => {}
            }
        }
    }
}

// Files.
impl TreeSink {
    /// A large file cannot be had from the source, or is another one now.
    pub(super) fn large_not_had(
        &self,
        large: &Large,
        code: RefusalCode,
        changed: Option<(bool, u64, Meta)>,
    ) {
        let is_over = large.queue.end() == Some(queue::End::Aborted);
        if !is_over && large::discard(self, large) {
            self.not_had(&large.file, code, changed);
        }
    }

    /// Creates a small file that stream `number` has taken.
    fn begin(&self, file: &File<Meta>, number: usize) -> Result<Writing> {
        let name = OsStr::from_bytes(&file.name);
        let (Here::File { target, .. }, Some(path), Some(store)) =
            (&file.meta.here, file.folder.meta.path(), &self.wanted.store)
        else {
            self.board.put_back(number);
            return Err(Error::internal("a file has no place"));
        };
        match store.create(path, name, *target, &self.attributes(&file.meta)) {
            Ok(new) => Ok(Writing::To(new)),
            Err(error) => self.give_up(file, &error).map(|()| Writing::Nowhere),
        }
    }

    /// A small file cannot be put in place here.
    fn give_up(&self, file: &File<Meta>, error: &io::Error) -> Result<()> {
        self.board.leave(file.id, Fate::Refused);
        self.refuse_here(&file.path(), error)
    }

    /// Every byte of a small file is written.
    fn complete(&self, file: &File<Meta>, new: NewFile, number: usize) -> Result<()> {
        let Some(store) = &self.wanted.store else { return Ok(()) };
        match store.complete(new, file.size, &self.attributes(&file.meta)) {
            Ok(complete) => {
                if let Here::File { complete: place, .. } = &file.meta.here {
                    let _ = place.set(complete);
                }
                self.board.written(number);
                Ok(())
            }
            Err(error) => self.give_up(file, &error),
        }
    }

    /// A file cannot be had from the source, or is another one now.
    fn not_had(&self, file: &File<Meta>, code: RefusalCode, changed: Option<(bool, u64, Meta)>) {
        match (code, changed) {
            (RefusalCode::Gone, _) => _ = self.board.leave(file.id, Fate::Gone),
            (RefusalCode::NotEntered, _) => {
                if self.board.leave(file.id, Fate::Skipped) {
                    self.tell(Act::Skipped, || file.path());
                }
            }
            (_, Some((true, size, _))) if self.is_too_large(size) => {
                if self.board.leave(file.id, Fate::Refused) {
                    self.tell_refused(&file.path(), TOO_LARGE);
                }
            }
            (_, Some((true, size, meta))) => {
                let target = match &file.meta.here {
                    Here::File { target, .. } => *target,
                    Here::Folder { .. } | Here::Done => Target::Present,
                };
                let meta = Meta { here: Here::file(target), ..meta };
                if self.board.change(file.id, size, meta) {
                    let words = format!("it keeps changing on the {}", self.health.source());
                    self.tell_refused(&file.path(), &words);
                }
            }
            _ => {
                if self.board.leave(file.id, Fate::Refused) {
                    self.tell_refused(&file.path(), &words(code, self.health.source()));
                }
            }
        }
    }
}

/// Why the source does not answer.
fn words(code: RefusalCode, source: &str) -> String {
    match code {
        RefusalCode::Gone => format!("it has vanished from the {source}"),
        RefusalCode::Forbidden => format!("the {source} may not read it"),
        RefusalCode::Changed => format!("it changed on the {source}"),
        RefusalCode::OtherType => format!("it is of another type on the {source} now"),
        RefusalCode::Unreadable => format!("the {source} cannot read it"),
        RefusalCode::NotEntered => {
            format!("it is on a file system that the {source} does not enter")
        }
        RefusalCode::Other(_) => format!("the {source} refuses it"),
    }
}
