//! Files of every kind arrive whole: between our programs, to and from a peer that speaks only the
//! classic protocol, and with workers that are started by hand.

use crate::support::harness::{Running, Scratch, Server, assert_same, content, name, run};
use crate::support::path::{Gate, Path};
use crate::support::peers::classic::{ClassicServer, ask, fetch, md5, open_stream, seed_reply};
use crate::support::proof;
use crate::support::relay::{DataPorts, Faults, Relay, Step};
use crate::support::socket::read_all;
use ropewalk::codec::amount;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fetches `bytes` over `streams` streams with our client from our server.
#[track_caller]
fn round_trip(scratch: &Scratch, server: &Server, bytes: &[u8], streams: usize) {
    let file = scratch.write("file", bytes);
    let output = scratch.path("out");
    let said = run(scratch.client(server.address, streams, &file, &output).arg("-v")).succeeded();
    let what = format!("{} bytes over {streams} streams", bytes.len());
    assert_same(&fs::read(&output).unwrap(), bytes, &what);
    assert!(said.starts_with(&format!("{} in ", amount::size(bytes.len() as u64))), "{said}");
    // Words about repaired or late bytes may follow.
    let (_, rest) = said.split_once(&format!(", md5 {} ok", md5(bytes))).expect(&said);
    assert!(rest.starts_with(['\n', ',', ';']), "{said}");
}

/// Fetches files whose sizes lie around the edges of the blocks for `streams` streams.
#[track_caller]
fn block_edges(test: &str, streams: usize) {
    let scratch = Scratch::new(test);
    let server = Server::start(&scratch, &[]);
    let bytes = content(40 * streams + 2);
    let mut sizes = vec![0, 1, 2, streams - 1, streams, streams + 1];
    sizes.extend([40 * streams - 1, 40 * streams, 40 * streams + 1]);
    sizes.sort();
    sizes.dedup();
    for size in sizes {
        round_trip(&scratch, &server, &bytes[..size], streams);
    }
    assert_eq!(Scratch::names(scratch.folder()), ["file", "out"]);
}

#[test]
fn one_stream_carries_every_size_around_its_block_s_edges() {
    block_edges("edges-1", 1);
}

#[test]
fn two_streams_carry_every_size_around_their_blocks_edges() {
    block_edges("edges-2", 2);
}

#[test]
fn eleven_streams_carry_every_size_around_their_blocks_edges() {
    block_edges("edges-11", 11);
}

#[test]
fn twelve_streams_carry_every_size_around_their_blocks_edges() {
    block_edges("edges-12", 12);
}

#[test]
fn two_hundred_and_fifty_five_streams_carry_every_size_around_their_blocks_edges() {
    block_edges("edges-255", 255);
}

#[test]
fn tens_of_megabytes_arrive_over_any_number_of_streams() {
    let scratch = Scratch::new("large");
    let server = Server::start(&scratch, &[]);
    let bytes = content((48 << 20) + 17);
    for streams in [1, 12, 255] {
        round_trip(&scratch, &server, &bytes, streams);
    }
}

#[test]
fn fifty_clients_at_once_all_get_their_file() {
    let scratch = Scratch::new("fifty");
    let mut server = Server::start(&scratch, &[]);
    let bytes = content(300_001);
    let file = scratch.write("file", &bytes);
    let output = |number| scratch.path(format!("out{number}"));
    let clients: Vec<Running> = (0..50)
        .map(|number| {
            let streams = number % 7 + 1;
            Running::start(&mut scratch.client(server.address, streams, &file, output(number)))
        })
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        client.finish().succeeded();
        assert_same(&fs::read(output(number)).unwrap(), &bytes, &format!("client {number}"));
    }
    for _ in 0..50 {
        let line = server.next_log_line();
        assert!(line.ends_with(": complete\n"), "{line}");
    }
    server.stop().succeeded();
    proof::nothing_stays(&scratch);
}

#[test]
fn a_name_that_is_not_utf_8_is_sent_as_it_is() {
    let scratch = Scratch::new("name-bytes");
    let server = Server::start(&scratch, &[]);
    let file = scratch.write(name(b"\xff\xfe caf\xe9 %41?#\\x"), b"found");
    let output = scratch.path(name(b"o\xff"));
    run(&mut scratch.client(server.address, 2, file, &output)).succeeded();
    assert_eq!(fs::read(output).unwrap(), b"found");
}

