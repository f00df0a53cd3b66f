//! Clients that lose their session or their server: the client continues with a new session, or it
//! ends and keeps what has come.

use crate::support::exit::{NETWORK, PROTOCOL};
use crate::support::harness::{Running, Scratch, content, wait_until};
use crate::support::path::{self, Gate, Path};
use crate::support::peers::classic::{ClassicServer, md5};
use crate::support::socket::accept;
use crate::support::system::stop_listening;
use ropewalk::codec::json::{Value, parse};
use ropewalk::codec::wire::{ErrorCode, HELLO_SIZE, Header, REQUEST_SIZE, Request};
use ropewalk::hash::crc32c::crc32c;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const BLOCK: usize = path::BLOCK as usize;

/// A client with two streams. One stream was told that there is no such session. The client has
/// asked for another session, and has no answer yet.
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
        stream.read_exact(&mut [0; HELLO_SIZE - 1]).unwrap(); // `accept_streams` has read the first byte
    }
    let (mut refused, mut stream) = (streams.remove(0), streams.remove(0));
    // After a good block the client trusts the port, and no stream tries the other one.
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
fn blocks_that_come_while_the_client_asks_for_a_new_session_are_counted() {
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
    drop(asking.request); // the client asks again
    asking.server.offer(&md5(&asking.bytes));
    let outcome = asking.client.finish();
    outcome.failed(PROTOCOL, "client", "now speaks only the classic protocol");
    assert!(outcome.err.contains("%; to continue: "), "{outcome:?}");
    let names = Scratch::names(&asking.scratch.path("folder"));
    assert_eq!(names, ["out.part", "out.part.journal"]);
}

/// How many of 40 blocks have come when the client loses the server.
const BLOCKS: u64 = 20;

#[test]
fn the_client_goes_on_after_the_server_was_killed_and_restarted() {
    let (gate, faults) = Gate::before_a_cut(BLOCKS);
    let mut path = Path::new("server-killed", 40 * BLOCK, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    path.server.kill();
    path.restart(&[]);
    gate.open();
    client.finish().succeeded();
    path.is_whole();
    path.was_gone_on_from(BLOCKS * path::BLOCK);
}

#[test]
fn the_client_asks_a_full_server_again_when_the_server_says() {
    let (gate, faults) = Gate::before_a_cut(BLOCKS);
    let mut path = Path::new("server-full", 40 * BLOCK, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    path.server.kill();
    let full = TcpListener::bind(path.server.address).unwrap();
    gate.open();
    let mut refused = accept(&full);
    let refusal = "HTTP/1.1 503 Full\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n";
    let begun = Instant::now();
    refused.write_all(refusal.as_bytes()).unwrap();
    let again = accept(&full);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    stop_listening(full);
    drop((refused, again));
    path.restart(&[]);
    client.finish().succeeded();
    path.is_whole();
}

#[test]
fn a_server_that_stays_away_ends_the_transfer_and_keeps_what_came() {
    let (gate, faults) = Gate::before_a_cut(BLOCKS);
    let mut path = Path::new("server-gone", 40 * BLOCK, faults);
    let mut command = path.client(1);
    command.args(["--retry-for", "2"]);
    let client = path.begin(&gate, BLOCKS, command);
    path.server.kill();
    gate.open();
    let outcome = client.finish();
    outcome.failed(NETWORK, "client", "lost the server, and could not reach it again in 2 s");
    assert!(outcome.err.contains(".part keeps 5"), "{outcome:?}");
    assert!(outcome.err.contains("%; to continue: "), "{outcome:?}");
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
    path.restart(&[]);
    let said = path.fetch(1);
    assert!(said.contains(", resumed at 5"), "{said}");
}

#[test]
fn the_client_does_not_resume_with_another_file_after_a_restart_of_the_server() {
    let (gate, faults) = Gate::before_a_cut(BLOCKS);
    let mut path = Path::new("server-other", 40 * BLOCK, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    path.server.kill();
    path.scratch.write("file", &content(40 * BLOCK + 1)[1..]);
    path.restart(&[]);
    gate.open();
    let words = "the file on the server has changed; the same command fetches it as it is";
    client.finish().failed(7, "client", words);
    // The basis of the next fetch.
    assert_eq!(path.names(), ["out.part", "out.part.journal"]);
}
