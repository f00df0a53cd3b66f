//! The ropewalk protocol's data streams: the messages of the sink (a hello, then requests) and of
//! the source (blocks). Big-endian. Every message has its own CRC32C, so a flipped bit is always
//! noticed.
//!
//! PROTOCOL.md repeats the drawings; the golden-bytes tests hold both to the code.

#![forbid(unsafe_code)]

use crate::hash::crc32c::crc32c;

/// The version of the data protocol in this file.
pub const VERSION: u8 = 2;

/// The first byte of a hello. No classic stream has this number.
pub const HELLO_MARK: u8 = 0xff;

/// The start of an HTTP reply, which a server sends if it takes a stream for a request. No block
/// has its first byte as its kind.
const HTTP_MARK: &[u8] = b"HTTP/";

/// Bytes of a hello.
pub const HELLO_SIZE: usize = 28;

/// Bytes of a request.
pub const REQUEST_SIZE: usize = 24;

/// Bytes of a block's header.
pub const HEADER_SIZE: usize = 32;

/// Largest payload of a block that a sink may ask for, in bytes. A source may have to hold that
/// much.
pub const MAX_BLOCK: u32 = 1 << 20;

/// Smallest limit for the payload of a block that a sink may ask for, in bytes.
pub const MIN_BLOCK: u32 = 4 << 10;

/// Most bytes that one request may ask for.
pub const MAX_REQUEST: u32 = 1 << 20;

/// A block that is not the last answer to its request has at least this many bytes.
pub const MIN_PART: u32 = 512;

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

/// The first message of a stream.
///
/// ```text
///  0       1        2       3          4               20          24       28
/// +-------+--------+-------+----------+---------------+-----------+--------+
/// | 0xff  | version| flags | reserved | session token | max block | CRC32C |
/// +-------+--------+-------+----------+---------------+-----------+--------+
/// ```
///
/// Flags: 0x01, blocks need no payload CRC; 0x02, the dialler is the source. Other flags and
/// the reserved byte are 0; the acceptor ignores flags that it does not know. The CRC covers bytes 0 to 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The session that the stream belongs to.
    pub token: [u8; 16],
    /// The largest payload that the sink accepts, [`MIN_BLOCK`] to [`MAX_BLOCK`].
    pub max_block: u32,
    /// Whether payloads come without a CRC.
    pub unchecked: bool,
    /// Whether the dialler is the source, and the acceptor the sink.
    pub from_source: bool,
}

const FLAG_UNCHECKED: u8 = 0x01;
const FLAG_FROM_SOURCE: u8 = 0x02;

impl Hello {
    /// The hello's bytes.
    pub fn encode(&self) -> [u8; HELLO_SIZE] {
        let mut out = [0; HELLO_SIZE];
        out[0] = HELLO_MARK;
        out[1] = VERSION;
        out[2] = (if self.unchecked { FLAG_UNCHECKED } else { 0 })
            | (if self.from_source { FLAG_FROM_SOURCE } else { 0 });
        out[4..20].copy_from_slice(&self.token);
        out[20..24].copy_from_slice(&self.max_block.to_be_bytes());
        seal(&mut out);
        out
    }

    /// The token of a hello of any version: all versions have it at the same offset. `None` if
    /// the bytes are damaged. The owner of the token checks the rest.
    pub fn token(bytes: &[u8; HELLO_SIZE]) -> Option<[u8; 16]> {
        if bytes[0] != HELLO_MARK || check(bytes).is_err() {
            return None;
        }
        let mut token = [0; 16];
        token.copy_from_slice(&bytes[4..20]);
        Some(token)
    }

    /// Reads a hello from the start of `bytes`; `None` while it is incomplete. A wrong first byte
    /// is refused at once.
    pub fn parse(bytes: &[u8]) -> Result<Option<(usize, Hello)>, WireError> {
        if bytes.first().is_some_and(|first| *first != HELLO_MARK) {
            return Err(WireError::NotRopewalk);
        }
        let Some(message) = bytes.first_chunk::<HELLO_SIZE>() else { return Ok(None) };
        check(message)?;
        // Only an undamaged version gets an answer.
        if message[1] != VERSION {
            return Err(WireError::Version(message[1]));
        }
        let max_block = u32_at(message, 20);
        if !(MIN_BLOCK..=MAX_BLOCK).contains(&max_block) {
            return Err(WireError::Field("max block"));
        }
        let token = Hello::token(message).ok_or(WireError::Checksum)?;
        let unchecked = message[2] & FLAG_UNCHECKED != 0;
        let from_source = message[2] & FLAG_FROM_SOURCE != 0;
        Ok(Some((HELLO_SIZE, Hello { token, max_block, unchecked, from_source })))
    }
}

