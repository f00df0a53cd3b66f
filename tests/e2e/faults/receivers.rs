//! Receivers that break the rules of the ropewalk protocol, played by the tests against the real
//! server. They get nothing, and do no harm to transfers that keep to the rules.

use crate::support::harness::{Scratch, Server, assert_same, content, wait_until};
use crate::support::peers::sink::{Offer, ask, block, closed_unserved, payload, request};
use crate::support::proof;
use crate::support::socket::{connect, read_some};
use crate::support::system::connect_from;
use ropewalk::codec::wire::{
    ErrorCode, HEADER_SIZE, Header, MAX_REQUEST, MAX_ROOM, REQUEST_SIZE, Request,
};
use ropewalk::hash::crc32c::crc32c;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A message of these bytes with a correct checksum.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(&crc32c(&bytes).to_be_bytes());
    bytes
}

/// Demands an error block of this kind, and then the end of the stream.
#[track_caller]
fn refused(mut stream: TcpStream, expected: ErrorCode) {
    let (header, text) = block(&mut stream);
    let Header::Error { code, .. } = header else { panic!("{header:?}") };
    assert_eq!(code, expected, "{}", String::from_utf8_lossy(&text));
    assert!(!text.is_empty());
    assert_eq!(read_some(&mut stream, &mut [0]).unwrap(), 0, "something follows the error");
}

/// A server of one file.
fn serving(scratch: &Scratch, options: &[&str], size: usize) -> (Server, Vec<u8>) {
    let server = Server::start(scratch, options);
    let bytes = content(size);
    scratch.write("file", &bytes);
    (server, bytes)
}

/// Opens `count` streams of the session, and demands that the server serves each.
#[track_caller]
fn served(offer: &Offer, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = offer.open();
        stream.write_all(&request(0, 10)).unwrap();
        assert_eq!(payload(&mut stream, 0, 10), &bytes[..10]);
        stream
    };
    (0..count).map(open).collect()
}

#[test]
fn a_wrong_token_gets_nothing_after_a_while_and_harms_nobody() {
    let scratch = Scratch::new("token");
    let (mut server, bytes) = serving(&scratch, &[], 400_000);
    scratch.write("other", b"another session's");
    let (offer, other) = (ask(&server, "file", 2), ask(&server, "other", 2));
    let mut wrong: Vec<String> = [0, 15, 31]
        .map(|digit: usize| {
            let mut token = offer.session.clone().into_bytes();
            token[digit] = if token[digit] == b'0' { b'1' } else { b'0' };
            String::from_utf8(token).unwrap()
        })
        .to_vec();
    wrong.push("0".repeat(32));
    wrong.push(other.session.clone());
    let begun = Instant::now();
    for token in wrong {
        let stranger = Offer { session: token, ..offer };
        let mut guess = stranger.open();
        // A wrong token cannot end the session either.
        guess.write_all(&request(0, 100)).unwrap();
        guess.write_all(&Request::Leave.encode()).unwrap();
        guess.write_all(&Request::Finished.encode()).unwrap();
        let mut stream = offer.open();
        stream.write_all(&request(0, 100)).unwrap();
        assert_same(&payload(&mut stream, 0, 100), &bytes[..100], "the requested bytes");
        assert!(closed_unserved(guess));
    }
    assert!(begun.elapsed() >= Duration::from_secs(3), "each guess takes a second");
    offer.serves_all(&mut server, &bytes);
    other.serves_all(&mut server, b"another session's");
}

#[test]
fn strangers_at_the_client_s_address_take_no_stream_s_place() {
    let scratch = Scratch::new("crowd");
    let (mut server, bytes) = serving(&scratch, &[], 250_000);
    let offer = ask(&server, "file", 2);
    let silent: Vec<TcpStream> = (0..30).map(|_| connect(offer.sender)).collect();
    let stranger = Offer { session: "0".repeat(32), ..offer };
    let guessing: Vec<TcpStream> = (0..30).map(|_| stranger.open()).collect();
    // Strangers hold none of the four places for members.
    let mut open = served(&offer, 4, &bytes);
    open.pop().unwrap().write_all(&Request::Finished.encode()).unwrap();
    assert!(server.next_log_line().ends_with(": complete\n"));
    drop((silent, guessing));
}

#[test]
fn strangers_do_not_keep_a_session_without_a_stream_alive() {
    let scratch = Scratch::new("crowd-idle");
    let (mut server, _) = serving(&scratch, &["--idle-timeout", "1"], 100);
    let offer = ask(&server, "file", 2);
    let stranger = connect(offer.sender);
    let line = server.next_log_line();
    assert!(line.ends_with(": no stream was open for 1 s\n"), "{line}");
    drop(stranger);
}

