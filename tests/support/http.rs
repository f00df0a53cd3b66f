//! An HTTP client that sends exactly what a test wants.

use crate::support::harness::Server;
use crate::support::socket::{connect, read_some};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A reply to a request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Everything before the body.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a field, if there is such a field.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The value of a field. Panics if there is no such field.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The error that the server reports in its JSON.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        let body = self.text().trim_end();
        let words = body.strip_prefix("{\"error\": \"").or(body.strip_prefix("{\"error\":\""));
        words.and_then(|words| words.strip_suffix("\"}")).unwrap_or_else(|| panic!("{self:?}"))
    }

    /// The number or text behind `"key":` in the body. The seed's own client searches its keys in
    /// this way, and ignores all others.
    #[track_caller]
    pub(crate) fn member(&self, key: &str) -> &str {
        let (_, rest) = self
            .text()
            .split_once(&format!("\"{key}\":"))
            .unwrap_or_else(|| panic!("no {key} in {self:?}"));
        rest.split([',', '}']).next().unwrap().trim().trim_matches('"')
    }
}

/// A connection to a server.
pub(crate) struct Http {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Http {
    #[track_caller]
    pub(crate) fn connect(server: SocketAddr) -> Http {
        Http { stream: BufReader::new(connect(server)) }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request without a body, and waits for the reply.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, target: &str, fields: &[&str]) -> Reply {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        self.receive_for(method)
    }

    /// Waits for the head of a reply. The body stays unread.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Reply {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut head).unwrap();
            assert!(read > 0, "the server closed after {head:?}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body: Vec::new() }
    }

    /// Waits for a reply with its body.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Reply {
        self.receive_for("GET")
    }

    /// Waits for the reply to a request with this method: HEAD brings no body.
    #[track_caller]
    pub(crate) fn receive_for(&mut self, method: &str) -> Reply {
        let mut reply = self.head();
        if method != "HEAD" && reply.status != 304 {
            reply.body = match reply.find("transfer-encoding") {
                None => self.bytes(reply.field("content-length").parse().unwrap()),
                Some(coding) => {
                    assert_eq!((coding, reply.find("content-length")), ("chunked", None));
                    self.chunks()
                }
            };
        }
        reply
    }

    #[track_caller]
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// A body in chunks, up to the empty chunk.
    #[track_caller]
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut size = String::new();
            self.stream.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            body.extend(self.bytes(size));
            assert_eq!(self.bytes(2), b"\r\n");
            if size == 0 {
                return body;
            }
        }
    }

    /// Whether the server has closed, or closes now, without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(read_some(&mut self.stream, &mut [0]), Ok(0))
    }
}

/// Sends these bytes over a new connection, and waits for the reply.
#[track_caller]
pub(crate) fn reply(server: &Server, bytes: impl AsRef<[u8]>) -> (Reply, Http) {
    let mut http = Http::connect(server.address);
    http.send(bytes);
    (http.receive(), http)
}
