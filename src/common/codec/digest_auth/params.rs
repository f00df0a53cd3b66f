//! The grammar that all authentication fields share (RFC 9110, section 11): schemes with
//! parameters, tokens and quoted strings, read and written. Knows no scheme.

#![forbid(unsafe_code)]

use super::DigestError;
use crate::codec::http::{is_token, trim_ows};

/// The longest field that is accepted, in bytes.
pub const MAX_TEXT: usize = 12 * 1024;

/// The most schemes in one field.
pub const MAX_SCHEMES: usize = 8;

/// The most parameters of one scheme.
pub const MAX_PARAMS: usize = 32;

/// The longest value of a parameter, in bytes without its quotes and escapes.
pub const MAX_VALUE: usize = 1024;

/// The longest value of `uri`, which repeats a request's target.
pub const MAX_URI: usize = 8 * 1024;

/// The longest value of the parameter with this name.
fn most(name: &[u8]) -> usize {
    if name.eq_ignore_ascii_case(b"uri") { MAX_URI } else { MAX_VALUE }
}

/// A scheme and its parameters: a challenge, or credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scheme {
    pub(super) name: Vec<u8>,
    params: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Scheme {
    /// The value of a parameter. Names are compared without regard to case.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.params.iter().find(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_slice())
    }

    /// The value of a required parameter.
    pub(super) fn need(&self, name: &str, missing: &'static str) -> Result<&[u8], DigestError> {
        self.get(name).ok_or(DigestError::new(missing))
    }

    /// Whether this is Digest.
    pub(super) fn is_digest(&self) -> bool {
        self.name.eq_ignore_ascii_case(b"Digest")
    }

    fn push(&mut self, name: &[u8], value: Vec<u8>) -> Result<(), DigestError> {
        if self.params.len() == MAX_PARAMS {
            return Err(DigestError::new("too many parameters"));
        }
        if self.params.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
            return Err(DigestError::new("a parameter comes twice"));
        }
        self.params.push((name.to_vec(), value));
        Ok(())
    }
}

/// Reads all schemes of a field's value, in order. A comma ends a parameter or a scheme (RFC
/// 9110, section 11.6.1): the byte after the next name tells which.
pub(super) fn parse_schemes(text: &[u8]) -> Result<Vec<Scheme>, DigestError> {
    if text.len() > MAX_TEXT {
        return Err(DigestError::new("the field is too long"));
    }
    let mut schemes: Vec<Scheme> = Vec::new();
    let mut rest = text;
    loop {
        while let [b',' | b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(schemes);
        }
        let (name, tail) = take_token(rest)?;
        let behind = trim_ows(tail);
        if let [b'=', value @ ..] = behind {
            let scheme = schemes.last_mut().ok_or(DigestError::new("no scheme at the start"))?;
            let (value, tail) = take_value(trim_ows(value), most(name))?;
            scheme.push(name, value)?;
            rest = end_of_element(tail)?;
        } else {
            if schemes.len() == MAX_SCHEMES {
                return Err(DigestError::new("too many schemes"));
            }
            schemes.push(Scheme { name: name.to_vec(), params: Vec::new() });
            rest = match tail {
                [b' ', ..] => skip_token68(behind),
                _ => end_of_element(tail)?,
            };
        }
    }
}

/// Steps over the end of an element: a comma, or the end of the text.
fn end_of_element(text: &[u8]) -> Result<&[u8], DigestError> {
    match trim_ows(text) {
        rest @ ([] | [b',', ..]) => Ok(rest),
        _ => Err(DigestError::new("no comma behind a parameter")),
    }
}

/// Steps over a token68 (RFC 9110, section 11.2), which other schemes use instead of parameters,
/// if there is one.
fn skip_token68(text: &[u8]) -> &[u8] {
    let is_68 = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    let length = text.iter().position(|byte| !is_68(byte)).unwrap_or(text.len());
    let (body, mut tail) = text.split_at_checked(length).unwrap_or_default();
    while let [b'=', more @ ..] = tail {
        tail = more;
    }
    match end_of_element(tail) {
        Ok(rest) if !body.is_empty() => rest,
        _ => text,
    }
}

