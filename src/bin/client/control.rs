//! Requests to the control port of a server. Each connection carries one request and its reply.
//! codec/message has the messages themselves.

#![forbid(unsafe_code)]

mod advice;
mod password_prompt;
mod reply_time;

pub(crate) use reply_time::{HoldClock, REMINDER_INTERVAL};
pub(crate) use ropewalk::codec::message::offer::{ClassicOffer, Offer, RopewalkOffer, TreeOffer};
pub(crate) use ropewalk::codec::message::transfer_request::TransferRequest;

use crate::children::Children;
use crate::config::Config;
use crate::interrupt::Interrupt;
use crate::login::{Login, Sources};
use reply_time::{DEAD_TIME, retry_after};
use ropewalk::app::http::{Http, NoReply};
use ropewalk::app::resolve::resolve;
use ropewalk::app::supervise::Supervisor;
use ropewalk::app::terminal;
use ropewalk::codec::http::{Method, ResponseHead, Status, encode_request};
use ropewalk::codec::json::{self, Value};
use ropewalk::codec::message::outcome::{OutcomeRequest, PushState};
use ropewalk::codec::message::push::{PushOffer, PushRequest};
use ropewalk::codec::message::reason::Reason;
use ropewalk::codec::percent::encode_path;
use ropewalk::codec::prefer;
use ropewalk::codec::repr_digest::{WANT_MD5, parse_md5};
use ropewalk::codec::text::{escape, escape_limited};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::connect::{advise_zone, connect_any};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most bytes of a server's own words that messages show.
const SHOWN_WORDS: usize = 200;

/// Time limit of a request that a server answers without hashing.
const PROMPT_REPLY_TIME: Duration = Duration::from_secs(10);

/// How long a server that another program reaches may hold a HEAD before it says that it goes on. No
/// keepalive of TCP shows that the other side of such a program is gone.
const CARRIED_WAIT: Duration = Duration::from_secs(20);

/// The same for the request of another session of a push: the session before has to end.
const PUSH_REPLY_TIME: Duration = Duration::from_secs(20);

/// How long a client that ends early waits for a connection, for the end of its push there, and for
/// the reply.
const LAST_CONNECT_TIME: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(2);
const LAST_REPLY_TIME: Duration = Duration::from_secs(3);

/// A server whose name was resolved, and of which one address has answered.
#[derive(Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    /// As the user typed it, escaped.
    typed: String,
    /// The Host field of a request.
    host: String,
    /// Time limit of one attempt to connect.
    connect_time: Duration,
    /// How long it may be silent after a POST or a HEAD, if the user limits that.
    silence: Option<Duration>,
    /// Whether to print errors only.
    quiet: bool,
    /// The user and the password. All connections share it: the counter of requests must not
    /// repeat (RFC 7616, section 3.4).
    login: Arc<Login>,
    /// The connections, where another program reaches the server. The address is then 0.0.0.0:0.
    children: Option<Arc<Children>>,
}

/// What a server answers to a request that it may put off.
pub(crate) enum Answer<T> {
    /// What was asked for.
    Now(T),
    /// A refusal for now, and after how long the server wants to be asked again.
    Later(Error, Duration),
}

/// A request before it has an `Authorization` field.
struct Request<'a> {
    method: &'a Method,
    target: &'a [u8],
    fields: &'a [(&'a str, &'a str)],
    body: &'a [u8],
    /// Time limit of the reply; `None` waits without limit.
    limit: Option<Duration>,
    /// Notes down how long the server holds the request; its owner tells the user about a
    /// long wait. `None` where the request itself tells the user.
    held: Option<&'a HoldClock<'a>>,
    /// Why the reply may take long, for the user who waits; `None` where the server is meant to
    /// hold the request.
    reason: Option<&'static str>,
}

/// How long a POST may take.
#[derive(Clone, Copy)]
struct Time {
    /// How long a full server is asked again.
    patience: Duration,
    /// As of a request.
    limit: Option<Duration>,
    reason: Option<&'static str>,
}

impl Time {
    /// Of a request that is answered within this time, once.
    fn once(limit: Duration) -> Time {
        Time { patience: Duration::ZERO, limit: Some(limit), reason: None }
    }
}

/// Why the first reply of a server may take long.
const HASHES: &str = ": a classic server hashes the whole file before it replies";

