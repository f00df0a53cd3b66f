//! Streams through the control port: when the data port is unreachable, belongs to another program,
//! or is not wanted; over a path that cuts and damages; and what strangers get at the control port.

use crate::support::exit::NETWORK;
use crate::support::harness::{Running, Scratch, Server, after, assert_same, content, run};
use crate::support::http::{Http, reply};
use crate::support::path::{self, DAMAGED, Gate, Path, RECONNECTS, count, flip, scatter};
use crate::support::peers::classic::fetch;
use crate::support::peers::sink::{Offer, ask, block, closed_unserved, payload, request};
use crate::support::proof;
use crate::support::relay::{DataPorts, Faults, Step};
use crate::support::socket::{connect, read_some};
use crate::support::system::{connect_from, signal};
use ropewalk::codec::wire::{ErrorCode, HEADER_SIZE, Header, Request};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The words of the summary when streams used the control port.
const WORDS: &str = " through the control port";

fn behind(data: DataPorts) -> Faults {
    Faults { data, ..Faults::default() }
}

/// Fetches the file through a relay with these data ports. Demands that all streams use the control
/// port and that the summary says so.
#[track_caller]
fn falls_back(test: &str, data: DataPorts, streams: usize) {
    let path = Path::new(test, (3 << 20) + 7, behind(data));
    let said = path.fetch(streams);
    assert!(said.contains(WORDS), "{said}");
    assert!(path.relay.beside() > 0);
    assert_eq!(path.relay.beside(), path.relay.streams());
}

#[test]
fn a_client_does_without_a_data_port_that_refuses() {
    falls_back("port-refused", DataPorts::Refused, 4);
}

#[test]
fn a_client_does_without_a_data_port_that_does_not_answer() {
    falls_back("port-silent", DataPorts::Silent, 3);
}

#[test]
fn a_client_does_without_a_data_port_that_takes_streams_and_stays_silent() {
    let hold: fn(TcpStream) = |mut client| drop(client.read_to_end(&mut Vec::new()));
    falls_back("port-holds", DataPorts::Foreign(hold), 3);
}

#[test]
fn a_client_does_without_a_data_port_of_another_program() {
    falls_back("port-closes", DataPorts::Foreign(drop), 3);
    falls_back(
        "port-http",
        DataPorts::Foreign(|mut client| {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            let _ = client.read_to_end(&mut Vec::new());
        }),
        1,
    );
    falls_back(
        "port-junk",
        DataPorts::Foreign(|mut client| {
            let _ = client.write_all(&content(5000));
            let _ = client.read_to_end(&mut Vec::new());
        }),
        2,
    );
}

#[test]
fn the_md5_and_every_stream_need_one_port_only() {
    let path = Path::new("port-md5", 2 << 20, behind(DataPorts::Refused));
    let said = run(path.client(2).args(["--verify", "md5"])).succeeded();
    assert!(said.contains(&format!("{WORDS}, md5 ")), "{said}");
    path.is_whole();
}

#[test]
fn a_data_port_that_works_is_used() {
    let path = Path::new("port-works", 2 << 20, Faults::default());
    let said = path.fetch(4);
    assert!(!said.contains("port"), "{said}");
    assert_eq!(path.relay.beside(), 0);
}

#[test]
fn single_port_tries_no_data_port() {
    let path = Path::new("single-port", 2 << 20, Faults::default());
    let said = run(path.client(4).arg("--single-port")).succeeded();
    assert!(said.contains(WORDS), "{said}");
    assert_eq!((path.relay.beside(), path.relay.streams()), (4, 4));
    path.is_whole();
}

#[test]
fn two_hundred_and_fifty_five_streams_come_through_one_port() {
    let path = Path::new("single-255", 40 << 20, Faults::default());
    let said = run(path.client(255).arg("--single-port")).succeeded();
    assert!(said.contains(WORDS), "{said}");
    path.is_whole();
}

