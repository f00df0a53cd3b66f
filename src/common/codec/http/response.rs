//! Responses as a client reads them (RFC 9112, sections 4 and 6): the head from bytes, and the
//! end of the body. Does not read the body.

#![forbid(unsafe_code)]

use super::headers::parse_digits;
use super::request::keeps_alive;
use super::section::{Line, take_fields, take_line};
use super::status::code_has_no_body;
use super::{Headers, HttpError, Version};

/// The longest status line, in bytes without its end.
pub const MAX_STATUS_LINE: usize = 8 * 1024;

/// The start of every supported status line.
const START: &[u8] = b"HTTP/1.";

/// The part of a response before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The version that the server speaks.
    pub version: Version,
    /// The code, 100 to 599.
    pub status: u16,
    /// The words after the code, as they came; often none. They are hostile: escape them before
    /// you show them.
    pub reason: Vec<u8>,
    /// The fields.
    pub headers: Headers,
}

/// Where a response's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// The response has no body.
    None,
    /// The body has this many bytes.
    Length(u64),
    /// The body ends with the connection.
    UntilClose,
}

impl ResponseHead {
    /// Reads a response's head from the start of `bytes`. The answer is its length in bytes and
    /// the head; `None` if it is incomplete. [`MAX_HEAD`](super::MAX_HEAD) bytes are always
    /// enough.
    ///
    /// # Errors
    ///
    /// Broken grammar (RFC 9112, section 4), or a length over a limit, as soon as it is certain:
    /// another protocol at the first byte that differs from `HTTP/1.`; a version that is neither
    /// 1.0 nor 1.1.
    pub fn parse(bytes: &[u8]) -> Result<Option<(usize, ResponseHead)>, HttpError> {
        if bytes.iter().zip(START).any(|(byte, expected)| byte != expected) {
            return Err(HttpError::new("the answer is not HTTP/1.x"));
        }
        // The scan stops at the limit and the longest line end.
        let line = take_line(bytes.get(..MAX_STATUS_LINE + 2).unwrap_or(bytes))?;
        let (Line::Whole(text, _) | Line::Part(text)) = line;
        if text.len() > MAX_STATUS_LINE {
            return Err(HttpError::new("the status line is too long"));
        }
        let Line::Whole(text, used) = line else { return Ok(None) };
        let (version, status, reason) = split_status_line(text)?;
        let rest = bytes.get(used..).unwrap_or_default();
        let Some((more, headers)) = take_fields(rest)? else { return Ok(None) };
        let reason = reason.to_vec();
        Ok(Some((used + more, ResponseHead { version, status, reason, headers })))
    }

    /// Where the body ends (RFC 9112, section 6.3). The answer to a HEAD request
    /// never has a body, and neither has a status 1xx, 204 or 304.
    ///
    /// # Errors
    ///
    /// A transfer coding; a Content-Length that is no number or comes twice, even
    /// equal.
    pub fn framing(&self, request_was_head: bool) -> Result<BodyFraming, HttpError> {
        if request_was_head || code_has_no_body(self.status) {
            return Ok(BodyFraming::None);
        }
        if self.headers.get("Transfer-Encoding").is_some() {
            return Err(HttpError::new("unsupported transfer coding"));
        }
        Ok(self.content_length()?.map_or(BodyFraming::UntilClose, BodyFraming::Length))
    }

    /// The value of Content-Length, in bytes. In the answer to a HEAD request it is the length
    /// that a GET would bring. `None` if there is no such field.
    ///
    /// # Errors
    ///
    /// A value that is no number or too great for `u64`, or a field that comes twice, even equal.
    pub fn content_length(&self) -> Result<Option<u64>, HttpError> {
        let mut lengths = self.headers.get_all("Content-Length");
        let Some(length) = lengths.next() else { return Ok(None) };
        if lengths.next().is_some() {
            return Err(HttpError::new("more than one Content-Length field"));
        }
        match parse_digits(length) {
            None => Err(HttpError::new("Content-Length is not a number")),
            Some(u64::MAX) => Err(HttpError::new("Content-Length is out of range")),
            length => Ok(length),
        }
    }

