//! The answers in a conversation: each is checked against what was asked for first, and stored.

#![forbid(unsafe_code)]

use super::super::files::{Change, Writing, words};
use super::super::large::{self, Large};
use super::super::{Here, Meta, TreeSink};
use super::{Asked, Conversation, Hashed, What};
use crate::codec::entry::{Entry, EntryError, EntryType, IDENTITY_SIZE, Page};
use crate::codec::message::report::Act;
use crate::codec::message::verify::Verify;
use crate::codec::wire::{HEADER_SIZE, Header, MIN_PART, PageEnd as WireEnd, RefusalCode};
use crate::error;
use crate::hash::Md5;
use crate::hash::crc32c::crc32c;
use crate::sys::sync::lock;
use crate::transfer::link::Stop;
use crate::transfer::queue::board::Taken;
use crate::transfer::queue::board::entries::{Beyond, Folder, Kind, PageEnd};
use crate::transfer::sink::work::Work;
use std::ops::Range;
use std::result::Result;
use std::sync::Arc;

const UNASKED: &str = "a block came without a request";

impl Conversation<'_> {
    /// Reads the next block whole, and deals with it.
    pub(super) fn receive_block(&mut self) -> Result<(), Stop> {
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
    fn check(&self, header: &Header) -> Result<(), Stop> {
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

    /// A page of entries has come.
    fn page(
        &mut self,
        end: WireEnd,
        identity: [u8; IDENTITY_SIZE],
        crc: u32,
        whole: usize,
    ) -> Result<(), Stop> {
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
        let entries: Result<Vec<Entry<'_>>, EntryError> =
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
                    .collect::<error::Result<Vec<_>>>()
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

    /// Bytes of a file have come.
    fn data(&mut self, range: Range<u64>, crc: u32, whole: usize) -> Result<(), Stop> {
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
    fn small(&mut self, range: Range<u64>, whole: usize, is_intact: bool) -> Result<(), Stop> {
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
    fn md5(&mut self, theirs: [u8; 16]) -> Result<(), Stop> {
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
                Some((new, _)) => {
                    drop(new); // its temporary name is that of the next attempt too
                    self.sink.differs(&file);
                }
                None => {} // the bytes were of no use
            },
        }
        self.is_good();
        Ok(())
    }

    /// Bytes of a large file have come, with this checksum; `None` if it is a wrong one.
    fn part(&mut self, range: Range<u64>, whole: usize, found: Option<u32>) -> Result<(), Stop> {
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
        large::bytes_came(self.sink, &large).map_err(Stop::Fatal)
    }

    /// The large file of the oldest request, what is left of that request, and whether this is the
    /// first answer to a hash. Takes `range` off the request.
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

    fn hole(&mut self, range: Range<u64>, run: u64) -> Result<(), Stop> {
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
        large::bytes_came(self.sink, &large).map_err(Stop::Fatal)
    }

    /// What was copied is what the source has.
    fn same(&mut self, range: Range<u64>) -> Result<(), Stop> {
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
        large::bytes_came(self.sink, &large).map_err(Stop::Fatal)
    }

    /// The source does not answer what was asked for first, or not the rest of it.
    fn refused(&mut self, code: RefusalCode, crc: u32, whole: usize) -> Result<(), Stop> {
        let payload = self.channel.payload(whole);
        if crc32c(payload) != crc {
            self.is_damaged();
            return Err(Stop::Wrong("the checksum of a refusal differs".into()));
        }
        let changed = match code {
            RefusalCode::Changed => {
                let entry = Entry::parse(payload).map_err(|e| Stop::Wrong(e.to_string()))?;
                let (_, entry) = entry;
                let is_file = entry.entry_type == EntryType::File;
                Some(Change { is_file, size: entry.size, meta: Meta::of(&entry, Here::Done) })
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
