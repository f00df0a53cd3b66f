//! Sockets that never wait for ever.

use crate::support::harness::LIMIT;
use ropewalk::sys::poll;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

/// Reads what is there. A read with a time limit is not restarted after a signal, not even after an
/// ignored one (signal(7)), and this process gets SIGCHLD.
pub(crate) fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Connects, and never waits for ever.
#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Accepts one connection, and never waits for ever.
#[track_caller]
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let ready = poll::readable(&[listener.as_fd()], Some(LIMIT)).unwrap();
    assert_eq!(ready, [true], "nobody connected");
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Reads a stream to its end.
#[track_caller]
pub(crate) fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}
