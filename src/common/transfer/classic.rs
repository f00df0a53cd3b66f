//! The classic protocol (PROTOCOL.md, "Classic"): the file in equal blocks, one for each stream.

pub mod connect;
pub mod piped;
pub mod sink;
pub mod source;
