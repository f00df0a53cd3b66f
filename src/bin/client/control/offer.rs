//! The offer in a server's reply to a POST: a classic transfer or a ropewalk transfer.

#![forbid(unsafe_code)]

use ropewalk::codec::etag::{EntityTag, MAX_OPAQUE};
use ropewalk::codec::http::Headers;
use ropewalk::codec::json::{self, Value};
use ropewalk::codec::text::escape_limited;
use ropewalk::hash::from_hex;
use ropewalk::transfer::session::Token;

/// The error for a reply that lacks a key.
const NOT_JSON: &str = "the reply is not the expected JSON";

/// The most bytes of a protocol number and of an entity tag that messages show.
const SHOWN_NUMBER: usize = 20;
const SHOWN_TAG: usize = 100;

/// A transfer that a server offers.
pub(crate) enum Offer {
    /// A classic transfer: the server is not ropewalk.
    Classic(ClassicOffer),
    /// A ropewalk transfer.
    Ropewalk(RopewalkOffer),
}

/// A classic transfer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClassicOffer {
    /// The file's MD5, as 32 lower-case hexadecimal digits.
    pub(crate) hash: String,
    /// The port of its sender.
    pub(crate) port: u16,
}

/// A ropewalk transfer.
pub(crate) struct RopewalkOffer {
    /// The port of its sender.
    pub(crate) port: u16,
    /// The token that each stream has to show.
    pub(crate) session: Token,
    /// Bytes of the file.
    pub(crate) size: u64,
    /// Bytes that the file takes on the server's disk: fewer than `size` with holes.
    pub(crate) stored: u64,
    /// The file's entity tag, unchanged.
    pub(crate) etag: String,
    /// The most streams, if the request asked for it.
    pub(crate) max_threads: Option<u8>,
}

impl Offer {
    /// Parses a reply with status 200. It ignores unknown keys and fields.
    ///
    /// # Errors
    /// The fault, in a few words.
    pub(crate) fn parse(headers: &Headers, body: &[u8]) -> Result<Offer, String> {
        let body = json::parse(body).map_err(|_| NOT_JSON)?;
        let number = |key| body.get(key).and_then(Value::as_u64);
        match body.get("protocol") {
            Some(Value::Integer(2)) => {
                let etag = etag(headers)?;
                let offer = port(&body).and_then(|port| {
                    Some(RopewalkOffer {
                        port,
                        session: Token::from_hex(body.get("session")?.as_str()?)?,
                        size: number("size").filter(|size| i64::try_from(*size).is_ok())?,
                        stored: number("stored")?,
                        etag,
                        max_threads: number("max_threads").and_then(|most| u8::try_from(most).ok()),
                    })
                });
                Ok(offer.map(Offer::Ropewalk).ok_or(NOT_JSON)?)
            }
            // The request asked for 2 at most.
            Some(protocol @ (Value::Integer(3..) | Value::Float(_))) => {
                let shown = escape_limited(protocol.to_string().as_bytes(), SHOWN_NUMBER);
                Err(format!("the reply is of protocol {shown}, which this client does not know"))
            }
            _ => classic(&body).map(Offer::Classic),
        }
    }
}

/// The port of a sender, in any offer.
fn port(body: &Value) -> Option<u16> {
    let port = body.get("port").and_then(Value::as_u64)?;
    u16::try_from(port).ok().filter(|port| *port > 0)
}

fn classic(body: &Value) -> Result<ClassicOffer, String> {
    let hash = body.get("hash").and_then(Value::as_str).map(str::to_ascii_lowercase);
    let hash = hash.filter(|hash| from_hex(hash).is_some_and(|bytes| bytes.len() == 16));
    let offer = port(body).zip(hash).map(|(port, hash)| ClassicOffer { hash, port });
    Ok(offer.ok_or(NOT_JSON)?)
}

