//! Answers each request: finds the part of the server that it is for, and writes and counts
//! the answer.

#![forbid(unsafe_code)]

use crate::answer::{NoAnswer, refusal};
use crate::config::Volume;
use crate::connections::Connection;
use crate::download::{Answer, Download};
use crate::sending;
use crate::service::Service;
use crate::transfers::totals::Outcome;
use crate::{files, index, post, put};
use ropewalk::app::http::Http;
use ropewalk::app::terminal;
use ropewalk::codec::http::{Method, Refusal, RequestHead, Response, Status, Version, forwarded};
use ropewalk::codec::text::escape;
use std::io;
use std::time::Instant;

/// The methods that are served, for a request with another method.
const ALLOW: &str = "GET, HEAD, POST, PUT";

impl Service {
    /// A request of the trusted proxy counts as one of the client that the proxy names. From
    /// any other client the field is ignored: every client can write it.
    pub(crate) fn name_client(&self, connection: &Connection, head: &RequestHead) {
        if self.proxy == Some(connection.end().ip()) {
            connection.serves(forwarded::client(&head.headers));
        }
    }

    /// Answers a complete request, and says whether another request may follow.
    pub(crate) fn serve(
        &self,
        connection: &Connection,
        http: &mut Http,
        head: &RequestHead,
        body: &[u8],
    ) -> bool {
        let answer = match self.answer(connection, http, head, body) {
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
                let lasts = head.keep_alive() && !download.response.is_until_close();
                download.response = with_connection(head, lasts, download.response);
                self.send(connection, http, &download).is_ok() && lasts
            }
        }
    }

    /// Refuses a request without the right password. `None` for a request that may be served;
    /// else whether another request may follow.
    pub(crate) fn turn_away(
        &self,
        connection: &Connection,
        http: &Http,
        head: &RequestHead,
    ) -> Option<bool> {
        let response = self.auth.as_ref()?.refuses(connection, head)?;
        Some(self.write(http, head, response))
    }

    /// Refuses a request of an address that has as many requests served as it may. Says
    /// whether another request may follow.
    pub(crate) fn put_off(&self, connection: &Connection, http: &Http, head: &RequestHead) -> bool {
        let words = "too many requests from your address";
        let refused = Refusal::new(Status::SERVICE_UNAVAILABLE, words);
        self.log.refused(connection.peer(), Some((method(head), &head.target)), &refused);
        self.write(http, head, refusal(&refused))
    }

    fn answer(
        &self,
        connection: &Connection,
        http: &mut Http,
        head: &RequestHead,
        body: &[u8],
    ) -> Result<Answer, NoAnswer> {
        match head.method {
            Method::Put => put::answer(self, connection, http, head).map(Answer::Message),
            Method::Post => post::answer(self, connection, head, body).map(Answer::Message),
            Method::Get | Method::Head => files::answer(self, connection, head),
            Method::Other(_) => {
                let words = "only GET, HEAD, POST and PUT are served";
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
        let lasts = head.keep_alive() && !http.has_unread_body();
        let response = with_connection(head, lasts, response);
        http.write_response(&response, head.method == Method::Head).is_ok() && lasts
    }

    /// Sends a file behind its head, counts and logs that.
    fn send(&self, connection: &Connection, http: &Http, download: &Download) -> io::Result<()> {
        let begun = Instant::now();
        let entry = self.table.add_download(connection.peer().ip(), begun);
        http.write_response(&download.response, true)?;
        let sent = connection.while_sending(|| {
            sending::send(connection.stream(), self.stall, &entry, |out| download.body.send(out))
        });
        let outcome = match (&sent.broken, sent.changed) {
            (None, _) => Outcome::Complete,
            (Some(_), true) => Outcome::Changed,
            (Some(_), false) => Outcome::Failed,
        };
        entry.end(sent.bytes, outcome, begun.elapsed());
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

/// The method of a request, for the log. The name of an unknown method is a stranger's text,
/// and stays out of it.
fn method(head: &RequestHead) -> &'static str {
    match head.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Other(_) => "another method",
    }
}

/// Adds the field that says whether the connection stays open.
fn with_connection(head: &RequestHead, lasts: bool, response: Response) -> Response {
    match (lasts, head.version) {
        (false, _) => response.close(),
        (true, Version::Http11) => response,
        (true, _) => response.field("Connection", "keep-alive"),
    }
}
