//! A block of the source: its header. What the header announces follows it.

#![forbid(unsafe_code)]

use super::{
    HASH_UNIT, MAX_BLOCK, MAX_ERROR_TEXT, MAX_HASHED, MAX_REQUEST, MAX_ROOM, WireError, check, seal,
};
use crate::codec::big_endian::{u32_at, u64_at};
use crate::codec::entry::{IDENTITY_SIZE, MAX_ENTRY};
use crate::hash::crc32c::crc32c;

/// Bytes of a block's header.
pub const HEADER_SIZE: usize = 32;

/// The start of an HTTP reply, which a server sends if it takes a stream for a request. No block
/// has its first byte as its kind.
const HTTP_MARK: &[u8] = b"HTTP/";

/// The header of a block.
///
/// ```text
///  0      1      2          4        8        16    24            28           32
/// +------+------+----------+--------+--------+-----+-------------+------------+
/// | kind | code | reserved | length | offset | run | payload CRC | header CRC |
/// +------+------+----------+--------+--------+-----+-------------+------------+
/// ```
///
/// The header CRC covers bytes 0 to 27. Fields that a kind does not use are 0. Entries have an
/// identity in the place of `offset` and `run`, and an MD5 is in that place too.
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
    /// Kind 3: the source cannot go on. A text of `length` bytes follows, at most
    /// [`MAX_ERROR_TEXT`], and then the end of the stream.
    Error {
        /// Why.
        code: ErrorCode,
        /// How long the text is.
        length: u32,
        /// The CRC32C of the text.
        crc: u32,
    },
    /// Kind 4: the answer to a list request. Entries of `length` bytes follow, at most as many
    /// as the request has room for. A page without entries is a folder's last one.
    Entries {
        /// Whether more follow. In the place of `code`.
        end: PageEnd,
        /// The identity of the folder that was listed, as its own entry has it. If it differs,
        /// the name has come to mean another folder.
        folder: [u8; IDENTITY_SIZE],
        /// How many bytes the entries have.
        length: u32,
        /// Their CRC32C, whatever the hello asks for.
        crc: u32,
    },
    /// Kind 5: the range of the request has the hash that the request has. Nothing follows.
    Same {
        /// Where the range begins.
        offset: u64,
        /// All of its length.
        length: u32,
    },
    /// Kind 6: the answer takes longer. Nothing follows, and the request stays open.
    Wait,
    /// Kind 7: the request, or the rest of it, is not answered; the stream goes on.
    Refused {
        /// Why.
        code: RefusalCode,
        /// Bytes of the entry that follows: of the file as it is now, with
        /// [`RefusalCode::Changed`], else 0.
        length: u32,
        /// The CRC32C of the entry.
        crc: u32,
    },
    /// Kind 8: the source reads something of which it did not know the size, and that has ended.
    /// Nothing follows. The bytes before the end that the request asks for are still to come.
    End {
        /// How many bytes there are, in the place of `offset`.
        size: u64,
    },
    /// Kind 9: the answer to a request for an MD5. Nothing follows.
    Md5 {
        /// The length of the request.
        length: u32,
        /// The state of the MD5 behind these bytes; where they reach the end of the file, its MD5.
        md5: [u8; 16],
    },
}

/// What follows a page of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageEnd {
    /// 0: perhaps more entries.
    More,
    /// 1: nothing. All pages together are the whole folder, without an error.
    Whole,
    /// 2: nothing. Some entries could not be read.
    Partial,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// 1: there is nothing of that name.
    Gone,
    /// 2: the source may not read it.
    Forbidden,
    /// 3: it is not in the state that the request names. Its entry follows.
    Changed,
    /// 4: it is no regular file; of a list request, no folder.
    OtherType,
    /// 5: the disk fails.
    Unreadable,
    /// 6: it is on a file system that the source does not enter.
    NotEntered,
    /// Any other number.
    Other(u8),
}

impl RefusalCode {
    fn number(self) -> u8 {
        match self {
            RefusalCode::Gone => 1,
            RefusalCode::Forbidden => 2,
            RefusalCode::Changed => 3,
            RefusalCode::OtherType => 4,
            RefusalCode::Unreadable => 5,
            RefusalCode::NotEntered => 6,
            RefusalCode::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> RefusalCode {
        match number {
            1 => RefusalCode::Gone,
            2 => RefusalCode::Forbidden,
            3 => RefusalCode::Changed,
            4 => RefusalCode::OtherType,
            5 => RefusalCode::Unreadable,
            6 => RefusalCode::NotEntered,
            other => RefusalCode::Other(other),
        }
    }
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
    /// 6: the source gives up what is missing, and the session is over.
    Left,
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
            ErrorCode::Left => 6,
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
            6 => ErrorCode::Left,
            other => ErrorCode::Other(other),
        }
    }
}

