//! The control conversation with a server: one connection, one request, one reply.
//! The messages themselves are in codec/message.

#![forbid(unsafe_code)]

mod advice;
mod login;
mod waiting;

pub(crate) use ropewalk::codec::message::offer::{ClassicOffer, Offer, RopewalkOffer};
pub(crate) use waiting::{Held, REMINDER};

use crate::config::{Config, Threads};
use crate::interrupt::Interrupt;
use crate::login::Login;
use ropewalk::app::http::{Http, NoReply};
use ropewalk::app::resolve::{advise_zone, connect_any, resolve};
use ropewalk::app::terminal;
use ropewalk::codec::http::{Method, ResponseHead, Status, encode_request};
use ropewalk::codec::json;
use ropewalk::codec::message::reason::Reason;
use ropewalk::codec::message::transfer_request::{Protocol, TransferRequest};
use ropewalk::codec::percent::encode_path;
use ropewalk::codec::repr_digest::{WANT_MD5, parse_md5};
use ropewalk::codec::text::{escape, escape_limited};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::socket;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waiting::{DEAD_TIME, KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, retry_after};

/// Most bytes of a server's own words that are shown.
const SHOWN_WORDS: usize = 200;

/// How long a request may take that a server answers at once.
const RENEWAL_TIME: Duration = Duration::from_secs(10);

/// Where a server is, once its name was looked up and one address has answered.
#[derive(Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    /// As the user typed it, escaped.
    typed: String,
    /// The Host field of a request.
    host: String,
    limit: Duration,
    /// How long it may be silent after a POST or a HEAD, where the user bounds that.
    silence: Option<Duration>,
    /// Whether the user hears of errors only.
    quiet: bool,
    /// Whose name and password are given where they are asked for. Shared by all
    /// connections, so that no two count their requests the same.
    login: Arc<Login>,
}

/// What comes of asking for another session.
pub(crate) enum Again {
    /// There may be one.
    Offer(Offer),
    /// The server has no room, and says after how long it wants to be asked again.
    Later(Error, Duration),
}

/// What a server answers when it is asked for an MD5.
pub(crate) enum Md5 {
    /// Here it is; `None` when the server makes none.
    Is(Option<[u8; 16]>),
    /// Not now; and after how long it wants to be asked again.
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
    /// What notes down how long the server holds the request, and tells the user about a
    /// long wait. Without it that is done here.
    held: Option<&'a Held<'a>>,
}

impl Server {
    /// Connects to the first address that answers.
    pub(crate) fn find(config: &Config, interrupt: &Arc<Interrupt>) -> Result<(Server, TcpStream)> {
        let (server, limit) = (&config.server, config.connect_time);
        let login = Arc::new(login::find(config, interrupt)?);
        let typed = escape(server.typed.as_bytes());
        let addresses = resolve(&server.host, server.port).map_err(advice::unresolved)?;
        let (stream, address) = connect_any(&addresses, limit).map_err(|cause| {
            advise_zone(advice::unreachable(&typed, &cause), &cause, &addresses)
        })?;
        let (silence, quiet, host) = (config.silence, config.quiet, server.host_field());
        Ok((Server { address, typed, host, limit, silence, quiet, login }, stream))
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
        let time = (patience, self.silence);
        let (head, body) = self.post(stream, &encoded, threads, time, interrupt)?;
        let unknown =
            head.status == Status::NOT_FOUND.code() || head.status == Status::BAD_REQUEST.code();
        if unknown && !advice::is_ropewalk(&head) && encoded != file {
            let (head, body) = self.post(self.connect()?, file, threads, time, interrupt)?;
            return self.offer(&head, &body, file);
        }
        self.offer(&head, &body, file)
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
            Some(delay) => Ok(Again::Later(self.refused(&head, &body, file), delay)),
            None => self.offer(&head, &body, file).map(Again::Offer),
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
        let request = TransferRequest {
            streams: threads.at_first(),
            most_streams: (threads == Threads::Auto).then_some(u8::MAX),
            protocol: Protocol::Ropewalk,
        };
        let fields = [("Host", self.host.as_str()), ("Content-Type", "application/json")];
        let body = request.to_json().to_string().into_bytes();
        let method = &Method::Post;
        let message = Message { method, target, fields: &fields, body: &body, limit, held: None };
        self.converse(stream, &message, patience, interrupt)
    }

