//! The ropewalk protocol's data streams: the messages of the sink (a hello, then requests) and of
//! the source (blocks). Big-endian. Every message has its own CRC32C, so a flipped bit is always
//! noticed.
//!
//! PROTOCOL.md repeats the drawings; the golden-bytes tests hold both to the code.

#![forbid(unsafe_code)]

mod block;
mod hello;
mod join;
mod request;

pub use block::{ErrorCode, HEADER_SIZE, Header, PageEnd, RefusalCode};
pub use hello::{HELLO_MARK, HELLO_SIZE, Hello};
pub use join::{JOIN_SIZE, Join};
pub use request::{LONGEST_REQUEST, REQUEST_SIZE, Request};

use super::big_endian::u32_at;
use super::entry::MAX_ENTRY;
use crate::hash::crc32c::crc32c;

/// The version of the data protocol in these files.
pub const VERSION: u8 = 2;

/// Largest payload of a data block that a sink may ask for, in bytes. A source may have to hold
/// that much.
pub const MAX_BLOCK: u32 = 1 << 20;

/// Smallest limit for the payload of a data block that a sink may ask for, in bytes.
pub const MIN_BLOCK: u32 = 4 << 10;

/// Most bytes that one request may ask for.
pub const MAX_REQUEST: u32 = 1 << 20;

/// A block that is not the last answer to its request has at least this many bytes.
pub const MIN_PART: u32 = 512;

/// A range with a hash begins and ends at a multiple of so many bytes. With the hash of fewer
/// bytes, a peer that chooses sizes could guess them one by one.
pub const HASH_UNIT: u32 = 64 << 10;

/// Bytes of a hash: a SHA-256, cut.
pub const HASH_SIZE: usize = 16;

/// Most bytes of which one request asks for the MD5.
pub const MAX_HASHED: u32 = 32 << 20;

/// Most bytes of entries that one list request may ask for.
pub const MAX_ROOM: u32 = 64 << 10;

/// Fewest bytes of entries that a list request may ask for: the longest entry fits.
pub const MIN_ROOM: u32 = MAX_ENTRY;

/// How far a sink may ask ahead of the bytes that it has without a gap, where the source cannot read
/// again: the source keeps so many. More than what the queue lets a slow stream hold back, so that
/// this is noticed first.
pub const OPEN_WINDOW: u64 = 40 << 20;

/// Longest text of an error block, in bytes.
pub const MAX_ERROR_TEXT: u32 = 256;

/// Why bytes are no message of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The checksum of the message differs.
    Checksum,
    /// The first byte is not that of a hello; or HTTP came in place of a block: the server took
    /// the stream for a request.
    NotRopewalk,
    /// The hello has an unsupported version.
    Version(u8),
    /// A field is invalid.
    Field(&'static str),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WireError::Checksum => f.write_str("a message's checksum differs"),
            WireError::NotRopewalk => f.write_str("not a ropewalk stream"),
            WireError::Version(version) => write!(f, "version {version} is not supported"),
            WireError::Field(name) => write!(f, "invalid field '{name}'"),
        }
    }
}

impl std::error::Error for WireError {}

/// Writes the CRC32C of all bytes but the last four into the last four.
fn seal<const N: usize>(message: &mut [u8; N]) {
    let crc = crc32c(&message[..N - 4]);
    message[N - 4..].copy_from_slice(&crc.to_be_bytes());
}

fn check<const N: usize>(message: &[u8; N]) -> Result<(), WireError> {
    if crc32c(&message[..N - 4]) == u32_at(message, N - 4) {
        Ok(())
    } else {
        Err(WireError::Checksum)
    }
}

#[cfg(test)]
mod tests;
