//! Formats: bytes in, values out, and back. Sans-I/O: no sockets, no files, no
//! clocks. A parser answers `Ok(None)` while it needs more bytes.

#![forbid(unsafe_code)]

pub mod http;
pub mod json;