    /// Whether the server leaves the connection open after this response (RFC 9112, section 9.3),
    /// if the body's framing lets it.
    pub fn keep_alive(&self) -> bool {
        keeps_alive(self.version, &self.headers)
    }
}

/// The parts of a status line (RFC 9112, section 4). If the words are missing, the space before
/// them may be missing too.
fn split_status_line(line: &[u8]) -> Result<(Version, u16, &[u8]), HttpError> {
    let broken = HttpError::new("a broken status line");
    let [minor, b' ', digits @ ..] = line.strip_prefix(START).ok_or(broken)? else {
        return Err(broken);
    };
    let version = match minor {
        b'0' | b'1' => Version::from_minor(*minor).ok_or(broken)?,
        _ => return Err(HttpError::new("neither HTTP/1.0 nor HTTP/1.1")),
    };
    let (digits, reason) = match digits {
        [a, b, c] => ([a, b, c], &b""[..]),
        [a, b, c, b' ', reason @ ..] => ([a, b, c], reason),
        _ => return Err(broken),
    };
    if !digits.iter().all(|digit| digit.is_ascii_digit()) {
        return Err(broken);
    }
    match digits.into_iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')) {
        code @ 100..=599 => Ok((version, code, reason)),
        _ => Err(broken),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_FIELD_BYTES, MAX_FIELDS};
    use super::*;

    const PYTHON: &[u8] = b"HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6 Python/3.12.3\r\n\
        Date: Tue, 06 Aug 2024 10:00:00 GMT\r\nContent-type: text/plain\r\n\r\n";
    const NGINX: &[u8] = b"HTTP/1.1 206 Partial Content\r\nServer: nginx\r\n\
        Content-Length: 5\r\nContent-Range: bytes 0-4/10\r\n\r\n";

    fn head(text: impl AsRef<[u8]>) -> ResponseHead {
        ResponseHead::parse(text.as_ref()).unwrap().unwrap().1
    }

    fn framing(status: u16, fields: &str) -> Result<BodyFraming, HttpError> {
        head(format!("HTTP/1.1 {status}\r\n{fields}\r\n")).framing(false)
    }

    #[test]
    fn a_response_of_python_s_http_server() {
        let head = head(PYTHON);
        assert_eq!((head.version, head.status), (Version::Http10, 200));
        assert_eq!(head.reason, b"OK");
        assert_eq!(head.headers.get("Content-Type"), Some(&b"text/plain"[..]));
        assert_eq!(head.framing(false), Ok(BodyFraming::UntilClose));
        assert!(!head.keep_alive());
    }

    #[test]
    fn a_response_with_a_length() {
        let head = head(NGINX);
        assert_eq!(head.status, 206);
        assert_eq!(head.framing(false), Ok(BodyFraming::Length(5)));
        assert!(head.keep_alive());
    }

    #[test]
    fn an_incomplete_response_asks_for_more() {
        for response in [PYTHON, NGINX, b"HTTP/1.1 204\n\n"] {
            for end in 0..response.len() {
                assert_eq!(ResponseHead::parse(&response[..end]), Ok(None), "{end}");
            }
            assert_eq!(ResponseHead::parse(response).unwrap().unwrap().0, response.len());
        }
    }

    #[test]
    fn bytes_after_a_head_change_nothing() {
        let whole = ResponseHead::parse(NGINX);
        assert_eq!(ResponseHead::parse(&[NGINX, b"\0\0\r\0\n"].concat()), whole);
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_byte_that_differs() {
        for text in ["S", "HTTX", "HTTP/2", "HTTP/1,", "\r\nHTTP/1.1", "http", "\n"] {
            assert!(ResponseHead::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_words_may_be_absent() {
        assert_eq!(head("HTTP/1.1 200\r\n\r\n").reason, b"");
        assert_eq!(head("HTTP/1.1 200 \r\n\r\n").reason, b"");
        assert_eq!(head(b"HTTP/1.1 200 a b\xff\r\n\r\n").reason, b"a b\xff");
    }

    #[test]
    fn broken_status_lines_are_refused() {
        for line in [
            "HTTP/1.1",
            "HTTP/1. 200 OK",
            "HTTP/1.2 200 OK",
            "HTTP/1.10 200",
            "HTTP/1.1 20",
            "HTTP/1.1 2000",
            "HTTP/1.1 20x OK",
            "HTTP/1.1 099 OK",
            "HTTP/1.1 600 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1 200\tOK",
            "HTTP/1.1 200 O\0K",
            "HTTP/1.1 200 O\rK",
        ] {
            assert!(ResponseHead::parse(format!("{line}\r\n").as_bytes()).is_err(), "{line:?}");
        }
    }

    #[test]
    fn the_limit_of_the_status_line_is_exact() {
        let line = |length: usize| format!("HTTP/1.1 200 {}", "x".repeat(length - 13));
        let parse = |text: String| ResponseHead::parse(text.as_bytes());
        assert!(parse(format!("{}\r\n\r\n", line(MAX_STATUS_LINE))).unwrap().is_some());
        assert!(parse(format!("{}\r\n\r\n", line(MAX_STATUS_LINE + 1))).is_err());
        assert_eq!(parse(line(MAX_STATUS_LINE)), Ok(None));
        assert!(parse(line(MAX_STATUS_LINE + 1)).is_err());
    }

    #[test]
    fn nothing_behind_the_limit_of_the_status_line_is_looked_at() {
        let text = format!("HTTP/1.1 200 {}\0", "x".repeat(MAX_STATUS_LINE));
        let error = ResponseHead::parse(text.as_bytes()).unwrap_err();
        assert_eq!((error.reason(), MAX_STATUS_LINE), ("the status line is too long", 8192));
    }

    #[test]
    fn fields_have_their_limits_too() {
        let parse = |fields: String| {
            ResponseHead::parse(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes())
        };
        assert!(parse("a:\n".repeat(MAX_FIELDS)).is_ok());
        assert!(parse("a:\n".repeat(MAX_FIELDS + 1)).is_err());
        assert!(parse(format!("a:{}\n", "x".repeat(MAX_FIELD_BYTES - 3))).is_ok());
        assert!(parse(format!("a:{}\n", "x".repeat(MAX_FIELD_BYTES - 2))).is_err());
    }

    #[test]
    fn some_statuses_have_no_body_whatever_the_fields_say() {
        for status in [100, 103, 204, 304] {
            assert_eq!(framing(status, "Content-Length: 5\r\n"), Ok(BodyFraming::None));
        }
        assert_eq!(head(NGINX).framing(true), Ok(BodyFraming::None));
    }

    #[test]
    fn the_answer_to_head_still_has_a_length() {
        assert_eq!(head(NGINX).content_length(), Ok(Some(5)));
        assert_eq!(head(PYTHON).content_length(), Ok(None));
    }

    #[test]
    fn a_transfer_coding_is_not_supported() {
        let coded = framing(200, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n");
        assert_eq!(coded.unwrap_err().reason(), "unsupported transfer coding");
    }

    #[test]
    fn an_ambiguous_length_is_refused() {
        assert!(framing(200, "Content-Length: 5\r\nContent-Length: 6\r\n").is_err());
        for value in ["5, 5", "", "-1", "+1", "18446744073709551616"] {
            assert!(framing(200, &format!("Content-Length: {value}\r\n")).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_length_may_need_more_than_32_bits() {
        let long = framing(200, "Content-Length: 9223372036854775807\r\n");
        assert_eq!(long, Ok(BodyFraming::Length(i64::MAX as u64)));
    }
}
