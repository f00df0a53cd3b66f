//! Requests byte by byte: every status, and the limits on both of their sides.

use crate::support::harness::{Scratch, Server, wait_until};
use crate::support::http::{Http, reply};
use crate::support::peers::classic::{ask, fetch, request};
use crate::support::system::without_privileges;
use std::fs::{self, Permissions};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

/// Demands that each of these requests gets this status, a JSON body with an error, and a closed
/// connection. Then demands that the server still serves.
#[track_caller]
fn refused(test: &str, status: u16, requests: &[&[u8]]) {
    let scratch = Scratch::new(test);
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    for bytes in requests {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let (reply, mut http) = reply(&server, bytes);
        assert_eq!(reply.status, status, "{shown}: {reply:?}");
        assert!(!reply.error().is_empty(), "{shown}");
        assert_eq!(reply.find("Content-Type"), Some("application/json"));
        assert_eq!(reply.find("Connection"), Some("close"), "{shown}: {reply:?}");
        http.stream.get_ref().shutdown(Shutdown::Write).unwrap();
        assert!(http.is_closed(), "{shown}");
    }
    assert_eq!(fetch(server.address, "file", &[0]), b"bytes");
}

/// Demands that each of these requests gets this status and a JSON body with an error, and that the
/// connection serves the next request.
#[track_caller]
fn refused_and_kept(test: &str, status: u16, requests: &[&[u8]]) {
    let scratch = Scratch::new(test);
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let mut http = Http::connect(server.address);
    for bytes in requests {
        http.send(bytes);
        let reply = http.receive();
        assert_eq!(reply.status, status, "{}: {reply:?}", String::from_utf8_lossy(bytes));
        assert!(!reply.error().is_empty());
        assert_eq!(reply.find("Connection"), None);
    }
    http.send(request(b"file", 1));
    assert_eq!(http.receive().status, 200);
}

#[test]
fn a_malformed_head_gets_400_and_a_close() {
    refused("400-head", 400, &[
        b"hello\r\n\r\n",
        b"POST file\r\n\r\n",
        b"POST  HTTP/1.1\r\n\r\n",
        b"POST file HTTP/x.1\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"POST file HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST file HTTP/1.1\r\n: empty\r\n\r\n",
        b"POST file HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 14\r\n\r\n{\"threads\": 4}",
        b"POST file HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST file HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n",
        b"POST file HTTP/1.1\r\nContent-Length:\r\n\r\n",
    ]);
}

#[test]
fn an_attempt_to_smuggle_a_request_gets_400_and_a_close() {
    refused("400-smuggle", 400, &[
        b"POST file HTTP/1.1\r\nContent-Length: 14\r\nContent-Length: 15\r\n\r\n{\"threads\": 4}",
        b"POST file HTTP/1.1\r\nContent-Length: 14\r\ncontent-length: 14\r\n\r\n{\"threads\": 4}",
        b"POST file HTTP/1.1\r\nContent-Length: 14, 14\r\n\r\n{\"threads\": 4}",
        b"POST file HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST file HTTP/1.1\r\nContent-Length : 14\r\n\r\n{\"threads\": 4}",
        b"POST file HTTP/1.1\r\nX: a\r\n b\r\nContent-Length: 14\r\n\r\n{\"threads\": 4}",
        b"POST file HTTP/1.1\r\n X: a\r\nContent-Length: 14\r\n\r\n{\"threads\": 4}",
        b"POST fi\0le HTTP/1.1\r\nContent-Length: 14\r\n\r\n{\"threads\": 4}",
        b"POST file HTTP/1.1\r\nX: a\0b\r\nContent-Length: 14\r\n\r\n{\"threads\": 4}",
        b"POST file HTTP/1.1\r\nX: a\rb\r\nContent-Length: 14\r\n\r\n{\"threads\": 4}",
    ]);
}

