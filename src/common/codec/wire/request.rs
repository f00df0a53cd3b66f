//! A request of the sink: for the bytes of a file, or for the entries of a folder. A request
//! carries its name, so a source keeps no table of files.

#![forbid(unsafe_code)]

use super::{
    HASH_SIZE, HASH_UNIT, MAX_HASHED, MAX_REQUEST, MAX_ROOM, MIN_ROOM, WireError, check, seal,
};
use crate::codec::big_endian::{u16_at, u32_at, u64_at};
use crate::codec::entry::IDENTITY_SIZE;
use crate::codec::name::{MAX_COMPONENT, MAX_NAME, is_component, is_name};
use crate::hash::MD5_UNIT;
use crate::hash::crc32c::crc32c;

/// Bytes of a request without its rest.
pub const REQUEST_SIZE: usize = 24;

/// Bytes of the longest request, with its rest.
pub const LONGEST_REQUEST: usize = REQUEST_SIZE + longest(LONGEST_RANGE, LONGEST_LIST);

/// The longest rest of a range request, or one for an MD5, and of a list request.
const LONGEST_RANGE: usize = HASH_SIZE + IDENTITY_SIZE + MAX_NAME;
const LONGEST_LIST: usize = 2 + MAX_NAME + MAX_COMPONENT;

const fn longest(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

/// A request of the sink.
///
/// ```text
///  0      1       2      4          8        16       20       24
/// +------+-------+------+----------+--------+--------+--------+------+
/// | kind | flags | rest | rest CRC | offset | length | CRC32C | rest |
/// +------+-------+------+----------+--------+--------+--------+------+
///
/// rest of a range:  [hash, 16 bytes, with flag 0x01] [identity, 16 bytes, and name]
/// rest of a list:   length of the folder's name, 2 bytes; that name; the name after which
/// rest of an MD5:   state, 16 bytes; identity, 16 bytes; name
/// ```
///
/// `rest` is how many bytes follow; the rest CRC covers them, and the CRC32C bytes 0 to 19. A
/// range of the single file has no identity and no name. Fields that a kind does not use are
/// 0. The source ignores flags that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Kind 1: the bytes of a range, 1 to [`MAX_REQUEST`] of them.
    Range {
        /// The file's name from the top of the tree; empty for the single file.
        name: &'a [u8],
        /// Which state of the file, as its entry says; zeros for the single file.
        identity: [u8; IDENTITY_SIZE],
        /// Where the range begins.
        offset: u64,
        /// How many bytes it has.
        length: u32,
        /// The hash of what the sink has at that place: the source need not send what has the
        /// same hash. Offset and length are then multiples of [`HASH_UNIT`].
        hash: Option<[u8; HASH_SIZE]>,
    },
    /// Kind 2: the sink has everything, and the session is over.
    Finished,
    /// Kind 3: the client gives up the missing ranges, and the session is over.
    Leave,
    /// Kind 4: entries of a folder, in the order of their names.
    List {
        /// The folder's name from the top of the tree; empty for the top itself.
        name: &'a [u8],
        /// The entry after which to go on; empty to begin.
        after: &'a [u8],
        /// How many bytes of entries the answer may have, [`MIN_ROOM`] to [`MAX_ROOM`].
        room: u32,
    },
    /// Kind 7: the MD5 of a file of a tree, made further by a range of 1 to [`MAX_HASHED`] bytes.
    Md5 {
        /// The file's name from the top of the tree.
        name: &'a [u8],
        /// Which state of the file, as its entry says.
        identity: [u8; IDENTITY_SIZE],
        /// How many bytes are in the state: a multiple of [`MD5_UNIT`].
        offset: u64,
        /// How many bytes are to be added: a multiple of [`MD5_UNIT`], or all that are left.
        length: u32,
        /// The state of the MD5 after the bytes before `offset`.
        state: [u8; 16],
    },
    /// Kind 5: nothing. An idle sink sends this so that the other side knows that it is there.
    Idle,
    /// Kind 6: so many streams are wanted from now on. For a source that dials, where the sink
    /// finds the number.
    Streams {
        /// How many, 1 to 255.
        wanted: u8,
        /// The number of this wish, in the place of `offset`. Streams carry wishes past each
        /// other: the one with the highest number counts.
        turn: u64,
    },
}

