//! The bytes and streams of a transfer so far. Many threads count, and one thread reads.
//!
//! A lock guards the counts, since some machines have no 64-bit atomics. One lock a buffer costs no
//! time that can be measured.

#![forbid(unsafe_code)]

use crate::codec::message::report::Tally;
use crate::sys::sync::lock;
use crate::transfer::queue::ranges::RangeSet;
use std::ops::Range;
use std::sync::Mutex;

/// The most pieces of a file that are remembered as covered: a peer decides what it asks for.
const MOST_PIECES: usize = 16 << 10;

/// A reading of a [`Meter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Bytes of the file that were moved.
    pub bytes: u64,
    /// Streams that are open now.
    pub open: u64,
    /// The most streams that were open at once.
    pub peak: u64,
    /// One past the highest byte of the file that was moved. Of a tree, the bytes of all answers.
    pub offset: u64,
    /// Of a tree, answers that reached the end of a file.
    pub files: u64,
    /// Bytes of a single file that the peer has already, as their hashes say.
    pub same: u64,
    /// Bytes of a single file that answers covered: moved, in holes, or the same. Each counts once.
    pub covered: u64,
}

/// Counts bytes and streams.
#[derive(Debug, Default)]
pub struct Meter {
    reading: Mutex<Reading>,
    covered: Mutex<RangeSet>,
}

impl Meter {
    /// Counts `bytes` more, which end at `offset` in the file.
    pub fn add(&self, bytes: u64, offset: u64) {
        let mut reading = lock(&self.reading);
        reading.bytes += bytes;
        reading.offset = reading.offset.max(offset);
    }

    /// Counts bytes that the peer has already.
    pub fn add_same(&self, bytes: u64) {
        lock(&self.reading).same += bytes;
    }

    /// Counts this part of a single file as covered, as far as it was not.
    pub fn cover(&self, part: Range<u64>) {
        let mut covered = lock(&self.covered);
        if covered.count() < MOST_PIECES {
            covered.insert(part);
            lock(&self.reading).covered = covered.total();
        }
    }

    /// Counts an answer of a tree, or a part of one: `bytes` of `answered` are moved, and the rest
    /// need not be. `ends_file` says that the file has nothing behind it.
    pub fn add_of_tree(&self, bytes: u64, answered: u64, ends_file: bool) {
        let mut reading = lock(&self.reading);
        reading.bytes += bytes;
        reading.offset = reading.offset.wrapping_add(answered);
        reading.files += u64::from(ends_file);
    }

    /// Counts a stream as open until the returned value is dropped.
    pub fn open(&self) -> OpenStream<'_> {
        let mut reading = lock(&self.reading);
        reading.open += 1;
        reading.peak = reading.peak.max(reading.open);
        OpenStream { meter: self }
    }

    /// Reads the counts.
    pub fn read(&self) -> Reading {
        *lock(&self.reading)
    }
}

/// A stream that is being counted.
#[derive(Debug)]
pub struct OpenStream<'a> {
    meter: &'a Meter,
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        lock(&self.meter.reading).open -= 1;
    }
}

impl Reading {
    /// A tally of this. Of a transfer that is over, it has the most streams that were open at once.
    pub fn tally(self, is_over: bool) -> Tally {
        let streams = if is_over { self.peak } else { self.open };
        Tally { streams, ..self.into() }
    }
}

impl From<Reading> for Tally {
    fn from(reading: Reading) -> Tally {
        let Reading { bytes, open: streams, offset, files, same, covered, .. } = reading;
        Tally { bytes, streams, offset, files, same, covered, ..Tally::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_while_they_are_open() {
        let meter = Meter::default();
        let first = meter.open();
        let second = meter.open();
        drop(first);
        assert_eq!(meter.read(), Reading { open: 1, peak: 2, ..Reading::default() });
        drop(second);
        assert_eq!(meter.read().open, 0);
    }

    #[test]
    fn bytes_past_four_gibibytes_are_counted() {
        let meter = Meter::default();
        meter.add(3 << 30, 3 << 30);
        meter.add(3 << 30, 6 << 30);
        assert_eq!(meter.read().bytes, 6 << 30);
    }

    #[test]
    fn what_is_answered_twice_is_covered_once() {
        let meter = Meter::default();
        for part in [0..10, 20..30, 5..20, 0..10] {
            meter.cover(part);
        }
        assert_eq!(meter.read().covered, 30);
    }

    #[test]
    fn a_peer_that_asks_for_scattered_bytes_costs_a_bounded_memory() {
        let meter = Meter::default();
        (0..2 * MOST_PIECES as u64).for_each(|number| meter.cover(2 * number..2 * number + 1));
        assert_eq!(meter.read().covered, MOST_PIECES as u64);
    }

    #[test]
    fn every_answer_of_a_tree_counts_and_its_moved_bytes_and_files_do() {
        let meter = Meter::default();
        meter.add_of_tree(10, 10, false);
        meter.add_of_tree(0, 100, true);
        meter.add_of_tree(0, 0, true);
        let expected = Reading { bytes: 10, offset: 110, files: 2, ..Reading::default() };
        assert_eq!(meter.read(), expected);
    }

    #[test]
    fn a_tally_has_the_moved_bytes_and_the_open_streams() {
        let reading =
            Reading { bytes: 1, open: 2, peak: 3, offset: 4, files: 5, same: 6, covered: 7 };
        assert_eq!((reading.tally(false).streams, reading.tally(true).streams), (2, 3));
        let (bytes, streams, offset, files, same, covered) = (1, 2, 4, 5, 6, 7);
        let tally = Tally { bytes, streams, offset, files, same, covered, ..Tally::default() };
        assert_eq!(Tally::from(reading), tally);
    }
}
