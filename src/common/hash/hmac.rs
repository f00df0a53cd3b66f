//! HMAC-SHA-256 (RFC 2104): a tag that only an owner of the key can make. [`same_secretly`]
//! compares two tags in constant time.

#![forbid(unsafe_code)]

use super::Sha256;

/// The block size of SHA-256, in bytes.
const BLOCK: usize = 64;

/// The tag of these parts, joined, under `key`.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        let mut hash = Sha256::new();
        hash.update(key);
        block[..32].copy_from_slice(&hash.finish());
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut inner = Sha256::new();
    inner.update(&block.map(|byte| byte ^ 0x36));
    for part in parts {
        inner.update(part);
    }
    let mut outer = Sha256::new();
    outer.update(&block.map(|byte| byte ^ 0x5c));
    outer.update(&inner.finish());
    outer.finish()
}

/// Whether two texts are the same. The time does not depend on where they differ.
pub fn same_secretly(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hex;

    /// RFC 4231, section 4: cases 1, 2, 3 and 6.
    #[test]
    fn the_standard_s_examples_hold() {
        let examples: [(&[u8], &[u8], &str); 4] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, message, expected) in examples {
            assert_eq!(hex(&hmac_sha256(key, &[message])), expected);
            let (start, end) = message.split_at(3);
            assert_eq!(hex(&hmac_sha256(key, &[start, end])), expected);
        }
    }

    #[test]
    fn texts_are_the_same_or_not() {
        assert!(same_secretly(b"abc", b"abc"));
        for other in [&b"abd"[..], b"bbc", b"ab", b"abcd", b""] {
            assert!(!same_secretly(b"abc", other));
        }
    }
}