#[test]
fn tokens_are_new_each_time_and_on_no_command_line() {
    let scratch = Scratch::new("token-secret");
    let (server, _) = serving(&scratch, &[], 100);
    let offers: Vec<Offer> = (0..5).map(|_| ask(&server, "file", 1)).collect();
    for (number, offer) in offers.iter().enumerate() {
        assert_eq!(offer.session.len(), 32);
        assert!(offers[..number].iter().all(|other| other.session != offer.session));
    }
    for pid in proof::children(server.running.pid(), 5) {
        for place in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{place}")).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(offers.iter().all(|offer| !text.contains(&offer.session)), "{text}");
        }
    }
}

#[test]
fn a_hello_and_requests_that_come_byte_by_byte_are_understood() {
    let scratch = Scratch::new("byte-by-byte");
    let (mut server, bytes) = serving(&scratch, &[], 300_000);
    let offer = ask(&server, "file", 1);
    offer.is_understood_byte_by_byte(offer.sender, &bytes);
    offer.serves_all(&mut server, &bytes);
}

#[test]
fn a_hello_of_an_unknown_version_gets_an_error_block() {
    let scratch = Scratch::new("version");
    let (mut server, bytes) = serving(&scratch, &[], 1000);
    // The session has room for all. A place becomes free a moment after its stream was closed.
    let offer = ask(&server, "file", 20);
    for version in [0, 1, 3, 255] {
        let mut hello = offer.hello()[..24].to_vec();
        hello[1] = version;
        let mut stream = connect(offer.sender);
        stream.write_all(&sealed(hello)).unwrap();
        refused(stream, ErrorCode::Version);
    }
    offer.serves_all(&mut server, &bytes);
}

#[test]
fn the_server_ignores_unknown_flags_and_reserved_bytes() {
    let scratch = Scratch::new("flags");
    let (mut server, bytes) = serving(&scratch, &[], 1000);
    let offer = ask(&server, "file", 1);
    let mut hello = offer.hello()[..24].to_vec();
    (hello[2], hello[3]) = (0x80, 0xff);
    let mut wanted = request(5, 10)[..20].to_vec();
    wanted[1] = 0xfe;
    let mut stream = connect(offer.sender);
    stream.write_all(&[sealed(hello), sealed(wanted)].concat()).unwrap();
    assert_eq!(payload(&mut stream, 5, 10), &bytes[5..15]);
    offer.serves_all(&mut server, &bytes);
}

#[test]
fn invalid_requests_get_an_error_block() {
    let scratch = Scratch::new("requests");
    let size = 200_000;
    let (mut server, bytes) = serving(&scratch, &[], size);
    let offer = ask(&server, "file", 20);
    let range = |kind: u8, rest_crc: u32, offset: u64, length: u32| {
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend_from_slice(&rest_crc.to_be_bytes());
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        sealed(bytes)
    };
    let size = size as u64;
    let (name, identity, hash) = (b"file", [0; 16], None);
    let named = Request::Range { name, identity, offset: 0, length: 1, hash };
    for wrong in [
        range(1, 0, size, 1),
        range(1, 0, size - 1, 2),
        range(1, 0, 0, MAX_REQUEST),
        range(1, 0, u64::MAX, 1),
        range(1, 0, u64::MAX - 5, 5),
        range(1, 0, 0, 0),
        range(1, 0, 0, MAX_REQUEST + 1),
        range(1, 0, 0, u32::MAX),
        range(1, 1, 0, 1),
        range(0, 0, 0, 1),
        range(4, 0, 0, 1),
        // How many streams there are is for the end that connects.
        range(6, 0, 0, 1),
        range(7, 0, 0, 1),
        range(8, 0, 0, 1),
        named.encode(),
        Request::List { name: b"", after: b"", room: MAX_ROOM }.encode(),
        vec![0; REQUEST_SIZE],
        content(5000),
    ] {
        let mut stream = offer.open();
        // The server still answers the request before the invalid one.
        stream.write_all(&[&request(0, 10)[..], &wrong].concat()).unwrap();
        assert_eq!(payload(&mut stream, 0, 10), &bytes[..10]);
        refused(stream, ErrorCode::Request);
    }
    offer.serves_all(&mut server, &bytes);
}

#[test]
fn a_connection_without_a_hello_gets_nothing() {
    let scratch = Scratch::new("no-hello");
    let (mut server, bytes) = serving(&scratch, &[], 1000);
    let offer = ask(&server, "file", 20);
    let damaged = |place: usize| {
        let mut hello = offer.hello();
        hello[place] ^= 4;
        hello.to_vec()
    };
    let block = |block: u32| {
        let mut hello = offer.hello()[..24].to_vec();
        hello[20..].copy_from_slice(&block.to_be_bytes());
        sealed(hello)
    };
    for bytes in [
        vec![0],
        vec![254],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        content(4000),
        damaged(0),
        damaged(1),
        damaged(10),
        damaged(27),
        block(0),
        block((1 << 20) + 1),
        block(u32::MAX),
    ] {
        let mut stream = connect(offer.sender);
        let _ = stream.write_all(&bytes);
        assert!(closed_unserved(stream), "{bytes:?}");
    }
    drop(connect(offer.sender));
    offer.serves_all(&mut server, &bytes);
}

