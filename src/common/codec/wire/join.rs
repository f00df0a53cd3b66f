//! A join: the first message to a program that runs with `--stdio` and takes part in the session
//! of another such program.

#![forbid(unsafe_code)]

use super::{HELLO_MARK, HELLO_SIZE, VERSION, WireError, check, seal};

/// Bytes of a join: those of a hello, from which only the last field tells it apart.
pub const JOIN_SIZE: usize = HELLO_SIZE;

/// Asks the program at the other end of a connection to pass on what follows to a session.
///
/// ```text
///  0       1        2       3          4               20     24       28
/// +-------+--------+-------+----------+---------------+------+--------+
/// | 0xff  | version| flags | reserved | session token | zero | CRC32C |
/// +-------+--------+-------+----------+---------------+------+--------+
/// ```
///
/// Flag 0x04: requests to the server of the session follow, in HTTP; else a stream of the session
/// follows, with a hello of its own. The answer is one block: `wait` if it is passed on from here
/// on, `error` if not. The CRC covers bytes 0 to 23.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// The session's token.
    pub token: [u8; 16],
    /// Whether HTTP follows.
    pub http: bool,
}

const FLAG_HTTP: u8 = 0x04;

impl Join {
    /// The join's bytes.
    pub fn encode(self) -> [u8; JOIN_SIZE] {
        let mut out = [0; JOIN_SIZE];
        out[0] = HELLO_MARK;
        out[1] = VERSION;
        out[2] = if self.http { FLAG_HTTP } else { 0 };
        out[4..20].copy_from_slice(&self.token);
        seal(&mut out);
        out
    }

    /// Reads a join.
    ///
    /// # Errors
    /// The bytes are damaged, or are none.
    pub fn parse(bytes: &[u8; JOIN_SIZE]) -> Result<Join, WireError> {
        if bytes[0] != HELLO_MARK {
            return Err(WireError::NotRopewalk);
        }
        check(bytes)?;
        if bytes[1] != VERSION {
            return Err(WireError::Version(bytes[1]));
        }
        if bytes[20..24] != [0; 4] {
            return Err(WireError::Field("max block"));
        }
        let mut token = [0; 16];
        token.copy_from_slice(&bytes[4..20]);
        Ok(Join { token, http: bytes[2] & FLAG_HTTP != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Hello;
    use super::*;
    use crate::hash::hex;

    const JOIN: Join = Join { token: *b"0123456789abcdef", http: false };

    #[test]
    fn golden_joins() {
        let http = Join { http: true, ..JOIN };
        assert_eq!(hex(&JOIN.encode()), "ff02000030313233343536373839616263646566000000002d1aee39");
        assert_eq!(hex(&http.encode()), "ff020400303132333435363738396162636465660000000058a12218");
    }

    #[test]
    fn a_join_is_read_as_it_was_written() {
        for join in [JOIN, Join { http: true, ..JOIN }] {
            assert!(Join::parse(&join.encode()).is_ok_and(|read| read == join));
        }
    }

    #[test]
    fn a_join_and_a_hello_are_not_taken_for_each_other() {
        assert!(Hello::parse(&JOIN.encode()).is_err());
        let hello =
            Hello { token: JOIN.token, max_block: 4096, unchecked: false, from_source: false };
        assert!(Join::parse(&hello.encode()) == Err(WireError::Field("max block")));
    }

    #[test]
    fn a_damaged_join_and_one_of_another_version_are_refused() {
        for at in 0..JOIN_SIZE {
            let mut bytes = JOIN.encode();
            bytes[at] ^= 1;
            assert!(Join::parse(&bytes).is_err(), "{at}");
        }
        let mut later = JOIN.encode();
        later[1] = VERSION + 1;
        seal(&mut later);
        assert!(Join::parse(&later) == Err(WireError::Version(VERSION + 1)));
    }
}
