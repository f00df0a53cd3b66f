//! Formats: bytes to values and back. No I/O: no sockets, no files, no clocks. A parser answers
//! `Ok(None)` while it needs more bytes.

#![forbid(unsafe_code)]

pub mod accept;
pub mod amount;
pub mod base64;
mod big_endian;
pub mod columns;
pub mod date;
pub mod digest_auth;
pub mod entry;
pub mod etag;
pub mod html;
pub mod http;
pub mod journal;
pub mod json;
pub mod message;
pub mod name;
pub mod natural;
pub mod pattern;
pub mod percent;
pub mod prefer;
pub mod range;
pub mod repr_digest;
pub mod shell;
pub mod structured;
pub mod text;
pub mod wire;
