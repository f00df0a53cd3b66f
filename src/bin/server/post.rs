//! POST: which file, over how many streams, by which of the two protocols; and the
//! replies that offer a transfer.

#![forbid(unsafe_code)]

use crate::answer::{NoAnswer, respond};
use crate::connections::Connection;
use crate::service::Service;
use crate::target;
use crate::transfers::Wanted;
use ropewalk::codec::http::{Refusal, RequestHead, Response, Status};
use ropewalk::codec::json::{self, Value};
use ropewalk::transfer::blocks::MAX_STREAMS;
use std::sync::OnceLock;

/// The ropewalk protocol's number in requests and replies: the highest that is spoken.
const ROPEWALK: i64 = 2;

/// 2^63: what is as great has no fraction, and is read as a float however it is written.
const BEYOND_INTEGERS: f64 = 9_223_372_036_854_775_808.0;

/// How a transfer is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// As the classic programs do it.
    Classic,
    /// As PROTOCOL.md has it, part 2.
    Ropewalk,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wish {
    /// How many streams will come.
    threads: u8,
    /// How many may come at most, where the client has yet to find out how many it needs.
    max_threads: Option<u8>,
    protocol: Protocol,
}

/// The answer to a POST.
pub(crate) fn answer(
    service: &Service,
    connection: &Connection,
    head: &RequestHead,
    body: &[u8],
) -> Result<Response, NoAnswer> {
    if head.body_length()?.is_none() {
        return Err(Refusal::new(Status::LENGTH_REQUIRED, "a Content-Length is needed").into());
    }
    let Wish { threads, max_threads, protocol } = parse(body)?;
    // Whoever says how many streams it can use at most takes fewer too.
    let threads = max_threads.map_or(threads, |most| most.min(service.max_streams));
    if threads > service.max_streams {
        return Err(Refusal::new(Status::FORBIDDEN, too_many(service.max_streams)).into());
    }
    match protocol {
        Protocol::Classic => {
            // Classic clients do not encode their path, so it is not decoded.
            let path = head.target.clone();
            let opened = service.tree.open(&path)?;
            let offer = service.transfers.offer_classic(
                connection,
                Wanted { opened, path, threads },
                &service.digests,
            )?;
            let reply = Value::object([
                ("hash", Value::from(offer.hash)),
                ("port", Value::from_u64(offer.port.into())),
            ]);
            Ok(respond(Status::OK, &reply))
        }
        Protocol::Ropewalk => {
            let path = target::path(&head.target)?;
            let opened = service.tree.open(&path)?;
            let identity = opened.identity;
            let offer = service.transfers.offer_ropewalk(
                connection,
                Wanted { opened, path, threads },
                &service.digests,
            )?;
            let mut reply = vec![
                ("protocol", Value::Integer(ROPEWALK)),
                ("port", Value::from_u64(offer.port.into())),
                ("session", Value::from(offer.session.to_hex())),
                ("size", Value::from_u64(identity.version.size)),
                ("stored", Value::from_u64(identity.stored)),
            ];
            reply.extend(max_threads.map(|_| ("max_threads", Value::from_u64(threads.into()))));
            let reply = Value::object(reply);
            let tag = format!("\"{}\"", identity.etag());
            Ok(respond(Status::OK, &reply).field("ETag", tag))
        }
    }
}

/// What is said of more streams than `most`, the server's limit, which stays as it is.
fn too_many(most: u8) -> &'static str {
    static WORDS: OnceLock<String> = OnceLock::new();
    WORDS.get_or_init(|| format!("this server allows {most} streams per transfer"))
}