    fn offer(&self, head: &ResponseHead, body: &[u8], file: &[u8]) -> Result<Offer> {
        if head.status != Status::OK.code() {
            return Err(self.refused(head, body, file));
        }
        Offer::from_reply(&head.headers, body)
            .map_err(|why| advice::another_kind(self.wrong(&why), &self.typed, head, file))
    }

    /// Asks once for the MD5 of `file` in the state `etag`.
    pub(crate) fn ask_md5(
        &self,
        file: &[u8],
        etag: &str,
        held: &Held<'_>,
        interrupt: &Interrupt,
    ) -> Result<Md5> {
        let target = encode_path(file).into_bytes();
        let fields =
            [("Host", self.host.as_str()), ("If-Match", etag), ("Want-Repr-Digest", WANT_MD5)];
        let stream = self.connect()?;
        let message = Message {
            method: &Method::Head,
            target: &target,
            fields: &fields,
            body: &[],
            limit: None,
            held: Some(held),
        };
        let (head, body) = self.converse(stream, &message, Duration::ZERO, interrupt)?;
        let is = |status: Status| head.status == status.code();
        if is(Status::PRECONDITION_FAILED) {
            let text = format!("{}: the file changed on the server while it was sent", self.typed);
            return Err(Error::new(ExitCode::Changed, text));
        }
        if is(Status::SERVICE_UNAVAILABLE) || is(Status::REQUEST_TIMEOUT) {
            // It is being stopped, or has too much to hash; or the request was lost on its way.
            let delay = retry_after(&head).unwrap_or_default();
            return Ok(Md5::Later(self.refused(&head, &body, file), delay));
        }
        if is(Status::INTERNAL_SERVER_ERROR) {
            // The reply to a HEAD has no words of its own.
            let text = format!("{}: the server cannot read the file for its MD5", self.typed);
            return Err(Error::new(ExitCode::Refused, text));
        }
        if !is(Status::OK) {
            return Err(self.refused(&head, &body, file));
        }
        let Some(digest) = head.headers.joined("Repr-Digest") else { return Ok(Md5::Is(None)) };
        let words = "its Repr-Digest field has no valid MD5";
        parse_md5(&digest).map(Md5::Is).map_err(|_| self.wrong(words))
    }

    /// The server has said nothing of `what` for as long as the user gives it.
    pub(crate) fn silent(&self, what: &str, limit: Duration) -> Error {
        let text = format!("{}: no {what} within {} s", self.typed, limit.as_secs());
        let error = Error::new(ExitCode::Network, text);
        let advice =
            "the server may be hashing the file; without --connect-timeout the client waits";
        error.advise(advice)
    }