fn take_token(text: &[u8]) -> Result<(&[u8], &[u8]), DigestError> {
    let length = text.iter().position(|&byte| !is_token(&[byte])).unwrap_or(text.len());
    match text.split_at_checked(length) {
        Some((token, rest)) if !token.is_empty() => Ok((token, rest)),
        _ => Err(DigestError::new("not a token")),
    }
}

/// A token or a quoted string (RFC 9110, section 5.6.4), with its escapes undone.
fn take_value(text: &[u8], most: usize) -> Result<(Vec<u8>, &[u8]), DigestError> {
    let too_long = DigestError::new("a parameter is too long");
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let (token, rest) = take_token(text)?;
        return if token.len() > most { Err(too_long) } else { Ok((token.to_vec(), rest)) };
    };
    let mut value = Vec::new();
    loop {
        let byte = match rest {
            [b'"', tail @ ..] => return Ok((value, tail)),
            [b'\\', byte, tail @ ..] | [byte, tail @ ..] => {
                rest = tail;
                *byte
            }
            [] => return Err(DigestError::new("a quoted string does not end")),
        };
        if !is_quotable(byte) {
            return Err(DigestError::new("a control character in a quoted string"));
        }
        if value.len() == most {
            return Err(too_long);
        }
        value.push(byte);
    }
}

