//! The control conversation with a server: one connection, one request, one reply.
//! What the replies say is in control/offer.rs.

#![forbid(unsafe_code)]

mod advice;
mod offer;

pub(crate) use offer::{ClassicOffer, Offer, PulledOffer};

use crate::config::{Config, Threads};
use crate::interrupt::Interrupt;
use ropewalk::app::http::{Http, NoReply};
use ropewalk::app::login::Login;
use ropewalk::app::resolve::{connect_any, resolve};
use ropewalk::codec::etag::MAX_OPAQUE;
use ropewalk::codec::http::{Method, ResponseHead, Status, encode_request};
use ropewalk::codec::json::{self, Value};
use ropewalk::codec::percent::encode_path;
use ropewalk::codec::repr_digest::{WANT_MD5, parse_md5};
use ropewalk::codec::text::{escape, escape_limited};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::{random, socket};
use ropewalk::transfer::blocks::MAX_STREAMS;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most bytes of a server's own words that are shown.
const SHOWN_WORDS: usize = 200;

/// Keepalive of the control connection, the only thing that ends a wait for a reply:
/// a dead server or a path that drops everything is noticed after two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_COUNT: u8 = 6;

/// How long a request may take that a server answers at once.
const RENEWAL_TIME: Duration = Duration::from_secs(10);

/// Where a server is, once its name was looked up and one address has answered.
#[derive(Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    /// As the user typed it, escaped.
    typed: String,
    limit: Duration,
    /// Whose name and password are given where they are asked for. Shared by all
    /// connections, so that no two count their requests the same.
    login: Option<Arc<Login>>,
}

/// What comes of asking for another session.
pub(crate) enum Again {
    /// There may be one.
    Offer(Offer),
    /// The server has no room, and says after how long it wants to be asked again.
    Later(Error, Duration),
}

/// A request before it has an `Authorization` field.
struct Message<'a> {
    method: &'a Method,
    target: &'a [u8],
    fields: &'a [(&'a str, &'a str)],
    body: &'a [u8],
    /// How long the reply may take; without one, as long as it takes.
    limit: Option<Duration>,
}

impl Server {
    /// Connects to the first address that answers.
    pub(crate) fn find(config: &Config) -> Result<(Server, TcpStream)> {
        let (server, limit) = (&config.server, config.connect_time);
        let login = config.auth.as_deref().map(Login::read).transpose()?.map(Arc::new);
        let typed = escape(server.typed.as_bytes());
        let addresses = resolve(&server.host, server.port).map_err(advice::unresolved)?;
        let (stream, address) =
            connect_any(&addresses, limit).map_err(|error| advice::unreachable(&typed, &error))?;
        Ok((Server { address, typed, limit, login }, stream))
    }

    /// What the control connection reached.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the data streams go: the address that the control connection reached.
    pub(crate) fn data_address(&self, port: u16) -> SocketAddr {
        let mut address = self.address;
        address.set_port(port);
        address
    }

