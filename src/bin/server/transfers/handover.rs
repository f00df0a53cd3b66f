//! Streams that come to the control port because the data port cannot be reached. Each shows
//! the token of its session in its hello, and is handed to the sender of that. The server
//! reads nothing of a stream but the hello.

#![forbid(unsafe_code)]

use super::table::Table;
use crate::connections::Connection;
use ropewalk::app::http::Http;
use ropewalk::app::job;
use ropewalk::codec::message::handed::HandedStream;
use ropewalk::codec::wire::{ErrorCode, HELLO_MARK, HELLO_SIZE, Header, Hello};
use ropewalk::sys::{hangup, socket};
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a stream with a wrong token waits for its answer: as long as at a data port.
const STRANGER_DELAY: Duration = Duration::from_secs(1);

/// The text of that answer. The session may just have ended.
const NO_SESSION: &str = "no such session";

/// Deals with a connection that begins as a stream does. `false` for any other connection, of
/// which nothing was read.
pub(crate) fn take(table: &Table, connection: &Connection, deadline: Instant) -> bool {
    if !matches!(socket::peek_by(connection.stream(), deadline), Ok(Some(HELLO_MARK))) {
        return false;
    }
    let hello = read_hello(connection.stream(), deadline);
    if let Some((hello, token)) = hello.and_then(|hello| Some((hello, Hello::token(&hello)?))) {
        match table.session(&token) {
            // It counts as a connection until here; from now on the sender counts it. A
            // stream that the sender does not take is closed.
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

/// Reads the hello, and no byte behind it.
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

/// Hands a stream to its sender, with the hello that was read.
fn hand_over(sender: &UnixStream, hello: &[u8; HELLO_SIZE], stream: &TcpStream) -> io::Result<()> {
    job::hand(sender, HandedStream { hello: *hello }.to_json(), stream.as_fd())
}

/// Tells a stream that no session has its token, after a delay: a stranger has to guess
/// slowly. Meanwhile it counts as a connection that waits.
fn refuse(connection: &Connection) {
    let _ = hangup::rest(connection.stream().as_fd(), STRANGER_DELAY);
    let http = Http::new(connection.stream().clone());
    if http.write(&Header::error(ErrorCode::Session, NO_SESSION)).is_ok() {
        http.close_gently();
    }
}
