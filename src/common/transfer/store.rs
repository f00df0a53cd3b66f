//! Where a sink puts bytes: into the part file, with a journal of what is there; into the files
//! of a tree; or into memory, until their turn comes to go out in order.

#![forbid(unsafe_code)]

pub mod basis;
pub mod journal;
pub mod lock;
pub mod names;
pub mod output;
pub mod partial;
pub mod pipe;
pub mod ring;
pub mod space;
pub mod tree;

use self::journal::{Contents, Journal};
use self::pipe::Pipe;
use self::ring::Ring;
use super::queue::ranges::RangeSet;
use crate::hash::crc32c::crc32c;
use crate::sys::file;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes that wait for their turn to go out, at most. With the buffers and stacks of 255
/// streams, 12 MiB, and all else a receiver stays below 64 MiB. More than what the queue
/// lets a slow stream hold back, so that this is noticed first.
const WINDOW: usize = 40 << 20;

/// The place.
pub enum Store {
    /// A file that can be resumed from.
    Kept(Kept),
    /// A descriptor that gets the bytes in order.
    Piped(Piped),
}

/// Each byte is written at its own offset, and noted down.
pub struct Kept {
    /// `OUT.part`, of its full length, or as long as it has become.
    pub part: File,
    /// `OUT.part.journal`.
    pub journal: Journal,
    /// What the journal vouches for.
    pub contents: Contents,
    /// Whether to make durable what has arrived.
    pub sync: bool,
    /// An older file that may have bytes of the new one; open for reading.
    pub basis: Option<File>,
}

/// Bytes are held until all before them have gone out.
pub struct Piped {
    window: Ring,
    pipe: Pipe,
}

impl Store {
    /// Bytes go out to `pipe`.
    pub fn piped(pipe: Pipe) -> Store {
        Store::Piped(Piped { window: Ring::new(WINDOW), pipe })
    }

    /// What is there from an earlier run.
    pub fn held(&self) -> RangeSet {
        let mut held = RangeSet::new();
        if let Store::Kept(kept) = self {
            kept.contents.iter().for_each(|(start, (end, _))| held.insert(*start..*end));
        }
        held
    }

    /// How far ahead of what has gone out there is a place for bytes.
    pub fn room(&self) -> Option<u64> {
        match self {
            Store::Kept(_) => None,
            Store::Piped(piped) => Some(piped.window.size()),
        }
    }

    /// Takes `bytes`, which have this CRC32C and begin at `offset` of the file.
    pub fn put(&self, offset: u64, bytes: &[u8], crc: u32) -> io::Result<()> {
        match self {
            Store::Kept(kept) => {
                kept.part.write_all_at(bytes, offset)?;
                kept.journal.written(offset..offset + bytes.len() as u64, crc)
            }
            Store::Piped(piped) => {
                piped.window.write(offset, bytes);
                Ok(())
            }
        }
    }

    /// Takes a hole. The queue knows it; a window needs no place for it.
    pub fn put_hole(&self, hole: Range<u64>) -> io::Result<()> {
        match self {
            Store::Kept(kept) => {
                file::make_hole(&kept.part, hole.start, hole.end)?;
                kept.journal.hole(hole)
            }
            Store::Piped(_) => Ok(()),
        }
    }

    /// The part file, where there is one.
    pub fn part(&self) -> Option<&File> {
        match self {
            Store::Kept(kept) => Some(&kept.part),
            Store::Piped(_) => None,
        }
    }

    /// Takes `range`, whose bytes are in the part file already. They have this CRC32C, or one
    /// that is to be found out.
    pub fn keep(&self, range: Range<u64>, crc: Option<u32>) -> io::Result<()> {
        let Store::Kept(kept) = self else { return Ok(()) };
        let crc = match crc {
            Some(crc) => crc,
            None => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                kept.part.read_exact_at(&mut bytes, range.start)?;
                crc32c(&bytes)
            }
        };
        kept.journal.written(range, crc)
    }

    /// Fills `bytes` with those from `offset`, the next ones; they have gone out after
    /// that, where they are to.
    pub fn follow(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Store::Kept(kept) => kept.part.read_exact_at(bytes, offset),
            Store::Piped(piped) => {
                piped.window.read(offset, bytes);
                piped.pipe.write(bytes)
            }
        }
    }

    /// The same for `length` bytes of a hole, which are not looked at.
    pub fn follow_hole(&self, length: u64) -> io::Result<()> {
        match self {
            Store::Kept(_) => Ok(()),
            Store::Piped(piped) => piped.pipe.write_zeros(length),
        }
    }
}
