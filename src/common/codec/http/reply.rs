//! Responses as a server writes them (RFC 9112, section 4): status, fields, body to bytes. Checks
//! that the bytes cannot be misread. The caller decides the answer and its fields.

#![forbid(unsafe_code)]

use super::headers::encode_field;
use super::request::check_not_framing;
use super::{Headers, HttpError, Status, Version};

/// A response under construction. It writes Content-Length itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: Status,
    version: Version,
    headers: Headers,
    body: Vec<u8>,
    length: Length,
}

/// How a response announces the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// The length of its own body.
    Own,
    /// The length of a body that the caller sends.
    Announced(u64),
    /// No length: the caller sends the body in chunks.
    Chunked,
    /// No length: the body ends with the connection.
    UntilClose,
}

impl Response {
    /// A response with an empty body and no fields, of HTTP/1.1.
    pub fn new(status: Status) -> Response {
        Response {
            status,
            version: Version::Http11,
            headers: Headers::new(),
            body: Vec::new(),
            length: Length::Own,
        }
    }

    /// Adds a field after the others. [`Response::encode_head`] checks it.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Vec<u8>>) -> Response {
        self.headers.push(name, value);
        self
    }

    /// Sets the body and its Content-Type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        self.body = body.into();
        self.length = Length::Own;
        self.field("Content-Type", content_type)
    }

    /// Announces a body of this many bytes that the caller sends after the head, or that a HEAD
    /// request does not get.
    #[must_use]
    pub fn length(mut self, bytes: u64) -> Response {
        self.body = Vec::new();
        self.length = Length::Announced(bytes);
        self
    }

    /// Announces a body in chunks (RFC 9112, section 7.1), which the caller sends. HTTP/1.0
    /// clients do not support chunks.
    #[must_use]
    pub fn chunked(mut self) -> Response {
        self.body = Vec::new();
        self.length = Length::Chunked;
        self
    }

    /// Whether the body ends with the connection.
    pub fn is_until_close(&self) -> bool {
        self.length == Length::UntilClose
    }

    /// Announces no length: the body ends with the connection.
    #[must_use]
    pub fn until_close(mut self) -> Response {
        self.length = Length::UntilClose;
        self
    }

    /// Announces that the connection closes after this response.
    #[must_use]
    pub fn close(self) -> Response {
        self.field("Connection", "close")
    }

    /// Sets the version in the first line, in place of HTTP/1.1.
    #[must_use]
    pub fn version(mut self, version: Version) -> Response {
        self.version = version;
        self
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The fields so far, without Content-Length.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body; empty if the caller sends it.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The head: everything before the body, the empty line included. It is also the whole answer
    /// to a HEAD request.
    ///
    /// # Errors
    ///
    /// A field's name that is no token; CR, LF or NUL in a value (RFC 9110, section
    /// 5.5); Content-Length or Transfer-Encoding among the fields; a body with a
    /// status that allows none.
    pub fn encode_head(&self) -> Result<Vec<u8>, HttpError> {
        if self.status.has_no_body() && !self.body.is_empty() {
            return Err(HttpError::new("a body where the status allows none"));
        }
        let mut out = format!("{} {}\r\n", self.version.as_str(), self.status).into_bytes();
        self.headers.iter().try_for_each(|(name, _)| check_not_framing(name))?;
        self.headers.encode(&mut out)?;
        let length = match self.length {
            Length::Own if self.status.has_no_body() => None,
            Length::Own => Some(self.body.len().to_string()),
            Length::Announced(bytes) => Some(bytes.to_string()),
            Length::Chunked | Length::UntilClose => None,
        };
        if self.length == Length::Chunked {
            encode_field(&mut out, b"Transfer-Encoding", b"chunked")?;
        }
        if let Some(length) = length {
            encode_field(&mut out, b"Content-Length", length.as_bytes())?;
        }
        out.extend_from_slice(b"\r\n");
        Ok(out)
    }

    /// The head and the body.
    ///
    /// # Errors
    ///
    /// Those of [`Response::encode_head`].
    pub fn encode(&self) -> Result<Vec<u8>, HttpError> {
        let mut out = self.encode_head()?;
        out.extend_from_slice(&self.body);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BodyFraming, ResponseHead};
    use super::*;

    fn text(response: &Response) -> String {
        String::from_utf8(response.encode().unwrap()).unwrap()
    }

    #[test]
    fn a_response_is_its_status_its_fields_and_its_body() {
        let response = Response::new(Status::NOT_FOUND).body("text/plain", "no\n").close();
        assert_eq!(
            text(&response),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nConnection: close\r\n\
             Content-Length: 3\r\n\r\nno\n"
        );
    }

    #[test]
    fn the_parts_of_a_response_can_be_read() {
        let response = Response::new(Status::OK).field("A", "1").body("text/plain", "yes");
        assert_eq!(response.headers().get("a"), Some(&b"1"[..]));
        assert_eq!(response.body_bytes(), b"yes");
    }

    #[test]
    fn the_head_alone_answers_head() {
        let response = Response::new(Status::OK).body("text/plain", "yes");
        let head = response.encode_head().unwrap();
        assert_eq!([head, b"yes".to_vec()].concat(), response.encode().unwrap());
    }

    #[test]
    fn an_empty_body_is_announced() {
        assert_eq!(
            text(&Response::new(Status::OK)),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_body_that_the_caller_sends_is_announced() {
        let response = Response::new(Status::PARTIAL_CONTENT).length(u64::MAX);
        assert!(text(&response).ends_with("Content-Length: 18446744073709551615\r\n\r\n"));
    }

    #[test]
    fn a_body_until_the_end_of_the_connection_has_no_length() {
        let response = Response::new(Status::OK).until_close().version(Version::Http10);
        assert_eq!(text(&response), "HTTP/1.0 200 OK\r\n\r\n");
    }

    #[test]
    fn a_body_in_chunks_has_no_length() {
        let response = Response::new(Status::OK).chunked();
        assert_eq!(text(&response), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(!response.is_until_close() && response.until_close().is_until_close());
    }

    #[test]
    fn a_status_without_a_body_announces_no_length() {
        let interim = Response::new(Status::CONTINUE);
        assert_eq!(text(&interim), "HTTP/1.1 100 Continue\r\n\r\n");
        assert!(Response::new(Status::NOT_MODIFIED).body("a/b", "x").encode().is_err());
    }

    #[test]
    fn a_written_response_reads_back() {
        let response = Response::new(Status::PARTIAL_CONTENT).field("ETag", "\"x\"").length(10);
        let bytes = response.encode().unwrap();
        let (used, head) = ResponseHead::parse(&bytes).unwrap().unwrap();
        assert_eq!((used, head.status), (bytes.len(), 206));
        assert_eq!(head.headers.get("etag"), Some(&b"\"x\""[..]));
        assert_eq!(head.framing(false), Ok(BodyFraming::Length(10)));
    }

    #[test]
    fn a_response_that_could_be_misread_is_not_written() {
        for (name, value) in
            [("a", "b\r\nc: d"), ("a", "b\nc"), ("a", "\0"), ("a b", "c"), ("", "c")]
        {
            assert!(Response::new(Status::OK).field(name, value).encode().is_err());
        }
        for name in ["content-length", "Transfer-Encoding"] {
            assert!(Response::new(Status::OK).field(name, "1").encode_head().is_err());
        }
    }
}
