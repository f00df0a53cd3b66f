//! The server's control connections: several requests on one connection, versions that close it,
//! and clients that do not hinder each other.

use crate::support::harness::{Scratch, Server, assert_same, content, run};
use crate::support::http::{Http, reply};
use crate::support::peers::classic::{fetch, request};
use crate::support::proof;
use crate::support::system::connect_from;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

#[test]
fn one_connection_serves_many_requests() {
    let scratch = Scratch::new("keep-alive");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let mut http = Http::connect(server.address);
    for name in ["file", "none", "file"] {
        http.send(request(name.as_bytes(), 1));
        assert_eq!(http.receive().status, if name == "file" { 200 } else { 404 });
    }
    // The server answers requests that come together in their order.
    http.send([request(b"none", 1), request(b"file", 1), request(b"none", 1)].concat());
    assert_eq!([(); 3].map(|()| http.receive().status), [404, 200, 404]);
    http.send(
        "POST none HTTP/1.1\r\nConnection: close\r\nContent-Length: 13\r\n\r\n{\"threads\":1}",
    );
    let last = http.receive();
    assert_eq!((last.status, last.find("Connection")), (404, Some("close")));
    assert!(http.is_closed());
}

#[test]
fn an_http_1_0_connection_closes_unless_it_asks_to_stay() {
    let scratch = Scratch::new("http-1.0");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let old = |fields: &str| {
        format!("POST file HTTP/1.0\r\n{fields}Content-Length: 13\r\n\r\n{{\"threads\":1}}")
    };
    let (answer, mut http) = reply(&server, old(""));
    assert_eq!((answer.status, answer.find("Connection")), (200, Some("close")));
    assert!(http.is_closed());
    let (answer, mut http) = reply(&server, old("Connection: Keep-Alive\r\n"));
    assert_eq!(answer.status, 200);
    http.send(old(""));
    assert_eq!(http.receive().status, 200);
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let scratch = Scratch::new("continue");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let mut http = Http::connect(server.address);
    http.send("POST file HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 13\r\n\r\n");
    let mut interim = [0; 25];
    http.stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    http.send("{\"threads\":1}");
    assert_eq!(http.receive().status, 200);
}

#[test]
fn a_request_that_comes_byte_by_byte_is_understood() {
    let scratch = Scratch::new("bytes");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let mut http = Http::connect(server.address);
    http.stream.get_ref().set_nodelay(true).unwrap();
    request(b"file", 1).chunks(1).for_each(|byte| http.send(byte));
    assert_eq!(http.receive().status, 200);
}

#[test]
fn idle_connections_do_not_shut_out_other_clients() {
    let scratch = Scratch::new("idle");
    let server = Server::start(&scratch, &["--max-connections", "8"]);
    scratch.write("file", b"bytes");
    let mut idle: Vec<Http> = (0..20).map(|_| Http::connect(server.address)).collect();
    for (number, http) in idle.iter_mut().enumerate() {
        if number % 2 == 1 {
            let _ = http.stream.get_mut().write_all(b"POST fi");
        }
    }
    assert_eq!(fetch(server.address, "file", &[0]), b"bytes");
    // The server closed the oldest connections, and only these.
    assert!(idle[0].is_closed());
    idle[18].send(request(b"file", 1));
    assert_eq!(idle[18].receive().status, 200);
}

#[test]
fn hashing_a_large_file_delays_no_other_client() {
    let scratch = Scratch::new("hashing");
    let server = Server::start(&scratch, &["--max-connections", "2"]);
    scratch.sparse("huge", 1 << 40);
    let bytes = content(100_000);
    scratch.write("file", &bytes);
    let mut busy = Http::connect(server.address);
    busy.send(request(b"huge", 1));
    for _ in 0..3 {
        assert_same(&fetch(server.address, "file", &[1, 0]), &bytes, "the other file");
    }
    // The server is still hashing, and has not dropped this client for the others.
    busy.stream.get_ref().set_nonblocking(true).unwrap();
    let error = busy.stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(server.stop().status.code(), Some(0));
    drop(busy);
    proof::nothing_stays(&scratch);
}

#[test]
fn the_next_connection_gets_503_when_all_are_being_served() {
    let scratch = Scratch::new("all-served");
    let server = Server::start(&scratch, &["--max-connections", "1"]);
    scratch.sparse("huge", 1 << 40);
    let mut busy = Http::connect(server.address);
    busy.send(request(b"huge", 1));
    // The server may drop the first connection until it has taken the request of that connection.
    proof::hashes(server.running.pid());
    let (reply, _) = reply(&server, "");
    assert_eq!((reply.status, reply.error()), (503, "too many connections"));
}

#[test]
fn slow_downloads_of_one_address_do_not_shut_out_other_clients() {
    let scratch = Scratch::new("slow-downloads");
    let server = Server::start(&scratch, &["--max-connections", "8"]);
    scratch.sparse("huge", 1 << 40);
    scratch.write("file", b"bytes");
    let SocketAddr::V4(control) = server.address else { panic!("{}", server.address) };
    let path = scratch.path("huge").into_os_string().into_string().unwrap();
    let said: Vec<_> = (0..8)
        .map(|_| {
            let mut slow = connect_from(Ipv4Addr::new(127, 0, 0, 2), control);
            slow.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            let mut status = [0; 12];
            slow.read_exact(&mut status).unwrap();
            (String::from_utf8(status.to_vec()).unwrap(), slow)
        })
        .collect();
    let counted = |status: &str| said.iter().filter(|(own, _)| own.ends_with(status)).count();
    assert_eq!((counted(" 200"), counted(" 503")), (6, 2));
    run(&mut scratch.client(server.address, 2, "file", scratch.path("out"))).succeeded();
}

#[test]
fn slow_downloads_of_many_addresses_make_room_for_others() {
    let scratch = Scratch::new("wait-slow");
    let server = Server::start(&scratch, &["--max-connections", "8", "--stall-timeout", "3600"]);
    scratch.sparse("huge", 1 << 40);
    scratch.write("file", b"bytes");
    let SocketAddr::V4(control) = server.address else { panic!("{}", server.address) };
    let path = scratch.path("huge").into_os_string().into_string().unwrap();
    let slow = |number: u8| {
        let mut slow = connect_from(Ipv4Addr::new(127, 0, 0, 2 + number % 3), control);
        slow.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut status = [0; 12];
        slow.read_exact(&mut status).unwrap();
        assert!(status.ends_with(b" 200"), "{}", String::from_utf8_lossy(&status));
        slow
    };
    let all: Vec<TcpStream> = (0..8).map(slow).collect();
    // The client asks again for a minute. The server needs a while to tell how fast the downloads
    // are.
    run(&mut scratch.client(server.address, 2, "file", scratch.path("out"))).succeeded();
    drop(all);
}
