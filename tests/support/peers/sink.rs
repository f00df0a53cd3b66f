//! A client of the ropewalk protocol that the tests play by hand, message by message.

use crate::support::harness::{LIMIT, Server, assert_same};
use crate::support::http::Http;
use crate::support::socket::{connect, read_some};
use ropewalk::codec::wire::{HEADER_SIZE, HELLO_MARK, Header, Hello, Request};
use ropewalk::hash::crc32c::crc32c;
use ropewalk::hash::from_hex;
use ropewalk::sys::socket::peek_by;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// An offer of the ropewalk protocol.
pub(crate) struct Offer {
    /// Where the sender listens.
    pub(crate) sender: SocketAddr,
    /// The token, as hexadecimal digits.
    pub(crate) session: String,
    /// How many streams the test asked for.
    pub(crate) streams: usize,
}

/// Asks for a file, and demands an offer. When this returns, the server has closed the connection
/// and no longer counts it.
#[track_caller]
pub(crate) fn ask(server: &Server, file: &str, streams: usize) -> Offer {
    let body = format!("{{\"threads\":{streams},\"protocol\":2}}");
    let mut http = Http::connect(server.address);
    let fields = format!("Connection: close\r\nContent-Length: {}", body.len());
    http.send(format!("POST {file} HTTP/1.1\r\n{fields}\r\n\r\n{body}"));
    let reply = http.receive();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(http.is_closed());
    let sender = SocketAddr::new(server.address.ip(), reply.member("port").parse().unwrap());
    Offer { sender, session: reply.member("session").to_string(), streams }
}

impl Offer {
    /// Sends a hello and two requests to `address` byte by byte, and demands the right answers
    /// from the file `bytes`.
    #[track_caller]
    pub(crate) fn is_understood_byte_by_byte(&self, address: SocketAddr, bytes: &[u8]) {
        let mut stream = connect(address);
        stream.set_nodelay(true).unwrap();
        let all = [&self.hello()[..], &request(7, 90_000), &request(0, 1)].concat();
        for byte in all.chunks(1) {
            stream.write_all(byte).unwrap();
        }
        assert_same(&payload(&mut stream, 7, 90_000), &bytes[7..90_007], "the first answer");
        assert_same(&payload(&mut stream, 0, 1), &bytes[..1], "the second answer");
    }

    /// The first message of each of its streams.
    pub(crate) fn hello(&self) -> [u8; 28] {
        let token = from_hex(&self.session).unwrap().try_into().unwrap();
        Hello { token, max_block: 128 << 10, unchecked: false, from_source: false }.encode()
    }

    /// Opens a stream at the sender's port and sends its hello.
    pub(crate) fn open(&self) -> TcpStream {
        self.open_at(self.sender)
    }

    /// The same at another port.
    pub(crate) fn open_at(&self, address: SocketAddr) -> TcpStream {
        let mut stream = connect(address);
        stream.write_all(&self.hello()).unwrap();
        stream
    }

    /// Fetches the whole file and ends the session, as a receiver that keeps to the rules. Demands
    /// that every byte is right and that the server calls the transfer complete.
    #[track_caller]
    pub(crate) fn serves_all(&self, server: &mut Server, bytes: &[u8]) {
        self.serves_all_at(self.sender, server, bytes);
    }

    /// The same at another port.
    #[track_caller]
    pub(crate) fn serves_all_at(&self, at: SocketAddr, server: &mut Server, bytes: &[u8]) {
        let mut streams: Vec<TcpStream> = (0..self.streams).map(|_| self.open_at(at)).collect();
        let mut got = Vec::new();
        let pieces = bytes.len().div_ceil(100_000);
        for number in 0..pieces {
            let offset = number * 100_000;
            let length = (bytes.len() - offset).min(100_000);
            let stream = &mut streams[number % self.streams];
            stream.write_all(&request(offset as u64, length as u32)).unwrap();
            got.extend(payload(stream, offset as u64, length));
        }
        assert_same(&got, bytes, "the file");
        streams[0].write_all(&Request::Finished.encode()).unwrap();
        let line = server.next_log_line();
        assert!(line.ends_with(": complete\n"), "{line}");
        assert!(TcpStream::connect(self.sender).is_err(), "its sender is still there");
    }
}

/// A request for this range.
pub(crate) fn request(offset: u64, length: u32) -> Vec<u8> {
    Request::of_single_file(offset, length, None).encode()
}

/// The next block's header and payload. Demands that the checksums are right.
#[track_caller]
pub(crate) fn block(stream: &mut TcpStream) -> (Header, Vec<u8>) {
    let mut header = [0; HEADER_SIZE];
    stream.read_exact(&mut header).unwrap();
    let (_, header) = Header::parse(&header).unwrap().unwrap();
    let mut payload = vec![0; header.payload()];
    stream.read_exact(&mut payload).unwrap();
    if let Header::Data { crc, .. } | Header::Error { crc, .. } | Header::Entries { crc, .. } =
        header
    {
        assert_eq!(crc, crc32c(&payload));
    }
    (header, payload)
}

/// Reads the answer to a request for this range, in as many blocks as it takes.
#[track_caller]
pub(crate) fn payload(stream: &mut TcpStream, offset: u64, length: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < length {
        let (header, bytes) = block(stream);
        let Header::Data { offset: at, .. } = header else { panic!("{header:?}") };
        assert_eq!(at, offset + got.len() as u64);
        got.extend(bytes);
    }
    assert_eq!(got.len(), length);
    got
}

/// Whether a stream ends without a byte.
pub(crate) fn closed_unserved(mut stream: TcpStream) -> bool {
    !matches!(read_some(&mut stream, &mut [0]), Ok(1..))
}

/// Whether the connection to a control port begins with a stream's hello.
pub(crate) fn begins_as_stream(connection: &TcpStream) -> bool {
    let first = peek_by(connection, Instant::now() + LIMIT);
    matches!(first, Ok(Some(HELLO_MARK)))
}