#[test]
fn a_name_with_spaces_around_and_in_it_is_sent_as_it_is() {
    let scratch = Scratch::new("name-spaces");
    let server = Server::start(&scratch, &[]);
    scratch.write("  a  file POST ", b"found");
    let output = scratch.path("out");
    run(&mut scratch.client(server.address, 2, "  a  file POST ", &output)).succeeded();
    assert_eq!(fs::read(output).unwrap(), b"found");
}

#[test]
fn a_relative_name_is_looked_up_where_the_server_was_started() {
    let scratch = Scratch::new("name-relative");
    let server = Server::start(&scratch, &[]);
    scratch.make_dir("sub");
    scratch.write("sub/file", b"found");
    let there = scratch.make_dir("elsewhere");
    for file in ["sub/file", "./sub/../sub//file"] {
        let mut client = scratch.client(server.address, 2, file, "out");
        run(client.current_dir(&there)).succeeded();
        assert_eq!(fs::read(there.join("out")).unwrap(), b"found", "{file}");
        fs::remove_file(there.join("out")).unwrap();
    }
}

#[test]
fn a_classic_client_gets_its_file_with_its_streams_in_any_order() {
    let scratch = Scratch::new("classic-client");
    let server = Server::start(&scratch, &[]);
    for (streams, step) in [(1, 1), (8, 5), (11, 7), (255, 101)] {
        // The step and the number have no common divisor, so each stream comes once.
        let order: Vec<u8> = (0..streams).map(|n| ((n * step + 3) % streams) as u8).collect();
        let bytes = content(10_000 + streams);
        let file = scratch.write("file", &bytes);
        let got = fetch(server.address, file.as_os_str().as_encoded_bytes(), &order);
        assert_same(&got, &bytes, &format!("{streams} streams"));
    }
}

#[test]
fn a_classic_client_is_told_the_md5() {
    let scratch = Scratch::new("classic-md5");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"abc");
    assert_eq!(ask(server.address, "file", 1).hash, "900150983cd24fb0d6963f7d28e17f72");
}

#[test]
fn streams_past_the_end_of_a_small_file_get_nothing_but_the_end() {
    let scratch = Scratch::new("classic-small");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"0123456789");
    let offer = ask(server.address, "file", 8);
    let blocks: Vec<Vec<u8>> =
        (0..8).map(|number| read_all(open_stream(offer.sender, number))).collect();
    assert_eq!(blocks, [&b"01"[..], b"23", b"45", b"67", b"89", b"", b"", b""]);
}

/// Demands that our client asks for `target` over `streams` streams in this form. A classic server
/// ignores the key that it does not know.
#[track_caller]
fn asks_for(request: &str, target: &str, streams: usize) {
    assert!(request.starts_with(&format!("POST {target} HTTP/1.1\r\n")), "{request}");
    let body = request.split("\r\n\r\n").nth(1).unwrap().replace(' ', "");
    assert_eq!(body, format!("{{\"threads\":{streams},\"protocol\":2,\"tree\":true}}"));
}

/// Fetches with our client from a classic server that answers with `reply`.
#[track_caller]
fn from_classic(test: &str, streams: usize, reply: impl Fn(&str, u16) -> Vec<u8>) {
    refused_once(test, streams, None, reply);
}

/// Like `from_classic`, but the server first answers with `refusal`. A classic server does not
/// decode the name, so it does not know the encoded one.
#[track_caller]
fn refused_once(
    test: &str,
    streams: usize,
    refusal: Option<&str>,
    reply: impl Fn(&str, u16) -> Vec<u8>,
) {
    let scratch = Scratch::new(test);
    let server = ClassicServer::bind(&scratch);
    let bytes = content(1_000_003);
    let output = scratch.path("out");
    let mut client = scratch.client(server.address(), streams, "some file", &output);
    let client = Running::start(&mut client);
    let mut target = "some%20file";
    if let Some(refusal) = refusal {
        asks_for(&server.answer(refusal), target, streams);
        target = "some file";
    }
    let request = server.answer(reply(&md5(&bytes), server.data_port()));
    asks_for(&request, target, streams);
    server.send(&bytes, streams);
    client.finish().succeeded();
    assert_same(&fs::read(&output).unwrap(), &bytes, "the output");
    assert_eq!(Scratch::names(scratch.folder()), ["out"]);
}