/// The entity tag, unchanged. The client compares it and sends it back, so it must be valid.
fn etag(headers: &Headers) -> Result<String, String> {
    if headers.get("ETag").is_none() {
        return Err("the reply has no ETag".into());
    }
    let field = headers.get_only("ETag").ok_or("the reply has several ETags")?;
    let wrong = || {
        let shown = escape_limited(field, SHOWN_TAG);
        format!("the reply's ETag is not a strong entity tag: {shown}")
    };
    // The journal has room for so many bytes.
    if field.len() > MAX_OPAQUE + "W/\"\"".len() {
        return Err(format!("the reply's ETag is longer than {MAX_OPAQUE} bytes"));
    }
    EntityTag::parse(field).filter(|tag| !tag.is_weak()).ok_or_else(wrong)?;
    String::from_utf8(field.to_vec()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "D41D8CD98F00B204E9800998ECF8427E";

    fn parse(etag: &str, body: &str) -> Option<Offer> {
        let mut headers = Headers::new();
        headers.push("ETag", etag);
        Offer::parse(&headers, body.as_bytes()).ok()
    }

    #[test]
    fn a_classic_reply_is_understood_with_its_keys_in_any_order() {
        let expected = ClassicOffer { hash: HASH.to_lowercase(), port: 4242 };
        for body in [
            format!("{{\"hash\": \"{HASH}\", \"port\": 4242}}"),
            format!("{{\"port\": 4242, \"more\": [1, {{}}], \"hash\": \"{HASH}\"}}"),
        ] {
            match parse("", &body) {
                Some(Offer::Classic(offer)) => assert_eq!(offer, expected),
                _ => panic!("{body}"),
            }
        }
    }

    #[test]
    fn a_classic_reply_that_lacks_something_is_none() {
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
            assert!(parse("", &body).is_none(), "{body}");
        }
    }

    fn ropewalk(session: &str, size: &str) -> String {
        format!(
            "{{\"protocol\": 2, \"port\": 80, \"session\": \"{session}\", \"size\": {size}, \
             \"stored\": 4096, \"later\": true}}"
        )
    }

    #[test]
    fn a_ropewalk_reply_is_understood() {
        match parse("\"tag\"", &ropewalk(HASH, "5368709120")) {
            Some(Offer::Ropewalk(offer)) => {
                assert_eq!((offer.port, offer.size, offer.stored), (80, 5 << 30, 4096));
                assert_eq!(offer.etag, "\"tag\"");
            }
            _ => panic!(),
        }
    }

    #[test]
    fn a_ropewalk_reply_that_lacks_something_is_none() {
        assert!(parse("", &ropewalk(HASH, "1")).is_none(), "no tag");
        assert!(parse("W/\"tag\"", &ropewalk(HASH, "1")).is_none(), "a weak tag");
        assert!(parse("\"tag\"", &ropewalk("00", "1")).is_none(), "a short session");
        assert!(parse("\"tag\"", &ropewalk(HASH, "-1")).is_none(), "a negative size");
    }

    #[test]
    fn what_is_wrong_with_a_reply_is_named() {
        let words = |tags: &[&str], body: &str| {
            let mut headers = Headers::new();
            tags.iter().for_each(|tag| headers.push("ETag", *tag));
            Offer::parse(&headers, body.as_bytes()).err().unwrap()
        };
        let body = ropewalk(HASH, "1");
        assert_eq!(words(&[], &body), "the reply has no ETag");
        assert_eq!(words(&["\"a\"", "\"b\""], &body), "the reply has several ETags");
        let wrong = "the reply's ETag is not a strong entity tag: ";
        assert_eq!(words(&["W/\"tag\""], &body), format!("{wrong}W/\"tag\""));
        assert_eq!(words(&["tag"], &body), format!("{wrong}tag"));
        for (protocol, shown) in [("3", "3"), ("2.5", "2.5"), ("18446744073709551616", "1.8446")] {
            let body = body.replace("\"protocol\": 2", &format!("\"protocol\": {protocol}"));
            let words = words(&["\"tag\""], &body);
            assert!(words.starts_with(&format!("the reply is of protocol {shown}")), "{words}");
        }
        assert_eq!(words(&["\"tag\""], &ropewalk("00", "1")), NOT_JSON);
    }
}
