//! The answers of a source to the requests on one stream. In a tree, a request that cannot be
//! answered is refused, and the stream goes on; a single file ends its session.

#![forbid(unsafe_code)]

use super::blocks::{Blocks, Fault, Subject};
use super::feed::{Feed, Found};
use super::identity::{Identity, Tag, sure_data};
use super::tree::{Opened, Page, Refusal, Tree};
use super::wait_blocks::WaitBlocks;
use super::{Content, Halt, Source};
use crate::codec::wire::{ErrorCode, HASH_SIZE, HEADER_SIZE, Header, RefusalCode};
use crate::hash::crc32c::crc32c;
use crate::sys::stream::Stream;
use crate::sys::sync::lock;
use crate::transfer::link::{Joined, Link};
use std::io;
use std::ops::Range;

/// The file that a range request names.
pub(super) struct Named<'a> {
    /// Its name in the tree; empty for the single file.
    pub(super) name: &'a [u8],
    /// Which state of it.
    pub(super) identity: Tag,
}

/// The answers on one stream.
pub(super) struct Answers<'a> {
    source: &'a Source,
    stream: &'a Stream,
    link: &'a dyn Link,
    blocks: Blocks<'a>,
    /// Of the single file: a range of which every byte is stored, as was found out last.
    data: Range<u64>,
    /// Of a tree: the files that are open.
    opened: Opened,
}

impl<'a> Answers<'a> {
    pub(super) fn new(source: &'a Source, joined: &'a Joined<'a>) -> Answers<'a> {
        let (stream, link): (&Stream, _) = (joined.stream, joined.link);
        let data = match &source.content {
            Content::File { version, stored, .. } => sure_data(*stored, version.size),
            Content::Tree(_) | Content::Feed(_) => 0..0,
        };
        let blocks = Blocks::new(source, joined);
        Answers { source, stream, link, blocks, data, opened: Opened::new() }
    }

    /// Sends what waits for further answers.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.blocks.flush()
    }

    /// Answers a range request with blocks that cover the range; or with one that says so, where
    /// the bytes have this hash. In a tree, a refusal may stand for the rest.
    pub(super) fn range(
        &mut self,
        named: &Named<'_>,
        range: Range<u64>,
        hash: Option<[u8; HASH_SIZE]>,
    ) -> Result<(), Halt> {
        match &self.source.content {
            Content::File { file, version, .. } => {
                if !named.name.is_empty() {
                    return Err(Halt::Tell(ErrorCode::Request, "the session has one file"));
                }
                let subject =
                    Subject { file, number: None, version: *version, data: &mut self.data };
                self.blocks.range(subject, range, hash).map_err(|fault| match fault {
                    Fault::Broken(error) => Halt::Broken(error),
                    Fault::Beyond => beyond(),
                    Fault::Changed => {
                        Halt::Tell(ErrorCode::Changed, "its size or its time stamps differ")
                    }
                    Fault::Unreadable => Halt::Tell(ErrorCode::Read, "the file cannot be read"),
                })
            }
            Content::Feed(_) if !named.name.is_empty() => {
                Err(Halt::Tell(ErrorCode::Request, "the session has one file"))
            }
            Content::Feed(feed) => self.range_of(feed, range),
            Content::Tree(tree) => {
                self.of_file(tree, named, |blocks, file| blocks.range(file, range, hash))
            }
        }
    }

