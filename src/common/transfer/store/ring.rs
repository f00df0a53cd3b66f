//! A window of a file in memory. Bytes come in any order and go out in file order. Each byte is at
//! its offset, modulo the size of the window. The queue knows which bytes have come, and asks for
//! no byte too early.

#![forbid(unsafe_code)]

use crate::sys::sync::lock;
use std::sync::Mutex;

/// Bytes of a slot. Each slot has a lock of its own, so that streams rarely wait for each other. A
/// slot takes no memory before the first byte is written to it.
const SLOT: usize = 256 << 10;

/// The window.
pub struct Ring {
    slots: Vec<Mutex<Vec<u8>>>,
}

impl Ring {
    /// A window of `size` bytes, rounded up to whole slots.
    pub fn new(size: usize) -> Ring {
        let count = size.div_ceil(SLOT).max(1);
        Ring { slots: (0..count).map(|_| Mutex::default()).collect() }
    }

    /// Bytes of the window.
    pub fn size(&self) -> u64 {
        (self.slots.len() * SLOT) as u64
    }

    /// Writes `bytes` at `offset` of the file.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        self.each(offset, bytes.len(), |place, done| {
            place.copy_from_slice(&bytes[done..done + place.len()]);
        });
    }

    /// Reads `bytes` from `offset` of the file. They were written before.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) {
        self.each(offset, bytes.len(), |place, done| {
            bytes[done..done + place.len()].copy_from_slice(place);
        });
    }

    /// Calls `step` with each piece of the window for the `length` bytes from `offset`. The second
    /// argument is how many of these bytes come before the piece.
    fn each(&self, offset: u64, length: usize, mut step: impl FnMut(&mut [u8], usize)) {
        let mut done = 0;
        while done < length {
            let at = ((offset + done as u64) % self.size()) as usize;
            let (slot, start) = (at / SLOT, at % SLOT);
            let end = SLOT.min(start + length - done);
            let mut slot = lock(&self.slots[slot]);
            if slot.is_empty() {
                *slot = vec![0; SLOT];
            }
            step(&mut slot[start..end], done);
            done += end - start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_bytes_are_read_again_across_slots_and_around_the_end() {
        let ring = Ring::new(3 * SLOT - 1);
        assert_eq!(ring.size(), 3 * SLOT as u64);
        let mut bytes = Vec::from_iter(0..251).repeat(ring.size() as usize / 251 + 1);
        bytes.truncate(ring.size() as usize);
        for offset in [0, 1, SLOT as u64 - 1, ring.size() - 1, (5 << 30) + 77] {
            ring.write(offset, &bytes);
            let mut back = vec![0; bytes.len()];
            ring.read(offset, &mut back);
            assert!(back == bytes, "{offset}");
        }
    }

    #[test]
    fn bytes_one_window_later_replace_the_old_bytes() {
        let ring = Ring::new(SLOT);
        ring.write(10, b"old");
        ring.write(10 + ring.size(), b"new");
        let mut back = [0; 3];
        ring.read(10, &mut back);
        assert_eq!(&back, b"new");
    }

    #[test]
    fn a_slot_without_a_written_byte_takes_no_memory() {
        let ring = Ring::new(4 * SLOT);
        ring.write(SLOT as u64, b"x");
        let lengths: Vec<usize> = ring.slots.iter().map(|slot| lock(slot).len()).collect();
        assert_eq!(lengths, [0, SLOT, 0, 0]);
    }
}
