//! The body of a POST: over how many streams, and by which protocol, a client wants a file.
//!
//! ```text
//! {"threads":8}                                     classic
//! {"threads":4,"protocol":2,"max_threads":255}      ropewalk
//! {"threads":4,"protocol":2,"existing":{"size":10,"mtime_s":1700000000,"mtime_ns":5}}
//! {"threads":4,"protocol":2,"tree":true,"one_file_system":true}
//! ```

#![forbid(unsafe_code)]

use super::version::Existing;
use crate::codec::json::{self, Value};

/// The ropewalk protocol's number: the highest that ropewalk speaks.
const ROPEWALK: i64 = 2;

/// 2^63. JSON numbers from here on are read as floats, and have no fraction.
const BEYOND_INTEGERS: f64 = 9_223_372_036_854_775_808.0;

const NOT_AN_OBJECT: &str = "the body is not one JSON object";

const NO_EXISTING: &str = "'existing' must have a size, mtime_s and mtime_ns";

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferRequest {
    /// How many streams the client will open, 1 to 255.
    pub streams: u8,
    /// The most streams that the client can use, 1 to 255, if it leaves the number to the
    /// server.
    pub most_streams: Option<u8>,
    /// The protocol of the streams.
    pub protocol: Protocol,
    /// The file that the client has already. If that is up to date, the client wants no
    /// transfer.
    pub existing: Option<Existing>,
    /// How the client takes a folder, if it can. Without it, a folder is no file.
    pub tree: Option<TreeWish>,
}

/// How a client takes a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeWish {
    /// Without what is mounted from another file system.
    pub one_file_system: bool,
}

/// The protocol of a transfer's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// PROTOCOL.md, part 1.
    Classic,
    /// PROTOCOL.md, part 2.
    Ropewalk,
}

impl TransferRequest {
    /// The request as JSON.
    pub fn to_json(self) -> Value {
        let mut members = vec![("threads", Value::from_u64(self.streams.into()))];
        if self.protocol == Protocol::Ropewalk {
            members.push(("protocol", Value::Integer(ROPEWALK)));
            let most = self.most_streams.map(|most| Value::from_u64(most.into()));
            members.extend(most.map(|most| ("max_threads", most)));
            members.extend(self.existing.map(|existing| ("existing", existing.to_json())));
            if let Some(TreeWish { one_file_system }) = self.tree {
                members.push(("tree", Value::Bool(true)));
                members.extend(one_file_system.then_some(("one_file_system", Value::Bool(true))));
            }
        }
        Value::object(members)
    }

    /// The request in this body. A protocol number above 2 means 2: a server answers with
    /// the highest protocol that it knows. Unknown keys are ignored.
    ///
    /// # Errors
    /// What is wrong with the body, in a few words for a person.
    pub fn from_body(body: &[u8]) -> Result<TransferRequest, &'static str> {
        let body = json::parse(body).map_err(|_| NOT_AN_OBJECT)?;
        if !matches!(body, Value::Object(_)) {
            return Err(NOT_AN_OBJECT);
        }
        let streams = streams(body.get("threads").ok_or("'threads' is missing")?)
            .ok_or("'threads' must be a whole number from 1 to 255")?;
        let protocol = match body.get("protocol") {
            None | Some(Value::Integer(1)) => Protocol::Classic,
            Some(Value::Integer(ROPEWALK..)) => Protocol::Ropewalk,
            Some(Value::Float(number)) if *number >= BEYOND_INTEGERS => Protocol::Ropewalk,
            Some(_) => return Err("'protocol' must be a whole number from 1 on"),
        };
        // A classic client may mean anything by the other keys.
        let other = |key| body.get(key).filter(|_| protocol == Protocol::Ropewalk);
        let most = other("max_threads");
        let most_streams = most
            .map(|most| {
                self::streams(most).ok_or("'max_threads' must be a whole number from 1 to 255")
            })
            .transpose()?;
        let existing = other("existing")
            .map(|existing| Existing::from_json(existing).ok_or(NO_EXISTING))
            .transpose()?;
        let flag = |key, error| match other(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(error),
        };
        let one_file_system = flag("one_file_system", "'one_file_system' must be true or false")?;
        let tree = flag("tree", "'tree' must be true or false")?;
        let tree = tree.then_some(TreeWish { one_file_system });
        Ok(TransferRequest { streams, most_streams, protocol, existing, tree })
    }
}

