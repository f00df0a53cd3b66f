//! A request's first line (RFC 9112, section 3) and the protocol's version. Does not interpret
//! the target.

#![forbid(unsafe_code)]

use super::section::{Line, take_line};
use super::{Method, Refusal, Status};

/// The longest request line, in bytes without its end.
pub const MAX_REQUEST_LINE: usize = 8 * 1024;

/// How many empty lines before a request line are ignored (RFC 9112, section 2.2): some old
/// clients send one after a body.
pub const MAX_EMPTY_LINES: usize = 2;

/// A version of HTTP, as far as the difference matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, or any later minor version (RFC 9110, section 2.5).
    Http11,
}

impl Version {
    /// The version as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }

    /// The version with this minor digit, as a byte.
    pub(super) fn from_minor(digit: u8) -> Option<Version> {
        match digit {
            b'0' => Some(Version::Http10),
            b'1'..=b'9' => Some(Version::Http11),
            _ => None,
        }
    }

    /// Reads a request's version.
    fn parse(text: &[u8]) -> Result<Version, Refusal> {
        let version = match text {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] => Version::from_minor(*minor),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(Refusal::new(Status::VERSION_NOT_SUPPORTED, "HTTP/1.x is needed"));
            }
            _ => None,
        };
        version.ok_or(Refusal::bad("no HTTP version at the end of the request line"))
    }
}

/// A request line's three parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) target: Vec<u8>,
    pub(super) version: Version,
}

impl RequestLine {
    /// Reads a request line from the start of `bytes`. The answer is its length, with its end and
    /// the empty lines before it, and the line; `None` if it is incomplete.
    ///
    /// # Errors
    ///
    /// 400 for a broken line, 414 over [`MAX_REQUEST_LINE`] as soon as it is
    /// certain, 501 and 505 for an unknown method's length and a version.
    pub(super) fn take(bytes: &[u8]) -> Result<Option<(usize, RequestLine)>, Refusal> {
        let mut used = 0;
        for _ in 0..=MAX_EMPTY_LINES {
            let rest = bytes.get(used..).unwrap_or_default();
            // The scan stops at the limit and the longest line end.
            let window = rest.get(..MAX_REQUEST_LINE + 2).unwrap_or(rest);
            let line = take_line(window)?;
            let (Line::Whole(text, _) | Line::Part(text)) = line;
            if text.len() > MAX_REQUEST_LINE {
                return Err(Refusal::new(Status::URI_TOO_LONG, "the request line is too long"));
            }
            match line {
                Line::Part(_) => return Ok(None),
                Line::Whole([], length) => used += length,
                Line::Whole(text, length) => {
                    return Ok(Some((used + length, RequestLine::parse(text)?)));
                }
            }
        }
        Err(Refusal::bad("empty lines instead of a request"))
    }

