//! What happens while a client asks for another session: its receiver goes on with what
//! is left of the last one, and a server that answers in another way ends no more than
//! the run.

use crate::support::exit::PROTOCOL;
use crate::support::harness::{Running, Scratch, content, wait_until};
use crate::support::path;
use crate::support::peers::classic::{ClassicServer, md5};
use ropewalk::codec::json::{Value, parse};
use ropewalk::codec::wire::{ErrorCode, HELLO_SIZE, Header, REQUEST_SIZE, Request};
use ropewalk::hash::crc32c::crc32c;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

const BLOCK: usize = path::BLOCK as usize;

/// A client with two streams, of which one was told that there is no such session: it
/// asks for another one, and has not been answered.
struct Asking {
    scratch: Scratch,
    server: ClassicServer,
    client: Running,
    bytes: Vec<u8>,
    /// The other stream.
    stream: TcpStream,
    request: TcpStream,
}

fn asking(test: &str, options: &[&str]) -> Asking {
    let scratch = Scratch::new(test);
    scratch.make_dir("folder");
    let server = ClassicServer::bind(&scratch);
    let bytes = content(40 * BLOCK);
    let output = scratch.path("folder/out");
    let mut client = scratch.client(server.address(), 2, "file", output);
    let client = Running::start(client.args(["--verify", "crc32c"]).args(options));
    let (port, size, session) = (server.data_port(), bytes.len(), "0".repeat(32));
    let body = format!(
        "{{\"protocol\":2,\"port\":{port},\"session\":\"{session}\",\"size\":{size},\"stored\":{size}}}"
    );
    let length = body.len();
    server.answer(format!(
        "HTTP/1.1 200 OK\r\nETag: \"tag\"\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    let mut streams: Vec<TcpStream> =
        server.accept_streams(2).into_iter().map(|(_, stream)| stream).collect();
    for stream in &mut streams {
        stream.read_exact(&mut [0; HELLO_SIZE - 1]).unwrap(); // its first byte was read
    }
    let (mut refused, mut stream) = (streams.remove(0), streams.remove(0));
    // A good block makes the port a trusted one: streams do not try the other.
    answer(&mut stream, &bytes);
    wait_until("a block", || {
        let part = fs::read(scratch.path("folder/out.part")).ok()?;
        part.iter().any(|byte| *byte != 0).then_some(())
    });
    refused
        .write_all(&Header::Error { code: ErrorCode::Session, length: 0, crc: 0 }.encode())
        .unwrap();
    let (_, request) = server.accept_request();
    Asking { scratch, server, client, bytes, stream, request }
}

/// Answers the next request.
fn answer(stream: &mut TcpStream, bytes: &[u8]) {
    let mut request = [0; REQUEST_SIZE];
    stream.read_exact(&mut request).unwrap();
    let Ok(Some((_, Request::Range { offset, length, .. }))) = Request::parse(&request) else {
        panic!("{request:?}");
    };
    let payload = &bytes[offset as usize..][..length as usize];
    let header = Header::Data { offset, length, crc: crc32c(payload) };
    stream.write_all(&[&header.encode()[..], payload].concat()).unwrap();
}

#[test]
fn what_comes_while_another_session_is_asked_for_is_counted() {
    let mut asking = asking("renewal-reports", &["--progress=json"]);
    for _ in 0..5 {
        answer(&mut asking.stream, &asking.bytes);
    }
    let wanted = (6 * BLOCK) as u64;
    let counted = (0..40).any(|_| {
        let object = parse(asking.client.next_error_line().as_bytes()).unwrap();
        object.get("bytes").and_then(Value::as_u64) == Some(wanted)
    });
    assert!(counted, "the receiver's reports are not read");
    drop(asking.request);
}

#[test]
fn a_classic_reply_to_a_second_request_keeps_what_has_come() {
    let asking = asking("renewal-classic", &[]);
    drop(asking.request); // it is asked again
    asking.server.offer(&md5(&asking.bytes));
    let outcome = asking.client.finish();
    outcome.failed(PROTOCOL, "client", "now speaks only the classic protocol");
    assert!(outcome.err.contains("%; to go on: "), "{outcome:?}");
    let names = Scratch::names(&asking.scratch.path("folder"));
    assert_eq!(names, ["out.part", "out.part.journal"]);
}