/// A request of the sink.
///
/// ```text
///  0      1          4            8        16       20       24
/// +------+----------+------------+--------+--------+--------+
/// | kind | reserved | file index | offset | length | CRC32C |
/// +------+----------+------------+--------+--------+--------+
/// ```
///
/// The CRC covers bytes 0 to 19. Reserved bytes are 0; the source ignores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Kind 1: the bytes of a range, 1 to [`MAX_REQUEST`] of them.
    Range {
        /// Which file; 0 is the only one.
        file: u32,
        /// Where the range begins.
        offset: u64,
        /// How many bytes it has.
        length: u32,
    },
    /// Kind 2: the sink has everything, and the session is over. Other fields are 0.
    Finished,
    /// Kind 3: the client gives up the missing ranges, and the session is over. Other fields are
    /// 0.
    Leave,
}

const KIND_RANGE: u8 = 1;
const KIND_FINISHED: u8 = 2;
const KIND_LEAVE: u8 = 3;

impl Request {
    /// The request's bytes.
    pub fn encode(&self) -> [u8; REQUEST_SIZE] {
        let mut out = [0; REQUEST_SIZE];
        match self {
            Request::Range { file, offset, length } => {
                out[0] = KIND_RANGE;
                out[4..8].copy_from_slice(&file.to_be_bytes());
                out[8..16].copy_from_slice(&offset.to_be_bytes());
                out[16..20].copy_from_slice(&length.to_be_bytes());
            }
            Request::Finished => out[0] = KIND_FINISHED,
            Request::Leave => out[0] = KIND_LEAVE,
        }
        seal(&mut out);
        out
    }

    /// Reads a request from the start of `bytes`; `None` while it is incomplete.
    pub fn parse(bytes: &[u8]) -> Result<Option<(usize, Request)>, WireError> {
        let Some(message) = bytes.first_chunk::<REQUEST_SIZE>() else { return Ok(None) };
        check(message)?;
        let request = match message[0] {
            KIND_RANGE => {
                let (offset, length) = (u64_at(message, 8), u32_at(message, 16));
                if length == 0 || length > MAX_REQUEST {
                    return Err(WireError::Field("length"));
                }
                if offset.checked_add(u64::from(length)).is_none() {
                    return Err(WireError::Field("offset"));
                }
                Request::Range { file: u32_at(message, 4), offset, length }
            }
            KIND_FINISHED => Request::Finished,
            KIND_LEAVE => Request::Leave,
            _ => return Err(WireError::Field("kind")),
        };
        Ok(Some((REQUEST_SIZE, request)))
    }
}

/// The header of a block.
///
/// ```text
///  0      1      2          4        8        16    24            28           32
/// +------+------+----------+--------+--------+-----+-------------+------------+
/// | kind | code | reserved | length | offset | run | payload CRC | header CRC |
/// +------+------+----------+--------+--------+-----+-------------+------------+
/// ```
///
/// The header CRC covers bytes 0 to 27. Fields that a kind does not use are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Kind 1: `length` bytes of the file follow.
    Data {
        /// Their offset in the file.
        offset: u64,
        /// How many bytes follow.
        length: u32,
        /// Their CRC32C; 0 if the hello asks for none.
        crc: u32,
    },
    /// Kind 2: the file stores nothing here, and nothing follows.
    Hole {
        /// Where the hole begins.
        offset: u64,
        /// How many bytes of the request it answers.
        length: u32,
        /// The length of the hole from `offset` on; at least `length`. The sink need not ask for
        /// the rest of it.
        run: u64,
    },
    /// Kind 3: the request cannot be answered. A text of `length` bytes follows, at
    /// most [`MAX_ERROR_TEXT`], and then the end of the stream.
    Error {
        /// Why.
        code: ErrorCode,
        /// How long the text is.
        length: u32,
        /// The CRC32C of the text.
        crc: u32,
    },
}