#[test]
fn a_classic_server_s_reply_without_a_length_is_understood() {
    from_classic("classic-server", 4, |hash, port| {
        seed_reply(&format!("{{\"hash\": \"{hash}\", \"port\": {port}}}"))
    });
}

#[test]
fn more_than_ten_streams_of_a_classic_server_are_joined_in_numeric_order() {
    from_classic("classic-server-12", 12, |hash, port| {
        seed_reply(&format!("{{\"hash\": \"{hash}\", \"port\": {port}}}"))
    });
}

#[test]
fn a_reply_may_have_more_fields_and_keys_in_any_order() {
    from_classic("classic-extra", 2, |hash, port| {
        let body = format!(
            "\r\n {{\"more\": [1, {{\"hash\": 2}}], \"port\": {port},\"x\":null,\"hash\":\"{hash}\"}}\n"
        );
        let length = body.len();
        format!("HTTP/1.1 200\r\nX-More: y\r\ncontent-length:{length}\r\n\r\n{body}").into_bytes()
    });
}

#[test]
fn a_reply_without_any_field_and_with_bare_newlines_is_understood() {
    from_classic("classic-bare", 3, |hash, port| {
        format!("HTTP/1.0 200 OK\n\n{{\"port\":{port},\"hash\":\"{hash}\"}}").into_bytes()
    });
}

