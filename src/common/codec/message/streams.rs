//! How a worker's streams of the ropewalk protocol come to be. Part of a job.
//!
//! ```text
//! {"address":"192.0.2.1:41234","control":"192.0.2.1:8080","session":"0f1e...","threads":4,
//!  "single_port":0}                                              it dials
//! {"session":"0f1e...","threads":4,"idle_ms":30000,"stall_ms":60000,"peer":"192.0.2.7"}
//!                                                                it accepts
//! ```
//!
//! A worker that accepts gets its listener as the first descriptor. Later messages are a rate
//! (rate.rs); for one that dials another session (session.rs) and a stream that was asked for
//! (new_stream.rs); for one that accepts a handed stream (handed.rs).

#![forbid(unsafe_code)]

use super::fields::{Fields, from_flag, from_milliseconds};
use super::session::Session;
use crate::codec::json::Value;
use crate::error::Result;
use crate::hash::hex;
use std::net::IpAddr;
use std::time::Duration;

/// Where the streams come from. It has no `Debug`, so that a token cannot slip into a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// The worker opens them.
    Dialled {
        /// The first session.
        session: Session,
        /// Whether the streams go to the control port from the start.
        single_port: bool,
        /// Whether the parent opens the streams and hands them over.
        handed: bool,
    },
    /// They come to the worker.
    Accepted {
        /// The token that the streams show.
        token: [u8; 16],
        /// How many, 1 to 255.
        streams: u8,
        /// The only address that streams may come from, if there is one.
        peer: Option<IpAddr>,
        /// How long to wait for a stream while none is open. Whole milliseconds.
        idle: Duration,
        /// How long to wait for a stream to accept more data. Whole milliseconds.
        stall: Duration,
    },
}

impl Streams {
    /// How many streams there are.
    pub fn count(&self) -> u8 {
        match self {
            Streams::Dialled { session, .. } => session.streams,
            Streams::Accepted { streams, .. } => *streams,
        }
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        match self {
            Streams::Dialled { session, single_port, handed } => {
                let mut members = session.members().to_vec();
                members.push(("single_port", from_flag(*single_port)));
                members.extend(handed.then_some(("handed", from_flag(true))));
                members
            }
            Streams::Accepted { token, streams, peer, idle, stall } => {
                let mut members = vec![
                    ("session", Value::from(hex(token))),
                    ("threads", Value::from_u64((*streams).into())),
                    ("idle_ms", from_milliseconds(*idle)),
                    ("stall_ms", from_milliseconds(*stall)),
                ];
                members.extend(peer.map(|peer| ("peer", Value::from(peer.to_string()))));
                members
            }
        }
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Streams> {
        if fields.has("idle_ms") {
            return Ok(Streams::Accepted {
                token: fields.bytes("session")?,
                streams: fields.streams("threads")?,
                peer: fields.has("peer").then(|| fields.spelled("peer")).transpose()?,
                idle: fields.milliseconds("idle_ms")?,
                stall: fields.milliseconds("stall_ms")?,
            });
        }
        Ok(Streams::Dialled {
            session: Session::from_fields(fields)?,
            single_port: fields.flag("single_port")?,
            handed: fields.flag_if_any("handed")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    const DIALLED: &str = concat!(
        r#"{"address":"192.0.2.1:46687","control":"192.0.2.1:8080","#,
        r#""session":"59843ddebe0a9675580d96b8bfb4b196","threads":4,"single_port":0}"#
    );

    const ACCEPTED: &str = concat!(
        r#"{"session":"59843ddebe0a9675580d96b8bfb4b196","threads":4,"idle_ms":30000,"#,
        r#""stall_ms":60000,"peer":"2001:db8::7"}"#
    );

    fn read(text: &str) -> Result<Streams> {
        let object = json::parse(text.as_bytes()).unwrap();
        Streams::from_fields(&Fields::of("job", &object))
    }

    #[test]
    fn streams_of_either_kind_survive_the_socket() {
        let handed = DIALLED.replace(":0}", ":1,\"handed\":1}");
        let anywhere = ACCEPTED.replace(r#","peer":"2001:db8::7""#, "");
        for text in [DIALLED, &handed, ACCEPTED, &anywhere] {
            let streams = read(text).unwrap();
            assert_eq!(streams.count(), 4);
            assert_eq!(Value::object(streams.members()).to_string(), text);
        }
    }

    #[test]
    fn each_key_is_needed_and_named() {
        let dialled = ["address", "control", "session", "threads", "single_port"];
        let dialled = dialled.map(|key| (DIALLED, key));
        let accepted = ["session", "threads", "stall_ms"].map(|key| (ACCEPTED, key));
        for (text, key) in dialled.into_iter().chain(accepted) {
            let lacking = text.replace(&format!("\"{key}\""), "\"other\"");
            let error = read(&lacking).err().unwrap().to_string();
            assert_eq!(error, format!("the job lacks '{key}'"));
        }
        assert!(read(&ACCEPTED.replace("2001:db8::7", "x")).is_err());
    }
}