impl Server {
    /// Connects to the first address that answers.
    pub(crate) fn find(
        config: &Config,
        supervisor: &Arc<Supervisor>,
        interrupt: &Arc<Interrupt>,
    ) -> Result<(Server, TcpStream)> {
        let (server, connect_time) = (&config.server, config.connect_time);
        if let Some(rsh) = &config.rsh {
            let children = Children::new(rsh, &server.typed, config.quiet, supervisor)?;
            return Server::through(config, children);
        }
        let login = Arc::new(password_prompt::login(config, interrupt)?);
        let typed = escape(server.typed.as_bytes());
        let addresses = resolve(&server.host, server.port).map_err(advice::unresolved)?;
        let (stream, address) = connect_any(&addresses, connect_time).map_err(|cause| {
            advise_zone(advice::unreachable(&typed, &cause), &cause, &addresses)
        })?;
        let (silence, quiet, host) = (config.silence, config.quiet, server.host_field());
        let children = None;
        Ok((Server { address, typed, host, connect_time, silence, quiet, login, children }, stream))
    }

    /// The server that `children` reach. It asks for no password.
    fn through(config: &Config, children: Arc<Children>) -> Result<(Server, TcpStream)> {
        let stream = children.connect()?;
        let server = Server {
            address: ([0; 4], 0).into(),
            typed: escape(config.server.typed.as_bytes()),
            host: "stdio".to_string(),
            connect_time: config.connect_time,
            silence: config.silence,
            quiet: config.quiet,
            login: Arc::new(Login::find(Sources::default())?),
            children: Some(children),
        };
        Ok((server, stream))
    }

    /// The connections, where another program reaches the server.
    pub(crate) fn children(&self) -> Option<&Arc<Children>> {
        self.children.as_ref()
    }

    /// A session with this token begins, which `announce` tells the worker. Children open its
    /// streams, where another program reaches the server.
    pub(crate) fn begin_session(
        &self,
        token: [u8; 16],
        announce: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        match &self.children {
            Some(children) => children.begin(token, announce),
            None => announce(),
        }
    }

    /// Nothing is asked any more.
    pub(crate) fn end(&self) {
        self.children.iter().for_each(|children| children.end());
    }

    /// The address that the control connection reached.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same address with another port, for data streams.
    pub(crate) fn data_address(&self, port: u16) -> SocketAddr {
        let mut address = self.address;
        address.set_port(port);
        address
    }

