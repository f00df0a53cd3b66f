//! What a server offers in its reply to a POST: a classic transfer or a pulled one.

#![forbid(unsafe_code)]

use ropewalk::codec::etag::EntityTag;
use ropewalk::codec::http::Headers;
use ropewalk::codec::json::{self, Value};
use ropewalk::hash::from_hex;
use ropewalk::transfer::session::Token;

/// What a server offers.
pub(crate) enum Offer {
    /// A classic transfer: the server is not ropewalk.
    Classic(ClassicOffer),
    /// A pulled one.
    Pulled(PulledOffer),
}

/// A classic transfer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClassicOffer {
    /// The file's MD5, as 32 lower-case hexadecimal digits.
    pub(crate) hash: String,
    /// The port of its sender.
    pub(crate) port: u16,
}

/// A pulled transfer.
pub(crate) struct PulledOffer {
    /// The port of its sender.
    pub(crate) port: u16,
    /// What streams have to show.
    pub(crate) session: Token,
    /// Bytes of the file.
    pub(crate) size: u64,
    /// Bytes that the server stores of it.
    pub(crate) stored: u64,
    /// The file's entity tag, as it came.
    pub(crate) etag: String,
    /// How many streams there may be at most, where that was asked.
    pub(crate) max_threads: Option<u8>,
}

impl Offer {
    /// Understands a reply with status 200. Keys and fields that are not known are
    /// passed over.
    pub(crate) fn parse(headers: &Headers, body: &[u8]) -> Option<Offer> {
        let body = json::parse(body).ok()?;
        let number = |key| body.get(key).and_then(Value::as_u64);
        let port = u16::try_from(number("port")?).ok().filter(|port| *port > 0)?;
        if number("protocol").is_none_or(|protocol| protocol < 2) {
            let hash = body.get("hash")?.as_str()?.to_ascii_lowercase();
            let whole = from_hex(&hash)?.len() == 16;
            return whole.then_some(Offer::Classic(ClassicOffer { hash, port }));
        }
        if number("protocol") != Some(2) {
            return None; // 2 is what was asked for
        }
        let etag = headers.get_only("ETag")?;
        // Compared and sent back, so it has to be one.
        EntityTag::parse(etag).filter(|tag| !tag.is_weak())?;
        Some(Offer::Pulled(PulledOffer {
            port,
            session: Token::from_hex(body.get("session")?.as_str()?)?,
            size: number("size").filter(|size| i64::try_from(*size).is_ok())?,
            stored: number("stored")?,
            etag: String::from_utf8(etag.to_vec()).ok()?,
            max_threads: number("max_threads").and_then(|most| u8::try_from(most).ok()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "D41D8CD98F00B204E9800998ECF8427E";

    fn parse(etag: &str, body: &str) -> Option<Offer> {
        let mut headers = Headers::new();
        headers.push("ETag", etag);
        Offer::parse(&headers, body.as_bytes())
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

    fn pulled(session: &str, size: &str) -> String {
        format!(
            "{{\"protocol\": 2, \"port\": 80, \"session\": \"{session}\", \"size\": {size}, \
             \"stored\": 4096, \"later\": true}}"
        )
    }

    #[test]
    fn a_pulled_reply_is_understood() {
        match parse("\"tag\"", &pulled(HASH, "5368709120")) {
            Some(Offer::Pulled(offer)) => {
                assert_eq!((offer.port, offer.size, offer.stored), (80, 5 << 30, 4096));
                assert_eq!(offer.etag, "\"tag\"");
            }
            _ => panic!(),
        }
    }

    #[test]
    fn a_pulled_reply_that_lacks_something_is_none() {
        assert!(parse("", &pulled(HASH, "1")).is_none(), "no tag");
        assert!(parse("W/\"tag\"", &pulled(HASH, "1")).is_none(), "a weak tag");
        assert!(parse("\"tag\"", &pulled("00", "1")).is_none(), "a short session");
        assert!(parse("\"tag\"", &pulled(HASH, "-1")).is_none(), "a negative size");
    }
}