fn is_quotable(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// A value in quotes, escaped where necessary.
///
/// # Errors
///
/// A control character, or more than [`MAX_VALUE`] bytes.
pub(super) fn quote(value: &[u8]) -> Result<Vec<u8>, DigestError> {
    quote_up_to(value, MAX_VALUE)
}

/// As [`quote`], for a `uri` of up to [`MAX_URI`] bytes.
pub(super) fn quote_uri(value: &[u8]) -> Result<Vec<u8>, DigestError> {
    quote_up_to(value, MAX_URI)
}

fn quote_up_to(value: &[u8], most: usize) -> Result<Vec<u8>, DigestError> {
    if value.len() > most {
        return Err(DigestError::new("a parameter is too long"));
    }
    if !value.iter().copied().all(is_quotable) {
        return Err(DigestError::new("a control character in a quoted string"));
    }
    let mut out = vec![b'"'];
    for &byte in value {
        if let b'"' | b'\\' = byte {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Scheme {
        let mut schemes = parse_schemes(text.as_bytes()).unwrap();
        assert_eq!(schemes.len(), 1);
        schemes.remove(0)
    }

    fn reason(text: &str) -> &'static str {
        parse_schemes(text.as_bytes()).unwrap_err().reason()
    }

    #[test]
    fn parameters_are_tokens_or_quoted_strings() {
        let scheme = one("Digest a=1, B = \"x, y=\\\"z\\\\\" ,,c=\"\"");
        assert!(scheme.is_digest());
        assert_eq!(scheme.get("a"), Some(&b"1"[..]));
        assert_eq!(scheme.get("b"), Some(&b"x, y=\"z\\"[..]));
        assert_eq!(scheme.get("c"), Some(&b""[..]));
        assert_eq!(scheme.get("d"), None);
    }

    #[test]
    fn a_field_may_have_several_schemes() {
        let text = "Negotiate, Basic realm=\"x\", NTLM abc/==, Digest realm=y,nonce=z";
        let schemes = parse_schemes(text.as_bytes()).unwrap();
        let names: Vec<&[u8]> = schemes.iter().map(|scheme| scheme.name.as_slice()).collect();
        assert_eq!(names, [&b"Negotiate"[..], b"Basic", b"NTLM", b"Digest"]);
        assert_eq!(schemes[1].get("realm"), Some(&b"x"[..]));
        assert_eq!(schemes[3].get("nonce"), Some(&b"z"[..]));
    }

    #[test]
    fn bytes_beyond_ascii_are_kept() {
        assert_eq!(one("Digest a=\"\u{e9}\"").get("a"), Some("\u{e9}".as_bytes()));
    }

    #[test]
    fn a_parameter_that_must_be_there_is_found_or_missed() {
        let scheme = one("Digest a=1");
        assert_eq!(scheme.need("A", "no a"), Ok(&b"1"[..]));
        assert_eq!(scheme.need("b", "no b").unwrap_err().reason(), "no b");
    }

    #[test]
    fn another_scheme_is_not_digest() {
        assert!(!one("Basic a=1").is_digest());
    }

    #[test]
    fn a_parameter_comes_once() {
        assert_eq!(reason("Digest a=1, A=1"), "a parameter comes twice");
    }

    #[test]
    fn broken_fields_are_refused() {
        for text in [
            "a=1",
            "=1",
            "Digest b=1, a=",
            "Digest a=\"x",
            "Digest a=\"x\\",
            "Digest a=\"x\"y",
            "Digest a=1 b=2",
            "Digest a=\"\n\"",
            "Digest a=\"\\\u{1}\"",
            "Digest a=é",
            "\"Digest\" a=1",
            "Digest;a=1",
        ] {
            assert!(parse_schemes(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_limit_of_parameters_is_exact() {
        let params = |count: usize| {
            let all: Vec<String> = (0..count).map(|n| format!("p{n}=1")).collect();
            format!("Digest {}", all.join(","))
        };
        assert!(parse_schemes(params(MAX_PARAMS).as_bytes()).is_ok());
        assert_eq!(reason(&params(MAX_PARAMS + 1)), "too many parameters");
    }

    #[test]
    fn the_limit_of_a_value_is_exact() {
        for quote in ["", "\""] {
            let text = |size: usize| format!("Digest a={quote}{}{quote}", "x".repeat(size));
            assert!(parse_schemes(text(MAX_VALUE).as_bytes()).is_ok());
            assert_eq!(reason(&text(MAX_VALUE + 1)), "a parameter is too long");
        }
        assert!(quote(&[b'x'; MAX_VALUE]).is_ok());
        assert!(quote(&[b'x'; MAX_VALUE + 1]).is_err());
    }

    #[test]
    fn the_limit_of_a_uri_is_that_of_a_target_and_exact() {
        assert_eq!(MAX_URI, crate::codec::http::MAX_REQUEST_LINE);
        for quote in ["", "\""] {
            let text = |length| format!("Digest URI={quote}{}{quote}", "x".repeat(length));
            assert!(parse_schemes(text(MAX_URI).as_bytes()).is_ok());
            assert_eq!(reason(&text(MAX_URI + 1)), "a parameter is too long");
        }
        assert!(quote_uri(&[b'x'; MAX_URI]).is_ok());
        assert!(quote_uri(&[b'x'; MAX_URI + 1]).is_err());
    }

    #[test]
    fn the_limit_of_schemes_is_exact() {
        assert_eq!(parse_schemes("a,".repeat(MAX_SCHEMES).as_bytes()).unwrap().len(), MAX_SCHEMES);
        assert_eq!(reason(&"a,".repeat(MAX_SCHEMES + 1)), "too many schemes");
    }

    #[test]
    fn the_limit_of_the_field_is_exact() {
        let text = |size: usize| format!("a{}", ",".repeat(size - 1));
        assert!(parse_schemes(text(MAX_TEXT).as_bytes()).is_ok());
        assert_eq!(reason(&text(MAX_TEXT + 1)), "the field is too long");
    }

    #[test]
    fn what_is_quoted_reads_back() {
        let value = b"a\"b\\c, d=\xff\t";
        let text = [&b"Digest a="[..], &quote(value).unwrap()].concat();
        assert_eq!(parse_schemes(&text).unwrap()[0].get("a"), Some(&value[..]));
    }

    #[test]
    fn control_characters_are_not_quoted() {
        for value in [&b"\r"[..], b"\n", b"\0", b"\x7f"] {
            assert!(quote(value).is_err());
        }
    }
}
