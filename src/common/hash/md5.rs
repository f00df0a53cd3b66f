//! MD5 (RFC 1321), to compare files as `md5sum` does. It detects accidents, not forgeries.
//!
//! Each of a block's 64 steps depends on the one before, so the longest chain of dependent
//! operations in a step limits the speed. The step functions therefore add the words that do not
//! need the newest word first; the newest word (always `b`) comes last.

#![forbid(unsafe_code)]

use std::hint::black_box;

use super::block::{BLOCK, Blocks};

/// The four words A, B, C and D (RFC 1321, section 3.3).
type State = [u32; 4];

/// Their values before the first block (RFC 1321, section 3.3).
const START: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The table T: 2^32 times the absolute sine of 1 to 64 (RFC 1321, section 3.4).
#[rustfmt::skip]
static SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee,
    0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be,
    0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa,
    0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed,
    0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c,
    0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05,
    0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039,
    0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1,
    0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// Only after a multiple of so many bytes has a message a state.
pub const MD5_UNIT: u64 = BLOCK as u64;

/// An MD5 digest in the making (RFC 1321).
#[derive(Clone)]
pub struct Md5 {
    state: State,
    blocks: Blocks,
}

impl Md5 {
    /// The digest of the empty message.
    pub const fn new() -> Md5 {
        Md5 { state: START, blocks: Blocks::new() }
    }