    /// Reads a whole line: the method up to the first space, the version after the last one, and
    /// the target between them. Classic clients send a file's name as the user typed it, so the
    /// target may have spaces, `?` and `#`.
    fn parse(line: &[u8]) -> Result<RequestLine, Refusal> {
        let mut outer = line.splitn(2, |&byte| byte == b' ');
        let method = Method::parse(outer.next().unwrap_or_default())?;
        let mut inner = outer.next().unwrap_or_default().rsplitn(2, |&byte| byte == b' ');
        let version = Version::parse(inner.next().unwrap_or_default())?;
        match inner.next() {
            None | Some([]) => Err(Refusal::bad("no target in the request line")),
            Some(target) => Ok(RequestLine { method, target: target.to_vec(), version }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: impl AsRef<[u8]>) -> Result<Option<(usize, RequestLine)>, Refusal> {
        RequestLine::take(text.as_ref())
    }

    fn line(text: &[u8]) -> RequestLine {
        take([text, b"\r\n"].concat()).unwrap().unwrap().1
    }

    fn refusal(text: &[u8]) -> u16 {
        take([text, b"\r\n"].concat()).unwrap_err().status.code()
    }

    /// A request line of this length, without its end.
    fn long(length: usize) -> String {
        format!("GET /{} HTTP/1.1", "x".repeat(length - 14))
    }

    #[test]
    fn a_line_has_three_parts() {
        let expected =
            RequestLine { method: Method::Get, target: b"/a".to_vec(), version: Version::Http11 };
        assert_eq!(take("GET /a HTTP/1.1\r\nrest"), Ok(Some((17, expected.clone()))));
        assert_eq!(take("GET /a HTTP/1.1\nrest"), Ok(Some((16, expected))));
    }

    #[test]
    fn a_target_is_taken_as_it_was_typed() {
        for target in [
            &b"my file"[..],
            b"a?b#c",
            b"%zz",
            b"\x01\x7f\t",
            b"\xff\xc3\xa9",
            b" a  b ",
            b"a HTTP/1.0",
        ] {
            assert_eq!(line(&[b"GET ", target, b" HTTP/1.1"].concat()).target, target);
        }
    }

    #[test]
    fn minor_versions_above_one_count_as_one() {
        assert_eq!(line(b"GET / HTTP/1.0").version, Version::Http10);
        assert_eq!(line(b"GET / HTTP/1.1").version, Version::Http11);
        assert_eq!(line(b"GET / HTTP/1.9").version, Version::Http11);
    }

    #[test]
    fn a_version_is_written_as_it_is_read() {
        for version in [Version::Http10, Version::Http11] {
            assert_eq!(Version::parse(version.as_str().as_bytes()), Ok(version));
        }
    }

    #[test]
    fn other_major_versions_are_not_supported() {
        assert_eq!(refusal(b"PRI * HTTP/2.0"), 505);
        assert_eq!(refusal(b"GET / HTTP/0.9"), 505);
    }

    #[test]
    fn a_line_without_a_version_is_refused() {
        for text in [
            &b"GET /"[..],
            b"GET",
            b"GET / http/1.1",
            b"GET / HTTP/1",
            b"GET / HTTP/1.",
            b"GET / HTTP/1.10",
            b"GET / HTTP/1.1 ",
            b"GET / HTTP/1.x",
            b"GET / ICY/1.1",
            b"GET /\tHTTP/1.1",
        ] {
            assert_eq!(refusal(text), 400, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_line_without_a_target_is_refused() {
        assert_eq!(refusal(b"GET HTTP/1.1"), 400);
        assert_eq!(refusal(b"GET  HTTP/1.1"), 400);
    }

    #[test]
    fn a_line_without_a_method_is_refused() {
        assert_eq!(refusal(b" / HTTP/1.1"), 400);
        assert_eq!(refusal(b"G(T / HTTP/1.1"), 400);
    }

    #[test]
    fn nul_and_bare_cr_are_refused_before_the_line_ends() {
        assert_eq!(take("GET /\0").unwrap_err().status, Status::BAD_REQUEST);
        assert_eq!(take("GET /\rx").unwrap_err().status, Status::BAD_REQUEST);
        assert_eq!(take("GET /\r"), Ok(None));
    }

    #[test]
    fn the_limit_of_empty_lines_is_exact() {
        let empty = "\r\n".repeat(MAX_EMPTY_LINES);
        assert!(take(format!("{empty}GET / HTTP/1.1\r\n")).unwrap().is_some());
        assert_eq!(take(&empty), Ok(None));
        assert_eq!(take(format!("{empty}\n")).unwrap_err().status, Status::BAD_REQUEST);
    }

    #[test]
    fn the_length_limit_is_exact() {
        assert!(take(format!("{}\r\n", long(MAX_REQUEST_LINE))).unwrap().is_some());
        let past = take(format!("{}\r\n", long(MAX_REQUEST_LINE + 1)));
        assert_eq!(past.unwrap_err().status, Status::URI_TOO_LONG);
    }

    #[test]
    fn the_length_limit_is_that_of_the_protocol() {
        assert_eq!(MAX_REQUEST_LINE, 8192);
    }

    #[test]
    fn nothing_behind_the_length_limit_is_looked_at() {
        let past = take(format!("{}\0", "x".repeat(MAX_REQUEST_LINE + 2)));
        assert_eq!(past.unwrap_err().status, Status::URI_TOO_LONG);
    }

    #[test]
    fn a_line_that_does_not_end_is_refused_when_it_is_too_long() {
        assert_eq!(take("x".repeat(MAX_REQUEST_LINE)), Ok(None));
        assert_eq!(take(format!("{}\r", "x".repeat(MAX_REQUEST_LINE))), Ok(None));
        let past = take("x".repeat(MAX_REQUEST_LINE + 1));
        assert_eq!(past.unwrap_err().status, Status::URI_TOO_LONG);
    }
}
