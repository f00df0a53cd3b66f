//! HTTP over a socket: bytes in and out with deadlines. `codec::http` interprets them; the
//! programs decide the answers.

#![forbid(unsafe_code)]

use crate::codec::http::{
    BodyFraming, Method, Refusal, RequestHead, Response, ResponseHead, Status,
};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest body of a reply that a client accepts, in bytes.
pub const MAX_REPLY_BODY: usize = 64 << 10;

/// How long a peer may take to accept a reply.
pub const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of one read from the socket.
const READ_SIZE: usize = 4096;

/// After a refusal, the server discards the peer's bytes for this long and up to this many, so
/// that the peer reads the answer before a reset.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 1 << 20;

/// As [`LINGER_TIME`] and [`LINGER_BYTES`], after a PUT whose body was not read. Some clients look
/// for an answer only when they have sent all.
const UNREAD_LINGER_TIME: Duration = Duration::from_secs(10);
const UNREAD_LINGER_BYTES: u64 = 256 << 20;

/// The interim response that asks for a request's body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How long a server waits for a request.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a request to its last.
    pub request: Duration,
    /// For the first byte on a connection that has served a request. On a new connection,
    /// `request` counts from its opening.
    pub idle: Option<Duration>,
}

/// Why there is no request.
#[derive(Debug)]
pub enum NoRequest {
    /// The peer closed the connection, or it broke, or stayed idle.
    Closed,
    /// The caller answers with this refusal, and closes.
    Refused(Refusal),
}

/// Why there is no reply.
#[derive(Debug)]
pub enum NoReply {
    /// The connection broke.
    Broken(io::Error),
    /// The bytes are not HTTP: the reason in a few words.
    NotHttp(&'static str),
}

/// A connection, and its bytes that were read and not used yet.
pub struct Http {
    stream: Arc<TcpStream>,
    buffer: Vec<u8>,
    /// Bytes of the last request's body that were not read. The greatest number where its length
    /// is not known.
    unread: u64,
    /// The deadline of a reply.
    reply_by: Option<Instant>,
    reminder: Option<Reminder>,
}

/// The function that is called while a reply is late.
struct Reminder {
    begun: Instant,
    every: Duration,
    next: Instant,
    say: Box<dyn FnMut(Duration)>,
}

impl Reminder {
    /// Calls the function if it is due, and answers when it is next due.
    fn look(&mut self) -> Instant {
        let now = Instant::now();
        if now >= self.next {
            (self.say)(now.duration_since(self.begun));
            self.next = now + self.every;
        }
        self.next
    }
}

impl Http {
    /// Speaks HTTP over `stream`.
    pub fn new(stream: Arc<TcpStream>) -> Http {
        Http { stream, buffer: Vec::new(), unread: 0, reply_by: None, reminder: None }
    }

    /// Waits for a request and its body. The body of a PUT stays unread:
    /// [`Http::read_body`] reads it, or the connection ends after the answer.
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
        if head.method == Method::Put {
            self.unread = head.announced_length().map_or(u64::MAX, |length| length.unwrap_or(0));
            return Ok((head, Vec::new()));
        }
        // `body_length` bounds the length. Memory grows as bytes arrive.
        let length = head.body_length().map_err(NoRequest::Refused)?.unwrap_or(0) as usize;
        if head.expects_continue() && self.buffer.len() < length {
            self.write(CONTINUE).map_err(|_| NoRequest::Closed)?;
        }
        while self.buffer.len() < length {
            self.fill_request(deadline)?;
        }
        let rest = self.buffer.split_off(length);
        let body = std::mem::replace(&mut self.buffer, rest);
        Ok((head, body))
    }

    /// Whether a body is unread. Then no further request can be read on this connection.
    pub fn has_unread_body(&self) -> bool {
        self.unread > 0
    }

    /// Tells a client that waits for it to send the body.
    pub fn invite_body(&self, head: &RequestHead) -> io::Result<()> {
        match head.expects_continue() && self.unread > self.buffer.len() as u64 {
            true => self.write(CONTINUE),
            false => Ok(()),
        }
    }