    /// Goes on with a message of `length` bytes that has this state. `None` if the length is no
    /// multiple of [`MD5_UNIT`].
    pub fn after(length: u64, state: [u8; 16]) -> Option<Md5> {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(state.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        (length % MD5_UNIT == 0).then(|| Md5 { state: words, blocks: Blocks::after(length) })
    }

    /// The state of a message of whole blocks: not its digest, since no padding is in it. Bytes
    /// that do not fill a block yet are not in it either.
    pub fn state(&self) -> [u8; 16] {
        bytes_of(self.state)
    }

    /// Appends `bytes` to the message.
    pub fn update(&mut self, bytes: &[u8]) {
        let state = &mut self.state;
        self.blocks.feed(bytes, |whole| compress(state, whole));
    }

    /// Appends `count` zero bytes: a hole in a file, without reading it.
    pub fn update_zeros(&mut self, count: u64) {
        let state = &mut self.state;
        self.blocks.feed_zeros(count, |whole| compress(state, whole));
    }

    /// The digest of everything appended, in the order in which `md5sum` prints it.
    pub fn finish(self) -> [u8; 16] {
        let mut state = self.state;
        let length = self.blocks.bits().to_le_bytes();
        self.blocks.finish(length, |whole| compress(&mut state, whole));
        bytes_of(state)
    }
}

/// The words, each with its low byte first.
fn bytes_of(state: State) -> [u8; 16] {
    let mut all = [0; 16];
    for (bytes, word) in all.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    all
}

impl Default for Md5 {
    fn default() -> Md5 {
        Md5::new()
    }
}

/// Step of round 1: F selects `c` where `b` has a one, else `d`. `known` is the message word plus
/// the sine, which are known long before `b`.
#[inline(always)]
fn f(a: u32, [b, c, d]: [u32; 3], known: u32, shift: u32) -> u32 {
    let sum = a.wrapping_add(known);
    sum.wrapping_add(((c ^ d) & b) ^ d).rotate_left(shift).wrapping_add(b)
}

/// Step of round 2: G selects `b` where `d` has a one, else `c`. Its halves have no bit in
/// common, so a sum joins them: the half of `c` needs no `b`.
#[inline(always)]
fn g(a: u32, [b, c, d]: [u32; 3], known: u32, shift: u32) -> u32 {
    let sum = a.wrapping_add(known).wrapping_add(c & !d);
    sum.wrapping_add(b & d).rotate_left(shift).wrapping_add(b)
}

/// Step of round 3: H is the parity of all three.
#[inline(always)]
fn h(a: u32, [b, c, d]: [u32; 3], known: u32, shift: u32) -> u32 {
    let sum = a.wrapping_add(known);
    sum.wrapping_add((c ^ d) ^ b).rotate_left(shift).wrapping_add(b)
}

/// Step of round 4: I is `c`, flipped where `b` has a one or `d` a zero.
#[inline(always)]
fn i(a: u32, [b, c, d]: [u32; 3], known: u32, shift: u32) -> u32 {
    let sum = a.wrapping_add(known);
    sum.wrapping_add((b | !d) ^ c).rotate_left(shift).wrapping_add(b)
}

/// Takes whole blocks into the state (RFC 1321, section 3.4).
fn compress(state: &mut State, whole: &[u8]) {
    // Hidden from the compiler: it would add a constant last, one more operation in the chain of
    // every step, a sixth of the speed.
    let sines: &[u32; 64] = black_box(&SINES);
    let [mut a, mut b, mut c, mut d] = *state;
    let mut rest = whole;
    while let Some((block, tail)) = rest.split_first_chunk::<BLOCK>() {
        let before = [a, b, c, d];

        // The early sum of a step: its message word and its sine.
        macro_rules! known {
            ($at:expr, $word:expr) => {
                word(block, ($word) % 16).wrapping_add(sines[$at])
            };
        }
        // Four steps from `$at` on, after which each variable has its own name
        // again. A round reads the words `$first`, `$first + $stride` and so on.
        macro_rules! four {
            ($step:ident, $at:expr, $first:expr, $stride:expr, $shifts:expr) => {
                let from = $first + $stride * ($at % 16);
                a = $step(a, [b, c, d], known!($at, from), $shifts[0]);
                d = $step(d, [a, b, c], known!($at + 1, from + $stride), $shifts[1]);
                c = $step(c, [d, a, b], known!($at + 2, from + $stride * 2), $shifts[2]);
                b = $step(b, [c, d, a], known!($at + 3, from + $stride * 3), $shifts[3]);
            };
        }
        // The sixteen steps of one round, from `$at` on.
        macro_rules! round {
            ($step:ident, $at:expr, $first:expr, $stride:expr, $shifts:expr) => {
                four!($step, $at, $first, $stride, $shifts);
                four!($step, $at + 4, $first, $stride, $shifts);
                four!($step, $at + 8, $first, $stride, $shifts);
                four!($step, $at + 12, $first, $stride, $shifts);
            };
        }
        round!(f, 0, 0, 1, [7, 12, 17, 22]);
        round!(g, 16, 1, 5, [5, 9, 14, 20]);
        round!(h, 32, 5, 3, [4, 11, 16, 23]);
        round!(i, 48, 0, 7, [6, 10, 15, 21]);

        a = a.wrapping_add(before[0]);
        b = b.wrapping_add(before[1]);
        c = c.wrapping_add(before[2]);
        d = d.wrapping_add(before[3]);
        rest = tail;
    }
    *state = [a, b, c, d];
}

/// Word `index` of a block, the low byte first (RFC 1321, section 2).
#[inline(always)]
fn word(block: &[u8; BLOCK], index: usize) -> u32 {
    let at = index * 4;
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hex;

    fn md5(bytes: &[u8]) -> String {
        let mut hash = Md5::new();
        hash.update(bytes);
        hex(&hash.finish())
    }

    fn message(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    /// Miri takes a thousand times as long for a step, so it looks at fewer cases.
    const STRIDE: usize = if cfg!(miri) { 37 } else { 1 };

    #[test]
    fn the_test_suite_of_rfc_1321_holds() {
        let suite = [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                "d174ab98d277d9f5a5611c2c9f419d9f",
            ),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ];
        for (text, digest) in suite {
            assert_eq!(md5(text.as_bytes()), digest, "{text:?}");
        }
    }

    #[test]
    fn lengths_around_the_padding_s_edges_hold() {
        // What md5sum says of that many times the letter a.
        let edges = [
            (55, "ef1772b6dff9a122358552954ad0df65"),
            (56, "3b0c8ac703f828b04c6c197006d17218"),
            (57, "652b906d60af96844ebd21b674f35e93"),
            (63, "b06521f39153d618550606be297466d5"),
            (64, "014842d480b571495a4a0363793f7367"),
            (65, "c743a45e0d2e6a95cb859adae0248435"),
            (119, "8a7bd0732ed6a28ce75f6dabc90e1613"),
            (120, "5f61c0ccad4cac44c75ff505e1f1e537"),
            (128, "e510683b3f5ffe4093d021808bc6ff70"),
        ];
        for (length, digest) in edges {
            assert_eq!(md5(&vec![b'a'; length]), digest, "{length}");
        }
    }

    #[test]
    fn every_split_gives_the_same_digest() {
        for length in (0..=200).step_by(STRIDE) {
            let message = message(length);
            let whole = md5(&message);
            for split in (0..=length).step_by(STRIDE) {
                let mut hash = Md5::new();
                hash.update(&message[..split]);
                hash.update(&message[split..]);
                assert_eq!(hex(&hash.finish()), whole, "{split} of {length}");
            }
        }
    }

    #[test]
    fn byte_by_byte_is_the_same_as_at_once() {
        let message = message(1000);
        let mut hash = Md5::new();
        for byte in &message {
            hash.update(&[*byte]);
        }
        assert_eq!(hex(&hash.finish()), md5(&message));
    }

    #[test]
    fn zeros_are_hashed_as_if_they_had_been_read() {
        for count in [0, 1, 55, 63, 64, 65, 4095, 4096, 4097, 20_000] {
            let mut hash = Md5::new();
            hash.update(b"before");
            hash.update_zeros(count as u64);
            hash.update(b"after");
            assert_eq!(
                hex(&hash.finish()),
                md5(&[b"before", vec![0; count].as_slice(), b"after"].concat()),
                "{count}"
            );
        }
    }

    #[test]
    fn another_digest_goes_on_from_a_state_between_two_blocks() {
        let message = message(1000);
        for at in [0, 64, 128, 960] {
            let mut one = Md5::new();
            one.update(&message[..at]);
            let mut other = Md5::after(at as u64, one.state()).unwrap();
            other.update(&message[at..]);
            assert_eq!(hex(&other.finish()), md5(&message), "{at}");
        }
        assert!(Md5::after(63, [0; 16]).is_none() && Md5::after(65, [0; 16]).is_none());
        assert_eq!(hex(&Md5::new().state()), "0123456789abcdeffedcba9876543210");
    }

    #[test]
    fn a_clone_is_independent() {
        let mut hash = Md5::default();
        hash.update(b"ab");
        let fork = hash.clone();
        hash.update(b"c");
        assert_eq!(hex(&hash.finish()), md5(b"abc"));
        assert_eq!(hex(&fork.finish()), md5(b"ab"));
    }
}
