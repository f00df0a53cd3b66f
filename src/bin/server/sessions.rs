//! The sessions under way, by their tokens: a stream whose data port cannot be reached
//! comes to the control port, says whose it is, and is handed to its sender. Of what it
//! says no more is read than that.

#![forbid(unsafe_code)]

use crate::connections::Connection;
use ropewalk::app::http::Http;
use ropewalk::app::job;
use ropewalk::codec::json::Value;
use ropewalk::codec::wire::{ErrorCode, HELLO_MARK, HELLO_SIZE, Header, Hello};
use ropewalk::hash::crc32c::crc32c;
use ropewalk::hash::hex;
use ropewalk::sys::sync::lock;
use ropewalk::sys::{hangup, socket};
use ropewalk::transfer::session::Token;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long one that shows a wrong token is kept waiting: as long as at a data port.
const STRANGER_DELAY: Duration = Duration::from_secs(1);

/// What it is told then, since its session may just have ended.
const NO_SESSION: &str = "no such session";

/// All sessions that have a sender.
#[derive(Default)]
pub(crate) struct Sessions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    open: Vec<Entry>,
}

struct Entry {
    number: u64,
    token: Token,
    sender: Arc<UnixStream>,
}

/// A session that streams are handed to, until this is dropped.
pub(crate) struct Session {
    owner: Arc<Sessions>,
    number: u64,
}

impl Drop for Session {
    fn drop(&mut self) {
        lock(&self.owner.state).open.retain(|entry| entry.number != self.number);
    }
}

impl Sessions {
    /// Has streams that show `token` go to the sender with this lifeline.
    pub(crate) fn add(self: &Arc<Sessions>, token: Token, sender: Arc<UnixStream>) -> Session {
        let mut state = lock(&self.state);
        state.last += 1;
        let number = state.last;
        state.open.push(Entry { number, token, sender });
        Session { owner: self.clone(), number }
    }

    /// Takes a connection that begins as a stream does, and sees to it. `false` for one
    /// that does not, of which nothing was read.
    pub(crate) fn take(&self, connection: &Connection, deadline: Instant) -> bool {
        if !matches!(socket::peek_by(connection.stream(), deadline), Ok(Some(HELLO_MARK))) {
            return false;
        }
        let hello = read_hello(connection.stream(), deadline);
        if let Some((hello, token)) = hello.and_then(|hello| Some((hello, Hello::token(&hello)?))) {
            match self.find(&token) {
                // It counts until here; from now on the sender counts it. One that it
                // does not take is closed.
                Some(sender) => {
                    if connection.leave() {
                        let _ = hand_over(&sender, &hello, connection.stream());
                    }
                }
                None => refuse(connection),
            }
        }
        true
    }

    /// Whose token this is. Takes the same time for every wrong one.
    fn find(&self, shown: &[u8; 16]) -> Option<Arc<UnixStream>> {
        let state = lock(&self.state);
        let own = |found, entry: &Entry| match entry.token.is(shown) {
            true => Some(entry.sender.clone()),
            false => found,
        };
        state.open.iter().fold(None, own)
    }
}

/// Reads the hello and no byte of what follows it.
fn read_hello(stream: &TcpStream, deadline: Instant) -> Option<[u8; HELLO_SIZE]> {
    let (mut hello, mut filled) = ([0; HELLO_SIZE], 0);
    while filled < HELLO_SIZE {
        match socket::read_by(stream, &mut hello[filled..], deadline) {
            Ok(count @ 1..) => filled += count,
            _ => return None,
        }
    }
    Some(hello)
}

/// Hands a stream to its sender, with what was read of it.
fn hand_over(sender: &UnixStream, hello: &[u8; HELLO_SIZE], stream: &TcpStream) -> io::Result<()> {
    let word = vec![("hello".to_string(), Value::from(hex(hello)))];
    job::hand(sender, word, stream.as_fd())
}

/// Tells a stream that nobody here knows it, after a while in which it counts as one that
/// waits: a stranger has to guess slowly.
fn refuse(connection: &Connection) {
    let _ = hangup::rest(connection.stream().as_fd(), STRANGER_DELAY);
    let (length, crc) = (NO_SESSION.len() as u32, crc32c(NO_SESSION.as_bytes()));
    let header = Header::Error { code: ErrorCode::Session, length, crc }.encode();
    let http = Http::new(connection.stream().clone());
    if http.write(&[&header[..], NO_SESSION.as_bytes()].concat()).is_ok() {
        http.close_gently();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_its_token_while_it_lasts() {
        let sessions = Arc::new(Sessions::default());
        let tokens = [(); 3].map(|()| Token::random().unwrap());
        let (here, _there) = UnixStream::pair().unwrap();
        let here = Arc::new(here);
        let mut held: Vec<Session> =
            tokens.iter().map(|token| sessions.add(*token, here.clone())).collect();
        assert!(tokens.iter().all(|token| sessions.find(&token.bytes()).is_some()));
        assert!(sessions.find(&[0; 16]).is_none());
        drop(held.remove(1));
        let found = tokens.map(|token| sessions.find(&token.bytes()).is_some());
        assert_eq!(found, [true, false, true]);
    }
}
