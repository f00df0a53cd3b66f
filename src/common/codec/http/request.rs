//! Requests: the head from bytes, with the length of the body and the fate of the connection (RFC
//! 9112, sections 3, 6 and 9.3); and a request to bytes. Does not read the body or interpret the
//! target.

#![forbid(unsafe_code)]

use super::headers::{breaks_line, encode_field, is_token, parse_digits};
use super::request_line::RequestLine;
use super::section::take_fields;
use super::{Headers, HttpError, Method, Refusal, Status, Version};

/// The longest body that a request may announce, in bytes, unless the body is a file.
pub const MAX_BODY: u64 = 64 * 1024;

/// The part of a request before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The target as it came: not decoded, perhaps without a leading slash, with any bytes but
    /// CR, LF and NUL. Never empty.
    pub target: Vec<u8>,
    /// The version that the client speaks.
    pub version: Version,
    /// The fields.
    pub headers: Headers,
}

impl RequestHead {
    /// Reads a request's head from the start of `bytes`. The answer is its length in bytes and
    /// the head; `None` if it is incomplete. [`MAX_HEAD`](super::MAX_HEAD) bytes are always
    /// enough.
    ///
    /// # Errors
    ///
    /// The status to answer before closing: 400 for broken grammar (RFC 9112) or two Host fields
    /// (section 3.2; classic clients send none, so none is accepted); 414 and 431 over a limit,
    /// as soon as it is certain; 501 and 505.
    pub fn parse(bytes: &[u8]) -> Result<Option<(usize, RequestHead)>, Refusal> {
        let Some((used, line)) = RequestLine::take(bytes)? else { return Ok(None) };
        let rest = bytes.get(used..).unwrap_or_default();
        let Some((more, headers)) = take_fields(rest)? else { return Ok(None) };
        if headers.get_all("Host").count() > 1 {
            return Err(Refusal::bad("more than one Host field"));
        }
        let RequestLine { method, target, version } = line;
        Ok(Some((used + more, RequestHead { method, target, version, headers })))
    }

    /// The length of a body that is read as a whole, as [`RequestHead::announced_length`] has it.
    ///
    /// # Errors
    ///
    /// 413 over [`MAX_BODY`]; those of [`RequestHead::announced_length`].
    pub fn body_length(&self) -> Result<Option<u64>, Refusal> {
        match self.announced_length()? {
            Some(length) if length > MAX_BODY => {
                Err(Refusal::new(Status::CONTENT_TOO_LARGE, "the body is too long"))
            }
            length => Ok(length),
        }
    }

    /// The length of the body, in bytes: any number, and the greatest one for all that are
    /// greater. `None` if the request announces no length: then it has no body (RFC 9112, section
    /// 6.3, rule 7), and gets 411 if it needs one.
    ///
    /// # Errors
    ///
    /// 400 for a length that is no number or comes twice, even equal, and for a
    /// length beside a transfer coding; 501 for a transfer coding.
    pub fn announced_length(&self) -> Result<Option<u64>, Refusal> {
        let mut lengths = self.headers.get_all("Content-Length");
        let length = lengths.next();
        if self.headers.get("Transfer-Encoding").is_some() {
            return Err(match length {
                Some(_) => Refusal::bad("both Content-Length and Transfer-Encoding"),
                None => Refusal::new(Status::NOT_IMPLEMENTED, "transfer codings are not supported"),
            });
        }
        let Some(length) = length else { return Ok(None) };
        if lengths.next().is_some() {
            return Err(Refusal::bad("more than one Content-Length field"));
        }
        parse_digits(length).map(Some).ok_or_else(|| Refusal::bad("Content-Length is not a number"))
    }

    /// Whether the connection stays open after the answer (RFC 9112, section 9.3).
    pub fn keep_alive(&self) -> bool {
        keeps_alive(self.version, &self.headers)
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC
    /// 9110, section 10.1.1). Never with HTTP/1.0.
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11 && self.headers.has_token("Expect", "100-continue")
    }
}

/// Whether a message of this version with these fields leaves its connection open (RFC 9112,
/// section 9.3).
pub(super) fn keeps_alive(version: Version, headers: &Headers) -> bool {
    !headers.has_token("Connection", "close")
        && (version == Version::Http11 || headers.has_token("Connection", "keep-alive"))
}