    /// Connects once more, to the same address. It never resolves the name again, which may
    /// lead to another server.
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        if let Some(children) = &self.children {
            return children.join_http();
        }
        let connected = connect_any(&[self.address], self.connect_time);
        let connected = connected.map(|(stream, _)| stream);
        connected.map_err(|error| advice::unreachable(&self.typed, &error))
    }

    /// Connects once more, to ask for another session.
    pub(crate) fn connect_anew(&self) -> Result<TcpStream> {
        self.children.as_ref().map_or_else(|| self.connect(), |children| children.connect())
    }

    /// Requests a transfer of `file`; waits for up to `patience` while the server is full. The
    /// first request has the percent-encoded name. If a server of another kind does not know
    /// that name, the client sends it as a classic client does.
    pub(crate) fn request_transfer(
        &self,
        stream: TcpStream,
        file: &[u8],
        request: TransferRequest,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<Offer> {
        let encoded = encode_path(file).into_bytes();
        let time = Time { patience, limit: self.silence, reason: Some(HASHES) };
        let (head, body) = self.post(stream, &encoded, &request.to_json(), time, interrupt)?;
        let unknown =
            head.status == Status::NOT_FOUND.code() || head.status == Status::BAD_REQUEST.code();
        if unknown && !advice::is_ropewalk(&head) && encoded != file {
            let (head, body) =
                self.post(self.connect()?, file, &request.to_json(), time, interrupt)?;
            return self.offer(&head, &body, file);
        }
        self.offer(&head, &body, file)
    }

    /// Requests another session from a server that is known to be ropewalk, once: it answers
    /// such a request at once. The caller waits, if the server is full.
    pub(crate) fn request_session(
        &self,
        stream: TcpStream,
        file: &[u8],
        request: TransferRequest,
        interrupt: &Interrupt,
    ) -> Result<Answer<Offer>> {
        let encoded = encode_path(file).into_bytes();
        let once = Time::once(PROMPT_REPLY_TIME);
        let (head, body) = self.post(stream, &encoded, &request.to_json(), once, interrupt)?;
        match retry_after(&head) {
            Some(delay) => Ok(Answer::Later(self.refused(&head, &body, file), delay)),
            None => self.offer(&head, &body, file).map(Answer::Now),
        }
    }

    /// Requests a session of a push to `file`; waits for up to `patience` while the server is full.
    pub(crate) fn request_push(
        &self,
        stream: TcpStream,
        file: &[u8],
        request: &PushRequest,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<PushOffer> {
        let target = encode_path(file).into_bytes();
        let time = Time { patience, limit: self.silence, reason: Some("") };
        let (head, body) = self.post(stream, &target, &request.to_json(), time, interrupt)?;
        self.push_offer(&head, &body, file)
    }

    /// The same, once, for a server that had offered a session before.
    pub(crate) fn request_push_once(
        &self,
        file: &[u8],
        request: &PushRequest,
        interrupt: &Interrupt,
    ) -> Result<Answer<PushOffer>> {
        let target = encode_path(file).into_bytes();
        let once = Time::once(PUSH_REPLY_TIME);
        let stream = self.connect_anew()?;
        let (head, body) = self.post(stream, &target, &request.to_json(), once, interrupt)?;
        match retry_after(&head) {
            Some(delay) => Ok(Answer::Later(self.refused(&head, &body, file), delay)),
            None => self.push_offer(&head, &body, file).map(Answer::Now),
        }
    }

    fn push_offer(&self, head: &ResponseHead, body: &[u8], file: &[u8]) -> Result<PushOffer> {
        if head.status != Status::OK.code() {
            return Err(self.refused(head, body, file));
        }
        PushOffer::from_body(body).map_err(|error| {
            self.wrong(&error.to_string()).advise("this server may be too old for pushes")
        })
    }

    /// Asks what came of a push to `file`. `None` if the server does not know.
    pub(crate) fn ask_outcome(
        &self,
        file: &[u8],
        request: &OutcomeRequest,
        interrupt: &Interrupt,
    ) -> Result<Option<PushState>> {
        let limit = request.wait + PROMPT_REPLY_TIME;
        self.ask_outcome_within(limit, file, request, interrupt)
    }

    /// The same for a client that ends early, whatever has stopped it. `None` also where the server
    /// does not answer soon, or where the question would take another login.
    pub(crate) fn ask_last(&self, file: &[u8], token: [u8; 16]) -> Option<PushState> {
        if self.children.is_some() {
            return None;
        }
        let server = Server { connect_time: LAST_CONNECT_TIME, ..self.clone() };
        let (request, interrupt) =
            (OutcomeRequest { token, wait: LAST_WAIT, md5: None }, Interrupt::default());
        server.ask_outcome_within(LAST_REPLY_TIME, file, &request, &interrupt).ok().flatten()
    }

    fn ask_outcome_within(
        &self,
        limit: Duration,
        file: &[u8],
        request: &OutcomeRequest,
        interrupt: &Interrupt,
    ) -> Result<Option<PushState>> {
        let target = encode_path(file).into_bytes();
        let time = Time::once(limit);
        let stream = self.connect()?;
        let (head, body) = self.post(stream, &target, &request.to_json(), time, interrupt)?;
        match head.status {
            status if status == Status::OK.code() => {
                let state = PushState::from_body(&body);
                state.map(Some).map_err(|error| self.wrong(&error.to_string()))
            }
            status if status == Status::NOT_FOUND.code() => Ok(None),
            // The server is busy, and will know later.
            status if status == Status::SERVICE_UNAVAILABLE.code() => {
                let error = self.refused(&head, &body, file);
                Err(Error::new(ExitCode::Network, error.to_string()))
            }
            _ => Err(self.refused(&head, &body, file)),
        }
    }

    fn post(
        &self,
        stream: TcpStream,
        target: &[u8],
        body: &Value,
        Time { patience, limit, reason }: Time,
        interrupt: &Interrupt,
    ) -> Result<(ResponseHead, Vec<u8>)> {
        let body = body.to_string().into_bytes();
        let fields = [("Host", self.host.as_str()), ("Content-Type", "application/json")];
        let method = &Method::Post;
        let (fields, body) = (&fields, &body);
        let request = Request { method, target, fields, body, limit, held: None, reason };
        self.exchange(stream, &request, patience, interrupt)
    }

    fn offer(&self, head: &ResponseHead, body: &[u8], file: &[u8]) -> Result<Offer> {
        if head.status != Status::OK.code() {
            return Err(self.refused(head, body, file));
        }
        Offer::from_reply(&head.headers, body)
            .map_err(|why| advice::another_kind(self.wrong(&why), &self.typed, head, file))
    }

    /// Asks once for the MD5 of `file` in the state `etag`; `None` when the server makes none.
    pub(crate) fn ask_md5(
        &self,
        file: &[u8],
        etag: &str,
        held: &HoldClock<'_>,
        interrupt: &Interrupt,
    ) -> Result<Answer<Option<[u8; 16]>>> {
        let target = encode_path(file).into_bytes();
        let mut fields =
            vec![("Host", self.host.as_str()), ("If-Match", etag), ("Want-Repr-Digest", WANT_MD5)];
        let prefer = prefer::accepted_after(CARRIED_WAIT);
        let carried = self.children.as_ref().map(|_| CARRIED_WAIT);
        fields.extend(carried.map(|_| ("Prefer", prefer.as_str())));
        let stream = match self.connect() {
            // No connection is left for it.
            Err(_) if self.children.as_ref().is_some_and(|all| all.is_locked_out()) => {
                return Ok(Answer::Now(None));
            }
            connected => connected?,
        };
        let request = Request {
            method: &Method::Head,
            target: &target,
            fields: &fields,
            body: &[],
            limit: carried.map(|wait| wait + PROMPT_REPLY_TIME),
            held: Some(held),
            reason: None,
        };
        let (head, body) = match carried {
            None => self.exchange(stream, &request, Duration::ZERO, interrupt)?,
            Some(wait) => self.exchange_until_made(stream, &request, wait, interrupt)?,
        };
        let is = |status: Status| head.status == status.code();
        if is(Status::PRECONDITION_FAILED) {
            let text = format!("{}: the file changed on the server while it was sent", self.typed);
            return Err(Error::new(ExitCode::Changed, text));
        }
        if is(Status::SERVICE_UNAVAILABLE) || is(Status::REQUEST_TIMEOUT) {
            // The server is stopping or has too much to hash, or it got no whole request.
            let delay = retry_after(&head).unwrap_or_default();
            return Ok(Answer::Later(self.refused(&head, &body, file), delay));
        }
        if is(Status::INTERNAL_SERVER_ERROR) {
            // The reply to a HEAD has no body, so it has no reason of its own.
            let text = format!("{}: the server cannot read the file for its MD5", self.typed);
            return Err(Error::new(ExitCode::Refused, text));
        }
        if !is(Status::OK) {
            return Err(self.refused(&head, &body, file));
        }
        let Some(digest) = head.headers.joined("Repr-Digest") else { return Ok(Answer::Now(None)) };
        let words = "its Repr-Digest field has no valid MD5";
        parse_md5(&digest).map(Answer::Now).map_err(|_| self.wrong(words))
    }

    /// The error for a server that has sent no `what` within `limit`, which the user has set.
    pub(crate) fn silent(&self, what: &str, limit: Duration) -> Error {
        let text = format!("{}: no {what} within {} s", self.typed, limit.as_secs());
        let error = Error::new(ExitCode::Network, text);
        error.advise(
            "the server may be hashing the file; without --connect-timeout the client waits",
        )
    }

    /// Whether the server says that `file` is not in the state `etag` any more. `false` where
    /// it does not answer.
    pub(crate) fn has_changed(&self, file: &[u8], etag: &str, interrupt: &Interrupt) -> bool {
        let target = encode_path(file).into_bytes();
        let fields = [("Host", self.host.as_str()), ("If-Match", etag)];
        let request = Request {
            method: &Method::Head,
            target: &target,
            fields: &fields,
            body: &[],
            limit: Some(PROMPT_REPLY_TIME),
            held: None,
            reason: None,
        };
        let asked = self
            .connect()
            .and_then(|stream| self.exchange(stream, &request, Duration::ZERO, interrupt));
        asked.is_ok_and(|(head, _)| head.status == Status::PRECONDITION_FAILED.code())
    }

    /// Sends one request again over the same connection, each `wait`, while the server is making the
    /// answer.
    fn exchange_until_made(
        &self,
        mut stream: TcpStream,
        request: &Request<'_>,
        wait: Duration,
        interrupt: &Interrupt,
    ) -> Result<(ResponseHead, Vec<u8>)> {
        loop {
            let (again, next) = (stream.try_clone(), Instant::now() + wait);
            let (head, body) = self.exchange(stream, request, Duration::ZERO, interrupt)?;
            if head.status != Status::ACCEPTED.code() {
                return Ok((head, body));
            }
            if !interrupt.pause(next.saturating_duration_since(Instant::now())) {
                return Err(interrupt.error().unwrap_or_else(|| self.wrong("no reply")));
            }
            stream = again.map_err(|error| Error::system("start", &error))?;
        }
    }

    /// Sends one request and waits for its reply. Sends it again with a password where the
    /// server asks for one, and for up to `patience` while a full server says when to.
    fn exchange(
        &self,
        mut stream: TcpStream,
        request: &Request<'_>,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<(ResponseHead, Vec<u8>)> {
        let deadline = Instant::now() + patience;
        let mut attempt = self.login.attempt();
        loop {
            let field = attempt.authorization(request.method, request.target)?;
            let (head, reply) = self.exchange_once(stream, request, field.as_deref(), interrupt)?;
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
            stream = match request.method {
                Method::Post => self.connect_anew()?,
                _ => self.connect()?,
            };
        }
    }

    /// Sends one request once.
    fn exchange_once(
        &self,
        stream: TcpStream,
        request: &Request<'_>,
        authorization: Option<&str>,
        interrupt: &Interrupt,
    ) -> Result<(ResponseHead, Vec<u8>)> {
        let Request { method, target, fields, body, limit, held, reason } = *request;
        let mut fields = fields.to_vec();
        fields.extend(authorization.map(|field| ("Authorization", field)));
        reply_time::set_socket_options(&stream);
        let stream = Arc::new(stream);
        let _watched = interrupt.watch(&stream)?;
        let mut http = Http::new(stream.clone());
        let bytes = encode_request(method, target, &fields, body)
            .map_err(|error| self.wrong(error.reason()))?;
        match http.write(&bytes) {
            // A child that has ended may have said why: that is read in place of the reply.
            Err(_) if self.children.is_some() => {}
            written => written.map_err(|error| Error::network(&self.typed, &error))?,
        }
        match (held, reason) {
            (Some(held), _) => held.start(),
            (None, _) if self.quiet || self.children.is_some() => {}
            (None, Some(why)) => http.set_reminder(REMINDER_INTERVAL, self.reminder(why)),
            (None, None) => {}
        }
        let begun = Instant::now();
        http.set_reply_limit(limit);
        let reply = http.receive_reply(method);
        match (held, &reply) {
            // The server goes on with it.
            (Some(_), Ok((head, _))) if head.status == Status::ACCEPTED.code() => {}
            (Some(held), Err(NoReply::Broken(error)))
                if error.kind() == io::ErrorKind::TimedOut =>
            {
                held.stop(limit.unwrap_or(DEAD_TIME));
            }
            (Some(held), _) => held.stop(Duration::ZERO),
            (None, _) => {}
        }
        if let (Err(_), Method::Head, Some(children)) = (&reply, method, &self.children) {
            return Err(children.lost());
        }
        reply.map_err(|failure| self.no_reply(failure, limit, begun.elapsed(), http.first_line()))
    }

    /// The error for a reply that did not come within `limit`, or came broken, after `waited`.
    /// `noise` is the first line of what came.
    fn no_reply(
        &self,
        failure: NoReply,
        limit: Option<Duration>,
        waited: Duration,
        noise: Option<&[u8]>,
    ) -> Error {
        let is_late =
            |error: &io::Error| error.kind() == io::ErrorKind::TimedOut && self.silence == limit;
        match (failure, limit, &self.children) {
            (NoReply::Broken(error), Some(limit), _) if is_late(&error) && waited >= limit => {
                self.silent("reply", limit)
            }
            (_, _, Some(children)) => children.no_reply(noise),
            (NoReply::NotHttp(why), ..) => self
                .wrong(&format!("the reply is not HTTP: {why}"))
                .advise("use the port of a ropewalk server"),
            (NoReply::Broken(error), ..) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let text = format!("{}: the server closed without a reply", self.typed);
                advice::no_reply(Error::new(ExitCode::Network, text))
            }
            (NoReply::Broken(error), ..) => Error::network(&self.typed, &error),
        }
    }

    /// Tells the user that the client still waits for a reply.
    fn reminder(&self, why: &'static str) -> impl FnMut(Duration) + 'static {
        let typed = self.typed.clone();
        move |waited| {
            let seconds = waited.as_secs();
            terminal::log(format_args!("{typed}: no reply for {seconds} s, still waiting{why}"));
        }
    }

    /// The error for a reply that breaks the protocol.
    fn wrong(&self, what: &str) -> Error {
        Error::protocol(format!("{}: {what}", self.typed))
    }

    /// The error for a refusal, with the server's own words: those in ropewalk's JSON, and the
    /// reason phrase of any server.
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
        // 408 means that the request got lost: the network failed, and nothing was refused.
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