/// Why a source cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 1: the file is not in the state that the session is about.
    Changed,
    /// 2: the file cannot be read.
    Read,
    /// 3: the hello's version is not supported.
    Version,
    /// 4: the request is invalid: past the end of the file, or of no file.
    Request,
    /// 5: no session has that token, or not any more. A server sends it at its control port, and
    /// a source after it has sent error 1 or 2.
    Session,
    /// Any other number: the text has the reason.
    Other(u8),
}

impl ErrorCode {
    fn number(self) -> u8 {
        match self {
            ErrorCode::Changed => 1,
            ErrorCode::Read => 2,
            ErrorCode::Version => 3,
            ErrorCode::Request => 4,
            ErrorCode::Session => 5,
            ErrorCode::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> ErrorCode {
        match number {
            1 => ErrorCode::Changed,
            2 => ErrorCode::Read,
            3 => ErrorCode::Version,
            4 => ErrorCode::Request,
            5 => ErrorCode::Session,
            other => ErrorCode::Other(other),
        }
    }
}

const KIND_DATA: u8 = 1;
const KIND_HOLE: u8 = 2;
const KIND_ERROR: u8 = 3;

impl Header {
    /// How many bytes follow the header.
    pub fn payload(&self) -> usize {
        match self {
            Header::Data { length, .. } | Header::Error { length, .. } => *length as usize,
            Header::Hole { .. } => 0,
        }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut out = [0; HEADER_SIZE];
        let (kind, code, length, offset, run, crc) = match *self {
            Header::Data { offset, length, crc } => (KIND_DATA, 0, length, offset, 0, crc),
            Header::Hole { offset, length, run } => (KIND_HOLE, 0, length, offset, run, 0),
            Header::Error { code, length, crc } => (KIND_ERROR, code.number(), length, 0, 0, crc),
        };
        out[0] = kind;
        out[1] = code;
        out[4..8].copy_from_slice(&length.to_be_bytes());
        out[8..16].copy_from_slice(&offset.to_be_bytes());
        out[16..24].copy_from_slice(&run.to_be_bytes());
        out[24..28].copy_from_slice(&crc.to_be_bytes());
        seal(&mut out);
        out
    }

    /// Reads a header from the start of `bytes`; `None` while it is incomplete.
    pub fn parse(bytes: &[u8]) -> Result<Option<(usize, Header)>, WireError> {
        let Some(message) = bytes.first_chunk::<HEADER_SIZE>() else { return Ok(None) };
        if message.starts_with(HTTP_MARK) {
            return Err(WireError::NotRopewalk);
        }
        check(message)?;
        let (length, offset) = (u32_at(message, 4), u64_at(message, 8));
        let (run, crc) = (u64_at(message, 16), u32_at(message, 24));
        let bounded = |most| match length {
            1.. if length <= most => Ok(()),
            _ => Err(WireError::Field("length")),
        };
        if offset.checked_add(run.max(u64::from(length))).is_none() {
            return Err(WireError::Field("offset"));
        }
        let header = match message[0] {
            KIND_DATA => {
                bounded(MAX_BLOCK)?;
                Header::Data { offset, length, crc }
            }
            KIND_HOLE => {
                bounded(MAX_REQUEST)?;
                if run < u64::from(length) {
                    return Err(WireError::Field("run"));
                }
                Header::Hole { offset, length, run }
            }
            KIND_ERROR => {
                if length > MAX_ERROR_TEXT {
                    return Err(WireError::Field("length"));
                }
                Header::Error { code: ErrorCode::from_number(message[1]), length, crc }
            }
            _ => return Err(WireError::Field("kind")),
        };
        Ok(Some((HEADER_SIZE, header)))
    }
}

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

/// The four bytes at `at`; only for places inside a message of fixed size.
fn u32_at(message: &[u8], at: usize) -> u32 {
    message[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The eight bytes at `at`; only for places inside a message of fixed size.
fn u64_at(message: &[u8], at: usize) -> u64 {
    u64::from(u32_at(message, at)) << 32 | u64::from(u32_at(message, at + 4))
}

#[cfg(test)]
mod tests;
