//! A client and a server that speak only the classic protocol. They follow section 2 of the design,
//! and use no code of the programs.

use crate::support::harness::Scratch;
use crate::support::http::Http;
use crate::support::socket::{accept, connect, read_all, read_some};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A classic request.
pub(crate) fn request(file: &[u8], streams: usize) -> Vec<u8> {
    let body = format!("{{\"threads\": {streams}}}");
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    [b"POST ", file, b" HTTP/1.1\r\n", length.as_bytes()].concat()
}

/// A server's reply to a classic request: the MD5, and where its sender listens.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) hash: String,
    pub(crate) sender: SocketAddr,
}

/// Asks for a file, and demands an offer.
#[track_caller]
pub(crate) fn ask(server: SocketAddr, file: impl AsRef<[u8]>, streams: usize) -> Offer {
    let mut http = Http::connect(server);
    http.send(request(file.as_ref(), streams));
    let reply = http.receive();
    assert_eq!(reply.status, 200, "{reply:?}");
    let port = reply.member("port").parse().unwrap();
    Offer { hash: reply.member("hash").to_string(), sender: SocketAddr::new(server.ip(), port) }
}

/// Opens stream `number`.
#[track_caller]
pub(crate) fn open_stream(sender: SocketAddr, number: u8) -> TcpStream {
    let mut stream = connect(sender);
    stream.write_all(&[number]).unwrap();
    stream
}

/// Fetches a file as a classic client does: opens the streams in this `order`, and joins the blocks
/// in numeric order.
#[track_caller]
pub(crate) fn fetch(server: SocketAddr, file: impl AsRef<[u8]>, order: &[u8]) -> Vec<u8> {
    let offer = ask(server, file, order.len());
    let streams: Vec<(u8, TcpStream)> =
        order.iter().map(|number| (*number, open_stream(offer.sender, *number))).collect();
    // No stream is closed before all have begun, so all are under way at once.
    for (_, stream) in &streams {
        while matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::Interrupted)
        {
        }
    }
    let mut blocks: Vec<(u8, Vec<u8>)> =
        streams.into_iter().map(|(number, stream)| (number, read_all(stream))).collect();
    blocks.sort();
    blocks.into_iter().flat_map(|(_, block)| block).collect()
}

/// The bytes of a file that stream `number` of `streams` carries.
pub(crate) fn block(bytes: &[u8], number: u8, streams: usize) -> &[u8] {
    let size = bytes.len() / streams + 1;
    let start = (size * usize::from(number)).min(bytes.len());
    &bytes[start..(start + size).min(bytes.len())]
}

/// A classic server, step by step: a test can stop between any two steps.
pub(crate) struct ClassicServer {
    control: TcpListener,
    data: TcpListener,
}

impl ClassicServer {
    pub(crate) fn bind(scratch: &Scratch) -> ClassicServer {
        let bind = || TcpListener::bind((scratch.address(), 0)).unwrap();
        ClassicServer { control: bind(), data: bind() }
    }

    /// The address of the control port, for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        self.control.local_addr().unwrap()
    }

    /// The port for data streams.
    pub(crate) fn data_port(&self) -> u16 {
        self.data.local_addr().unwrap().port()
    }

    /// Waits for a request, and returns it with the connection for the reply.
    #[track_caller]
    pub(crate) fn accept_request(&self) -> (String, TcpStream) {
        let (mut stream, mut request) = (accept(&self.control), Vec::<u8>::new());
        loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            // Every request of our client ends with its JSON object.
            if text.contains("\r\n\r\n") && text.ends_with('}') {
                return (text, stream);
            }
            let mut piece = [0; 4096];
            let count = read_some(&mut stream, &mut piece).unwrap();
            assert!(count > 0, "the client closed after {text:?}");
            request.extend_from_slice(&piece[..count]);
        }
    }

    /// Answers the next request with these bytes, and closes. Returns the request.
    #[track_caller]
    pub(crate) fn answer(&self, bytes: impl AsRef<[u8]>) -> String {
        let (request, mut stream) = self.accept_request();
        stream.write_all(bytes.as_ref()).unwrap();
        request
    }

    /// Sends the seed's own reply: HTTP/1.0, no length, ended by the close.
    #[track_caller]
    pub(crate) fn offer(&self, hash: &str) -> String {
        let port = self.data_port();
        self.answer(seed_reply(&format!("{{\"hash\": \"{hash}\", \"port\": {port}}}")))
    }

    /// Waits for this many streams, and returns each with its number.
    #[track_caller]
    pub(crate) fn accept_streams(&self, count: usize) -> Vec<(u8, TcpStream)> {
        (0..count)
            .map(|_| {
                let mut stream = accept(&self.data);
                let mut number = [0];
                stream.read_exact(&mut number).unwrap();
                (number[0], stream)
            })
            .collect()
    }

    /// Sends all of `bytes` over this many streams.
    #[track_caller]
    pub(crate) fn send(&self, bytes: &[u8], count: usize) {
        let streams = self.accept_streams(count);
        // All blocks go out at once: a client may wait for any of them.
        std::thread::scope(|scope| {
            for (number, mut stream) in streams {
                scope.spawn(move || stream.write_all(block(bytes, number, count)).unwrap());
            }
        });
    }
}

/// A reply in the form of Python's `http.server`.
pub(crate) fn seed_reply(body: &str) -> Vec<u8> {
    let head = "HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6 Python/3.8.2\r\n\
                Date: Sat, 02 May 2020 10:00:00 GMT\r\nContent-type: text/plain\r\n\r\n";
    [head.as_bytes(), body.as_bytes()].concat()
}

/// An MD5 as a server writes it.
pub(crate) fn md5(bytes: &[u8]) -> String {
    let mut digest = ropewalk::hash::md5::Md5::new();
    digest.update(bytes);
    ropewalk::hash::hex(&digest.finish())
}
