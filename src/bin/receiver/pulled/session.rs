//! A session as the parent describes it: where its streams go, and what they show there.

#![forbid(unsafe_code)]

use ropewalk::codec::json::Value;
use ropewalk::transfer::session::Token;
use std::net::SocketAddr;

/// A session.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    /// Where its sender listens.
    pub(crate) address: SocketAddr,
    /// Where its server does, which hands streams on to the sender.
    pub(crate) control: SocketAddr,
    /// What it wants to be shown.
    pub(crate) token: Token,
    /// How many streams it has a place for.
    pub(crate) threads: u8,
}

impl Session {
    /// The session that a job, or what the parent says later, describes.
    pub(crate) fn from_object(object: &Value) -> Option<Session> {
        let text = |key| object.get(key).and_then(Value::as_str);
        Some(Session {
            address: text("address")?.parse().ok()?,
            control: text("control")?.parse().ok()?,
            token: Token::from_hex(text("session")?)?,
            threads: u8::try_from(object.get("threads")?.as_u64()?).ok()?,
        })
    }
}