    /// Whether the server says that `file` is not in the state `etag` any more. A server
    /// that says nothing says no.
    pub(crate) fn is_another(&self, file: &[u8], etag: &str, interrupt: &Interrupt) -> bool {
        let target = encode_path(file).into_bytes();
        let fields = [("Host", self.host.as_str()), ("If-Match", etag)];
        let (method, limit) = (&Method::Head, Some(RENEWAL_TIME));
        let message =
            Message { method, target: &target, fields: &fields, body: &[], limit, held: None };
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
        let mut attempt = self.login.attempt();
        loop {
            let field = attempt.authorization(message.method, message.target)?;
            let (head, reply) = self.converse_once(stream, message, field.as_deref(), interrupt)?;
            if head.status == Status::UNAUTHORIZED.code() {
                let again = attempt.refused(&head).map_err(|error| {
                    Error::new(error.code(), format!("{}: {error}", self.typed))
                })?;
                if !again {
                    return Ok((head, reply));
                }
            } else {
                let left = deadline.saturating_duration_since(Instant::now());
                match retry_after(&head).filter(|_| !left.is_zero()) {
                    Some(delay) if interrupt.pause(delay.min(left)) => {}
                    _ => return Ok((head, reply)),
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
        let Message { method, target, fields, body, limit, held } = *message;
        let mut fields = fields.to_vec();
        fields.extend(authorization.map(|field| ("Authorization", field)));
        let _ = stream.set_nodelay(true);
        let _ = socket::set_keepalive(
            stream.as_fd(),
            KEEPALIVE_IDLE,
            KEEPALIVE_INTERVAL,
            KEEPALIVE_COUNT,
        );
        let _ = socket::set_user_timeout(stream.as_fd(), DEAD_TIME);
        let stream = Arc::new(stream);
        let _watched = interrupt.watch(&stream)?;
        let mut http = Http::new(stream.clone());
        let request = encode_request(method, target, &fields, body)
            .map_err(|error| self.wrong(error.reason()))?;
        http.write(&request).map_err(|error| Error::network(&self.typed, &error))?;
        match held {
            Some(held) => held.begins(),
            None if self.quiet => {}
            None => http.set_reminder(REMINDER, self.reminder()),
        }
        let begun = Instant::now();
        http.set_reply_limit(limit);
        let reply = http.receive_reply(method);
        if let Some(held) = held {
            let dead = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
            held.ends(matches!(&reply, Err(NoReply::Broken(error)) if dead(error)));
        }
        reply.map_err(|failure| match (failure, limit) {
            (NoReply::NotHttp(why), _) => self
                .wrong(&format!("the reply is not HTTP: {why}"))
                .advise("use the port of a ropewalk server"),
            (NoReply::Broken(error), _) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let text = format!("{}: the server closed without a reply", self.typed);
                advice::no_reply(Error::new(ExitCode::Network, text))
            }
            (NoReply::Broken(error), Some(limit))
                if error.kind() == io::ErrorKind::TimedOut
                    && self.silence == Some(limit)
                    && begun.elapsed() >= limit =>
            {
                self.silent("reply", limit)
            }
            (NoReply::Broken(error), _) => Error::network(&self.typed, &error),
        })
    }

    /// What tells the user that a reply is still waited for.
    fn reminder(&self) -> impl FnMut(Duration) + 'static {
        let typed = self.typed.clone();
        move |waited| {
            let seconds = waited.as_secs();
            terminal::log(format_args!(
                "{typed}: no reply for {seconds} s, still waiting: a classic server hashes the \
                 whole file before it replies"
            ));
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::protocol(format!("{}: {what}", self.typed))
    }

    /// The server's own words: of our server those in its JSON, of another one the
    /// reason phrase.
    fn refused(&self, head: &ResponseHead, body: &[u8], file: &[u8]) -> Error {
        let reason = escape_limited(&head.reason, SHOWN_WORDS);
        let body = json::parse(body).ok();
        let words = body
            .as_ref()
            .and_then(Reason::from_json)
            .map(|reason| format!(": {}", escape_limited(reason.0.as_bytes(), SHOWN_WORDS)))
            .unwrap_or_default();
        let is = |known: Status| head.status == known.code();
        let named = match is(Status::NOT_FOUND) {
            true => format!(": '{}'", escape_limited(file, SHOWN_WORDS)),
            false => String::new(),
        };
        let text = format!("{}: {} {reason}{words}{named}", self.typed, head.status);
        // Where the request was lost on its way, the connection was bad and nothing refused.
        let code = match is(Status::REQUEST_TIMEOUT) {
            true => ExitCode::Network,
            false => ExitCode::Refused,
        };
        let error = Error::new(code, text);
        match is(Status::METHOD_NOT_ALLOWED) || is(Status::NOT_IMPLEMENTED) {
            true => advice::another_kind(error, &self.typed, head, file),
            false => advice::refused(error, head.status, &words, retry_after(head).is_some()),
        }
    }
}
