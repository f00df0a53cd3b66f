//! Classic streams that break the rules, stall or never come: how a sender reacts, and that the
//! server keeps no trace of them.

use crate::support::harness::{Running, Scratch, Server, assert_same, content, run, wait_until};
use crate::support::peers::classic::{Offer, ask, fetch, open_stream};
use crate::support::proof;
use crate::support::socket::{connect, read_all};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

/// The size of a file whose blocks fit into no socket's buffers.
const LARGE: usize = 96 << 20;

/// A server that offers the file `file` over `streams` streams, and the offer.
fn offered(scratch: &Scratch, bytes: &[u8], streams: usize) -> (Server, Offer) {
    offered_with(scratch, &[], bytes, streams)
}

/// Like `offered`, with options of the server.
fn offered_with(
    scratch: &Scratch,
    options: &[&str],
    bytes: &[u8],
    streams: usize,
) -> (Server, Offer) {
    let server = Server::start(scratch, options);
    scratch.write("file", bytes);
    let offer = ask(server.address, "file", streams);
    (server, offer)
}

/// Whether the stream was closed without a byte. A stream with unread bytes may be closed by a
/// reset.
fn closed_unserved(mut stream: TcpStream) -> bool {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes.is_empty()
}

/// Fetches the rest of an offer, and demands that it is right.
#[track_caller]
fn serves_all(server: Server, offer: &Offer, bytes: &[u8], streams: u8) {
    let mut server = server;
    let blocks: Vec<Vec<u8>> =
        (0..streams).map(|number| read_all(open_stream(offer.sender, number))).collect();
    assert_same(&blocks.concat(), bytes, "all blocks");
    let line = server.next_log_line();
    assert!(line.ends_with(": complete\n"), "{line}");
    proof::children(server.running.pid(), 0);
}

#[test]
fn a_stream_number_out_of_range_closes_that_stream_alone() {
    let scratch = Scratch::new("out-of-range");
    let bytes = content(9000);
    let (server, offer) = offered(&scratch, &bytes, 3);
    for number in [3, 4, 254, 255] {
        assert!(closed_unserved(open_stream(offer.sender, number)), "{number}");
    }
    serves_all(server, &offer, &bytes, 3);
}

#[test]
fn a_stream_number_that_came_before_closes_that_stream_alone() {
    let scratch = Scratch::new("repeated");
    let bytes = content(LARGE);
    let (mut server, offer) = offered(&scratch, &bytes, 2);
    // The block does not fit into the buffers, so it is under way until the test reads it.
    let mut first = open_stream(offer.sender, 0);
    first.read_exact(&mut [0]).unwrap();
    assert!(closed_unserved(open_stream(offer.sender, 0)));
    let second = read_all(open_stream(offer.sender, 1));
    assert!(closed_unserved(open_stream(offer.sender, 1)));
    let first = [vec![bytes[0]], read_all(first)].concat();
    assert_same(&[first, second].concat(), &bytes, "both blocks");
    let line = server.next_log_line();
    assert!(line.contains(" over 2 streams ") && line.ends_with(": complete\n"), "{line}");
}

#[test]
fn a_stream_without_a_number_harms_no_other_stream() {
    let scratch = Scratch::new("no-number");
    let bytes = content(9000);
    let (server, offer) = offered(&scratch, &bytes, 3);
    let _silent = connect(offer.sender);
    drop(connect(offer.sender));
    serves_all(server, &offer, &bytes, 3);
}

#[test]
fn a_stream_that_sends_more_than_its_number_is_served() {
    let scratch = Scratch::new("says-more");
    let bytes = content(9000);
    let (server, offer) = offered(&scratch, &bytes, 1);
    let mut stream = connect(offer.sender);
    stream.write_all(&[0, 0, 1, 2]).unwrap();
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).unwrap();
    assert_same(&got, &bytes, "the block");
    drop(stream);
    proof::children(server.running.pid(), 0);
}

/// A connection from another loopback address than the test's other connections.
fn connect_from_elsewhere(to: SocketAddr) -> TcpStream {
    let SocketAddr::V4(to) = to else { panic!("{to}") };
    crate::support::system::connect_from(Ipv4Addr::new(127, 0, 0, 2), to)
}

#[test]
fn a_stream_from_another_address_than_the_request_is_closed_and_harms_no_other() {
    // A classic stream has no token, so `--any-address` does not apply to it.
    for options in [&[][..], &["--any-address"]] {
        let scratch = Scratch::new("elsewhere");
        let bytes = content(9000);
        let (server, offer) = offered_with(&scratch, options, &bytes, 3);
        for number in 0..3 {
            let mut stranger = connect_from_elsewhere(offer.sender);
            let _ = stranger.write_all(&[number]);
            assert!(closed_unserved(stranger), "{number}");
        }
        serves_all(server, &offer, &bytes, 3);
    }
}