#[test]
fn the_error_names_both_ports_when_neither_works() {
    let faults = Faults { message: Box::new(|message| message.bytes[0] = 0), ..Faults::default() };
    let faults = Faults { data: DataPorts::Refused, ..faults };
    let path = Path::new("port-none", 1 << 20, faults);
    let outcome = run(path.client(1).args(["--retry-for", "0"]));
    outcome.failed(NETWORK, "client", "Connection refused");
    assert!(outcome.err.contains(&path.relay.address.to_string()), "{outcome:?}");
}

#[test]
fn damage_and_cuts_are_repaired_through_one_port_too() {
    let faults = Faults::of_blocks(|block| {
        let number = scatter(block.number);
        if block.number > 0 && block.number < 100 && number % 12 == 0 {
            return Step::Cut(number as usize / 8 % block.bytes.len());
        }
        if number % 5 == 0 && block.bytes.len() > HEADER_SIZE {
            flip(&mut block.bytes[HEADER_SIZE..], 77);
        }
        Step::Pass
    });
    let path = Path::new("port-faults", 16 << 20, Faults { data: DataPorts::Refused, ..faults });
    let said = path.fetch(4);
    assert!(count(&said, DAMAGED) > 5 && count(&said, RECONNECTS) > 2, "{said}");
    assert_eq!(path.relay.beside(), path.relay.streams());
}

#[test]
fn a_stream_with_a_damaged_hello_at_the_control_port_comes_again() {
    // The mark, the token, the checksum.
    let again = |bit: usize| {
        let faults = Faults {
            message: Box::new(move |message| {
                if (message.stream, message.number) == (0, 0) {
                    flip(message.bytes, bit);
                }
            }),
            data: DataPorts::Refused,
            ..Faults::default()
        };
        let said = Path::new(&format!("port-hello-{bit}"), 1 << 20, faults).fetch(1);
        assert_eq!(count(&said, RECONNECTS), 1, "{said}");
    };
    thread::scope(|scope| {
        for bit in [0, 40, 200] {
            scope.spawn(move || again(bit));
        }
    });
}

const BLOCKS: u64 = 20;
const BLOCK: usize = path::BLOCK as usize;

