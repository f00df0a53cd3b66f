//! A connection over standard input and output that joins the session of another server: what
//! comes is passed on to that.

#![forbid(unsafe_code)]

use super::SILENCE;
use super::pumps::{Pumps, Socket, Standard};
use ropewalk::codec::wire::{ErrorCode, HELLO_MARK, Header, JOIN_SIZE, Join};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::{local, poll, pump, sandbox};
use ropewalk::transfer::link::session_socket;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// The most descriptors of this process: the standard ones twice, the session's socket, the bell.
const DESCRIPTORS: u64 = 16;

/// What became of a join.
pub(super) enum Joined {
    /// The connection is over.
    Over(ExitCode),
    /// HTTP follows, and the session is not there: its requests are to be answered here.
    Alone,
}

/// Reads the rest of a join, whose first byte was read, and passes on what follows.
pub(super) fn run(until: Instant) -> Result<Joined> {
    let failed = |error: io::Error| Error::system("standard input", &error);
    let Some(bytes) = read(until).map_err(failed)? else {
        return Err(Error::protocol("standard input ended within its first message"));
    };
    let join = match Join::parse(&bytes) {
        Ok(join) => join,
        Err(error) => {
            refuse(ErrorCode::Request, "no valid join");
            return Err(Error::protocol(format!("standard input: {error}")));
        }
    };
    let name = match join.http {
        true => session_socket::for_http(&join.token),
        false => session_socket::for_streams(&join.token),
    };
    let socket = local::connect(&name);
    if socket.is_err() && !join.http {
        // The client says what there is to say. So this program is silent.
        refuse(ErrorCode::Session, "no such session on this machine");
        return Ok(Joined::Over(ExitCode::Refused));
    }
    let accepted = Header::Wait.encode();
    let failed = |error: io::Error| Error::system("standard output", &error);
    pump::write_all(io::stdout().as_fd(), &accepted, Some(SILENCE)).map_err(failed)?;
    let Ok(socket) = socket else { return Ok(Joined::Alone) };
    let socket = Socket::new(socket).map_err(failed)?;
    let bell = UnixStream::pair().map_err(failed)?;
    let standard = Standard::of_process(SILENCE).map_err(failed)?;
    // From here on this process only passes on what others have to check. It goes on where the
    // system lacks a step.
    let _ = sandbox::confine_pump(DESCRIPTORS);
    let pumps = Pumps::start(standard, bell, socket, None).map_err(failed)?;
    poll::readable(&[pumps.ended().as_fd()], None).map_err(failed)?;
    Ok(Joined::Over(ExitCode::Success))
}

/// The whole join; `None` if standard input ends before.
fn read(until: Instant) -> io::Result<Option<[u8; JOIN_SIZE]>> {
    let (mut bytes, mut filled) = ([HELLO_MARK; JOIN_SIZE], 1);
    while filled < JOIN_SIZE {
        match pump::read_by(io::stdin().as_fd(), &mut bytes[filled..], until)? {
            0 => return Ok(None),
            count => filled += count,
        }
    }
    Ok(Some(bytes))
}

/// Tells the client why nothing is passed on.
fn refuse(code: ErrorCode, text: &str) {
    let message = Header::error(code, text);
    let _ = pump::write_all(io::stdout().as_fd(), &message, Some(SILENCE));
}
