//! What the server answers to each request: which part of it is asked, what every
//! answer has in common, and how one is written.

#![forbid(unsafe_code)]

use crate::auth::Auth;
use crate::config::Volume;
use crate::connections::Connection;
use crate::digests::Digests;
use crate::files::{self, Download};
use crate::index;
use crate::log::Log;
use crate::metrics::counters::{Counters, Kind, Outcome};
use crate::post;
use crate::sessions::Sessions;
use crate::shares::Shares;
use crate::target::Tree;
use crate::transfers::Transfers;
use ropewalk::app::http::Http;
use ropewalk::app::terminal;
use ropewalk::codec::date;
use ropewalk::codec::http::{Method, Refusal, RequestHead, Response, Status, Version, forwarded};
use ropewalk::codec::json::Value;
use ropewalk::codec::text::escape;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The `Server` field of every reply: a ropewalk client knows its own kind by it.
const SERVER: &str = concat!("ropewalk/", env!("CARGO_PKG_VERSION"));

/// What methods there are, for a request with another one.
const ALLOW: &str = "GET, HEAD, POST";

/// Seconds after which it is worth asking a full server again.
const RETRY_AFTER: u64 = 1;

/// What all connections share.
pub(crate) struct Service {
    /// Who may come in; everybody without one.
    pub(crate) auth: Option<Auth>,
    /// The files that clients may have.
    pub(crate) tree: Arc<Tree>,
    /// Whether folders are shown.
    pub(crate) index: bool,
    /// Transfers under way.
    pub(crate) transfers: Arc<Transfers>,
    /// Whose streams come to the control port.
    pub(crate) sessions: Arc<Sessions>,
    /// Digests of whole files.
    pub(crate) digests: Arc<Digests>,
    /// What there has been so far.
    pub(crate) counters: Arc<Counters>,
    /// Who shares the limit of bytes per second.
    pub(crate) shares: Arc<Shares>,
    /// Streams that a transfer may have.
    pub(crate) max_streams: u8,
    /// How long a client may take to send a request.
    pub(crate) request: Duration,
    /// How long a connection may stay idle between two requests.
    pub(crate) idle: Duration,
    /// How long a client may take no data.
    pub(crate) stall: Duration,
    /// How much to log.
    pub(crate) volume: Volume,
    /// Where refused requests are logged.
    pub(crate) log: Log,
    /// The reverse proxy whose word about its clients counts.
    pub(crate) proxy: Option<IpAddr>,
}

/// What a request gets.
#[derive(Debug)]
pub(crate) enum Answer {
    /// This, with its body.
    Message(Response),
    /// A part of a file, or all of it, or an index.
    File(Box<Download>),
}

/// Why a request gets something else than it asked for.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// It cannot have it.
    Refused(Refusal),
    /// There is nobody to answer.
    Gone,
}

impl From<Refusal> for NoAnswer {
    fn from(refusal: Refusal) -> NoAnswer {
        NoAnswer::Refused(refusal)
    }
}

impl Service {
    /// Has a request of the trusted proxy count as that of the client that the proxy names. Of
    /// everybody else the field counts for nothing: any client can write it.
    pub(crate) fn name_client(&self, connection: &Connection, head: &RequestHead) {
        if self.proxy == Some(connection.end().ip()) {
            connection.serves(forwarded::client(&head.headers));
        }
    }

    /// Answers a complete request, and says whether another one may follow.
    pub(crate) fn serve(
        &self,
        connection: &Connection,
        http: &Http,
        head: &RequestHead,
        body: &[u8],
    ) -> bool {
        let answer = match self.answer(connection, head, body) {
            Ok(answer) => answer,
            Err(NoAnswer::Refused(refused)) => {
                self.log.refused(connection.peer(), Some((method(head), &head.target)), &refused);
                Answer::Message(refusal(&refused))
            }
            Err(NoAnswer::Gone) => return false,
        };
        match answer {
            Answer::Message(response) => self.write(http, head, response),
            Answer::File(mut download) => {
                download.response = with_connection(head, download.response);
                let lasts = head.keep_alive() && !download.response.is_until_close();
                self.send(connection, http, &download).is_ok() && lasts
            }
        }
    }

    /// Turns a request away that may not come in. `None` for one that may; else whether
    /// another one may follow.
    pub(crate) fn turn_away(
        &self,
        connection: &Connection,
        http: &Http,
        head: &RequestHead,
    ) -> Option<bool> {
        let response = self.auth.as_ref()?.refuses(connection, head)?;
        Some(self.write(http, head, response))
    }