#[test]
fn a_stream_from_another_address_than_the_request_gets_nothing() {
    let scratch = Scratch::new("stream-elsewhere");
    let (mut server, bytes) = serving(&scratch, &[], 1000);
    let offer = ask(&server, "file", 1);
    let SocketAddr::V4(sender) = offer.sender else { panic!("{}", offer.sender) };
    let mut stranger = connect_from(Ipv4Addr::new(127, 0, 0, 2), sender);
    let _ = stranger.write_all(&[&offer.hello()[..], &request(0, 1)].concat());
    assert!(closed_unserved(stranger));
    offer.serves_all(&mut server, &bytes);
}

#[test]
fn with_any_address_the_token_is_enough_at_both_ports() {
    let scratch = Scratch::new("any-address");
    let (mut server, bytes) = serving(&scratch, &["--any-address"], 1000);
    let offer = ask(&server, "file", 1);
    let from_elsewhere = |offer: &Offer, to| {
        let SocketAddr::V4(to) = to else { panic!("{to}") };
        let mut stream = connect_from(Ipv4Addr::new(127, 0, 0, 2), to);
        let _ = stream.write_all(&[&offer.hello()[..], &request(0, 10)].concat());
        stream
    };
    for to in [offer.sender, server.address] {
        assert_eq!(payload(&mut from_elsewhere(&offer, to), 0, 10), &bytes[..10]);
    }
    let stranger = Offer { session: "0".repeat(32), ..offer };
    assert!(closed_unserved(from_elsewhere(&stranger, offer.sender)));
    offer.serves_all(&mut server, &bytes);
}

#[test]
fn streams_above_twice_the_number_asked_for_are_closed() {
    let scratch = Scratch::new("too-many");
    let (mut server, bytes) = serving(&scratch, &[], 250_000);
    let offer = ask(&server, "file", 3);
    let mut open = served(&offer, 6, &bytes);
    for _ in 0..3 {
        let mut stream = connect(offer.sender);
        let _ = stream.write_all(&offer.hello());
        let _ = stream.write_all(&request(0, 10));
        assert!(closed_unserved(stream));
    }
    // A closed stream makes room for another.
    open.truncate(5);
    let mut last = wait_until("room for another stream", || {
        let mut stream = connect(offer.sender);
        let _ = stream.write_all(&[&offer.hello()[..], &request(0, 10)].concat());
        matches!(read_some(&mut stream, &mut [0; HEADER_SIZE + 10]), Ok(1..)).then_some(stream)
    });
    last.write_all(&Request::Finished.encode()).unwrap();
    assert!(server.next_log_line().ends_with(": complete\n"));
}

#[test]
fn a_stream_without_requests_is_idle_and_a_stream_that_takes_no_bytes_is_stalled() {
    let scratch = Scratch::new("idle-stalled");
    let options = ["--idle-timeout", "1", "--stall-timeout", "1"];
    let (mut server, bytes) = serving(&scratch, &options, 48 << 20);
    let offer = ask(&server, "file", 2);
    let (mut idle, mut stalled) = (offer.open(), offer.open());
    for number in 0..48 {
        stalled.write_all(&request(number << 20, MAX_REQUEST)).unwrap();
    }
    // The server closes the second stream while the first is there. The peer has closed nothing.
    proof::no_socket_at_peer(stalled.local_addr().unwrap(), offer.sender);
    idle.write_all(&request(9, 10)).unwrap();
    assert_eq!(payload(&mut idle, 9, 10), &bytes[9..19]);
    idle.write_all(&Request::Finished.encode()).unwrap();
    assert!(server.next_log_line().ends_with(": complete\n"));
}

#[test]
fn a_session_without_a_stream_ends() {
    let scratch = Scratch::new("session-idle");
    let (mut server, _) = serving(&scratch, &["--idle-timeout", "1"], 100);
    let offer = ask(&server, "file", 2);
    drop(offer.open());
    let line = server.next_log_line();
    assert!(line.ends_with(": no stream was open for 1 s\n"), "{line}");
    proof::children(server.running.pid(), 0);
    assert!(TcpStream::connect(offer.sender).is_err());
}

#[test]
fn every_stream_hears_at_once_that_the_file_has_changed_and_a_new_stream_is_refused() {
    let scratch = Scratch::new("changed-all");
    let (server, bytes) = serving(&scratch, &[], 400_000);
    let offer = ask(&server, "file", 3);
    let mut open = served(&offer, 3, &bytes);
    scratch.write("file", b"another");
    let begun = Instant::now();
    // The first stream stays open, and the sender waits for its end.
    open[0].write_all(&request(0, 10)).unwrap();
    for stream in &mut open {
        let (header, _) = block(stream);
        assert!(matches!(header, Header::Error { code: ErrorCode::Changed, .. }), "{header:?}");
    }
    for address in [offer.sender, server.address] {
        refused(offer.open_at(address), ErrorCode::Session);
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
