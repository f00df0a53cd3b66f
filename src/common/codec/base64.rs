//! Base64 with the standard alphabet and padding (RFC 4648, section 4). Strict: each sequence of
//! bytes has exactly one text.

#![forbid(unsafe_code)]

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes bytes, with padding, without line ends.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) as usize & 63;
            out.push(if place <= group.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    out
}

/// Decodes a text. The result has three quarters of its length.
///
/// `None` for a character outside the alphabet, white space too; for missing or excess padding
/// (RFC 4648, section 3.2); and for bits after the last byte that are not zero (section 3.5).
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() % 4 != 0 {
        return None;
    }
    let unpadded = text.strip_suffix(b"=").map_or(text, |t| t.strip_suffix(b"=").unwrap_or(t));
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for group in unpadded.chunks(4) {
        let mut bits: u32 = 0;
        for &character in group {
            bits = bits << 6 | u32::from(value(character)?);
        }
        let [_, bytes @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        let (kept, spare) = bytes.split_at_checked(group.len() - 1)?;
        if spare.iter().any(|&byte| byte != 0) {
            return None;
        }
        out.extend_from_slice(kept);
    }
    Some(out)
}

/// The six bits of a character.
fn value(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    const VECTORS: [(&str, &str); 7] = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];

    #[test]
    fn the_vectors_of_the_standard_are_encoded() {
        for (bytes, text) in VECTORS {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_vectors_of_the_standard_are_decoded() {
        for (bytes, text) in VECTORS {
            assert_eq!(decode(text.as_bytes()), Some(bytes.as_bytes().to_vec()));
        }
    }

    #[test]
    fn every_character_of_the_alphabet_is_used() {
        let bytes = decode(ALPHABET).unwrap();
        assert_eq!(bytes.len(), 48);
        assert_eq!(encode(&bytes).as_bytes(), ALPHABET);
    }

    #[test]
    fn padding_is_strict() {
        for text in
            ["Zg", "Zg=", "Zg===", "Zm8", "Zm8==", "Z===", "====", "=", "Zm9v====", "Zg==Zg=="]
        {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn bits_behind_the_end_are_zero() {
        assert_eq!(decode(b"Zh=="), None);
        assert_eq!(decode(b"Zm9="), None);
    }

    #[test]
    fn other_characters_are_refused() {
        for text in ["Zg-_", "Zm9 ", "Zm\n9", "Zm9\u{7f}", "Z=9v", "\u{e9}Zm"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