    /// Refuses a request for which its address is served too often already, and says
    /// whether another one may follow.
    pub(crate) fn put_off(&self, connection: &Connection, http: &Http, head: &RequestHead) -> bool {
        let words = "too many requests from your address";
        let refused = Refusal::new(Status::SERVICE_UNAVAILABLE, words);
        self.log.refused(connection.peer(), Some((method(head), &head.target)), &refused);
        self.write(http, head, refusal(&refused))
    }

    fn answer(
        &self,
        connection: &Connection,
        head: &RequestHead,
        body: &[u8],
    ) -> Result<Answer, NoAnswer> {
        match head.method {
            Method::Post => post::answer(self, connection, head, body).map(Answer::Message),
            Method::Get | Method::Head => files::answer(self, connection, head),
            Method::Other(_) => {
                let words = "only GET, HEAD and POST are served";
                let refused = Refusal::new(Status::METHOD_NOT_ALLOWED, words);
                self.log.refused(connection.peer(), Some((method(head), &head.target)), &refused);
                Ok(Answer::Message(refusal(&refused).field("Allow", ALLOW)))
            }
        }
    }

    /// Answers with a message, and says whether another request may follow.
    fn write(&self, http: &Http, head: &RequestHead, response: Response) -> bool {
        self.counters.answered(response.status());
        let response = index::for_people(head, response);
        let response = with_connection(head, response);
        http.write_response(&response, head.method == Method::Head).is_ok() && head.keep_alive()
    }

    /// Sends a file behind its head, counts and logs that.
    fn send(&self, connection: &Connection, http: &Http, download: &Download) -> io::Result<()> {
        let begun = Instant::now();
        let mut counted = self.counters.begin(Kind::Download);
        http.write_response(&download.response, true)?;
        let share = self.shares.add_download();
        let sent = connection
            .while_sending(|| download.body.send(connection.stream(), self.stall, share.as_ref()));
        drop(share);
        counted.reached(sent.bytes, 0);
        counted.end(match (&sent.broken, sent.changed) {
            (None, _) => Outcome::Complete,
            (Some(_), true) => Outcome::Changed,
            (Some(_), false) => Outcome::Failed,
        });
        if self.volume > Volume::Quiet {
            terminal::log(format_args!(
                "{} GET {} {} bytes{} in {:.3} s: {}",
                connection.peer(),
                escape(&download.path),
                sent.bytes,
                download.body.length().map_or(String::new(), |length| format!(" of {length}")),
                begun.elapsed().as_secs_f64(),
                sent.broken.as_deref().unwrap_or("complete"),
            ));
        }
        match sent.broken {
            None => Ok(()),
            Some(words) => Err(io::Error::other(words)),
        }
    }
}

/// The method of a request, for the log: of another method than the known ones no name, since
/// that is a stranger's text.
fn method(head: &RequestHead) -> &'static str {
    match head.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Other(_) => "another method",
    }
}

/// Says whether the connection stays open.
fn with_connection(head: &RequestHead, response: Response) -> Response {
    match (head.keep_alive() && !response.is_until_close(), head.version) {
        (false, _) => response.close(),
        (true, Version::Http11) => response,
        (true, _) => response.field("Connection", "keep-alive"),
    }
}

/// A response with the fields that every one has.
pub(crate) fn begin(status: Status) -> Response {
    let response = Response::new(status).field("Server", SERVER);
    match now() {
        Some(now) => response.field("Date", date::format(now)),
        None => response,
    }
}

/// Seconds since 1970; `None` on a machine without a clock.
pub(crate) fn now() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|now| now.as_secs())
}

/// A response that carries one JSON value.
pub(crate) fn respond(status: Status, body: &Value) -> Response {
    begin(status).body("application/json", format!("{body}\n").into_bytes())
}

/// The answer to a request that is not served.
pub(crate) fn refusal(refusal: &Refusal) -> Response {
    let response =
        respond(refusal.status, &Value::object([("error", Value::from(refusal.reason))]));
    match refusal.status {
        Status::SERVICE_UNAVAILABLE => response.field("Retry-After", RETRY_AFTER.to_string()),
        _ => response,
    }
}

/// What to answer when the system refuses the server what a request needs.
pub(crate) fn unavailable(error: &io::Error) -> Refusal {
    no_room().because(error.raw_os_error())
}

/// What to answer when the server has come to a limit of its own.
pub(crate) fn no_room() -> Refusal {
    Refusal::new(Status::SERVICE_UNAVAILABLE, "the server has no room now")
}