const KIND_RANGE: u8 = 1;
const KIND_FINISHED: u8 = 2;
const KIND_LEAVE: u8 = 3;
const KIND_LIST: u8 = 4;
const KIND_IDLE: u8 = 5;
const KIND_STREAMS: u8 = 6;
const KIND_MD5: u8 = 7;

const FLAG_HASH: u8 = 0x01;

impl<'a> Request<'a> {
    /// A range of the single file.
    pub fn of_single_file(
        offset: u64,
        length: u32,
        hash: Option<[u8; HASH_SIZE]>,
    ) -> Request<'static> {
        Request::Range { name: b"", identity: [0; IDENTITY_SIZE], offset, length, hash }
    }

    /// The request's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(REQUEST_SIZE);
        self.encode_into(&mut out);
        out
    }

    /// Appends the request's bytes to `out`. Its names are no longer than they may be.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; REQUEST_SIZE]);
        let mut head = [0; REQUEST_SIZE];
        match self {
            Request::Range { name, identity, offset, length, hash } => {
                head[0] = KIND_RANGE;
                head[8..16].copy_from_slice(&offset.to_be_bytes());
                head[16..20].copy_from_slice(&length.to_be_bytes());
                if let Some(hash) = hash {
                    head[1] = FLAG_HASH;
                    out.extend_from_slice(hash);
                }
                if !name.is_empty() {
                    out.extend_from_slice(identity);
                    out.extend_from_slice(name);
                }
            }
            Request::Md5 { name, identity, offset, length, state } => {
                head[0] = KIND_MD5;
                head[8..16].copy_from_slice(&offset.to_be_bytes());
                head[16..20].copy_from_slice(&length.to_be_bytes());
                out.extend_from_slice(state);
                out.extend_from_slice(identity);
                out.extend_from_slice(name);
            }
            Request::Finished => head[0] = KIND_FINISHED,
            Request::Leave => head[0] = KIND_LEAVE,
            Request::Idle => head[0] = KIND_IDLE,
            Request::Streams { wanted, turn } => {
                head[0] = KIND_STREAMS;
                head[8..16].copy_from_slice(&turn.to_be_bytes());
                head[16..20].copy_from_slice(&u32::from(*wanted).to_be_bytes());
            }
            Request::List { name, after, room } => {
                head[0] = KIND_LIST;
                head[16..20].copy_from_slice(&room.to_be_bytes());
                out.extend_from_slice(&(name.len() as u16).to_be_bytes());
                out.extend_from_slice(name);
                out.extend_from_slice(after);
            }
        }
        let (whole, rest) = out[start..].split_at_mut(REQUEST_SIZE);
        head[2..4].copy_from_slice(&(rest.len() as u16).to_be_bytes());
        head[4..8].copy_from_slice(&crc32c(rest).to_be_bytes());
        seal(&mut head);
        whole.copy_from_slice(&head);
    }

    /// Reads a request from the start of `bytes`; `None` while it is incomplete. The length of
    /// the rest is checked before the rest is waited for.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(usize, Request<'a>)>, WireError> {
        let Some(head) = bytes.first_chunk::<REQUEST_SIZE>() else { return Ok(None) };
        check(head)?;
        let length = usize::from(u16_at(head, 2));
        let most = match head[0] {
            KIND_RANGE | KIND_MD5 => LONGEST_RANGE,
            KIND_LIST => LONGEST_LIST,
            KIND_FINISHED | KIND_LEAVE | KIND_IDLE | KIND_STREAMS => 0,
            _ => return Err(WireError::Field("kind")),
        };
        if length > most {
            return Err(WireError::Field("rest"));
        }
        let whole = REQUEST_SIZE + length;
        let Some(rest) = bytes.get(REQUEST_SIZE..whole) else { return Ok(None) };
        if crc32c(rest) != u32_at(head, 4) {
            return Err(WireError::Checksum);
        }
        let request = match head[0] {
            KIND_RANGE => range(head, rest)?,
            KIND_LIST => list(head, rest)?,
            KIND_MD5 => md5(head, rest)?,
            KIND_FINISHED => Request::Finished,
            KIND_LEAVE => Request::Leave,
            KIND_STREAMS => streams(head)?,
            _ => Request::Idle,
        };
        Ok(Some((whole, request)))
    }
}

