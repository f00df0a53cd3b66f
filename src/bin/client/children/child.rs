//! One child: a program that connects to the other machine. Its standard input and output are one
//! end of a socket; the other end is here.

#![forbid(unsafe_code)]

use super::lines::{Heard, Lines};
use ropewalk::app::supervise::{Helper, Place, Supervisor};
use ropewalk::codec::text::escape_limited;
use ropewalk::codec::wire::{ErrorCode, HEADER_SIZE, Header, Join, MAX_ERROR_TEXT};
use ropewalk::sys::process::Ended;
use ropewalk::sys::stream::Stream;
use ropewalk::sys::sync::lock;
use signal_hook::consts::SIGTERM;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a child may take to connect and to join.
const JOIN_TIME: Duration = Duration::from_secs(30);

/// How long a child may take to end after its connection has ended, before the error is told.
const ENDING_TIME: Duration = Duration::from_secs(2);

/// A child.
pub(super) struct Child {
    helper: Mutex<Helper>,
    ended: Mutex<Option<Ended>>,
    heard: Heard,
}

/// What is known of a child that brought no connection.
pub(super) struct Ending {
    /// How the child ended; `None` while it runs.
    pub(super) ended: Option<Ended>,
    /// The last line on its standard error.
    pub(super) line: Option<Vec<u8>>,
    /// Whether it said that the login failed.
    pub(super) is_login: bool,
}

/// Why a connection has not joined the session, in words.
pub(super) enum NotJoined {
    /// The login failed.
    Login(String),
    /// The session is not on that machine, or is over.
    NoSession(String),
    /// Anything else, which may pass.
    Refused(String),
}

/// What came in place of the word that the connection has joined.
pub(super) enum Answer {
    /// The session is not there.
    NoSession(String),
    /// Something else, with its first line, or nothing.
    Other(Option<Vec<u8>>),
}

impl Child {
    /// Starts the program with these words. `watch` gets the child's end of its socket. Returns
    /// the end that is here.
    pub(super) fn start(
        supervisor: &Supervisor,
        words: &[OsString],
        place: Place,
        lines: &Arc<Lines>,
        watch: impl FnOnce(&UnixStream) -> io::Result<()>,
    ) -> io::Result<(Child, UnixStream)> {
        let (here, there) = UnixStream::pair()?;
        watch(&there)?;
        let [program, arguments @ ..] = words else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let output = there.try_clone()?;
        let mut command = Command::new(program);
        command.args(arguments);
        command.stdin(Stdio::from(OwnedFd::from(there)));
        command.stdout(Stdio::from(OwnedFd::from(output)));
        let mut helper = supervisor.start_helper(command, place)?;
        let heard = lines.follow(helper.errors.take());
        Ok((Child { helper: Mutex::new(helper), ended: Mutex::default(), heard }, here))
    }

    /// Whether the child has ended, or does so by `deadline`.
    pub(super) fn has_ended_by(&self, deadline: Instant) -> bool {
        let mut ended = lock(&self.ended);
        if ended.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            *ended = lock(&self.helper).wait(left);
        }
        ended.is_some()
    }

    /// Whether it was seen that the child has ended.
    pub(super) fn is_known_to_have_ended(&self) -> bool {
        self.ended.try_lock().is_ok_and(|ended| ended.is_some())
    }

    /// Sends a signal, unless the child has ended.
    pub(super) fn signal(&self, supervisor: &Supervisor, number: i32) {
        supervisor.signal_helper(&lock(&self.helper), number);
    }

    /// Waits until the child, whose connection is closed, has ended; ends it if it does not.
    pub(super) fn hang_up(&self, supervisor: &Supervisor) {
        if !self.has_ended_by(Instant::now() + ENDING_TIME) {
            self.signal(supervisor, SIGTERM);
        }
    }

    /// How the child ended, and what it said, a moment after its connection has ended.
    pub(super) fn ending(&self) -> Ending {
        let deadline = Instant::now() + ENDING_TIME;
        self.has_ended_by(deadline);
        self.heard.wait_for_end(deadline);
        let (line, is_login) = self.heard.last();
        Ending { ended: *lock(&self.ended), line, is_login }
    }
}