const KIND_DATA: u8 = 1;
const KIND_HOLE: u8 = 2;
const KIND_ERROR: u8 = 3;
const KIND_ENTRIES: u8 = 4;
const KIND_SAME: u8 = 5;
const KIND_WAIT: u8 = 6;
const KIND_REFUSED: u8 = 7;
const KIND_END: u8 = 8;
const KIND_MD5: u8 = 9;

impl Header {
    /// How many bytes follow the header.
    pub fn payload(&self) -> usize {
        match self {
            Header::Data { length, .. }
            | Header::Error { length, .. }
            | Header::Entries { length, .. }
            | Header::Refused { length, .. } => *length as usize,
            Header::Hole { .. }
            | Header::Same { .. }
            | Header::Wait
            | Header::End { .. }
            | Header::Md5 { .. } => 0,
        }
    }

    /// The bytes of an error block.
    pub fn error(code: ErrorCode, text: &str) -> Vec<u8> {
        let (length, crc) = (text.len() as u32, crc32c(text.as_bytes()));
        let header = Header::Error { code, length, crc }.encode();
        [&header[..], text.as_bytes()].concat()
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut out = [0; HEADER_SIZE];
        let (kind, code, length, offset, run, crc) = match *self {
            Header::Data { offset, length, crc } => (KIND_DATA, 0, length, offset, 0, crc),
            Header::Hole { offset, length, run } => (KIND_HOLE, 0, length, offset, run, 0),
            Header::Error { code, length, crc } => (KIND_ERROR, code.number(), length, 0, 0, crc),
            Header::Entries { end, folder, length, crc } => {
                let (offset, run) = (u64_at(&folder, 0), u64_at(&folder, 8));
                (KIND_ENTRIES, end as u8, length, offset, run, crc)
            }
            Header::Same { offset, length } => (KIND_SAME, 0, length, offset, 0, 0),
            Header::Wait => (KIND_WAIT, 0, 0, 0, 0, 0),
            Header::End { size } => (KIND_END, 0, 0, size, 0, 0),
            Header::Md5 { length, md5 } => {
                (KIND_MD5, 0, length, u64_at(&md5, 0), u64_at(&md5, 8), 0)
            }
            Header::Refused { code, length, crc } => {
                (KIND_REFUSED, code.number(), length, 0, 0, crc)
            }
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

    /// Whether `bytes` begin as an error block does.
    pub fn may_be_error(bytes: &[u8]) -> bool {
        bytes.first() == Some(&KIND_ERROR)
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
        let has_place = !matches!(message[0], KIND_ENTRIES | KIND_MD5);
        if has_place && offset.checked_add(run.max(u64::from(length))).is_none() {
            return Err(WireError::Field("offset"));
        }
        let bounds = |least: u32, most: u32| match (least..=most).contains(&length) {
            true => Ok(length),
            false => Err(WireError::Field("length")),
        };
        let header = match message[0] {
            KIND_DATA => Header::Data { offset, length: bounds(1, MAX_BLOCK)?, crc },
            KIND_HOLE if run < u64::from(length) => return Err(WireError::Field("run")),
            KIND_HOLE => Header::Hole { offset, length: bounds(1, MAX_REQUEST)?, run },
            KIND_ERROR => {
                let code = ErrorCode::from_number(message[1]);
                Header::Error { code, length: bounds(0, MAX_ERROR_TEXT)?, crc }
            }
            KIND_ENTRIES => {
                let (end, least) = match message[1] {
                    0 => (PageEnd::More, 1), // else a sink would ask for ever
                    1 => (PageEnd::Whole, 0),
                    2 => (PageEnd::Partial, 0),
                    _ => return Err(WireError::Field("code")),
                };
                let mut folder = [0; IDENTITY_SIZE];
                folder.copy_from_slice(&message[8..8 + IDENTITY_SIZE]);
                Header::Entries { end, folder, length: bounds(least, MAX_ROOM)?, crc }
            }
            KIND_SAME => Header::Same { offset, length: bounds(HASH_UNIT, MAX_REQUEST)? },
            KIND_WAIT => Header::Wait,
            KIND_END => Header::End { size: offset },
            KIND_MD5 => {
                let mut md5 = [0; 16];
                md5.copy_from_slice(&message[8..24]);
                Header::Md5 { length: bounds(1, MAX_HASHED)?, md5 }
            }
            KIND_REFUSED => {
                let code = RefusalCode::from_number(message[1]);
                let (least, most) = match code {
                    RefusalCode::Changed => (1, MAX_ENTRY),
                    _ => (0, 0),
                };
                Header::Refused { code, length: bounds(least, most)?, crc }
            }
            _ => return Err(WireError::Field("kind")),
        };
        Ok(Some((HEADER_SIZE, header)))
    }
}
