//! The framing that MD5 and SHA-256 share: cuts the message into blocks of 64 bytes, keeps the
//! unfinished one and pads the last. Knows no hash function.

#![forbid(unsafe_code)]

/// Bytes in one block of either function (RFC 1321, section 3; FIPS 180-4, section 5.2.1).
pub(super) const BLOCK: usize = 64;

/// The offset of the length in the last block, in bytes.
const LENGTH_AT: usize = BLOCK - 8;

/// The zeros that `feed_zeros` feeds repeatedly.
static ZEROS: [u8; 4096] = [0; 4096];

/// The state of a message: its length so far, and the bytes that do not fill a block yet.
#[derive(Clone)]
pub(super) struct Blocks {
    /// The message's last `total % BLOCK` bytes, at the front.
    partial: [u8; BLOCK],
    /// The message's length in bytes, modulo 2^64.
    total: u64,
}

impl Blocks {
    /// An empty message.
    pub(super) const fn new() -> Blocks {
        Blocks { partial: [0; BLOCK], total: 0 }
    }

    /// A message of which `total` bytes were fed elsewhere: whole blocks.
    pub(super) const fn after(total: u64) -> Blocks {
        Blocks { partial: [0; BLOCK], total }
    }

    /// The message's length so far, in bits modulo 2^64, as both standards count it.
    pub(super) fn bits(&self) -> u64 {
        self.total.wrapping_mul(8)
    }

    /// Appends `bytes`. `compress` gets every full block, in order, in slices of one or more
    /// whole blocks. Blocks within `bytes` are not copied.
    pub(super) fn feed(&mut self, bytes: &[u8], mut compress: impl FnMut(&[u8])) {
        let kept = self.kept();
        self.total = self.total.wrapping_add(bytes.len() as u64);
        let mut rest = bytes;
        if kept > 0 {
            let (head, tail) = rest.split_at(rest.len().min(BLOCK - kept));
            self.partial[kept..kept + head.len()].copy_from_slice(head);
            if kept + head.len() < BLOCK {
                return;
            }
            compress(&self.partial);
            rest = tail;
        }
        let (whole, tail) = rest.split_at(rest.len() - rest.len() % BLOCK);
        if !whole.is_empty() {
            compress(whole);
        }
        self.partial[..tail.len()].copy_from_slice(tail);
    }

    /// Appends `count` zero bytes, as `feed` would.
    pub(super) fn feed_zeros(&mut self, count: u64, mut compress: impl FnMut(&[u8])) {
        let mut left = count;
        while left > 0 {
            let length = left.min(ZEROS.len() as u64);
            self.feed(&ZEROS[..length as usize], &mut compress);
            left -= length;
        }
    }

    /// Ends the message: a one bit, zeros, then `length`, which is `bits()` in the
    /// function's own byte order.
    pub(super) fn finish(mut self, length: [u8; 8], mut compress: impl FnMut(&[u8])) {
        let kept = self.kept();
        self.partial[kept] = 0x80;
        self.partial[kept + 1..].fill(0);
        if kept >= LENGTH_AT {
            compress(&self.partial);
            self.partial.fill(0);
        }
        self.partial[LENGTH_AT..].copy_from_slice(&length);
        compress(&self.partial);
    }

    /// The used length of `partial`: less than `BLOCK`.
    fn kept(&self) -> usize {
        (self.total % BLOCK as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All bytes that `compress` gets for a message fed in these pieces.
    fn framed(pieces: &[&[u8]]) -> Vec<u8> {
        let mut blocks = Blocks::new();
        let mut out = Vec::new();
        for piece in pieces {
            blocks.feed(piece, |whole| out.extend_from_slice(whole));
        }
        let length = blocks.bits().to_be_bytes();
        blocks.finish(length, |whole| out.extend_from_slice(whole));
        out
    }

    #[test]
    fn padding_is_a_one_bit_zeros_and_the_length() {
        let mut expected = [0; BLOCK];
        expected[..4].copy_from_slice(b"abc\x80");
        expected[63] = 24;
        assert_eq!(framed(&[b"abc"]), expected);
    }

    #[test]
    fn a_length_that_does_not_fit_takes_a_block_of_its_own() {
        assert_eq!(framed(&[&[1; 55]]).len(), BLOCK);
        assert_eq!(framed(&[&[1; 56]]).len(), 2 * BLOCK);
        assert_eq!(framed(&[&[1; 63]]).len(), 2 * BLOCK);
        assert_eq!(framed(&[&[1; 64]]).len(), 2 * BLOCK);
    }

    #[test]
    fn only_whole_blocks_are_handed_on() {
        let mut blocks = Blocks::new();
        for length in [1, 62, 1, 0, 64, 65, 127, 300] {
            let message = vec![7; length];
            blocks.feed(&message, |whole| {
                assert!(!whole.is_empty());
                assert_eq!(whole.len() % BLOCK, 0);
            });
        }
    }

    #[test]
    fn the_pieces_do_not_matter() {
        let message: Vec<u8> = (0..200).collect();
        let whole = framed(&[&message]);
        assert_eq!(
            framed(&[&message[..10], &message[10..20], &message[20..150], &message[150..]]),
            whole
        );
    }

    #[test]
    fn whole_blocks_of_the_caller_come_in_one_slice() {
        let mut blocks = Blocks::new();
        let mut lengths = Vec::new();
        blocks.feed(&[0; 3], |whole| lengths.push(whole.len()));
        blocks.feed(&[0; 61 + 640 + 5], |whole| lengths.push(whole.len()));
        assert_eq!(lengths, [64, 640]);
    }

    #[test]
    fn the_length_wraps_as_the_standards_say() {
        let mut blocks = Blocks::new();
        blocks.total = 1 << 61;
        assert_eq!(blocks.bits(), 0);
    }
}
