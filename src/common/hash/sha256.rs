//! SHA-256 (FIPS 180-4), a digest that cannot be forged. Chooses the fastest implementation of
//! this processor, once.

mod pair;
mod scalar;

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use pair::{PAIR_UNIT, Sha256Pair};

use std::sync::OnceLock;

use super::block::Blocks;
use pair::CompressPair;

/// The eight words a to h (FIPS 180-4, section 6.2).
type State = [u32; 8];

/// An implementation of the compression of whole blocks (FIPS 180-4, section 6.2.2).
type Compress = fn(&mut State, &[u8]);

/// Their values before the first block (FIPS 180-4, section 5.3.3).
#[rustfmt::skip]
const START: State = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a,
    0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
];

/// The constants K of the 64 rounds (FIPS 180-4, section 4.2.2).
#[rustfmt::skip]
static ROUNDS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5,
    0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3,
    0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc,
    0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7,
    0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13,
    0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3,
    0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5,
    0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208,
    0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// A SHA-256 digest in the making (FIPS 180-4).
#[derive(Clone)]
pub struct Sha256 {
    state: State,
    blocks: Blocks,
    compress: Compress,
}

impl Sha256 {
    /// The digest of the empty message, with this processor's own instructions if it has them.
    pub fn new() -> Sha256 {
        Sha256::with(fastest().0)
    }

    /// The same digest without any special instructions.
    pub fn portable() -> Sha256 {
        Sha256::with(scalar::compress)
    }

    /// Appends `bytes` to the message.
    pub fn update(&mut self, bytes: &[u8]) {
        let state = &mut self.state;
        self.blocks.feed(bytes, |whole| (self.compress)(state, whole));
    }

    /// Appends `count` zero bytes: a hole in a file, without reading it.
    pub fn update_zeros(&mut self, count: u64) {
        let state = &mut self.state;
        self.blocks.feed_zeros(count, |whole| (self.compress)(state, whole));
    }

    /// The first half of [`Sha256::finish`].
    pub fn finish_half(self) -> [u8; 16] {
        let mut half = [0; 16];
        half.copy_from_slice(&self.finish()[..16]);
        half
    }

    /// The digest of everything appended, in the order in which `sha256sum` prints it.
    pub fn finish(self) -> [u8; 32] {
        let mut state = self.state;
        let length = self.blocks.bits().to_be_bytes();
        self.blocks.finish(length, |whole| (self.compress)(&mut state, whole));
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    fn with(compress: Compress) -> Sha256 {
        Sha256 { state: START, blocks: Blocks::new(), compress }
    }
}

impl Default for Sha256 {
    fn default() -> Sha256 {
        Sha256::new()
    }
}

/// The fastest compression of this processor, and that of two messages at once if it has one.
fn fastest() -> (Compress, Option<CompressPair>) {
    static FASTEST: OnceLock<(Compress, Option<CompressPair>)> = OnceLock::new();
    *FASTEST.get_or_init(|| (accelerated().unwrap_or(scalar::compress), accelerated_pair()))
}

/// Compression of two messages at once by this processor's own instructions, if it has them.
fn accelerated_pair() -> Option<CompressPair> {
    #[cfg(target_arch = "x86_64")]
    return x86::detect_pair();
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Compression by this processor's own instructions, if it has them.
fn accelerated() -> Option<Compress> {
    #[cfg(target_arch = "x86_64")]
    return x86::detect();
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    return arm::detect();
    #[cfg(not(any(
        target_arch = "x86_64",
        all(target_arch = "aarch64", target_endian = "little")
    )))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hex;

    fn digest(mut hash: Sha256, bytes: &[u8]) -> String {
        hash.update(bytes);
        hex(&hash.finish())
    }

    fn message(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    /// Miri takes a thousand times as long for a step, so it looks at fewer cases.
    const STRIDE: usize = if cfg!(miri) { 37 } else { 1 };

    /// The examples for FIPS 180-4, and the message of no bytes.
    fn examples() -> impl Iterator<Item = (Vec<u8>, &'static str)> {
        let all = [
            (b"abc".to_vec(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (vec![], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".to_vec(),
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (
                vec![b'a'; 1_000_000],
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
            ),
        ];
        all.into_iter().filter(|(message, _)| STRIDE == 1 || message.len() < 1000)
    }

    #[test]
    fn the_examples_of_fips_180_hold() {
        for (message, expected) in examples() {
            assert_eq!(digest(Sha256::new(), &message), expected, "{}", message.len());
        }
    }

    #[test]
    fn the_examples_of_fips_180_hold_without_special_instructions() {
        for (message, expected) in examples() {
            assert_eq!(digest(Sha256::portable(), &message), expected, "{}", message.len());
        }
    }

    #[test]
    fn the_instructions_agree_with_scalar_code_at_every_length() {
        let message = message(1100);
        for length in (0..=1100).step_by(STRIDE) {
            let bytes = &message[..length];
            assert_eq!(digest(Sha256::new(), bytes), digest(Sha256::portable(), bytes), "{length}");
        }
    }

    #[test]
    fn the_instructions_agree_with_scalar_code_at_every_alignment() {
        let message = message(1100);
        for start in (0..64).step_by(STRIDE) {
            let bytes = &message[start..start + 1000];
            assert_eq!(digest(Sha256::new(), bytes), digest(Sha256::portable(), bytes), "{start}");
        }
    }

    #[test]
    fn every_split_gives_the_same_digest() {
        for length in (0..=200).step_by(STRIDE) {
            let message = message(length);
            let whole = digest(Sha256::new(), &message);
            for split in (0..=length).step_by(STRIDE) {
                let mut hash = Sha256::new();
                hash.update(&message[..split]);
                hash.update(&message[split..]);
                assert_eq!(hex(&hash.finish()), whole, "{split} of {length}");
            }
        }
    }

    #[test]
    fn zeros_are_hashed_as_if_they_had_been_read() {
        for count in [0, 1, 55, 64, 4097, 20_000] {
            let mut hash = Sha256::default();
            hash.update(b"before");
            hash.update_zeros(count as u64);
            let message = [b"before", vec![0; count].as_slice()].concat();
            assert_eq!(hex(&hash.finish()), digest(Sha256::new(), &message), "{count}");
        }
    }
}