/// Has what follows on `socket` passed on to a session.
pub(super) fn join(socket: &UnixStream, join: Join) -> Result<(), Answer> {
    let broken = |_| Answer::Other(None);
    let stream = Stream::from(socket.try_clone().map_err(broken)?);
    stream.write_all(&join.encode()).map_err(broken)?;
    let deadline = Instant::now() + JOIN_TIME;
    let mut bytes = Vec::new();
    let header = loop {
        match Header::parse(&bytes) {
            Ok(Some((_, header))) => break header,
            Ok(None) if read(&stream, &mut bytes, HEADER_SIZE, deadline) => {}
            Ok(None) | Err(_) => return Err(Answer::Other(first_line(&bytes))),
        }
    };
    match header {
        Header::Wait => Ok(()),
        Header::Error { code: ErrorCode::Session, length, .. } => {
            let whole = HEADER_SIZE + (length.min(MAX_ERROR_TEXT) as usize);
            while read(&stream, &mut bytes, whole, deadline) {}
            let text = escape_limited(&bytes[HEADER_SIZE..], MAX_ERROR_TEXT as usize);
            Err(Answer::NoSession(text))
        }
        _ => Err(Answer::Other(None)),
    }
}

/// The most bytes that a stream may leave behind.
const MOST_LEFT: usize = 1 << 20;

/// The same where a stream has ended on `socket`, which may have left bytes.
pub(super) fn join_again(socket: &UnixStream, join: Join, limit: Duration) -> io::Result<()> {
    let stream = Stream::from(socket.try_clone()?);
    stream.write_all(&join.encode())?;
    let (deadline, accepted) = (Instant::now() + limit, Header::Wait.encode());
    let mut bytes = Vec::new();
    // Nothing follows until the first request.
    while !bytes.ends_with(&accepted) {
        if bytes.len() >= MOST_LEFT || !read(&stream, &mut bytes, MOST_LEFT, deadline) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Reads more, up to `whole` bytes. `false` if there is no more, or no more is wanted.
fn read(stream: &Stream, bytes: &mut Vec<u8>, whole: usize, deadline: Instant) -> bool {
    let mut piece = [0; HEADER_SIZE];
    let room = whole.saturating_sub(bytes.len()).min(piece.len());
    match stream.read_by(&mut piece[..room], deadline) {
        Ok(count @ 1..) => {
            bytes.extend_from_slice(&piece[..count]);
            true
        }
        _ => false,
    }
}

/// The first line of noise.
fn first_line(bytes: &[u8]) -> Option<Vec<u8>> {
    bytes.split(|byte| *byte == b'\n').next().filter(|line| !line.is_empty()).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const JOIN: Join = Join { token: [7; 16], http: false };

    /// What comes of a join that is answered so.
    fn answered(answer: &[u8]) -> Result<(), Answer> {
        let (here, mut there) = UnixStream::pair().unwrap();
        there.write_all(answer).unwrap();
        drop(there.shutdown(std::net::Shutdown::Write));
        join(&here, JOIN)
    }

    #[test]
    fn a_join_is_accepted_with_a_wait() {
        assert!(answered(&Header::Wait.encode()).is_ok());
    }

    #[test]
    fn a_join_behind_a_stream_passes_over_what_the_stream_has_left() {
        let again = |answer: &[u8]| {
            let (here, mut there) = UnixStream::pair().unwrap();
            there.write_all(answer).unwrap();
            drop(there.shutdown(std::net::Shutdown::Write));
            join_again(&here, JOIN, JOIN_TIME)
        };
        let left = [&[7; 100][..], &Header::Wait.encode()].concat();
        assert!(again(&left).is_ok() && again(&left[..120]).is_err());
    }

    #[test]
    fn a_session_that_is_not_there_is_told_from_noise() {
        let answer = Header::error(ErrorCode::Session, "no such\nsession");
        let Err(Answer::NoSession(told)) = answered(&answer) else { panic!("another answer") };
        assert_eq!(told, "no such\\x0asession");
        let noise = answered(b"Welcome to box, where you are not alone\nmore\n");
        let Err(Answer::Other(Some(line))) = noise else { panic!("another answer") };
        assert!(line.starts_with(b"Welcome to box"));
        assert!(matches!(answered(b""), Err(Answer::Other(None))));
    }
}
