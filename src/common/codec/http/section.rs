//! Lines and field sections of a head (RFC 9112, sections 2.2 and 5) from bytes, with their
//! limits. Knows neither start lines nor the meaning of a field.

#![forbid(unsafe_code)]

use super::Headers;
use super::headers::{is_token, trim_ows};

/// The greatest length of all field lines of a head, in bytes: with their line ends, without the
/// empty line after them.
pub const MAX_FIELD_BYTES: usize = 16 * 1024;

/// The most fields that a head may have.
pub const MAX_FIELDS: usize = 64;

/// Why a field section is refused. Requests and responses report it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its grammar is broken.
    Malformed(&'static str),
    /// It exceeds a limit.
    TooLarge(&'static str),
}

/// The start of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A whole line without its end, and its length with its end.
    Whole(&'a [u8], usize),
    /// The start of a line. A CR at its end is left out: it may belong to the line's end.
    Part(&'a [u8]),
}

/// Reads a line from the start of `bytes`. It ends with CRLF, or with LF alone (RFC 9112, section
/// 2.2).
///
/// # Errors
///
/// The line so far has a NUL, or a CR without LF.
pub(super) fn take_line(bytes: &[u8]) -> Result<Line<'_>, Fault> {
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let text = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.contains(&b'\r') {
        return Err(Fault::Malformed("a carriage return inside a line"));
    }
    if text.contains(&0) {
        return Err(Fault::Malformed("a NUL byte in the head"));
    }
    Ok(match end {
        Some(end) => Line::Whole(text, end + 1),
        None => Line::Part(text),
    })
}

/// Reads a field section from the start of `bytes`. The answer is its length, with the empty line
/// at its end, and the fields; `None` if it is incomplete.
///
/// # Errors
///
/// `Malformed` for what RFC 9112, section 5, does not allow; `TooLarge` over [`MAX_FIELDS`] or
/// [`MAX_FIELD_BYTES`], as soon as it is certain.
pub(super) fn take_fields(bytes: &[u8]) -> Result<Option<(usize, Headers)>, Fault> {
    let mut fields: Vec<(&[u8], &[u8])> = Vec::new();
    let mut used = 0;
    loop {
        let rest = bytes.get(used..).unwrap_or_default();
        // The scan stops at the limit and the longest line end.
        let window = rest.get(..MAX_FIELD_BYTES - used + 2).unwrap_or(rest);
        let (text, length) = match take_line(window)? {
            Line::Whole([], length) => {
                let mut headers = Headers::new();
                fields.into_iter().for_each(|(name, value)| headers.push(name, value));
                return Ok(Some((used + length, headers)));
            }
            Line::Whole(text, length) => (text, Some(length)),
            Line::Part([]) => return Ok(None),
            Line::Part(text) => (text, None),
        };
        if fields.len() == MAX_FIELDS {
            return Err(Fault::TooLarge("too many header fields"));
        }
        // A line without an end has at least one byte to come.
        if used + length.unwrap_or(text.len() + 1) > MAX_FIELD_BYTES {
            return Err(Fault::TooLarge("header fields too long"));
        }
        if let [b' ' | b'\t', ..] = text {
            return Err(Fault::Malformed("a folded header field"));
        }
        let Some(length) = length else { return Ok(None) };
        fields.push(split_field(text)?);
        used += length;
    }
}

/// The name and the value of a field line (RFC 9112, section 5).
fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let colon = line.iter().position(|&byte| byte == b':');
    let Some((name, value)) = colon.and_then(|at| line.split_at_checked(at)) else {
        return Err(Fault::Malformed("a header field without a colon"));
    };
    if let [.., b' ' | b'\t'] = name {
        return Err(Fault::Malformed("white space before a header field's colon"));
    }
    if !is_token(name) {
        return Err(Fault::Malformed("a header field's name is no token"));
    }
    Ok((name, trim_ows(value.strip_prefix(b":").unwrap_or(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Shown = Vec<(String, String)>;

    fn fields(text: &str) -> Result<Option<(usize, Shown)>, Fault> {
        let shown = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok(take_fields(text.as_bytes())?.map(|(used, headers)| {
            (used, headers.iter().map(|(name, value)| (shown(name), shown(value))).collect())
        }))
    }

    /// A field line of this length, its line end included.
    fn line(length: usize) -> String {
        format!("a:{}\r\n", "x".repeat(length - 4))
    }

    #[test]
    fn fields_end_with_an_empty_line() {
        let (used, fields) = fields("A: 1\r\nb:\t x y \r\n\r\nrest").unwrap().unwrap();
        assert_eq!(used, 18);
        assert_eq!(fields, [("A".into(), "1".into()), ("b".into(), "x y".into())]);
    }

    #[test]
    fn there_may_be_no_fields() {
        assert_eq!(fields("\r\n"), Ok(Some((2, vec![]))));
        assert_eq!(fields("\n"), Ok(Some((1, vec![]))));
    }

    #[test]
    fn a_value_may_be_empty_and_have_colons() {
        let (_, fields) = fields("a:\nb: c:d\n\n").unwrap().unwrap();
        assert_eq!(fields, [("a".into(), "".into()), ("b".into(), "c:d".into())]);
    }

    #[test]
    fn an_incomplete_section_asks_for_more() {
        for text in ["", "a", "a: b", "a: b\r", "a: b\r\n", "a: b\r\n\r"] {
            assert_eq!(fields(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn broken_fields_are_refused() {
        for text in [
            "a\r\n",
            ": b\r\n",
            "a : b\r\n",
            "a b: c\r\n",
            "a: b\r\n c\r\n",
            "\tb: c\r\n",
            "é: b\r\n",
            "a: b\rc\r\n",
            "a: b\r\r\n",
            "a: \0\r\n",
            "a\u{1}: b\r\n",
        ] {
            assert!(matches!(fields(text), Err(Fault::Malformed(_))), "{text:?}");
        }
    }

    #[test]
    fn a_broken_line_is_refused_before_its_end() {
        assert!(fields("a: b\rc").is_err());
        assert!(fields("a: \0").is_err());
        assert!(fields("a: b\r\n ").is_err());
    }

    #[test]
    fn the_limit_of_fields_is_exact() {
        let full = "a: b\r\n".repeat(MAX_FIELDS);
        assert_eq!(fields(&format!("{full}\r\n")).unwrap().unwrap().1.len(), MAX_FIELDS);
        assert_eq!(fields(&format!("{full}\r")), Ok(None));
        assert_eq!(fields(&format!("{full}a")), Err(Fault::TooLarge("too many header fields")));
    }

    #[test]
    fn the_limit_of_bytes_is_exact_for_one_line() {
        let over = Err(Fault::TooLarge("header fields too long"));
        assert!(fields(&format!("{}\r\n", line(MAX_FIELD_BYTES))).unwrap().is_some());
        assert_eq!(fields(&format!("{}\r\n", line(MAX_FIELD_BYTES + 1))), over);
    }

    #[test]
    fn the_limit_of_bytes_is_exact_for_several_lines() {
        let start = line(MAX_FIELD_BYTES / 2);
        let at = format!("{start}{}\r\n", line(MAX_FIELD_BYTES / 2));
        let past = format!("{start}{}\r\n", line(MAX_FIELD_BYTES / 2 + 1));
        assert_eq!(fields(&at).unwrap().unwrap().0, MAX_FIELD_BYTES + 2);
        assert_eq!(fields(&past), Err(Fault::TooLarge("header fields too long")));
    }

    #[test]
    fn the_limit_of_bytes_is_that_of_the_protocol() {
        assert_eq!(MAX_FIELD_BYTES, 16_384);
    }

    #[test]
    fn nothing_behind_the_limit_of_bytes_is_looked_at() {
        let text = format!("a: b\r\n{}\0", "x".repeat(MAX_FIELD_BYTES));
        assert_eq!(fields(&text), Err(Fault::TooLarge("header fields too long")));
    }

    #[test]
    fn a_line_that_does_not_end_is_refused_when_it_is_too_long() {
        let text = "a".repeat(MAX_FIELD_BYTES);
        assert_eq!(fields(&text[1..]), Ok(None));
        assert_eq!(fields(&text), Err(Fault::TooLarge("header fields too long")));
    }
}