/// Writes a request with its body. Adds Content-Length if there is a body or the method is POST.
/// The caller gives every other field, including `Host`.
///
/// # Errors
///
/// A request that could be misread: a method or a field's name that is no token; an empty target;
/// CR, LF or NUL in the target or a value; a field about the end of the body.
pub fn encode_request(
    method: &Method,
    target: &[u8],
    fields: &[(&str, &str)],
    body: &[u8],
) -> Result<Vec<u8>, HttpError> {
    if !is_token(method.as_bytes()) {
        return Err(HttpError::new("the method is no token"));
    }
    if target.is_empty() {
        return Err(HttpError::new("the request's target is empty"));
    }
    if breaks_line(target) {
        return Err(HttpError::new("CR, LF or NUL in the request's target"));
    }
    let mut out = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"].concat();
    for (name, value) in fields {
        check_not_framing(name.as_bytes())?;
        encode_field(&mut out, name.as_bytes(), value.as_bytes())?;
    }
    if !body.is_empty() || *method == Method::Post {
        encode_field(&mut out, b"Content-Length", body.len().to_string().as_bytes())?;
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    Ok(out)
}

/// Refuses the fields that this layer writes itself.
pub(super) fn check_not_framing(name: &[u8]) -> Result<(), HttpError> {
    let own = [&b"Content-Length"[..], b"Transfer-Encoding"];
    match own.into_iter().any(|own| own.eq_ignore_ascii_case(name)) {
        true => Err(HttpError::new("a body's length given as a field")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_FIELD_BYTES, MAX_HEAD, MAX_REQUEST_LINE};
    use super::*;

    const CURL: &[u8] = b"GET /data/my.bin HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
        User-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
    const PYTHON: &[u8] = b"GET my file?.bin HTTP/1.1\r\nHost: localhost:8080\r\n\
        Accept-Encoding: identity\r\n\r\n";
    const WGET: &[u8] = b"GET /a.iso HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Wget/1.21.4\r\n\
        Accept: */*\r\nAccept-Encoding: identity\r\nConnection: Keep-Alive\r\n\r\n";
    const POST: &[u8] = b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nUser-Agent: curl/8.5.0\r\n\
        Accept: */*\r\nContent-Length: 2048\r\nContent-Type: application/json\r\n\
        Expect: 100-continue\r\n\r\n";

    fn head(text: impl AsRef<[u8]>) -> RequestHead {
        RequestHead::parse(text.as_ref()).unwrap().unwrap().1
    }

    /// A head of HTTP/1.1 with these field lines.
    fn with(fields: &str) -> RequestHead {
        head(format!("POST / HTTP/1.1\r\n{fields}\r\n"))
    }

    fn body_refusal(fields: &str) -> u16 {
        with(fields).body_length().unwrap_err().status.code()
    }

    #[test]
    fn a_request_of_curl() {
        let head = head(CURL);
        assert_eq!((head.method, head.version), (Method::Get, Version::Http11));
        assert_eq!(head.target, b"/data/my.bin");
        assert_eq!(head.headers.get("user-agent"), Some(&b"curl/8.5.0"[..]));
    }

    #[test]
    fn a_request_of_python_s_http_client_with_a_name_as_it_was_typed() {
        let head = head(PYTHON);
        assert_eq!(head.target, b"my file?.bin");
        assert_eq!(head.headers.len(), 2);
    }

    #[test]
    fn a_request_of_wget() {
        let head = head(WGET);
        assert_eq!(head.target, b"/a.iso");
        assert!(head.keep_alive());
    }

    #[test]
    fn a_request_of_curl_with_a_body() {
        let head = head(POST);
        assert_eq!(head.method, Method::Post);
        assert_eq!(head.body_length(), Ok(Some(2048)));
        assert!(head.expects_continue());
    }

    #[test]
    fn an_incomplete_request_asks_for_more() {
        for request in [CURL, PYTHON, WGET, POST, b"\r\n\nGET x HTTP/1.0\n\n"] {
            for end in 0..request.len() {
                assert_eq!(RequestHead::parse(&request[..end]), Ok(None), "{end}");
            }
            assert_eq!(RequestHead::parse(request).unwrap().unwrap().0, request.len());
        }
    }

    #[test]
    fn bytes_after_a_head_change_nothing() {
        let whole = RequestHead::parse(CURL);
        for more in [&b"\0\r"[..], b"GET / HTTP/1.1\r\n\r\n", &[b'x'; 100_000]] {
            assert_eq!(RequestHead::parse(&[CURL, more].concat()), whole);
        }
    }

    #[test]
    fn a_broken_request_is_refused_the_same_way_byte_by_byte() {
        for text in
            ["GET /\r\n\r\n", "GET / HTTP/1.1\r\na b\r\n\r\n", "A / HTTP/1.1\r\n x:\r\n\r\n"]
        {
            let whole = RequestHead::parse(text.as_bytes()).unwrap_err();
            let first =
                (0..=text.len()).find_map(|end| RequestHead::parse(&text.as_bytes()[..end]).err());
            assert_eq!(first, Some(whole), "{text:?}");
        }
    }

    #[test]
    fn the_longest_head_is_accepted_and_a_longer_one_is_refused_at_once() {
        let line = format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_REQUEST_LINE - 14));
        let text = format!("\r\n\r\n{line}a:{}\r\n\r\n", "x".repeat(MAX_FIELD_BYTES - 4));
        assert_eq!(text.len(), MAX_HEAD);
        assert_eq!(RequestHead::parse(text.as_bytes()).unwrap().unwrap().0, MAX_HEAD);
        for filler in ["x", "\n", "a:\n", "GET / HTTP/1.1\r\na:"] {
            let flood = filler.repeat(MAX_HEAD);
            assert!(!matches!(RequestHead::parse(&flood.as_bytes()[..MAX_HEAD]), Ok(None)));
        }
    }

    #[test]
    fn host_may_be_missing_but_not_come_twice() {
        assert!(RequestHead::parse(b"GET x HTTP/1.1\r\n\r\n").unwrap().is_some());
        let twice = RequestHead::parse(b"GET x HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n");
        assert_eq!(twice.unwrap_err().status, Status::BAD_REQUEST);
    }

    #[test]
    fn without_a_length_there_is_none() {
        assert_eq!(with("").body_length(), Ok(None));
    }

    #[test]
    fn a_length_is_digits() {
        assert_eq!(with("Content-Length: 0\r\n").body_length(), Ok(Some(0)));
        assert_eq!(with("Content-Length: 0042\r\n").body_length(), Ok(Some(42)));
        for value in ["", "+1", "-1", "1 2", "0x10", "1.0", "1, 1", "1,1"] {
            assert_eq!(body_refusal(&format!("Content-Length: {value}\r\n")), 400, "{value:?}");
        }
    }

    #[test]
    fn a_length_comes_once() {
        assert_eq!(body_refusal("Content-Length: 1\r\nContent-Length: 1\r\n"), 400);
        assert_eq!(body_refusal("Content-Length: 1\r\ncontent-length: 2\r\n"), 400);
    }

    #[test]
    fn transfer_codings_are_refused() {
        assert_eq!(body_refusal("Transfer-Encoding: chunked\r\n"), 501);
        assert_eq!(body_refusal("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), 400);
    }

    #[test]
    fn the_limit_of_a_body_is_exact() {
        let length = |length: u64| with(&format!("Content-Length: {length}\r\n")).body_length();
        assert_eq!(length(MAX_BODY), Ok(Some(MAX_BODY)));
        assert_eq!(length(MAX_BODY + 1).unwrap_err().status, Status::CONTENT_TOO_LARGE);
        assert_eq!(body_refusal("Content-Length: 18446744073709551616\r\n"), 413);
    }

    #[test]
    fn connections_stay_open_by_the_version_and_the_connection_field() {
        let kept = |version: &str, field: &str| {
            head(format!("GET / HTTP/{version}\r\n{field}\r\n")).keep_alive()
        };
        assert!(kept("1.1", ""));
        assert!(!kept("1.1", "Connection: TE, Close\r\n"));
        assert!(!kept("1.0", ""));
        assert!(kept("1.0", "Connection: keep-alive\r\n"));
        assert!(!kept("1.0", "Connection: keep-alive, close\r\n"));
    }

    #[test]
    fn http_1_0_expects_nothing() {
        assert!(!head("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue());
        assert!(!with("").expects_continue());
    }

    #[test]
    fn a_written_request_reads_back() {
        let fields = [("Host", "h"), ("Accept", "a/b")];
        let text = encode_request(&Method::Post, b"/a b", &fields, b"{}").unwrap();
        assert_eq!(
            text,
            b"POST /a b HTTP/1.1\r\nHost: h\r\nAccept: a/b\r\nContent-Length: 2\r\n\r\n{}"
        );
        let (used, head) = RequestHead::parse(&text).unwrap().unwrap();
        assert_eq!((used, head.body_length()), (text.len() - 2, Ok(Some(2))));
        assert_eq!(head.target, b"/a b");
    }

    #[test]
    fn a_post_without_a_body_says_so_and_a_get_says_nothing() {
        let post = encode_request(&Method::Post, b"/", &[], b"").unwrap();
        assert_eq!(post, b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
        let get = encode_request(&Method::Get, b"x", &[], b"").unwrap();
        assert_eq!(get, b"GET x HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn a_request_that_could_be_misread_is_not_written() {
        let get = |target: &[u8], fields| encode_request(&Method::Get, target, fields, b"");
        assert!(get(b"", &[]).is_err());
        for target in [&b"/\r"[..], b"/ HTTP/1.1\nX: y", b"/\0"] {
            assert!(get(target, &[]).is_err());
        }
        assert!(get(b"/", &[("a", "b\r\nc: d")]).is_err());
        assert!(get(b"/", &[("content-length", "1")]).is_err());
        assert!(get(b"/", &[("Transfer-Encoding", "chunked")]).is_err());
        let odd = Method::Other(b"G T".to_vec());
        assert!(encode_request(&odd, b"/", &[], b"").is_err());
    }
}
