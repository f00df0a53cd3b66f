//! The digest fields (RFC 9530), for MD5 and SHA-256: `Repr-Digest`, `Content-Digest` and
//! `Want-Repr-Digest`. Computes no digest.

#![forbid(unsafe_code)]

use super::base64;
use super::structured::{Item, NotStructured, member};

/// The value of `Want-Repr-Digest` that asks for the MD5 (RFC 9530, section 4).
pub const WANT_MD5: &str = "md5=1";

/// The value of a `Repr-Digest` field for this MD5 of a whole representation (RFC
/// 9530, section 3): `md5=:<base64>:`.
pub fn format_md5(digest: &[u8; 16]) -> String {
    format!("md5=:{}:", base64::encode(digest))
}

/// The MD5 in the value of a `Repr-Digest` field, or in several fields joined to one; `None` if
/// the digests have no MD5.
///
/// # Errors
///
/// A value that is no dictionary, or an MD5 that is not 16 bytes. It proves neither that the file
/// is whole nor that it is damaged.
pub fn parse_md5(value: &[u8]) -> Result<Option<[u8; 16]>, NotStructured> {
    parse(value, "md5")
}

/// As [`parse_md5`], for the SHA-256.
///
/// # Errors
///
/// As of [`parse_md5`], for 32 bytes.
pub fn parse_sha256(value: &[u8]) -> Result<Option<[u8; 32]>, NotStructured> {
    parse(value, "sha-256")
}

/// The digest of `LENGTH` bytes with this key.
fn parse<const LENGTH: usize>(
    value: &[u8],
    key: &str,
) -> Result<Option<[u8; LENGTH]>, NotStructured> {
    match member(value, key)? {
        None => Ok(None),
        Some(Item::Bytes(bytes)) => match bytes.try_into() {
            Ok(digest) => Ok(Some(digest)),
            Err(_) => Err(NotStructured),
        },
        Some(_) => Err(NotStructured),
    }
}

/// Whether the value of a `Want-Repr-Digest` field asks for an MD5: with a preference of 1 to 10
/// (RFC 9530, section 4). An invalid value asks for nothing.
pub fn wants_md5(value: &[u8]) -> bool {
    matches!(member(value, "md5"), Ok(Some(Item::Integer(1..=10))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The MD5 of nothing.
    const DIGEST: [u8; 16] = [
        0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42,
        0x7e,
    ];

    #[test]
    fn a_digest_is_written_in_base64() {
        assert_eq!(format_md5(&DIGEST), "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:");
    }

    #[test]
    fn a_digest_is_found_among_others() {
        let value = "sha-256=:AAAA:;x=1, md5=:1B2M2Y8AsgTpgAmY7PhCfg==:;y, z=1";
        assert_eq!(parse_md5(value.as_bytes()), Ok(Some(DIGEST)));
        assert_eq!(parse_md5(b"sha-256=:AAAA:"), Ok(None));
    }

    #[test]
    fn a_digest_of_another_kind_or_length_is_refused() {
        for value in
            ["md5=1", "md5", "md5=:AAAA:", "md5=::", "md5=1B2M2Y8AsgTpgAmY7PhCfg==", "md5=:"]
        {
            assert_eq!(parse_md5(value.as_bytes()), Err(NotStructured), "{value}");
        }
    }

    #[test]
    fn a_sha256_is_found_and_has_32_bytes() {
        let text = format!("sha-256=:{}:", base64::encode(&[7; 32]));
        assert_eq!(parse_sha256(text.as_bytes()), Ok(Some([7; 32])));
        assert_eq!(parse_sha256(b"md5=:1B2M2Y8AsgTpgAmY7PhCfg==:"), Ok(None));
        for value in
            ["sha-256=:AAAA:", "sha-256=1", "sha-256", "sha-256=:1B2M2Y8AsgTpgAmY7PhCfg==:"]
        {
            assert_eq!(parse_sha256(value.as_bytes()), Err(NotStructured), "{value}");
        }
    }

    #[test]
    fn preferences_of_one_to_ten_ask_for_a_digest() {
        assert!(wants_md5(WANT_MD5.as_bytes()));
        assert!(wants_md5(b"sha-256=10, md5=10"));
        for value in ["md5=0", "md5=11", "md5=-1", "md5", "md5=1.0", "sha-256=1", "", "md5=1,"] {
            assert!(!wants_md5(value.as_bytes()), "{value}");
        }
    }
}