/// What a request's body asks for. Of a newer protocol than is known here the highest
/// that is known is offered.
fn parse(body: &[u8]) -> Result<Wish, Refusal> {
    let bad = |reason| Refusal::new(Status::BAD_REQUEST, reason);
    let body = json::parse(body).map_err(|_| bad("the body is not one JSON object"))?;
    if !matches!(body, Value::Object(_)) {
        return Err(bad("the body is not one JSON object"));
    }
    let streams = |value: &Value| {
        let number = value.as_u64().filter(|number| (1..=MAX_STREAMS).contains(number))?;
        u8::try_from(number).ok()
    };
    let threads = streams(body.get("threads").ok_or(bad("'threads' is missing"))?)
        .ok_or(bad("'threads' must be a whole number from 1 to 255"))?;
    let protocol = match body.get("protocol") {
        None | Some(Value::Integer(1)) => Protocol::Classic,
        Some(Value::Integer(ROPEWALK..)) => Protocol::Ropewalk,
        // A whole number that is too great for an integer.
        Some(Value::Float(number)) if *number >= BEYOND_INTEGERS => Protocol::Ropewalk,
        Some(_) => return Err(bad("'protocol' must be a whole number from 1 on")),
    };
    // It is ropewalk's own: a classic client may mean anything by it.
    let max_threads = match body.get("max_threads").filter(|_| protocol == Protocol::Ropewalk) {
        Some(most) => {
            Some(streams(most).ok_or(bad("'max_threads' must be a whole number from 1 to 255"))?)
        }
        None => None,
    };
    Ok(Wish { threads, max_threads, protocol })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(body: &str) -> Result<u8, u16> {
        parse(body.as_bytes()).map(|wish| wish.threads).map_err(|refused| refused.status.code())
    }

    fn protocol(text: &str) -> Result<Protocol, u16> {
        parse(format!("{{\"threads\": 4, \"protocol\": {text}}}").as_bytes())
            .map(|wish| wish.protocol)
            .map_err(|refused| refused.status.code())
    }

    #[test]
    fn every_number_of_threads_is_understood() {
        for number in 1..=255u8 {
            assert_eq!(threads(&format!("{{\"threads\": {number}}}")), Ok(number));
        }
    }

    #[test]
    fn other_keys_are_passed_over() {
        assert_eq!(threads("{\"x\": [1], \"threads\": 4, \"y\": null}"), Ok(4));
    }

    #[test]
    fn a_body_that_asks_for_nothing_sensible_is_refused() {
        for body in [
            "",
            "4",
            "[]",
            "{}",
            "{\"threads\": 0}",
            "{\"threads\": 256}",
            "{\"threads\": -1}",
            "{\"threads\": 4.0}",
            "{\"threads\": \"4\"}",
            "{\"threads\": 4} {}",
            "{\"threads\": 4",
        ] {
            assert_eq!(threads(body), Err(400), "{body}");
        }
    }

    #[test]
    fn without_a_protocol_a_request_is_classic() {
        let wish = Wish { threads: 4, max_threads: None, protocol: Protocol::Classic };
        assert_eq!(parse(b"{\"threads\": 4}"), Ok(wish));
        assert_eq!(protocol("1"), Ok(Protocol::Classic));
    }

    #[test]
    fn the_most_streams_are_a_number_like_their_number() {
        let most = |text: &str, protocol: u8| {
            let body = format!("{{\"threads\":4,\"max_threads\":{text},\"protocol\":{protocol}}}");
            parse(body.as_bytes()).map(|wish| wish.max_threads).map_err(|no| no.status.code())
        };
        assert_eq!(most("255", 2), Ok(Some(255)));
        for text in ["0", "256", "\"9\"", "null", "1.5"] {
            assert_eq!(most(text, 2), Err(400), "{text}");
            assert_eq!(most(text, 1), Ok(None), "{text}");
        }
    }

    #[test]
    fn newer_protocols_get_the_newest_that_is_known() {
        let beyond = ["9223372036854775808", "18446744073709551616", "1000000000000000000000"];
        for text in ["2", "3", "9223372036854775807"].into_iter().chain(beyond) {
            assert_eq!(protocol(text), Ok(Protocol::Ropewalk), "{text}");
        }
    }

    #[test]
    fn what_is_no_protocol_is_refused() {
        for text in [
            "0",
            "-1",
            "2.0",
            "2.5",
            "1e1",
            "1.5e3",
            "-9223372036854775809",
            "\"2\"",
            "null",
            "true",
            "[2]",
        ] {
            assert_eq!(protocol(text), Err(400), "{text}");
        }
    }
}