    /// Reads bytes of the body into `piece`, at least one. `Ok(0)` at the body's end only.
    ///
    /// # Errors
    /// `TimedOut` if none came for `limit`; `UnexpectedEof` if the peer has closed before the end;
    /// those of the socket.
    pub fn read_body(&mut self, piece: &mut [u8], limit: Duration) -> io::Result<usize> {
        let wanted = self.unread.min(piece.len() as u64) as usize;
        let piece = piece.get_mut(..wanted).unwrap_or_default();
        if piece.is_empty() {
            return Ok(0);
        }
        let count = match self.buffer.len().min(piece.len()) {
            0 => receive(&self.stream, piece, Some(limit))?,
            held => {
                piece[..held].copy_from_slice(&self.buffer[..held]);
                self.buffer.drain(..held);
                held
            }
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unread -= count as u64;
        Ok(count)
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

    /// Whether bytes were read behind the last message.
    pub fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The first line of what came and was not understood.
    pub fn first_line(&self) -> Option<&[u8]> {
        self.buffer.split(|byte| *byte == b'\n').next().filter(|line| !line.is_empty())
    }

    /// Bounds the wait for a reply, from now on. `None` waits forever.
    pub fn set_reply_limit(&mut self, limit: Option<Duration>) {
        self.reply_by = limit.map(|limit| Instant::now() + limit);
    }

    /// Calls `say` after each further `every` without a whole reply, with the time since this
    /// call.
    pub fn set_reminder(&mut self, every: Duration, say: impl FnMut(Duration) + 'static) {
        let begun = Instant::now();
        self.reminder = Some(Reminder { begun, every, next: begun + every, say: Box::new(say) });
    }

    /// Waits for the reply to a request of this `method`, until its limit. A classic server
    /// hashes the whole file first. Keepalive detects a dead peer.
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
                while self.fill_reminded().map_err(NoReply::Broken)? > 0 {
                    if self.buffer.len() > MAX_REPLY_BODY {
                        return Err(NoReply::NotHttp("the reply is too long"));
                    }
                }
                std::mem::take(&mut self.buffer)
            }
        };
        Ok((head, body))
    }

    /// Reads more of a reply, and calls the reminder meanwhile.
    fn fill_reminded(&mut self) -> io::Result<usize> {
        loop {
            let remind_at = self.reminder.as_mut().map(Reminder::look);
            let until = [self.reply_by, remind_at].into_iter().flatten().min();
            let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
            match self.fill(until) {
                Err(error)
                    if error.kind() == io::ErrorKind::TimedOut
                        && is_over(remind_at)
                        && !is_over(self.reply_by) => {}
                other => return other,
            }
        }
    }

    fn fill_reply(&mut self) -> Result<(), NoReply> {
        match self.fill_reminded().map_err(NoReply::Broken)? {
            0 => Err(NoReply::Broken(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    /// Appends the next bytes to the buffer. `TimedOut` if none came until `deadline`; 0 if the
    /// peer has closed.
    fn fill(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        let limit = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if limit == Some(Duration::ZERO) {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        let mut piece = [0; READ_SIZE];
        let count = receive(&self.stream, &mut piece, limit)?;
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// Writes all of `bytes`, within [`WRITE_LIMIT`] for each part that the peer accepts.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(WRITE_LIMIT))?;
        self.stream.as_ref().write_all(bytes)
    }

    /// Writes `response`; only its head when the request was a HEAD.
    pub fn write_response(&self, response: &Response, head_only: bool) -> io::Result<()> {
        let bytes = if head_only { response.encode_head() } else { response.encode() };
        self.write(&bytes.map_err(|error| io::Error::other(error.reason()))?)
    }

    /// Closes in order: ends its direction, and waits a little until the peer has read that.
    pub fn close_gently(self) {
        self.linger(LINGER_TIME, LINGER_BYTES);
    }

    /// As [`Http::close_gently`], and throws away an unread body, up to a limit.
    pub fn close_after_body(self) {
        let bytes = self.unread.clamp(LINGER_BYTES, UNREAD_LINGER_BYTES);
        self.linger(UNREAD_LINGER_TIME, bytes);
    }

    fn linger(mut self, time: Duration, bytes: u64) {
        let deadline = Instant::now() + time;
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut thrown_away = 0;
        while thrown_away < bytes {
            self.buffer.clear();
            match self.fill(Some(deadline)) {
                Ok(count @ 1..) => thrown_away += count as u64,
                _ => return,
            }
        }
    }
}

/// Reads what has come from a peer, within `limit`. `TimedOut` if nothing came; 0 if the peer has
/// closed.
fn receive(mut stream: &TcpStream, piece: &mut [u8], limit: Option<Duration>) -> io::Result<usize> {
    stream.set_read_timeout(limit)?;
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests;