#[test]
fn the_client_goes_on_after_a_restart_of_the_server_through_one_port() {
    let (gate, faults) = Gate::before_a_cut(BLOCKS);
    let faults = Faults { data: DataPorts::Refused, ..faults };
    let mut path = Path::new("port-killed", 40 * BLOCK, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    path.server.running.signal(libc::SIGKILL);
    path.server.running.finish_ref();
    let mut command = path.scratch.program("server");
    command.arg("--bind").arg(path.scratch.address().to_string());
    command.arg(path.server.address.port().to_string()).current_dir(path.scratch.folder());
    path.server.running = Running::start(&mut command);
    path.server.running.next_line();
    gate.open();
    let said = client.finish().succeeded();
    assert!(said.contains(WORDS), "{said}");
    path.is_whole();
    path.was_gone_on_from(BLOCKS * BLOCK as u64);
}

#[test]
fn a_dead_sender_is_replaced_through_one_port() {
    let (gate, faults) = Gate::before_a_cut(BLOCKS);
    let faults = Faults { data: DataPorts::Refused, ..faults };
    let path = Path::new("port-sender", 40 * BLOCK, faults);
    let client = path.begin(&gate, BLOCKS, path.client(1));
    signal(proof::children(path.server.running.pid(), 1)[0], libc::SIGKILL);
    gate.open();
    let said = client.finish().succeeded();
    assert!(said.contains(WORDS), "{said}");
    path.is_whole();
    assert!(path.relay.controls().len() == 2, "{:?}", path.relay.controls());
}

/// A server of one file.
fn serving(scratch: &Scratch, options: &[&str], size: usize) -> (Server, Vec<u8>) {
    let server = Server::start(scratch, options);
    let bytes = content(size);
    scratch.write("file", &bytes);
    (server, bytes)
}

#[test]
fn a_wrong_token_at_the_control_port_gets_only_the_error_session() {
    let scratch = Scratch::new("port-token");
    let (mut server, bytes) = serving(&scratch, &[], 400_000);
    let offer = ask(&server, "file", 2);
    let mut token = offer.session.clone().into_bytes();
    token[31] = if token[31] == b'0' { b'1' } else { b'0' };
    let begun = Instant::now();
    for session in [String::from_utf8(token).unwrap(), "0".repeat(32)] {
        let mut stranger = Offer { session, ..offer }.open_at(server.address);
        stranger.write_all(&[request(0, 100), Request::Finished.encode()].concat()).unwrap();
        let (header, _) = block(&mut stranger);
        assert!(matches!(header, Header::Error { code: ErrorCode::Session, .. }), "{header:?}");
        assert_eq!(read_some(&mut stranger, &mut [0]).unwrap(), 0);
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "each guess takes a second");
    offer.serves_all_at(server.address, &mut server, &bytes);
}

#[test]
fn a_session_that_has_ended_is_unknown_at_the_control_port() {
    let scratch = Scratch::new("port-ended");
    let (mut server, bytes) = serving(&scratch, &[], 1000);
    let offer = ask(&server, "file", 1);
    offer.serves_all_at(server.address, &mut server, &bytes);
    proof::children(server.running.pid(), 0);
    let (header, _) = block(&mut offer.open_at(server.address));
    assert!(matches!(header, Header::Error { code: ErrorCode::Session, .. }), "{header:?}");
}

#[test]
fn a_hello_at_the_control_port_that_comes_byte_by_byte_is_understood() {
    let scratch = Scratch::new("port-bytes");
    let (mut server, bytes) = serving(&scratch, &[], 300_000);
    let offer = ask(&server, "file", 1);
    offer.is_understood_byte_by_byte(server.address, &bytes);
    offer.serves_all_at(server.address, &mut server, &bytes);
}

#[test]
fn a_hello_that_does_not_end_is_closed_in_time() {
    let scratch = Scratch::new("port-half");
    let (mut server, bytes) = serving(&scratch, &["--request-timeout", "1"], 1000);
    let offer = ask(&server, "file", 1);
    for length in [1, 14, 27] {
        let begun = Instant::now();
        assert!(closed_unserved(half(&server, &offer, length)));
        assert!(begun.elapsed() >= Duration::from_millis(900));
    }
    offer.serves_all_at(server.address, &mut server, &bytes);
}

/// A stream that has sent the first `length` bytes of its hello.
fn half(server: &Server, offer: &Offer, length: usize) -> TcpStream {
    let mut stream = connect(server.address);
    stream.write_all(&offer.hello()[..length]).unwrap();
    stream
}

#[test]
fn a_full_server_drops_a_hello_that_does_not_end_for_a_new_connection() {
    let scratch = Scratch::new("port-half-goes");
    let options = ["--request-timeout", "1000", "--max-connections", "2"];
    let (mut server, bytes) = serving(&scratch, &options, 1000);
    let offer = ask(&server, "file", 1);
    let [first, second, third, mut fourth] =
        [1, 14, 27, 27].map(|length| half(&server, &offer, length));
    assert!(closed_unserved(first) && closed_unserved(second));
    // The later streams stayed, and the last one continues its hello.
    fourth.write_all(&[&offer.hello()[27..], &request(0, 9)].concat()).unwrap();
    assert_eq!(payload(&mut fourth, 0, 9), &bytes[..9]);
    drop(third);
    offer.serves_all_at(server.address, &mut server, &bytes);
}

#[test]
fn a_stream_that_was_handed_on_no_longer_counts_as_a_connection() {
    let scratch = Scratch::new("port-places");
    let (mut server, bytes) = serving(&scratch, &["--max-connections", "1"], 1000);
    let offer = ask(&server, "file", 5);
    let mut streams: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut stream = offer.open_at(server.address);
            stream.write_all(&request(0, 9)).unwrap();
            assert_eq!(payload(&mut stream, 0, 9), &bytes[..9]);
            stream
        })
        .collect();
    // The server closed no connection for these streams, and closes none for a request.
    let (got, _) = reply(&server, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(got.status, 404);
    for stream in &mut streams {
        stream.write_all(&request(9, 9)).unwrap();
        assert_eq!(payload(stream, 9, 9), &bytes[9..18]);
    }
    // The server holds none of the streams any more, so the sender notices their end.
    streams[0].write_all(&Request::Finished.encode()).unwrap();
    assert!(server.next_log_line().ends_with(": complete\n"));
    assert!(streams.into_iter().all(closed_unserved));
}

