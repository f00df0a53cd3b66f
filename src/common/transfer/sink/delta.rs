//! Delta: what the new file may have in common with an older one, the basis. A unit of the
//! basis is copied into the part file, and its hash goes along with the request. The copy
//! counts only once the source has said that its bytes have the same hash.
//!
//! The hash is that of the copy, so a change of the basis meanwhile does no harm to the new file. A
//! hash goes out for whole units within both sizes only, never for a tail: the source could guess that.

#![forbid(unsafe_code)]

use crate::codec::wire::{HASH_SIZE, HASH_UNIT};
use crate::hash::Sha256Pair;
use crate::hash::crc32c::crc32c;
use crate::sys::dir::Status;
use crate::sys::file;
use crate::sys::sync::lock;
use crate::transfer::queue::Queue;
use crate::transfer::source::identity::Identity;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// After so many hashed bytes in a row that differ, the two files have little in common. Then only
/// one unit in so many carries a hash, so a file that is new all over costs little.
const MANY_MISSED: usize = 16 << 20;
const MOST_MISSED: usize = 32 << 20;
const SAMPLES: [u64; 2] = [16, 64];

/// Bytes that have a hash of their own. Larger ranges cost fewer requests, but one byte that
/// differs moves all of them.
const UNIT: u64 = HASH_UNIT as u64;

/// The basis, and how much of it was found again.
pub(super) struct Delta {
    basis: File,
    /// Which file it is, and its state before anything was copied.
    found: Identity,
    /// Bytes that were found to differ since the last that were the same.
    missed: AtomicUsize,
    /// Bytes that were found to be the same. Some machines have no atomic of this size.
    same: Mutex<u64>,
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) hash: [u8; HASH_SIZE],
    /// The CRC32C of the bytes.
    pub(super) crc: u32,
}

/// The pieces in which a range is asked for that was just claimed: each unit that the older file
/// may have, which is copied then, and what is between them.
pub(super) struct Pieces<'a> {
    delta: Option<&'a Delta>,
    queue: &'a Queue,
    /// Where the copies go; `None` where they are of no use.
    part: Option<&'a File>,
    /// What was not given yet.
    rest: Range<u64>,
    /// The numbers of the units in it.
    units: Range<u64>,
    /// A unit that was copied, behind the piece that was given last.
    ready: Option<(Range<u64>, Copied)>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(
        delta: Option<&'a Delta>,
        queue: &'a Queue,
        part: Option<&'a File>,
        range: Range<u64>,
    ) -> Pieces<'a> {
        // A tail belongs to no unit.
        let units = range.start.div_ceil(UNIT)..range.end / UNIT;
        Pieces { delta, queue, part, rest: range, units, ready: None }
    }

    /// Copies what the older file has at `unit`. `None` where that is of no use.
    fn copy(&self, unit: &Range<u64>) -> io::Result<Option<Copied>> {
        let Some((delta, part)) = self.delta.zip(self.part) else { return Ok(None) };
        if !delta.may_have(unit) || !self.queue.lock(unit) {
            return Ok(None);
        }
        let copied = delta.copy(unit.start, part);
        self.queue.unlock(unit);
        copied
    }

    /// Gives what comes before `end`.
    fn until(&mut self, end: u64) -> Range<u64> {
        std::mem::replace(&mut self.rest.start, end)..end
    }
}

impl Iterator for Pieces<'_> {
    /// A range, and what was copied there.
    type Item = io::Result<(Range<u64>, Option<Copied>)>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_none() && self.delta.is_some() {
            let Some(number) = self.units.next() else { break };
            let unit = number * UNIT..(number + 1) * UNIT;
            match self.copy(&unit) {
                Ok(copied) => self.ready = copied.map(|copied| (unit, copied)),
                Err(error) => return Some(Err(error)),
            }
        }
        match self.ready.take() {
            Some((unit, copied)) if self.rest.start == unit.start => {
                Some(Ok((self.until(unit.end), Some(copied))))
            }
            Some((unit, copied)) => {
                let between = self.until(unit.start);
                self.ready = Some((unit, copied));
                Some(Ok((between, None)))
            }
            None if self.rest.is_empty() => None,
            None => Some(Ok((self.until(self.rest.end), None))),
        }
    }
}

