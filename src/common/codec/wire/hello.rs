//! A hello: the first message of a stream.

#![forbid(unsafe_code)]

use super::{MAX_BLOCK, MIN_BLOCK, VERSION, WireError, check, seal};
use crate::codec::big_endian::u32_at;

/// Bytes of a hello.
pub const HELLO_SIZE: usize = 28;

/// The first byte of a hello. No classic stream has this number.
pub const HELLO_MARK: u8 = 0xff;

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
    /// Whether the dialler is the source, and the acceptor the sink. So two ends of one kind refuse
    /// each other.
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