#[test]
fn an_invalid_body_gets_400() {
    let bodies: [&[u8]; 14] = [
        b"",
        b"4",
        b"[]",
        b"{}",
        b"{\"threads\": 0}",
        b"{\"threads\": 256}",
        b"{\"threads\": -1}",
        b"{\"threads\": 1.5}",
        b"{\"threads\": \"4\"}",
        b"{\"threads\": null}",
        b"{\"threads\": 4",
        b"{\"threads\": 4} {}",
        b"\xff\xfe",
        b"{\"threads\": 99999999999999999999999}",
    ];
    let requests = bodies.map(|body| {
        let head = format!("POST file HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    });
    refused_and_kept("400-body", 400, &requests.each_ref().map(Vec::as_slice));
}

#[test]
fn a_name_without_a_file_gets_404() {
    let requests = ["nothing", "/nothing", "file/x", "/", ".", "fil%65"]
        .map(|name| request(name.as_bytes(), 1));
    refused_and_kept("404", 404, &requests.each_ref().map(Vec::as_slice));
}

#[test]
fn a_name_that_is_not_a_regular_file_gets_404_at_once() {
    let scratch = Scratch::new("404-special");
    let server = Server::start(&scratch, &[]);
    assert!(Command::new("mkfifo").arg(scratch.path("fifo")).status().unwrap().success());
    let _socket = UnixListener::bind(scratch.path("socket")).unwrap();
    scratch.make_dir("folder");
    std::os::unix::fs::symlink("fifo", scratch.path("link")).unwrap();
    for name in ["fifo", "socket", "folder", "link", "/dev/null", "/dev/zero", "/dev/tty"] {
        // The open of a FIFO for reading would never return.
        let (reply, _) = reply(&server, request(name.as_bytes(), 1));
        assert_eq!(reply.status, 404, "{name}: {reply:?}");
        assert!(!reply.error().is_empty());
    }
}

#[test]
fn a_file_that_the_server_may_not_read_gets_403() {
    let scratch = Scratch::new("403");
    let mut command = scratch.program("server");
    without_privileges(command.current_dir(scratch.folder()));
    let server = Server::start_command(&scratch, command);
    let secret = scratch.write("secret", b"secret");
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    let (reply, _) = reply(&server, request(b"secret", 1));
    assert_eq!((reply.status, reply.error()), (403, "permission denied"));
}

#[test]
fn another_method_gets_405_and_the_list_of_methods() {
    let scratch = Scratch::new("405");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    for method in ["PATCH", "DELETE", "OPTIONS", "get"] {
        let (reply, _) = reply(&server, format!("{method} file HTTP/1.1\r\n\r\n"));
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.find("Allow"), Some("GET, HEAD, POST, PUT"));
        assert!(!reply.error().is_empty());
    }
}

#[test]
fn the_answer_to_a_head_request_has_no_body() {
    let scratch = Scratch::new("head");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    for (name, status, length) in [("file", "200", "5"), ("nothing", "404", "25")] {
        let mut http = Http::connect(server.address);
        http.send(format!("HEAD {name} HTTP/1.1\r\nConnection: close\r\n\r\n"));
        let text = String::from_utf8(crate::support::socket::read_all(http.stream)).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(text.contains(&format!("\r\nContent-Length: {length}\r\n")), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }
}

#[test]
fn a_request_that_takes_too_long_gets_408_and_a_close() {
    let scratch = Scratch::new("408");
    let server = Server::start(&scratch, &[]);
    let head = b"POST file HTTP/1.1\r\nContent-Length: 14\r\n";
    let partial =
        [&b""[..], b"POST fi", head, b"POST file HTTP/1.1\r\nContent-Length: 14\r\n\r\n{"];
    let mut connections: Vec<Http> = partial
        .iter()
        .map(|bytes| {
            let mut http = Http::connect(server.address);
            http.send(bytes);
            http
        })
        .collect();
    for http in &mut connections {
        let reply = http.receive();
        assert_eq!(reply.status, 408, "{reply:?}");
        assert!(!reply.error().is_empty());
        assert!(http.is_closed());
    }
}

#[test]
fn a_request_without_a_length_gets_411() {
    refused_and_kept("411", 411, &[b"POST file HTTP/1.1\r\n\r\n"]);
}

#[test]
fn a_body_that_is_too_long_gets_413_before_it_is_sent() {
    refused(
        "413",
        413,
        &[
            b"POST file HTTP/1.1\r\nContent-Length: 65537\r\n\r\n",
            b"POST file HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
            b"POST file HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n",
        ],
    );
}

#[test]
fn the_longest_body_is_read() {
    let scratch = Scratch::new("longest-body");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let body = format!("{{\"threads\": 1{}}}", " ".repeat(65536 - 14));
    assert_eq!(body.len(), 65536);
    let (reply, _) =
        reply(&server, format!("POST file HTTP/1.1\r\nContent-Length: 65536\r\n\r\n{body}"));
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn a_request_line_that_is_too_long_gets_414() {
    let line = |length: usize| format!("POST {} HTTP/1.1", "x".repeat(length - 14)).into_bytes();
    refused("414", 414, &[&line(8193), &[b'x'; 9000]]);
    // The longest valid request line names no file.
    let longest = [&line(8192)[..], b"\r\nContent-Length: 13\r\n\r\n{\"threads\":4}"].concat();
    refused_and_kept("414-not", 404, &[&longest]);
}

#[test]
fn fields_that_are_too_long_or_too_many_get_431() {
    let fields = |fields: &str| format!("POST file HTTP/1.1\r\n{fields}").into_bytes();
    refused(
        "431",
        431,
        &[
            &fields(&format!("X: {}\r\n\r\n", "x".repeat(16 << 10))),
            &fields(&"x".repeat((16 << 10) + 1)),
            &fields(&format!("{}\r\n", "X: y\r\n".repeat(65))),
        ],
    );
    let most = format!("{}Content-Length: 13\r\n\r\n{{\"threads\":4}}", "X: y\r\n".repeat(63));
    refused_and_kept(
        "431-not",
        404,
        &[&[&b"POST none HTTP/1.1\r\n"[..], most.as_bytes()].concat()],
    );
}

#[test]
fn a_transfer_coding_gets_501() {
    refused("501", 501, &[
        b"POST file HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n{\"threads\": 4}\r\n0\r\n\r\n",
    ]);
}

#[test]
fn another_major_version_gets_505() {
    refused("505", 505, &[b"POST file HTTP/2.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]);
}

#[test]
fn the_limit_of_transfers_gets_503_until_one_ends() {
    let scratch = Scratch::new("503");
    let mut server = Server::start(&scratch, &["--max-transfers", "2"]);
    scratch.write("file", b"bytes");
    let first = ask(server.address, "file", 1);
    ask(server.address, "file", 1);
    let (reply, mut http) = reply(&server, request(b"file", 1));
    assert_eq!((reply.status, reply.error()), (503, "too many transfers"));
    drop(crate::support::peers::classic::open_stream(first.sender, 0));
    server.next_log_line();
    // The place becomes free a moment after the server has written the line.
    wait_until("a free place", || {
        http.send(request(b"file", 1));
        (http.receive().status == 200).then_some(())
    });
}
