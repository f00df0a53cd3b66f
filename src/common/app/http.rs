//! HTTP over a socket: bytes in and out with deadlines. What they mean is the
//! business of `codec::http`; what to answer, that of the programs.

#![forbid(unsafe_code)]

use crate::codec::http::{
    BodyFraming, Method, Refusal, RequestHead, Response, ResponseHead, Status,
};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest body of a reply that a client takes, in bytes.
pub const MAX_REPLY_BODY: usize = 64 << 10;

/// How long a peer may take to accept a reply.
pub const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Bytes asked of the socket at once.
const READ_SIZE: usize = 4096;

/// After a refusal, how long and how much of what the peer still sends is thrown
/// away, so that it reads the answer before its connection is reset.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// How long a server waits for a request.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a request to its last.
    pub request: Duration,
    /// For the first byte, on a connection that has served a request before. A new
    /// one has no such time: its request is late `request` after it was opened.
    pub idle: Option<Duration>,
}

/// What came instead of a request.
#[derive(Debug)]
pub enum NoRequest {
    /// The peer closed the connection, or it broke, or stayed idle.
    Closed,
    /// It must be answered so, and closed.
    Refused(Refusal),
}

/// What came instead of a reply.
#[derive(Debug)]
pub enum NoReply {
    /// The connection broke.
    Broken(io::Error),
    /// What came is not HTTP: in a few words.
    NotHttp(&'static str),
}

/// A connection, and the bytes of it that were read and not used yet.
pub struct Http {
    stream: Arc<TcpStream>,
    buffer: Vec<u8>,
    /// Until when a reply has to be there.
    reply_by: Option<Instant>,
}

impl Http {
    /// Speaks HTTP over `stream`.
    pub fn new(stream: Arc<TcpStream>) -> Http {
        Http { stream, buffer: Vec::new(), reply_by: None }
    }

    /// Waits for a request and its body.
    pub fn receive_request(
        &mut self,
        patience: Patience,
    ) -> Result<(RequestHead, Vec<u8>), NoRequest> {
        if let (true, Some(idle)) = (self.buffer.is_empty(), patience.idle) {
            match self.fill(Some(Instant::now() + idle)) {
                Ok(1..) => {}
                _ => return Err(NoRequest::Closed),
            }
        }
        let deadline = Some(Instant::now() + patience.request);
        let head = loop {
            match RequestHead::parse(&self.buffer) {
                Ok(Some((used, head))) => {
                    self.buffer.drain(..used);
                    break head;
                }
                Ok(None) => self.fill_request(deadline)?,
                Err(refusal) => return Err(NoRequest::Refused(refusal)),
            }
        };
        // `body_length` has bounded the length; memory is taken as bytes arrive.
        let length = head.body_length().map_err(NoRequest::Refused)?.unwrap_or(0) as usize;
        if head.expects_continue() && self.buffer.len() < length {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| NoRequest::Closed)?;
        }
        while self.buffer.len() < length {
            self.fill_request(deadline)?;
        }
        let rest = self.buffer.split_off(length);
        let body = std::mem::replace(&mut self.buffer, rest);
        Ok((head, body))
    }

