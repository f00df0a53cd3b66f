//! A session of a receiver. It is part of the job. Alone, it is the message with another session,
//! after one was lost.
//!
//! ```text
//! {"address":"192.0.2.1:41234","control":"192.0.2.1:8080","session":"0f1e...","threads":4}
//! ```

#![forbid(unsafe_code)]

use super::fields::Fields;
use crate::codec::json::Value;
use crate::error::Result;
use crate::hash::hex;
use std::net::SocketAddr;

/// A session. It has no `Debug`, so that its token cannot slip into a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The data port, where the sender listens.
    pub address: SocketAddr,
    /// The server's own port. The server hands streams that come there to the sender.
    pub control: SocketAddr,
    /// The token that the streams show.
    pub token: [u8; 16],
    /// How many streams it has room for, 1 to 255.
    pub streams: u8,
}

impl Session {
    /// The session's members.
    pub(super) fn members(&self) -> [(&'static str, Value); 4] {
        [
            ("address", Value::from(self.address.to_string())),
            ("control", Value::from(self.control.to_string())),
            ("session", Value::from(hex(&self.token))),
            ("threads", Value::from_u64(self.streams.into())),
        ]
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Session> {
        Ok(Session {
            address: fields.spelled("address")?,
            control: fields.spelled("control")?,
            token: fields.bytes("session")?,
            streams: fields.streams("threads")?,
        })
    }

    /// The session as JSON.
    pub fn to_json(&self) -> Value {
        Value::object(self.members())
    }

    /// The session in `object`.
    ///
    /// # Errors
    /// A key is missing or wrong.
    pub fn from_json(object: &Value) -> Result<Session> {
        Session::from_fields(&Fields::of("session", object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    const TEXT: &str = concat!(
        r#"{"address":"192.0.2.1:41234","control":"192.0.2.1:8080","#,
        r#""session":"0f1e2d3c4b5a69788796a5b4c3d2e1f0","threads":4}"#
    );

    fn read(text: &str) -> Result<Session> {
        Session::from_json(&json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_session_survives_the_socket() {
        let session = read(TEXT).unwrap();
        assert_eq!(session.address.port(), 41234);
        assert_eq!((session.token[0], session.streams), (0x0f, 4));
        assert_eq!(session.to_json().to_string(), TEXT);
    }

    #[test]
    fn a_key_that_is_unknown_is_ignored() {
        let more = TEXT.replacen('{', "{\"more\":[1],", 1);
        assert!(read(&more).is_ok_and(|session| session.to_json().to_string() == TEXT));
    }

    #[test]
    fn each_key_is_needed_and_named() {
        for key in ["address", "control", "session", "threads"] {
            let error = read(&TEXT.replace(key, "other")).err().unwrap().to_string();
            assert_eq!(error, format!("the session lacks '{key}'"));
        }
    }

    #[test]
    fn a_value_out_of_its_range_is_an_error() {
        for (right, wrong) in [(":4}", ":0}"), (":4}", ":256}"), ("e1f0", "e1"), (":8080", "")] {
            assert!(read(&TEXT.replace(right, wrong)).is_err(), "{wrong}");
        }
    }
}
