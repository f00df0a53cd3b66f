//! The header fields of one message, in order (RFC 9110, section 5): looking up, adding, writing.
//! `section.rs` reads them. Knows the meaning of no field.

#![forbid(unsafe_code)]

use super::HttpError;

/// Header fields in the order of the message. Names are compared without regard
/// to case; values are bytes, without the white space around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Headers {
    /// No fields.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// Adds a field after the others. [`Headers::encode`] checks its bytes.
    pub fn push(&mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.fields.push((name.into(), value.into()));
    }

    /// The value of the first field with this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields with this name, in their order.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the field with this name if there is exactly one.
    pub fn get_only(&self, name: &str) -> Option<&[u8]> {
        let mut all = self.get_all(name);
        let first = all.next();
        if all.next().is_none() { first } else { None }
    }

    /// The values of all fields with this name as one list (RFC 9110, section 5.3).
    pub fn joined(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<&[u8]> = self.get_all(name).collect();
        if values.is_empty() { None } else { Some(values.join(&b", "[..])) }
    }

    /// Whether `token` is an element of the comma list that all fields with this
    /// name make together (RFC 9110, section 5.6.1), without regard to case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .any(|element| trim_ows(element).eq_ignore_ascii_case(token.as_bytes()))
    }

    /// All fields, names and values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Appends one line for each field, without the empty line after them.
    ///
    /// # Errors
    ///
    /// A name that is no token; CR, LF or NUL in a value (RFC 9110, section 5.5).
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), HttpError> {
        self.iter().try_for_each(|(name, value)| encode_field(out, name, value))
    }
}

/// Appends one field's line.
pub(super) fn encode_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), HttpError> {
    if !is_token(name) {
        return Err(HttpError::new("a header field's name is no token"));
    }
    if breaks_line(value) {
        return Err(HttpError::new("CR, LF or NUL in a header field's value"));
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Whether one of these bytes ends a line for some program.
pub(super) fn breaks_line(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// Whether this is a token (RFC 9110, section 5.6.2).
pub(in crate::codec) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The bytes without the spaces and tabs around them (RFC 9110, section 5.6.3).
pub(in crate::codec) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A number as fields have it (RFC 9110, section 8.6): only digits. A number too great for `u64`
/// becomes the greatest `u64`, which exceeds every limit.
pub(in crate::codec) fn parse_digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |number: u64, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for &(name, value) in fields {
            headers.push(name, value);
        }
        headers
    }

    #[test]
    fn fields_are_counted() {
        assert!(Headers::new().is_empty());
        assert_eq!(Headers::new().len(), 0);
        let headers = headers(&[("A", "1"), ("b", "2"), ("a", "3")]);
        assert!(!headers.is_empty());
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn names_are_found_without_regard_to_case() {
        let headers = headers(&[("Content-TYPE", "text/plain")]);
        assert_eq!(headers.get("content-type"), Some(&b"text/plain"[..]));
        assert_eq!(headers.get("content"), None);
    }

    #[test]
    fn the_first_of_several_fields_counts() {
        let headers = headers(&[("A", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(headers.get("a"), Some(&b"1"[..]));
        assert_eq!(headers.get_all("a").collect::<Vec<_>>(), [b"1", b"3"]);
    }

    #[test]
    fn only_one_is_only_one() {
        let headers = headers(&[("A", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(headers.get_only("a"), None);
        assert_eq!(headers.get_only("b"), Some(&b"2"[..]));
        assert_eq!(headers.get_only("c"), None);
    }

    #[test]
    fn several_fields_make_one_list() {
        let headers = headers(&[("A", "1"), ("b", "2"), ("a", "3, 4")]);
        assert_eq!(headers.joined("a"), Some(b"1, 3, 4".to_vec()));
        assert_eq!(headers.joined("c"), None);
    }

    #[test]
    fn tokens_are_found_in_lists_over_several_fields() {
        let headers = headers(&[("Connection", "TE , Close"), ("connection", "upgrade")]);
        assert!(headers.has_token("connection", "close"));
        assert!(headers.has_token("connection", "upgrade"));
        assert!(!headers.has_token("connection", "clos"));
        assert!(!headers.has_token("te", "close"));
    }

    #[test]
    fn fields_are_written_in_their_order() {
        let mut out = Vec::new();
        headers(&[("B", "1"), ("a", "x y")]).encode(&mut out).unwrap();
        assert_eq!(out, b"B: 1\r\na: x y\r\n");
    }

    #[test]
    fn a_value_that_would_break_the_line_is_not_written() {
        for value in ["a\rb", "a\nb", "a\0b"] {
            assert!(headers(&[("a", value)]).encode(&mut Vec::new()).is_err(), "{value:?}");
        }
        for name in ["", "a b", "a:", "a\n", "é"] {
            assert!(headers(&[(name, "")]).encode(&mut Vec::new()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn white_space_is_trimmed_on_both_sides() {
        assert_eq!(trim_ows(b" \t a b\t "), b"a b");
        assert_eq!(trim_ows(b" \t"), b"");
    }

    #[test]
    fn numbers_are_digits_and_saturate() {
        assert_eq!(parse_digits(b"007"), Some(7));
        assert_eq!(parse_digits(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_digits(b"99999999999999999999"), Some(u64::MAX));
        assert_eq!(parse_digits(b""), None);
        assert_eq!(parse_digits(b"+1"), None);
    }
}