    /// Answers a range request for what is read in order, once that was read.
    fn range_of(&mut self, feed: &Feed, range: Range<u64>) -> Result<(), Halt> {
        let mut waits = WaitBlocks::begin(self.stream, self.source.timing.wait);
        let found = feed.find(&range, &mut waits, || self.link.is_alive());
        waits.end()?;
        match found {
            Found::All => Ok(self.blocks.fed(feed, range)?),
            Found::EndsAt(size) => {
                self.stream.write_all(&Header::End { size }.encode())?;
                Ok(self.blocks.fed(feed, range.start..size.max(range.start))?)
            }
            Found::Outside => Err(beyond()),
            Found::Unreadable => Err(Halt::Tell(ErrorCode::Read, "standard input cannot be read")),
            Found::Over => Err(Halt::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Answers a request for the MD5 of a file of a tree: with the state behind a range of it, or
    /// with a refusal.
    pub(super) fn md5(
        &mut self,
        named: &Named<'_>,
        range: Range<u64>,
        state: [u8; 16],
    ) -> Result<(), Halt> {
        let Content::Tree(tree) = &self.source.content else {
            return Err(Halt::Tell(ErrorCode::Request, "the session has one file"));
        };
        self.of_file(tree, named, |blocks, file| blocks.md5(file, range, state))
    }

    /// Answers a request for a file of the tree. A refusal may stand for the rest of the answer.
    fn of_file(
        &mut self,
        tree: &Tree,
        named: &Named<'_>,
        answer: impl FnOnce(&mut Blocks<'a>, Subject<'_>) -> Result<(), Fault>,
    ) -> Result<(), Halt> {
        match self.try_file(tree, named, answer)? {
            Ok(()) => Ok(()),
            Err(refusal) => Ok(self.refuse(&refusal)?),
        }
    }

    fn try_file(
        &mut self,
        tree: &Tree,
        named: &Named<'_>,
        answer: impl FnOnce(&mut Blocks<'a>, Subject<'_>) -> Result<(), Fault>,
    ) -> Result<Result<(), Refusal>, Halt> {
        if named.name.is_empty() {
            return Err(Halt::Tell(ErrorCode::Request, "the session has a tree"));
        }
        let mut moving = lock(&self.source.moving);
        moving.clear();
        moving.extend_from_slice(named.name);
        drop(moving);
        let held = match tree.open(&mut self.opened, named.name, &named.identity) {
            Ok(held) => held,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Identity { device, inode, version, .. } = held.identity;
        let (number, data) = (Some((device, inode)), &mut held.data);
        let subject = Subject { file: &held.file, number, version, data };
        match answer(&mut self.blocks, subject) {
            Ok(()) => Ok(Ok(())),
            Err(Fault::Broken(error)) => Err(Halt::Broken(error)),
            Err(Fault::Beyond) => Err(beyond()),
            Err(Fault::Changed) => Ok(Err(held.changed())),
            Err(Fault::Unreadable) => Ok(Err(Refusal::Failed(io::ErrorKind::Other.into()))),
        }
    }

    /// Answers a list request with one page, or with a refusal.
    pub(super) fn list(&mut self, name: &[u8], after: &[u8], room: u32) -> Result<(), Halt> {
        let Content::Tree(tree) = &self.source.content else {
            return Err(Halt::Tell(ErrorCode::Request, "the session has one file"));
        };
        self.blocks.flush()?;
        let mut waits = WaitBlocks::begin(self.stream, self.source.timing.wait);
        let page = tree.page(name, after, room as usize, &mut waits);
        waits.end()?;
        let page = match page {
            Ok(page) => page,
            Err(refusal) => return Ok(self.refuse(&refusal)?),
        };
        let mut block = vec![0; HEADER_SIZE];
        page.entries.iter().for_each(|found| found.entry().encode_into(&mut block));
        let (header, entries) = block.split_at_mut(HEADER_SIZE);
        let (length, crc) = (entries.len() as u32, crc32c(entries));
        let Page { folder, end, .. } = page;
        header.copy_from_slice(&Header::Entries { end, folder, length, crc }.encode());
        // A transfer that only compares is not silent.
        self.source.meter.add_of_tree(0, block.len() as u64, false);
        Ok(self.blocks.send(&block, |_| {})?)
    }

    /// Says that a request gets no answer, or not the rest of it.
    fn refuse(&mut self, refusal: &Refusal) -> io::Result<()> {
        self.blocks.flush()?;
        let mut entry = Vec::new();
        let code = match refusal {
            Refusal::Gone => RefusalCode::Gone,
            Refusal::Forbidden => RefusalCode::Forbidden,
            Refusal::Changed(found) => {
                found.entry().encode_into(&mut entry);
                RefusalCode::Changed
            }
            Refusal::OtherType => RefusalCode::OtherType,
            Refusal::NotEntered => RefusalCode::NotEntered,
            Refusal::Failed(_) => RefusalCode::Unreadable,
        };
        let (length, crc) = (entry.len() as u32, crc32c(&entry));
        let header = Header::Refused { code, length, crc }.encode();
        self.stream.write_all(&[&header[..], &entry].concat())
    }
}

fn beyond() -> Halt {
    Halt::Tell(ErrorCode::Request, "the range is not in the file")
}
