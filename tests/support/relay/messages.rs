//! Whole messages, as a relay reads them from both sides.

use crate::support::socket::read_some;
use ropewalk::codec::wire::HEADER_SIZE;
use std::io::{self, Read};
use std::net::TcpStream;

/// Reads one block whole into `bytes`. `false` at the end of the stream.
pub(super) fn read_block(mut source: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut filled = 0;
    while filled < HEADER_SIZE {
        match source.read(&mut bytes[filled..]) {
            Ok(0) => return Ok(false),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let is_alone = matches!(bytes[0], 2 | 5 | 9); // no payload follows a hole, "same" or an MD5
    let length = u32::from_be_bytes(bytes[4..8].try_into().unwrap());
    let length = if is_alone { 0 } else { u64::from(length) };
    // Memory is taken for bytes that come: where a source says words instead of a block, these
    // bytes are no length.
    match source.take(length).read_to_end(bytes)? as u64 == length {
        true => Ok(true),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads the head of an HTTP message, and the body that it announces.
pub(super) fn read_message(source: &TcpStream, has_body: bool) -> Option<(String, Vec<u8>)> {
    let mut source = source.try_clone().ok()?;
    let mut bytes = Vec::new();
    let mut read = |bytes: &mut Vec<u8>| {
        let mut piece = [0; 4096];
        let count = read_some(&mut source, &mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        Some(())
    };
    let end = loop {
        match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => read(&mut bytes)?,
        }
    };
    let head = String::from_utf8(bytes.drain(..end).collect()).ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.filter(|_| has_body).map_or(Some(0), |length| length.parse().ok())?;
    while bytes.len() < length {
        read(&mut bytes)?;
    }
    Some((head, bytes))
}