    /// Reads more of a request that has begun.
    fn fill_request(&mut self, deadline: Option<Instant>) -> Result<(), NoRequest> {
        match self.fill(deadline) {
            Ok(1..) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let status = Status::REQUEST_TIMEOUT;
                Err(NoRequest::Refused(Refusal::new(status, "the request took too long")))
            }
            _ => Err(NoRequest::Closed),
        }
    }

    /// Bounds the wait for a reply, from now on. Without a bound it takes as long as it
    /// takes.
    pub fn set_reply_limit(&mut self, limit: Option<Duration>) {
        self.reply_by = limit.map(|limit| Instant::now() + limit);
    }

    /// Waits for the reply to a request of this `method`, for as long as it takes: a
    /// classic server hashes the whole file first. Keepalive finds a dead peer.
    pub fn receive_reply(&mut self, method: &Method) -> Result<(ResponseHead, Vec<u8>), NoReply> {
        let head = loop {
            match ResponseHead::parse(&self.buffer) {
                Ok(Some((used, head))) => {
                    self.buffer.drain(..used);
                    if !(100..200).contains(&head.status) {
                        break head;
                    }
                }
                Ok(None) => self.fill_reply()?,
                Err(error) => return Err(NoReply::NotHttp(error.reason())),
            }
        };
        let framing = head.framing(*method == Method::Head);
        let body = match framing.map_err(|error| NoReply::NotHttp(error.reason()))? {
            BodyFraming::None => Vec::new(),
            BodyFraming::Length(length) if length > MAX_REPLY_BODY as u64 => {
                return Err(NoReply::NotHttp("the reply is too long"));
            }
            BodyFraming::Length(length) => {
                while (self.buffer.len() as u64) < length {
                    self.fill_reply()?;
                }
                let rest = self.buffer.split_off(length as usize);
                std::mem::replace(&mut self.buffer, rest)
            }
            BodyFraming::UntilClose => {
                while self.fill(self.reply_by).map_err(NoReply::Broken)? > 0 {
                    if self.buffer.len() > MAX_REPLY_BODY {
                        return Err(NoReply::NotHttp("the reply is too long"));
                    }
                }
                std::mem::take(&mut self.buffer)
            }
        };
        Ok((head, body))
    }

    fn fill_reply(&mut self) -> Result<(), NoReply> {
        match self.fill(self.reply_by).map_err(NoReply::Broken)? {
            0 => Err(NoReply::Broken(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    /// Appends what comes next to the buffer; `TimedOut` when nothing came until
    /// `deadline`. 0 when the peer has closed.
    fn fill(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        let limit = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if limit == Some(Duration::ZERO) {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        self.stream.set_read_timeout(limit)?;
        let mut piece = [0; READ_SIZE];
        let count = loop {
            match self.stream.as_ref().read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
                }
                other => break other?,
            }
        };
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// Writes all of `bytes`, within [`WRITE_LIMIT`] for each part that the peer takes.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(WRITE_LIMIT))?;
        self.stream.as_ref().write_all(bytes)
    }

    /// Writes `response`; only its head when the request was a HEAD.
    pub fn write_response(&self, response: &Response, head_only: bool) -> io::Result<()> {
        let bytes = if head_only { response.encode_head() } else { response.encode() };
        self.write(&bytes.map_err(|error| io::Error::other(error.reason()))?)
    }

    /// Closes in order: says that nothing more comes, and waits a little until the
    /// peer has read that.
    pub fn close_gently(mut self) {
        let deadline = Instant::now() + LINGER_TIME;
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut thrown_away = 0;
        while thrown_away < LINGER_BYTES {
            self.buffer.clear();
            match self.fill(Some(deadline)) {
                Ok(count @ 1..) => thrown_away += count,
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const PATIENCE: Patience = Patience { request: Duration::from_secs(60), idle: None };

    fn pair() -> (Http, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Http::new(Arc::new(listener.accept().unwrap().0)), there)
    }

    #[test]
    fn two_requests_in_one_write_are_two_requests() {
        let (mut http, mut peer) = pair();
        let one = b"POST a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        peer.write_all(&[&one[..], &one[..]].concat()).unwrap();
        for _ in 0..2 {
            let (head, body) = http.receive_request(PATIENCE).unwrap();
            assert_eq!((head.target.as_slice(), body.as_slice()), (&b"a"[..], &b"{}"[..]));
        }
    }

    #[test]
    fn a_request_that_does_not_end_is_refused_in_time() {
        let (mut http, mut peer) = pair();
        peer.write_all(b"POST a HT").unwrap();
        let patience = Patience { request: Duration::from_millis(20), ..PATIENCE };
        match http.receive_request(patience) {
            Err(NoRequest::Refused(refusal)) => assert_eq!(refusal.status.code(), 408),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_who_says_nothing_is_left() {
        let (mut http, _peer) = pair();
        let patience = Patience { idle: Some(Duration::from_millis(20)), ..PATIENCE };
        assert!(matches!(http.receive_request(patience), Err(NoRequest::Closed)));
    }

    #[test]
    fn a_client_that_waits_for_continue_gets_it() {
        let (mut http, mut peer) = pair();
        peer.write_all(b"POST a HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            .unwrap();
        let asking = std::thread::spawn(move || {
            let mut reply = [0; 25];
            peer.read_exact(&mut reply).unwrap();
            peer.write_all(b"{}").unwrap();
            reply
        });
        assert_eq!(http.receive_request(PATIENCE).unwrap().1, b"{}");
        assert_eq!(&asking.join().unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    #[test]
    fn a_reply_without_a_length_ends_with_the_connection() {
        let (mut http, mut peer) = pair();
        peer.write_all(b"HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6\r\n\r\n{\"port\": 1}").unwrap();
        drop(peer);
        let (head, body) = http.receive_reply(&Method::Post).unwrap();
        assert_eq!((head.status, body.as_slice()), (200, &b"{\"port\": 1}"[..]));
    }

    #[test]
    fn a_reply_that_is_not_http_is_known_at_once() {
        let (mut http, mut peer) = pair();
        peer.write_all(b"SSH-2.0").unwrap();
        assert!(matches!(http.receive_reply(&Method::Post), Err(NoReply::NotHttp(_))));
    }

    #[test]
    fn a_bounded_wait_for_a_reply_ends() {
        let (mut http, _peer) = pair();
        http.set_reply_limit(Some(Duration::from_millis(20)));
        match http.receive_reply(&Method::Post) {
            Err(NoReply::Broken(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_that_is_too_long_is_not_kept() {
        for head in ["Content-Length: 65537\r\n\r\n", "\r\n"] {
            let (mut http, mut peer) = pair();
            let writer = std::thread::spawn(move || {
                let _ = peer.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes());
                let _ = peer.write_all(&[b' '; MAX_REPLY_BODY + 1]);
            });
            assert!(matches!(http.receive_reply(&Method::Post), Err(NoReply::NotHttp(_))));
            drop(http);
            writer.join().unwrap();
        }
    }

    #[test]
    fn interim_replies_are_passed_over() {
        let (mut http, mut peer) = pair();
        peer.write_all(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
        )
        .unwrap();
        assert_eq!(http.receive_reply(&Method::Post).unwrap().0.status, 404);
    }
}
