//! The classic protocol (PROTOCOL.md, "Classic"): the file in equal blocks, one for each stream.

#![forbid(unsafe_code)]

pub mod blocks;
pub mod connect;
pub mod pieces;
pub mod piped;
pub mod sink;
pub mod source;