/// A number of streams: 1 to 255.
fn streams(value: &Value) -> Option<u8> {
    value.as_u64().and_then(|number| u8::try_from(number).ok()).filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::message::version::Stamp;

    fn read(body: &str) -> Result<TransferRequest, &'static str> {
        TransferRequest::from_body(body.as_bytes())
    }

    fn streams(body: &str) -> Option<u8> {
        read(body).ok().map(|request| request.streams)
    }

    fn protocol(text: &str) -> Option<Protocol> {
        let request = read(&format!("{{\"threads\": 4, \"protocol\": {text}}}"));
        request.ok().map(|request| request.protocol)
    }

    #[test]
    fn a_request_survives_the_connection() {
        for text in [
            r#"{"threads":8}"#,
            r#"{"threads":4,"protocol":2}"#,
            r#"{"threads":4,"protocol":2,"max_threads":255}"#,
            r#"{"threads":4,"protocol":2,"existing":{"size":10,"mtime_s":-1,"mtime_ns":999999999}}"#,
            r#"{"threads":4,"protocol":2,"tree":true}"#,
            r#"{"threads":4,"protocol":2,"max_threads":9,"tree":true,"one_file_system":true}"#,
        ] {
            assert_eq!(read(text).unwrap().to_json().to_string(), text);
        }
    }

    #[test]
    fn every_number_of_streams_is_understood() {
        for number in 1..=255u8 {
            assert_eq!(streams(&format!("{{\"threads\": {number}}}")), Some(number));
        }
    }

    #[test]
    fn unknown_keys_are_ignored() {
        assert_eq!(streams("{\"x\": [1], \"threads\": 4, \"y\": null}"), Some(4));
    }

    #[test]
    fn a_body_without_a_valid_number_of_streams_is_an_error() {
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
            assert_eq!(streams(body), None, "{body}");
        }
    }

    #[test]
    fn a_request_without_a_protocol_is_classic() {
        let request = TransferRequest {
            streams: 4,
            most_streams: None,
            protocol: Protocol::Classic,
            existing: None,
            tree: None,
        };
        assert_eq!(read("{\"threads\": 4}"), Ok(request));
        assert_eq!(protocol("1"), Some(Protocol::Classic));
    }

    #[test]
    fn max_threads_is_checked_in_a_ropewalk_request_and_ignored_in_a_classic_one() {
        let most = |text: &str, protocol: u8| {
            let body = format!("{{\"threads\":4,\"max_threads\":{text},\"protocol\":{protocol}}}");
            read(&body).map(|request| request.most_streams)
        };
        assert_eq!(most("255", 2), Ok(Some(255)));
        for text in ["0", "256", "\"9\"", "null", "1.5"] {
            assert!(most(text, 2).is_err(), "{text}");
            assert_eq!(most(text, 1), Ok(None), "{text}");
        }
    }

    #[test]
    fn an_existing_file_is_checked_in_a_ropewalk_request_and_ignored_in_a_classic_one() {
        let existing = |text: &str, protocol: u8| {
            let body = format!("{{\"threads\":4,\"existing\":{text},\"protocol\":{protocol}}}");
            read(&body).map(|request| request.existing)
        };
        let whole = r#"{"size":10,"mtime_s":-1,"mtime_ns":5}"#;
        let mtime = Stamp { seconds: -1, nanoseconds: 5 };
        assert_eq!(existing(whole, 2), Ok(Some(Existing { size: 10, mtime })));
        for (right, wrong) in [
            (whole, "null"),
            ("size", "other"),
            ("10", "-1"),
            ("mtime_s", "other"),
            ("-1", "1.5"),
            ("mtime_ns", "other"),
            (":5", ":1000000000"),
            (":5", ":-5"),
        ] {
            let text = whole.replace(right, wrong);
            assert_eq!(existing(&text, 2), Err(NO_EXISTING), "{text}");
            assert_eq!(existing(&text, 1), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_wish_for_a_tree_is_checked_in_a_ropewalk_request_and_ignored_in_a_classic_one() {
        let tree = |text: &str, protocol: u8| {
            let body = format!("{{\"threads\":4,{text},\"protocol\":{protocol}}}");
            read(&body).map(|request| request.tree)
        };
        let wish = |one_file_system| Ok(Some(TreeWish { one_file_system }));
        assert_eq!(tree("\"tree\":true", 2), wish(false));
        for (other, expected) in [("true", true), ("false", false)] {
            let text = format!("\"tree\":true,\"one_file_system\":{other}");
            assert_eq!(tree(&text, 2), wish(expected));
            assert_eq!(tree(&text, 1), Ok(None));
            assert_eq!(tree(&text.replace("\"tree\":true", "\"tree\":false"), 2), Ok(None));
            assert_eq!(tree(&format!("\"one_file_system\":{other}"), 2), Ok(None));
        }
        for wrong in ["1", "null", "\"true\"", "{}"] {
            for key in ["tree", "one_file_system"] {
                let text = format!("\"{key}\":{wrong}");
                let error = tree(&text, 2).unwrap_err();
                assert_eq!(error, format!("'{key}' must be true or false"), "{wrong}");
                assert_eq!(tree(&text, 1), Ok(None));
            }
        }
    }

    #[test]
    fn a_newer_protocol_is_answered_with_the_newest_known_one() {
        let beyond = ["9223372036854775808", "18446744073709551616", "1000000000000000000000"];
        for text in ["2", "3", "9223372036854775807"].into_iter().chain(beyond) {
            assert_eq!(protocol(text), Some(Protocol::Ropewalk), "{text}");
        }
    }

    #[test]
    fn a_protocol_that_is_no_whole_number_from_1_on_is_an_error() {
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
            assert_eq!(protocol(text), None, "{text}");
        }
    }
}