#[test]
fn the_client_skips_an_interim_reply() {
    from_classic("classic-interim", 3, |hash, port| {
        format!(
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.0 200 OK\r\n\r\n{{\"port\":{port},\"hash\":\"{hash}\"}}"
        )
        .into_bytes()
    });
}

#[test]
fn a_classic_server_that_does_not_decode_is_asked_again_with_the_plain_name() {
    for (number, refusal) in [
        "HTTP/1.0 404 File not found\r\nServer: BaseHTTP/0.6 Python/3.8.2\r\n\r\n<p>no</p>",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    ]
    .iter()
    .enumerate()
    {
        refused_once(&format!("classic-literal-{number}"), 3, Some(refusal), |hash, port| {
            seed_reply(&format!("{{\"hash\": \"{hash}\", \"port\": {port}}}"))
        });
    }
}

#[test]
fn a_refusal_is_final_when_another_spelling_cannot_help() {
    for (file, refusal) in [
        // Nothing is encoded in this name.
        ("plain", "HTTP/1.0 404 Not Found\r\n\r\n"),
        // A ropewalk server has already decoded this name.
        ("a file", "HTTP/1.1 404 Not Found\r\nServer: ropewalk/9\r\nContent-Length: 0\r\n\r\n"),
        // This refusal has nothing to do with the spelling of the name.
        ("a file", "HTTP/1.0 403 Forbidden\r\n\r\n"),
    ] {
        let scratch = Scratch::new("literal-not");
        let server = ClassicServer::bind(&scratch);
        let mut client = scratch.client(server.address(), 2, file, scratch.path("out"));
        let client = Running::start(&mut client);
        server.answer(refusal);
        // The peer would not answer a second request, and the client would wait.
        client.finish().failed(4, "client", &refusal[9..22]);
    }
}

#[test]
fn a_name_that_no_classic_request_can_hold_is_an_error_and_not_sent() {
    let scratch = Scratch::new("literal-newline");
    let server = ClassicServer::bind(&scratch);
    let mut client = scratch.client(server.address(), 2, "a\nb", scratch.path("out"));
    let client = Running::start(&mut client);
    let request = server.answer("HTTP/1.0 404 Not Found\r\n\r\n");
    asks_for(&request, "a%0Ab", 2);
    client.finish().failed(5, "client", "CR, LF or NUL in the request's target");
}

/// Starts a sender by hand on any free port.
fn sender_by_hand(
    scratch: &Scratch,
    file: &std::path::Path,
    block: u64,
    streams: usize,
) -> (Running, SocketAddr) {
    let mut sender = scratch.program("sender");
    sender.arg("0").arg(file).arg(block.to_string()).arg(streams.to_string());
    let mut sender = Running::start(&mut sender);
    let line = sender.next_line();
    let port = line.trim_end().strip_prefix("listening on [::]:").expect(&line).parse().unwrap();
    assert_eq!(port, proof::listening_port(sender.pid()));
    (sender, SocketAddr::new(scratch.address().into(), port))
}

#[test]
fn a_sender_run_by_hand_serves_the_blocks_past_four_gibibytes() {
    let scratch = Scratch::new("past-4-gib");
    let edge = 1 << 32;
    let file = scratch.sparse("file", edge + 150_000);
    let bytes = content(200_000);
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .write_all_at(&bytes, edge - 50_000)
        .unwrap();
    // 15 blocks: block 13 holds the 4 GiB edge, and block 14 begins after it.
    let block = (edge + 50_000) / 14;
    let (sender, address) = sender_by_hand(&scratch, &file, block, 15);
    let before = read_all(open_stream(address, 13));
    assert_eq!(before.len() as u64, block);
    let from = (edge - 50_000 - 13 * block) as usize;
    assert!(before[..from].iter().all(|byte| *byte == 0));
    let after = read_all(open_stream(address, 14));
    assert_same(&[&before[from..], &after].concat(), &bytes, "the bytes around 4 GiB");
    sender.signal(libc::SIGTERM);
    sender.finish();
}

#[test]
fn a_sender_run_by_hand_ends_quietly_after_its_last_stream() {
    let scratch = Scratch::new("hand-sender");
    let bytes = content(1000);
    let file = scratch.write("file", &bytes);
    let (sender, address) = sender_by_hand(&scratch, &file, 600, 2);
    let second = read_all(open_stream(address, 1));
    let first = read_all(open_stream(address, 0));
    assert_same(&[first, second].concat(), &bytes, "both blocks");
    let outcome = sender.finish();
    assert_eq!(outcome.err, "");
    assert_eq!(outcome.succeeded().lines().count(), 1, "the sender prints only its address");
    proof::nothing_stays(&scratch);
}

#[test]
fn a_receiver_run_by_hand_leaves_numbered_part_files() {
    let scratch = Scratch::new("hand-receiver");
    let bytes = content(1_200_000);
    let file = scratch.write("file", &bytes);
    let (sender, address) = sender_by_hand(&scratch, &file, 100_000, 12);
    let folder = scratch.make_dir("parts");
    let mut receiver = scratch.program("receiver");
    receiver.arg(address.ip().to_string()).arg(address.port().to_string()).arg("12").arg(&folder);
    let outcome = run(&mut receiver);
    assert_eq!(outcome.err, "");
    assert_eq!(outcome.succeeded(), "");
    let mut names: Vec<OsString> = (0..12).map(|n| format!("{n}.prt").into()).collect();
    names.sort();
    assert_eq!(Scratch::names(&folder), names);
    for (number, block) in bytes.chunks(100_000).enumerate() {
        let part = fs::read(folder.join(format!("{number}.prt"))).unwrap();
        assert_same(&part, block, &format!("part {number}"));
    }
    sender.finish().succeeded();
}

#[test]
fn the_session_of_an_empty_file_ends_with_its_fetch() {
    for options in [&[][..], &["--single-port"]] {
        let scratch = Scratch::new("empty");
        let mut server = Server::start(&scratch, &[]);
        scratch.write("file", b"");
        let mut client = scratch.client(server.address, 4, "file", scratch.path("out"));
        run(client.args(options)).succeeded();
        assert_eq!(fs::read(scratch.path("out")).unwrap(), b"");
        let line = server.next_log_line();
        assert!(line.ends_with(": complete\n"), "{line}");
    }
}

#[test]
fn the_session_of_an_empty_file_ends_through_one_port_too() {
    let faults = Faults { data: DataPorts::Refused, ..Faults::default() };
    let mut path = Path::new("empty-port", 0, faults);
    path.fetch(2);
    let line = path.server.next_log_line();
    assert!(line.ends_with(": complete\n"), "{line}");
}

#[test]
fn a_small_file_comes_once_over_a_slow_path_and_many_streams() {
    let scratch = Scratch::new("slow-path");
    let server = Server::start(&scratch, &["--limit-rate", "64K"]);
    let bytes = content(300_000);
    scratch.write("file", &bytes);
    let said =
        run(&mut scratch.client(server.address, 16, "file", scratch.path("out"))).succeeded();
    assert!(!said.contains("asked for again"), "{said}");
    assert_same(&fs::read(scratch.path("out")).unwrap(), &bytes, "the output");
}

#[test]
fn the_client_opens_no_more_streams_than_the_file_has_blocks() {
    for (size, most) in [(5, 1), (128 << 10, 1), ((256 << 10) + 1, 3)] {
        for streams in ["16", "auto"] {
            let path = Path::new("few-blocks", size, Faults::default());
            let said = run(&mut path.client(streams)).succeeded();
            assert!(path.relay.streams() <= most, "{size} {streams}: {}", path.relay.streams());
            assert!(most > 1 || said.contains(" over 1 stream"), "{said}");
            path.is_whole();
        }
    }
}

#[test]
fn names_of_every_kind_arrive_as_they_are() {
    let scratch = Scratch::new("names");
    let server = Server::start(&scratch, &[]);
    let relay = Relay::start(&scratch, server.address, Faults::default());
    let names: [&[u8]; 10] = [
        b"  a  file POST ",
        b"100%",
        b"%41%zz%",
        b"what?x=1#y",
        b"a\nb\r\nHost: x",
        b"\xff\xfe caf\xe9 \\x",
        "h\u{e4}user/\u{1F980}".as_bytes(),
        b"+&;=@:[]{}|^`\"<>'",
        b"*",
        b"http:x",
    ];
    scratch.make_dir("h\u{e4}user");
    for (number, bytes) in names.iter().enumerate() {
        let found = format!("found {number}").into_bytes();
        scratch.write(name(bytes), &found);
        let output = scratch.path("out");
        let outcome = run(&mut scratch.client(relay.address, 2, name(bytes), &output));
        outcome.succeeded();
        assert_eq!(fs::read(output).unwrap(), found, "{}", String::from_utf8_lossy(bytes));
    }
    // The client fetches each file by the ropewalk protocol, at the first attempt.
    let posts = relay.controls().iter().filter(|head| head.starts_with("POST ")).count();
    assert_eq!((posts, relay.streams() >= names.len()), (names.len(), true));
}

#[test]
fn the_smallest_files_arrive_over_any_number_of_streams() {
    let scratch = Scratch::new("smallest");
    let server = Server::start(&scratch, &[]);
    let output = scratch.path("out");
    for size in [0, 1, 2, 127, 128 << 10, (128 << 10) + 1] {
        let bytes = content(size);
        scratch.write("file", &bytes);
        for (streams, how) in [(1, "md5"), (7, "crc32c"), (255, "none"), (255, "md5")] {
            let mut client = scratch.client(server.address, streams, "file", &output);
            let said = run(client.args(["--restart", "--verify", how])).succeeded();
            let what = format!("{size} bytes, {streams} streams, {how}: {said}");
            assert_same(&fs::read(&output).unwrap(), &bytes, &what);
            assert!(said.starts_with(&format!("{} in ", amount::size(size as u64))), "{what}");
        }
    }
    assert_eq!(Scratch::names(scratch.folder()), ["file", "out"]);
    server.stop();
    proof::nothing_stays(&scratch);
}

#[test]
fn each_of_255_streams_brings_a_block() {
    // The server sends nothing before all streams are there and have asked for two blocks each. It
    // sends no second block before every stream has brought its first.
    let (asked, all) = (AtomicUsize::new(0), Arc::new(Gate::default()));
    let (brought, each) = (AtomicUsize::new(0), Gate::default());
    let blocks: Vec<AtomicUsize> = (0..255).map(|_| AtomicUsize::new(0)).collect();
    let gate = all.clone();
    let path = Path::new(
        "streams-255",
        24 << 20,
        Faults {
            message: Box::new(move |message| {
                if message.number == 1 && asked.fetch_add(1, Ordering::SeqCst) == 254 {
                    gate.open();
                }
            }),
            block: Box::new(move |block| {
                all.pass();
                let blocks = blocks.get(block.stream);
                if blocks.map(|blocks| blocks.fetch_add(1, Ordering::SeqCst)) == Some(1) {
                    if brought.fetch_add(1, Ordering::SeqCst) == 254 {
                        each.open();
                    }
                    each.pass();
                }
                Step::Pass
            }),
            ..Faults::default()
        },
    );
    path.fetch(255);
    let passed = path.relay.passed();
    let quiet = (0..255).filter(|number| passed.iter().all(|piece| piece.stream != *number));
    assert_eq!(quiet.collect::<Vec<usize>>(), []);
}