    /// Connects to it once more: to the same address, never resolved again.
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let connected = connect_any(&[self.address], self.limit);
        let connected = connected.map(|(stream, _)| stream);
        connected.map_err(|error| advice::unreachable(&self.typed, &error))
    }

    /// Asks for `file` over `threads` streams, for `patience` while there is no room: in the
    /// ropewalk form, and where a server of another kind does not know the encoded name, in
    /// the classic form.
    pub(crate) fn ask(
        &self,
        stream: TcpStream,
        file: &[u8],
        threads: Threads,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<Offer> {
        let encoded = encode_path(file).into_bytes();
        let (head, body) = self.post(stream, &encoded, threads, (patience, None), interrupt)?;
        let ropewalk = head.headers.get("Server").is_some_and(|name| name.starts_with(b"ropewalk"));
        let unknown =
            head.status == Status::NOT_FOUND.code() || head.status == Status::BAD_REQUEST.code();
        if unknown && !ropewalk && encoded != file {
            let (head, body) =
                self.post(self.connect()?, file, threads, (patience, None), interrupt)?;
            return self.offer(&head, &body);
        }
        self.offer(&head, &body)
    }

    /// Asks a server that is known to be ropewalk for another session. It answers such a
    /// request at once, or is not to be counted on. Whether there is time to wait for one that
    /// has no room the caller knows.
    pub(crate) fn ask_again(
        &self,
        stream: TcpStream,
        file: &[u8],
        threads: Threads,
        interrupt: &Interrupt,
    ) -> Result<Again> {
        let encoded = encode_path(file).into_bytes();
        let once = (Duration::ZERO, Some(RENEWAL_TIME));
        let (head, body) = self.post(stream, &encoded, threads, once, interrupt)?;
        match retry_after(&head) {
            Some(delay) => Ok(Again::Later(self.refused(&head, &body), delay)),
            None => self.offer(&head, &body).map(Again::Offer),
        }
    }

    fn post(
        &self,
        stream: TcpStream,
        target: &[u8],
        threads: Threads,
        (patience, limit): (Duration, Option<Duration>),
        interrupt: &Interrupt,
    ) -> Result<(ResponseHead, Vec<u8>)> {
        let mut body = vec![
            ("threads", Value::from_u64(threads.at_first().into())),
            ("protocol", Value::from_u64(2)),
        ];
        if threads == Threads::Auto {
            body.push(("max_threads", Value::from_u64(MAX_STREAMS)));
        }
        let body = Value::object(body);
        let fields = [("Host", self.typed.as_str()), ("Content-Type", "application/json")];
        let body = body.to_string().into_bytes();
        let method = &Method::Post;
        let message = Message { method, target, fields: &fields, body: &body, limit };
        self.converse(stream, &message, patience, interrupt)
    }

    fn offer(&self, head: &ResponseHead, body: &[u8]) -> Result<Offer> {
        if head.status != Status::OK.code() {
            return Err(self.refused(head, body));
        }
        Offer::parse(&head.headers, body).ok_or_else(|| {
            let tag = head.headers.get_only("ETag").unwrap_or_default();
            match tag.len() > MAX_OPAQUE {
                true => self.wrong(&format!("its ETag is longer than {MAX_OPAQUE} bytes")),
                false => self.wrong("the reply is not the JSON expected"),
            }
        })
    }

    /// Asks for the MD5 of `file` in the state `etag`. `None` when the server does not
    /// make one.
    pub(crate) fn ask_md5(
        &self,
        file: &[u8],
        etag: &str,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<Option<[u8; 16]>> {
        let target = encode_path(file).into_bytes();
        let fields =
            [("Host", self.typed.as_str()), ("If-Match", etag), ("Want-Repr-Digest", WANT_MD5)];
        let stream = self.connect()?;
        let message = Message {
            method: &Method::Head,
            target: &target,
            fields: &fields,
            body: &[],
            limit: None,
        };
        let (head, body) = self.converse(stream, &message, patience, interrupt)?;
        if head.status == Status::PRECONDITION_FAILED.code() {
            let text = format!("{}: the file changed on the server while it was sent", self.typed);
            return Err(Error::new(ExitCode::Changed, text));
        }
        if head.status == Status::SERVICE_UNAVAILABLE.code() {
            // It is being stopped, or has too much to hash: not now, but perhaps later.
            return Err(Error::new(ExitCode::Network, self.refused(&head, &body).to_string()));
        }
        if head.status != Status::OK.code() {
            return Err(self.refused(&head, &body));
        }
        match head.headers.joined("Repr-Digest") {
            Some(digest) => {
                parse_md5(&digest).map_err(|_| self.wrong("its Repr-Digest is not one"))
            }
            None => Ok(None),
        }
    }

    /// Whether the server says that `file` is not in the state `etag` any more. A server
    /// that says nothing says no.
    pub(crate) fn is_another(&self, file: &[u8], etag: &str, interrupt: &Interrupt) -> bool {
        let target = encode_path(file).into_bytes();
        let fields = [("Host", self.typed.as_str()), ("If-Match", etag)];
        let (method, limit) = (&Method::Head, Some(RENEWAL_TIME));
        let message = Message { method, target: &target, fields: &fields, body: &[], limit };
        let asked = self
            .connect()
            .and_then(|stream| self.converse(stream, &message, Duration::ZERO, interrupt));
        asked.is_ok_and(|(head, _)| head.status == Status::PRECONDITION_FAILED.code())
    }

    /// Sends one request and waits for its reply, for as long as it takes; again with a
    /// name and a password where they are asked for, and for `patience` where a server
    /// that has no room says when to ask again.
    fn converse(
        &self,
        mut stream: TcpStream,
        message: &Message<'_>,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<(ResponseHead, Vec<u8>)> {
        let deadline = Instant::now() + patience;
        let mut attempt = self.login.as_deref().map(Login::attempt);
        loop {
            let field = match &mut attempt {
                Some(attempt) => attempt.authorization(message.method, message.target)?,
                None => None,
            };
            let (head, reply) = self.converse_once(stream, message, field.as_deref(), interrupt)?;
            match &mut attempt {
                Some(attempt) if head.status == Status::UNAUTHORIZED.code() => {
                    attempt.refused(&head).map_err(|error| {
                        Error::new(error.code(), format!("{}: {error}", self.typed))
                    })?;
                }
                _ => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    match retry_after(&head).filter(|_| !left.is_zero()) {
                        Some(delay) if interrupt.pause(delay.min(left)) => {}
                        _ => return Ok((head, reply)),
                    }
                }
            }
            stream = self.connect()?;
        }
    }

    /// Sends one request once.
    fn converse_once(
        &self,
        stream: TcpStream,
        message: &Message<'_>,
        authorization: Option<&str>,
        interrupt: &Interrupt,
    ) -> Result<(ResponseHead, Vec<u8>)> {
        let Message { method, target, fields, body, limit } = *message;
        let mut fields = fields.to_vec();
        fields.extend(authorization.map(|field| ("Authorization", field)));
        let _ = stream.set_nodelay(true);
        let _ = socket::set_keepalive(
            stream.as_fd(),
            KEEPALIVE_IDLE,
            KEEPALIVE_INTERVAL,
            KEEPALIVE_COUNT,
        );
        let stream = Arc::new(stream);
        let _watched = interrupt.watch(&stream)?;
        let mut http = Http::new(stream.clone());
        http.set_reply_limit(limit);
        let request = encode_request(method, target, &fields, body)
            .map_err(|error| self.wrong(error.reason()))?;
        http.write(&request).map_err(|error| Error::network(&self.typed, &error))?;
        http.receive_reply(method).map_err(|failure| match failure {
            NoReply::NotHttp(why) => self
                .wrong(&format!("the reply is not HTTP: {why}"))
                .advise("is this the port of a ropewalk server?"),
            NoReply::Broken(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let text = format!("{}: the server closed without a reply", self.typed);
                Error::new(ExitCode::Network, text)
            }
            NoReply::Broken(error) => Error::network(&self.typed, &error),
        })
    }

    fn wrong(&self, what: &str) -> Error {
        Error::protocol(format!("{}: {what}", self.typed))
    }

    /// The server's own words: of our server those in its JSON, of another one the
    /// reason phrase.
    fn refused(&self, head: &ResponseHead, body: &[u8]) -> Error {
        let reason = escape_limited(&head.reason, SHOWN_WORDS);
        let words = json::parse(body)
            .ok()
            .and_then(|body| body.get("error").and_then(Value::as_str).map(str::to_string))
            .map(|words| format!(": {}", escape_limited(words.as_bytes(), SHOWN_WORDS)))
            .unwrap_or_default();
        let text = format!("{}: {} {reason}{words}", self.typed, head.status);
        advice::refused(Error::new(ExitCode::Refused, text), head.status)
    }
}

/// After how long a server without room wants to be asked again. In between those who
/// were sent away at once spread out.
fn retry_after(head: &ResponseHead) -> Option<Duration> {
    if head.status != Status::SERVICE_UNAVAILABLE.code() {
        return None;
    }
    let field = head.headers.get_only("Retry-After")?;
    let seconds = std::str::from_utf8(field).ok()?.trim().parse::<u32>().ok()?;
    let mut byte = [0];
    let _ = random::fill(&mut byte);
    Some(Duration::from_secs(seconds.into()) + Duration::from_millis(2 * u64::from(byte[0])))
}