fn range<'a>(head: &[u8; REQUEST_SIZE], rest: &'a [u8]) -> Result<Request<'a>, WireError> {
    let (offset, length) = place(head, MAX_REQUEST)?;
    let (hash, rest) = match head[1] & FLAG_HASH {
        0 => (None, rest),
        _ => {
            let (hash, rest) = rest.split_first_chunk().ok_or(WireError::Field("rest"))?;
            (Some(*hash), rest)
        }
    };
    let unit = u64::from(HASH_UNIT);
    if hash.is_some() && (offset % unit != 0 || u64::from(length) % unit != 0) {
        return Err(WireError::Field("hash"));
    }
    let (identity, name) = match rest {
        [] => ([0; IDENTITY_SIZE], rest),
        _ => named(rest)?,
    };
    Ok(Request::Range { name, identity, offset, length, hash })
}

fn streams(head: &[u8; REQUEST_SIZE]) -> Result<Request<'static>, WireError> {
    match u8::try_from(u32_at(head, 16)) {
        Ok(wanted @ 1..) => Ok(Request::Streams { wanted, turn: u64_at(head, 8) }),
        _ => Err(WireError::Field("length")),
    }
}

fn md5<'a>(head: &[u8; REQUEST_SIZE], rest: &'a [u8]) -> Result<Request<'a>, WireError> {
    let (offset, length) = place(head, MAX_HASHED)?;
    if offset % MD5_UNIT != 0 {
        return Err(WireError::Field("offset"));
    }
    let (state, rest) = rest.split_first_chunk().ok_or(WireError::Field("rest"))?;
    let (identity, name) = named(rest)?;
    Ok(Request::Md5 { name, identity, offset, length, state: *state })
}

/// Offset and length of a range of at most so many bytes.
fn place(head: &[u8; REQUEST_SIZE], most: u32) -> Result<(u64, u32), WireError> {
    let (offset, length) = (u64_at(head, 8), u32_at(head, 16));
    if length == 0 || length > most {
        return Err(WireError::Field("length"));
    }
    match offset.checked_add(u64::from(length)) {
        Some(_) => Ok((offset, length)),
        None => Err(WireError::Field("offset")),
    }
}

/// The identity and the name of a file.
fn named(rest: &[u8]) -> Result<([u8; IDENTITY_SIZE], &[u8]), WireError> {
    let (identity, name) = rest.split_first_chunk().ok_or(WireError::Field("rest"))?;
    match is_name(name) {
        true => Ok((*identity, name)),
        false => Err(WireError::Field("name")),
    }
}

fn list<'a>(head: &[u8; REQUEST_SIZE], rest: &'a [u8]) -> Result<Request<'a>, WireError> {
    let room = u32_at(head, 16);
    if !(MIN_ROOM..=MAX_ROOM).contains(&room) {
        return Err(WireError::Field("room"));
    }
    let (length, names) = rest.split_first_chunk::<2>().ok_or(WireError::Field("rest"))?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (name, after) = names.split_at_checked(length).ok_or(WireError::Field("rest"))?;
    if !(name.is_empty() || is_name(name)) || !(after.is_empty() || is_component(after)) {
        return Err(WireError::Field("name"));
    }
    Ok(Request::List { name, after, room })
}
