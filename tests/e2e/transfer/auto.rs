//! `auto` as the number of streams, through the programs. `src/common/transfer/queue/growth.rs` and
//! its tests cover when the client opens more streams, and when it does not.

use crate::support::harness::{Running, Scratch, Server, assert_same, content, run, wait_until};
use crate::support::http::reply;
use crate::support::path::Path;
use crate::support::peers::classic::{ClassicServer, md5, seed_reply};
use crate::support::relay::Faults;
use std::fs;

#[test]
fn the_client_opens_more_streams_where_the_first_leave_room() {
    let rate = |_| Some(1_000_000);
    let faults = Faults { rate: Box::new(rate), ..Faults::default() };
    // Four streams need six seconds for the file. The client opens more after two.
    let path = Path::new("auto-more", 24_000_000, faults);
    path.fetch("auto");
    assert!(path.relay.streams() >= 16, "{}", path.relay.streams());
}

#[test]
fn a_file_of_any_size_arrives() {
    for size in [0, 1, 3_000_001] {
        Path::new("auto-small", size, Faults::default()).fetch("auto");
    }
}

#[test]
fn a_server_grants_as_many_streams_as_it_allows() {
    let scratch = Scratch::new("auto-granted");
    let server = Server::start(&scratch, &["--max-streams", "9"]);
    scratch.write("file", b"bytes");
    for (asked, granted) in [(255, 9), (9, 9), (1, 1)] {
        let body = format!("{{\"threads\":255,\"protocol\":2,\"max_threads\":{asked}}}");
        let length = body.len();
        let request = format!("POST file HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
        let (reply, _) = reply(&server, request);
        assert_eq!(reply.status, 200);
        let text = reply.text().replace(' ', "");
        assert!(text.contains(&format!("\"max_threads\":{granted}")), "{text}");
    }
}

#[test]
fn auto_works_with_a_server_that_allows_fewer_than_the_first_streams() {
    let scratch = Scratch::new("auto-few");
    let server = Server::start(&scratch, &["--max-streams", "2"]);
    let bytes = content(5_000_000);
    scratch.write("file", &bytes);
    let output = scratch.path("out");
    let said = run(&mut scratch.client(server.address, "auto", "file", &output)).succeeded();
    assert!(said.contains(" over 1 stream") || said.contains(" over 2 streams"), "{said}");
    assert_same(&fs::read(output).unwrap(), &bytes, "the output");
}

#[test]
fn a_restarted_server_that_grants_fewer_streams_gets_no_more() {
    let rate = |_| Some(300_000);
    let faults = Faults { rate: Box::new(rate), ..Faults::default() };
    let mut path = Path::new("auto-fewer", 1_500_000, faults);
    let client = Running::start(&mut path.client("auto"));
    wait_until("some bytes", || (path.relay.sent() > 100_000).then_some(()));
    path.server.kill();
    path.restart(&["--max-streams", "1"]);
    let said = client.finish().succeeded();
    path.is_whole();
    // Of the streams that stayed, one brings the rest, which takes seconds.
    assert!(said.contains(" over 1 stream,") || said.contains(" over 1 stream\n"), "{said}");
    // The client has no use for a second stream of the new session. One more stream says goodbye to
    // the lost session.
    assert!(path.relay.streams() <= 4 + 1 + 1, "{}", path.relay.streams());
}

#[test]
fn a_classic_server_is_asked_for_four_streams() {
    let scratch = Scratch::new("auto-classic");
    let server = ClassicServer::bind(&scratch);
    let bytes = content(100_003);
    let output = scratch.path("out");
    let client = Running::start(&mut scratch.client(server.address(), "auto", "some", &output));
    let (hash, port) = (md5(&bytes), server.data_port());
    let request = server.answer(seed_reply(&format!("{{\"hash\": \"{hash}\", \"port\": {port}}}")));
    let body = request.split("\r\n\r\n").nth(1).unwrap().replace(' ', "");
    assert_eq!(body, "{\"threads\":4,\"protocol\":2,\"max_threads\":255,\"tree\":true}");
    server.send(&bytes, 4);
    client.finish().succeeded();
    assert_same(&fs::read(output).unwrap(), &bytes, "the output");
}