impl Delta {
    /// With `basis`, a regular file.
    ///
    /// # Errors
    /// What fstat(2) gives.
    pub(super) fn new(basis: File) -> io::Result<Delta> {
        let found = state(&basis)?;
        Ok(Delta { basis, found, missed: AtomicUsize::new(0), same: Mutex::new(0) })
    }

    /// Whether `old` is the basis, unchanged since, and has every byte of a new file of `size` bytes,
    /// which is whole in `part`: each unit was found to be the same, and the tail is compared here.
    pub(super) fn is_whole(&self, old: &File, part: &File, size: u64) -> io::Result<bool> {
        let units = size / UNIT * UNIT;
        if self.size() != size || *lock(&self.same) < units || !state(old)?.same_as(&self.found) {
            return Ok(false);
        }
        file::has_same_bytes(old, part, units..size)
    }

    /// Bytes in the basis.
    fn size(&self) -> u64 {
        self.found.version.size
    }

    /// Whether a hash is to go along with a request for `unit`.
    pub(super) fn may_have(&self, unit: &Range<u64>) -> bool {
        let every = match self.missed.load(Ordering::Relaxed) {
            0..MANY_MISSED => 1,
            MANY_MISSED..MOST_MISSED => SAMPLES[0],
            MOST_MISSED.. => SAMPLES[1],
        };
        unit.end <= self.size()
            && unit.start / UNIT % every == 0
            // A hole of the source says so by itself, and what is none cannot be the same.
            && !file::is_hole(&self.basis, unit.start, unit.end)
    }

    /// Copies the unit that begins at `start` into `part`. `None` if the basis cannot be read
    /// there any more.
    ///
    /// # Errors
    /// What the write to `part` gives.
    pub(super) fn copy(&self, start: u64, part: &File) -> io::Result<Option<Copied>> {
        let mut bytes = [0; UNIT as usize]; // a quarter of the stack
        if self.basis.read_exact_at(&mut bytes, start).is_err() {
            return Ok(None);
        }
        part.write_all_at(&bytes, start)?;
        let mut digests = Sha256Pair::new();
        let (one, other) = bytes.split_at(bytes.len() / 2);
        digests.update(one, other);
        Ok(Some(Copied { hash: digests.finish_half(), crc: crc32c(&bytes) }))
    }

    /// A range that was copied is in the new file. So many bytes of it had not come otherwise.
    pub(super) fn hit(&self, bytes: u64) {
        self.missed.store(0, Ordering::Relaxed);
        *lock(&self.same) += bytes;
    }

    /// How many bytes were the same.
    pub(super) fn same(&self) -> u64 {
        *lock(&self.same)
    }

    /// A range of so many bytes that was copied differs in the new file.
    pub(super) fn miss(&self, bytes: u64) {
        if self.missed.load(Ordering::Relaxed) < MOST_MISSED {
            self.missed.fetch_add(bytes as usize, Ordering::Relaxed);
        }
    }
}