#[test]
fn streams_above_twice_the_number_are_closed_at_either_port() {
    let scratch = Scratch::new("port-flood");
    let (mut server, bytes) = serving(&scratch, &[], 1000);
    let offer = ask(&server, "file", 3);
    let mut open: Vec<TcpStream> = (0..6)
        .map(|number| {
            let at = if number % 2 == 0 { server.address } else { offer.sender };
            let mut stream = offer.open_at(at);
            stream.write_all(&request(0, 9)).unwrap();
            assert_eq!(payload(&mut stream, 0, 9), &bytes[..9]);
            stream
        })
        .collect();
    let flood: Vec<TcpStream> = (0..300).map(|_| offer.open_at(server.address)).collect();
    assert!(flood.into_iter().all(closed_unserved));
    open[5].write_all(&request(5, 9)).unwrap();
    assert_eq!(payload(&mut open[5], 5, 9), &bytes[5..14]);
    open[5].write_all(&Request::Finished.encode()).unwrap();
    assert!(server.next_log_line().ends_with(": complete\n"));
}

#[test]
fn a_sender_without_descriptors_loses_new_streams_and_goes_on() {
    let scratch = Scratch::new("port-descriptors");
    let command = after("ulimit -n 40", scratch.program("server").current_dir(scratch.folder()));
    let mut server = Server::start_command(&scratch, command);
    let bytes = content(1000);
    scratch.write("file", &bytes);
    let offer = ask(&server, "file", 100);
    let mut served = Vec::new();
    for _ in 0..60 {
        let mut stream = offer.open_at(server.address);
        let _ = stream.write_all(&request(0, 9));
        if matches!(read_some(&mut stream, &mut [0; HEADER_SIZE + 9]), Ok(1..)) {
            served.push(stream);
        }
    }
    assert!((10..40).contains(&served.len()), "{}", served.len());
    let mut last = served.pop().unwrap();
    last.write_all(&Request::Finished.encode()).unwrap();
    let line = server.next_log_line();
    assert!(line.ends_with(": complete\n"), "{line}");
}

#[test]
fn a_stream_at_the_control_port_from_another_address_gets_nothing() {
    let scratch = Scratch::new("port-elsewhere");
    let (mut server, bytes) = serving(&scratch, &[], 1000);
    let offer = ask(&server, "file", 1);
    let SocketAddr::V4(control) = server.address else { panic!("{}", server.address) };
    let mut stranger = connect_from(Ipv4Addr::new(127, 0, 0, 2), control);
    let _ = stranger.write_all(&[&offer.hello()[..], &request(0, 1)].concat());
    assert!(closed_unserved(stranger));
    offer.serves_all_at(server.address, &mut server, &bytes);
}

#[test]
fn requests_and_classic_transfers_are_served_beside_streams() {
    let scratch = Scratch::new("port-classic");
    let (mut server, bytes) = serving(&scratch, &[], 300_000);
    let offer = ask(&server, "file", 1);
    let mut stream = offer.open_at(server.address);
    assert_same(&fetch(server.address, "file", &[1, 0]), &bytes, "the classic fetch");
    assert!(server.next_log_line().contains(" over 2 streams "));
    let mut http = Http::connect(server.address);
    http.send("GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.receive().status, 404);
    // A connection that began with a request cannot become a stream.
    http.send(offer.hello());
    assert_eq!(http.receive().status, 400);
    stream.write_all(&request(0, 9)).unwrap();
    assert_eq!(payload(&mut stream, 0, 9), &bytes[..9]);
}