#[test]
fn a_transfer_without_any_stream_ends() {
    let scratch = Scratch::new("idle");
    let mut server = Server::start(&scratch, &["--idle-timeout", "1"]);
    scratch.write("file", b"never fetched");
    let offer = ask(server.address, "file", 3);
    let line = server.next_log_line();
    assert!(line.ends_with("0 of 3 streams came, and no other for 1 s\n"), "{line}");
    proof::children(server.running.pid(), 0);
    assert!(TcpStream::connect(offer.sender).is_err());
    server.stop();
    proof::nothing_stays(&scratch);
}

#[test]
fn a_transfer_that_lacks_some_of_its_streams_ends() {
    let scratch = Scratch::new("lacking");
    let mut server = Server::start(&scratch, &["--idle-timeout", "1"]);
    scratch.write("file", b"abc");
    let offer = ask(server.address, "file", 3);
    assert_eq!(read_all(open_stream(offer.sender, 1)), b"c");
    let line = server.next_log_line();
    assert!(line.ends_with("1 of 3 streams came, and no other for 1 s\n"), "{line}");
    proof::children(server.running.pid(), 0);
}

#[test]
fn a_stream_that_takes_no_data_ends_its_transfer() {
    let scratch = Scratch::new("stalled");
    let mut server = Server::start(&scratch, &["--stall-timeout", "1"]);
    scratch.write("file", &content(LARGE));
    let offer = ask(server.address, "file", 1);
    let mut stalled = open_stream(offer.sender, 0);
    stalled.read_exact(&mut [0]).unwrap();
    let line = server.next_log_line();
    assert!(line.ends_with("stream 0: took no data for 1 s\n"), "{line}");
    proof::children(server.running.pid(), 0);
    // Nothing of the transfer waits for the peer, although the peer still holds its end open.
    proof::no_socket_at(offer.sender);
}

#[test]
fn a_stream_that_breaks_is_logged_and_the_others_go_on() {
    let scratch = Scratch::new("broken");
    let bytes = content(LARGE);
    let (mut server, offer) = offered(&scratch, &bytes, 2);
    let mut broken = open_stream(offer.sender, 0);
    broken.read_exact(&mut [0]).unwrap();
    drop(broken); // with unread data: a reset
    let half = read_all(open_stream(offer.sender, 1));
    assert_same(&half, &bytes[LARGE / 2 + 1..], "the other block");
    let line = server.next_log_line();
    assert!(line.contains(": stream 0: "), "{line}");
    proof::children(server.running.pid(), 0);
}

#[test]
fn a_server_is_as_it_was_after_sixty_transfers() {
    let scratch = Scratch::new("sixty");
    let mut server = Server::start(&scratch, &[]);
    let bytes = content(50_000);
    scratch.write("file", &bytes);
    let pid = server.running.pid();
    let mut transfer = |order: &[u8]| {
        assert_same(&fetch(server.address, "file", order), &bytes, "the file");
        server.next_log_line();
    };
    transfer(&[0]);
    proof::children(pid, 0);
    let before = settled_holdings(pid);
    for number in 0..60 {
        transfer(&[0, 1, 2, 3, 4][..number % 5 + 1]);
    }
    proof::children(pid, 0);
    wait_until("as many threads and descriptors as before", || {
        (proof::holdings(pid) == before).then_some(())
    });
}

/// Waits until the server has as few threads and descriptors as one that has never worked, and
/// returns both numbers. The connection of the first transfer is over then.
fn settled_holdings(pid: u32) -> (usize, usize) {
    let scratch = Scratch::new("fresh");
    let fresh = Server::start(&scratch, &[]);
    wait_until("the end of the first connection", || {
        // Read each time: the new server may still be starting its threads.
        let idle = proof::holdings(fresh.running.pid());
        (proof::holdings(pid) == idle).then_some(idle)
    })
}

#[test]
fn a_client_that_vanishes_after_its_request_holds_its_place_only_for_a_while() {
    let scratch = Scratch::new("gone");
    let options = ["--idle-timeout", "1", "--max-transfers", "1"];
    let mut server = Server::start(&scratch, &options);
    scratch.write("file", b"abc");
    ask(server.address, "file", 1);
    let mut hasty = scratch.client(server.address, 1, "file", scratch.path("out"));
    let refused = run(hasty.args(["--retry-for", "0"]));
    refused.failed(4, "client", "503 Service Unavailable: too many transfers");
    server.next_log_line();
    proof::children(server.running.pid(), 0);
    let client =
        Running::start(&mut scratch.client(server.address, 1, "file", scratch.path("out")));
    client.finish().succeeded();
}