/// Which file it is, and its state now.
fn state(file: &File) -> io::Result<Identity> {
    let found = Status::from(&file.metadata()?);
    Ok(Identity::of_status(&found, true)) // the inode is that of this mount
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Sha256;
    use crate::transfer::queue::ranges::RangeSet;

    /// A nameless file with these bytes.
    fn file(name: &str, bytes: &[u8]) -> File {
        let name = format!("ropewalk-{}-delta-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    #[test]
    fn a_copy_has_the_hash_and_the_checksum_of_its_bytes() {
        let bytes: Vec<u8> = (0..3 * UNIT).map(|at| (at % 251) as u8).collect();
        let (part, delta) = (file("part", b""), Delta::new(file("basis", &bytes)).unwrap());
        let copied = delta.copy(UNIT, &part).unwrap().unwrap();
        let expected = &bytes[UNIT as usize..2 * UNIT as usize];
        let mut digest = Sha256::new();
        for half in expected.chunks(expected.len() / 2) {
            let mut of_half = Sha256::new();
            of_half.update(half);
            digest.update(&of_half.finish());
        }
        assert_eq!(copied, Copied { hash: digest.finish_half(), crc: crc32c(expected) });
        let mut found = vec![0; expected.len()];
        part.read_exact_at(&mut found, UNIT).unwrap();
        assert!(found == expected);
    }

    /// The ranges of the pieces, each with whether it was copied.
    fn pieces(delta: Option<&Delta>, range: Range<u64>) -> Vec<(Range<u64>, bool)> {
        let queue = Queue::new(8 * UNIT, UNIT as u32, &RangeSet::new());
        let part = file("pieces", b"");
        Pieces::new(delta, &queue, Some(&part), range)
            .map(|piece| piece.map(|(range, copied)| (range, copied.is_some())).unwrap())
            .collect()
    }

    #[test]
    fn only_whole_units_of_the_older_file_have_a_hash_and_the_rest_is_asked_for_between_them() {
        let size = 3 * UNIT + 100;
        let delta = Delta::new(file("units", &vec![1; size as usize])).unwrap();
        let (third, all) = (2 * UNIT..3 * UNIT, 0..4 * UNIT);
        for (range, expected) in [
            (0..2 * UNIT, vec![(0..UNIT, true), (UNIT..2 * UNIT, true)]),
            (1..UNIT + 1, vec![(1..UNIT + 1, false)]),
            (0..UNIT - 1, vec![(0..UNIT - 1, false)]),
            (2 * UNIT..size, vec![(third, true), (3 * UNIT..size, false)]),
            (
                1..2 * UNIT + 1,
                vec![(1..UNIT, false), (UNIT..2 * UNIT, true), (2 * UNIT..2 * UNIT + 1, false)],
            ),
            (0..0, vec![]),
        ] {
            assert_eq!(pieces(Some(&delta), range.clone()), expected, "{range:?}");
        }
        assert_eq!(pieces(None, all.clone()), [(all, false)]);
        assert!(!delta.may_have(&(3 * UNIT..4 * UNIT)), "the tail of the older file");
    }

    #[test]
    fn a_hole_of_the_older_file_has_no_hash() {
        let basis = file("hole", b"");
        basis.set_len(2 * UNIT).unwrap();
        basis.write_all_at(&[1; 10], UNIT).unwrap();
        let keeps_holes = file::is_hole(&basis, 0, UNIT);
        let delta = Delta::new(basis).unwrap();
        assert_eq!(delta.may_have(&(0..UNIT)), !keeps_holes);
        assert!(delta.may_have(&(UNIT..2 * UNIT)));
    }

    #[test]
    fn after_many_bytes_that_differ_few_units_have_a_hash() {
        let delta = Delta::new(file("many", &vec![1; 80 * UNIT as usize])).unwrap();
        let hashed = || (0..80).filter(|n| delta.may_have(&(n * UNIT..(n + 1) * UNIT))).count();
        delta.miss(MANY_MISSED as u64 - 1);
        assert_eq!(hashed(), 80);
        delta.miss(1);
        assert_eq!(hashed(), 5);
        delta.miss(MANY_MISSED as u64 - 1);
        assert_eq!(hashed(), 5);
        delta.miss(1);
        assert_eq!(hashed(), 2);
        delta.hit(UNIT);
        assert_eq!((hashed(), delta.same()), (80, UNIT));
    }

    #[test]
    fn what_cannot_be_read_any_more_is_not_copied() {
        let basis = file("shorter", &vec![1; 2 * UNIT as usize]);
        let delta = Delta::new(basis.try_clone().unwrap()).unwrap();
        basis.set_len(UNIT).unwrap();
        assert!(delta.may_have(&(UNIT..2 * UNIT)) || file::is_hole(&basis, UNIT, 2 * UNIT));
        assert_eq!(delta.copy(UNIT, &file("none", b"")).unwrap(), None);
    }

    #[test]
    fn a_basis_that_has_changed_does_not_have_the_bytes_any_more() {
        let bytes = vec![1; 2 * UNIT as usize];
        let (basis, part) = (file("changed", &bytes), file("changed-part", &bytes));
        basis.set_modified(std::time::UNIX_EPOCH).unwrap();
        let delta = Delta::new(basis.try_clone().unwrap()).unwrap();
        delta.hit(2 * UNIT);
        assert!(delta.is_whole(&basis, &part, 2 * UNIT).unwrap());
        basis.write_all_at(&[2], 0).unwrap();
        assert!(!delta.is_whole(&basis, &part, 2 * UNIT).unwrap());
    }
}
