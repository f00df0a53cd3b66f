//! The control conversation with a server, from connecting to the offer.

#![forbid(unsafe_code)]

use crate::config::Address;
use ropewalk::app::http::{Http, NoReply};
use ropewalk::app::resolve::{connect_any, resolve};
use ropewalk::codec::http::{Method, ResponseHead, Status, encode_request};
use ropewalk::codec::json::{self, Value};
use ropewalk::codec::text::{escape, escape_limited};
use ropewalk::error::{Error, ExitCode, Result, system_words};
use ropewalk::hash::from_hex;
use ropewalk::sys::socket;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a server's own words that are shown.
const SHOWN_WORDS: usize = 200;

/// Keepalive of the control connection, the only thing that ends a wait for a reply:
/// a dead server or a path that drops everything is noticed after two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_COUNT: u8 = 6;

/// A connection to a server.
pub(crate) struct Control {
    stream: Arc<TcpStream>,
    address: SocketAddr,
    typed: String,
}

/// What a server offers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The file's MD5, as 32 lower-case hexadecimal digits.
    pub(crate) hash: String,
    /// The port of its sender.
    pub(crate) port: u16,
}

impl Control {
    /// Connects to the first address of `server` that answers.
    pub(crate) fn connect(server: &Address, limit: Duration) -> Result<Control> {
        let typed = escape(server.typed.as_bytes());
        let addresses = resolve(&server.host, server.port)?;
        let (stream, address) =
            connect_any(&addresses, limit).map_err(|error| Error::network(&typed, &error))?;
        let _ = stream.set_nodelay(true);
        let _ = socket::set_keepalive(
            stream.as_fd(),
            KEEPALIVE_IDLE,
            KEEPALIVE_INTERVAL,
            KEEPALIVE_COUNT,
        );
        Ok(Control { stream: Arc::new(stream), address, typed })
    }

    /// The socket, for whoever may have to end the conversation.
    pub(crate) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Where the data streams go: the address that this connection reached.
    pub(crate) fn data_address(&self, port: u16) -> SocketAddr {
        let mut address = self.address;
        address.set_port(port);
        address
    }

    /// Asks for `file` over `threads` streams, in the classic form.
    pub(crate) fn ask(&self, file: &[u8], threads: u8) -> Result<Offer> {
        let mut http = Http::new(self.stream.clone());
        let body = Value::object([("threads", Value::from_u64(threads.into()))]).to_string();
        let fields = [("Host", self.typed.as_str()), ("Content-Type", "application/json")];
        let request = encode_request(&Method::Post, file, &fields, body.as_bytes())
            .map_err(|error| self.wrong(error.reason()))?;
        http.write(&request).map_err(|error| Error::network(&self.typed, &error))?;
        match http.receive_reply(&Method::Post) {
            Ok((head, body)) if head.status == Status::OK.code() => {
                Offer::parse(&body).ok_or_else(|| self.wrong("the reply is not the JSON expected"))
            }
            Ok((head, body)) => Err(self.refused(&head, &body)),
            Err(NoReply::NotHttp(why)) => Err(self.wrong(&format!("the reply is not HTTP: {why}"))),
            Err(NoReply::Broken(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let text = format!("{}: the server closed without a reply", self.typed);
                Err(Error::new(ExitCode::Network, text))
            }
            Err(NoReply::Broken(error)) => {
                let text = format!("{}: {}", self.typed, system_words(&error));
                Err(Error::new(ExitCode::Network, text))
            }
        }
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
        Error::new(ExitCode::Refused, text)
    }
}

impl Offer {
    /// The classic reply's body. Keys that are not known are passed over.
    fn parse(body: &[u8]) -> Option<Offer> {
        let body = json::parse(body).ok()?;
        let hash = body.get("hash")?.as_str()?.to_ascii_lowercase();
        let port = u16::try_from(body.get("port")?.as_u64()?).ok().filter(|port| *port > 0)?;
        (from_hex(&hash)?.len() == 16).then_some(Offer { hash, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "D41D8CD98F00B204E9800998ECF8427E";

    #[test]
    fn a_reply_is_understood_with_its_keys_in_any_order() {
        let expected = Offer { hash: HASH.to_lowercase(), port: 4242 };
        for body in [
            format!("{{\"hash\": \"{HASH}\", \"port\": 4242}}"),
            format!("{{\"port\": 4242, \"more\": [1, {{}}], \"hash\": \"{HASH}\"}}"),
        ] {
            assert_eq!(Offer::parse(body.as_bytes()).as_ref(), Some(&expected));
        }
    }

    #[test]
    fn a_reply_that_lacks_something_is_none() {
        for body in [
            String::new(),
            "[]".into(),
            format!("{{\"hash\": \"{HASH}\"}}"),
            "{\"port\": 4242}".into(),
            format!("{{\"hash\": \"{HASH}\", \"port\": 0}}"),
            format!("{{\"hash\": \"{HASH}\", \"port\": 65536}}"),
            format!("{{\"hash\": \"{HASH}\", \"port\": \"80\"}}"),
            format!("{{\"hash\": \"{}\", \"port\": 80}}", &HASH[1..]),
            format!("{{\"hash\": \"{HASH}00\", \"port\": 80}}"),
        ] {
            assert_eq!(Offer::parse(body.as_bytes()), None, "{body}");
        }
    }
}
