//! The basis of a delta: an older file that may have bytes of the new one. It is the output as it
//! stands, or the part file of a run whose file has changed on the server since.

#![forbid(unsafe_code)]

use super::journal::{Contents, Recorded};
use super::output::PartFile;
use crate::codec::wire::HASH_UNIT;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// A file with fewer bytes has no whole unit to compare.
pub const LEAST: u64 = HASH_UNIT as u64;

/// Bytes in which st_blocks counts.
const BLOCK: u64 = 512;

/// An open file that can be a basis.
pub(super) struct Candidate {
    pub(super) file: File,
    /// How many of its bytes are stored and within the new file.
    pub(super) worth: u64,
}

/// The output that `part` is to replace by a file of `size` bytes. `None` where it is of no use: it
/// does not exist, it is too short, or this process may not read it.
pub(super) fn of_output(part: &PartFile, size: u64) -> Option<Candidate> {
    let file = part.output().open_existing().ok()?;
    let (found, own) = (file.metadata().ok()?, part.file().metadata().ok()?);
    // What is written must not be read as what was there before.
    let is_other = (found.dev(), found.ino()) != (own.dev(), own.ino());
    let common = found.len().min(size);
    // A file system that compresses may store fewer bytes than can be compared.
    let worth = common.min(found.blocks().saturating_mul(BLOCK));
    (found.is_file() && is_other && common >= LEAST).then_some(Candidate { file, worth })
}

/// How many bytes of a part file are stored and within the new file of `size` bytes, as the part
/// file's journal says. Its holes and what was never written have nothing to compare.
pub(super) fn worth_of_part(contents: &Contents, size: u64) -> u64 {
    let written = contents.iter().filter(|(_, (_, recorded))| *recorded != Recorded::Hole);
    written.map(|(start, (end, _))| size.min(*end).saturating_sub(*start)).sum()
}

/// Whether a part file of this worth is a better basis than the output. The one with more bytes
/// saves more. Of two with the same, the part file is the later version.
pub(super) fn is_better(part: u64, output: Option<&Candidate>) -> bool {
    part >= LEAST && output.is_none_or(|output| part >= output.worth)
}
