//! The requests of a conversation: what the board hands out, as far as the window has room.

#![forbid(unsafe_code)]

use super::super::files::Writing;
use super::super::large::{self, Large};
use super::super::{Meta, md5};
use super::{Asked, Conversation, Hashed, What};
use crate::codec::entry::IDENTITY_SIZE;
use crate::codec::message::verify::Verify;
use crate::codec::wire::{HEADER_SIZE, Request};
use crate::sys::sync::lock;
use crate::transfer::link::{End, Stop};
use crate::transfer::queue::board::entries::File;
use crate::transfer::queue::board::{Ask, Claim, Claimed, MAX_CLAIMS};
use crate::transfer::queue::window::MAX_REQUESTS;
use crate::transfer::sink::delta::{Copied, Pieces};
use crate::transfer::sink::work::Work;
use crate::transfer::trace::Mark;
use std::ops::Range;
use std::result::Result;
use std::sync::Arc;
use std::time::Instant;

/// Most bytes of requests under way. With more, both ends could write and none read.
const MAX_REQUEST_BYTES: usize = 32 << 10;

/// Bytes of a request beside its names, at most.
const REQUEST_OVERHEAD: usize = 64;

/// Most requests with a hash under way.
const MAX_HASHED: usize = 128;

impl Conversation<'_> {
    /// Asks for as much as the window allows, and waits while there is nothing to ask for and
    /// nothing under way. `first` goes before the first request.
    pub(super) fn ask(&mut self, first: &mut Vec<u8>) -> Result<(), Stop> {
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
    fn ask_for(&mut self, claim: Claim<Meta>, message: &mut Vec<u8>) -> Result<(), Stop> {
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
    ) -> Result<(), Stop> {
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
