//! Percent-encoding (RFC 3986, section 2.1) of paths. Does not split a URL, and does not decide
//! whether a path may be opened.

#![forbid(unsafe_code)]

use std::fmt;

/// Why a text cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PercentError {
    /// A `%` without two hexadecimal digits after it.
    BadEscape,
    /// A NUL byte, encoded or not: no path has one.
    Nul,
}

impl fmt::Display for PercentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PercentError::BadEscape => "a percent sign without two hexadecimal digits",
            PercentError::Nul => "a NUL byte",
        })
    }
}

impl std::error::Error for PercentError {}

/// Replaces every `%NN` by its byte, once: a second pass could give another name. The result is
/// never longer than the text. It may have any byte but NUL, `/` too.
///
/// # Errors
///
/// A broken escape, or a NUL byte.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, PercentError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let (Some(high), Some(low)) = (digit(high), digit(low)) else {
                    return Err(PercentError::BadEscape);
                };
                // Two hexadecimal digits always fit a byte.
                (u8::try_from(high * 16 + low).map_err(|_| PercentError::BadEscape)?, tail)
            }
            (b'%', _) => return Err(PercentError::BadEscape),
            (byte, tail) => (*byte, tail),
        };
        if byte == 0 {
            return Err(PercentError::Nul);
        }
        out.push(byte);
        rest = tail;
    }
    Ok(out)
}

/// Encodes a path: keeps unreserved characters (RFC 3986, section 2.3) and `/`; every other byte
/// becomes `%NN`. Adds and removes no slash.
pub fn encode_path(path: &[u8]) -> String {
    encode(path, |byte| byte == b'/')
}

/// Encodes one segment of a path: `/` becomes `%2F` too. The result is a relative reference (RFC
/// 3986, section 4.2) that can name neither a scheme nor a host.
pub fn encode_segment(name: &[u8]) -> String {
    encode(name, |_| false)
}

/// Keeps unreserved characters and the bytes that `keep` accepts; encodes every other byte.
fn encode(text: &[u8], keep: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte if keep(byte) => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(decode(b"/a%20b%2fc%2541%C3%a9"), Ok("/a b/c%41é".as_bytes().to_vec()));
    }

    #[test]
    fn other_bytes_are_kept() {
        assert_eq!(decode(b"a+b\xff?#&"), Ok(b"a+b\xff?#&".to_vec()));
        assert_eq!(decode(b""), Ok(Vec::new()));
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in [&b"%"[..], b"a%4", b"%4g", b"%g4", b"%+1", b"%%41", b"% 1", b"%\xff\xff"] {
            assert_eq!(decode(text), Err(PercentError::BadEscape), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn an_error_says_in_words_what_is_wrong() {
        let words = |text: &[u8]| decode(text).unwrap_err().to_string();
        assert_eq!(words(b"%zz"), "a percent sign without two hexadecimal digits");
        assert_eq!(words(b"%00"), "a NUL byte");
    }

    #[test]
    fn nul_is_refused() {
        assert_eq!(decode(b"a%00"), Err(PercentError::Nul));
        assert_eq!(decode(b"a\0"), Err(PercentError::Nul));
    }

    #[test]
    fn a_path_keeps_its_slashes_and_gets_none() {
        assert_eq!(encode_path(b"/dir/my file?.bin"), "/dir/my%20file%3F.bin");
        assert_eq!(encode_path(b"name-1_2.~"), "name-1_2.~");
        assert_eq!(encode_path("%é\n".as_bytes()), "%25%C3%A9%0A");
    }

    #[test]
    fn a_segment_stays_one_and_names_no_host() {
        assert_eq!(encode_segment(b"a b#?.bin"), "a%20b%23%3F.bin");
        assert_eq!(encode_segment(b"//host"), "%2F%2Fhost");
        assert_eq!(encode_segment(b"javascript:x"), "javascript%3Ax");
        assert_eq!(encode_segment(b"\\\xff\""), "%5C%FF%22");
    }

    #[test]
    fn an_encoded_path_decodes() {
        let every: Vec<u8> = (1..=255).collect();
        assert_eq!(decode(encode_path(&every).as_bytes()), Ok(every.clone()));
        assert_eq!(decode(encode_segment(&every).as_bytes()), Ok(every));
    }
}
