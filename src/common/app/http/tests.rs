//! Tests of waits for requests and replies.

#![forbid(unsafe_code)]

use super::*;
use std::net::TcpListener;

const PATIENCE: Patience = Patience { request: Duration::from_secs(60), idle: None };

fn pair() -> (Http, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Http::new(Arc::new(listener.accept().unwrap().0)), there)
}

#[test]
fn two_requests_in_one_write_are_two_requests() {
    let (mut http, mut peer) = pair();
    let one = b"POST a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
    peer.write_all(&[&one[..], &one[..]].concat()).unwrap();
    for _ in 0..2 {
        let (head, body) = http.receive_request(PATIENCE).unwrap();
        assert_eq!((head.target.as_slice(), body.as_slice()), (&b"a"[..], &b"{}"[..]));
    }
}

#[test]
fn a_request_that_does_not_end_is_refused_in_time() {
    let (mut http, mut peer) = pair();
    peer.write_all(b"POST a HT").unwrap();
    let patience = Patience { request: Duration::from_millis(20), ..PATIENCE };
    match http.receive_request(patience) {
        Err(NoRequest::Refused(refusal)) => assert_eq!(refusal.status.code(), 408),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_silent_client_is_disconnected() {
    let (mut http, _peer) = pair();
    let patience = Patience { idle: Some(Duration::from_millis(20)), ..PATIENCE };
    assert!(matches!(http.receive_request(patience), Err(NoRequest::Closed)));
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let (mut http, mut peer) = pair();
    peer.write_all(b"POST a HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    let asking = std::thread::spawn(move || {
        let mut reply = [0; 25];
        peer.read_exact(&mut reply).unwrap();
        peer.write_all(b"{}").unwrap();
        reply
    });
    assert_eq!(http.receive_request(PATIENCE).unwrap().1, b"{}");
    assert_eq!(&asking.join().unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn a_reply_without_a_length_ends_with_the_connection() {
    let (mut http, mut peer) = pair();
    peer.write_all(b"HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6\r\n\r\n{\"port\": 1}").unwrap();
    drop(peer);
    let (head, body) = http.receive_reply(&Method::Post).unwrap();
    assert_eq!((head.status, body.as_slice()), (200, &b"{\"port\": 1}"[..]));
}

#[test]
fn a_reply_that_is_not_http_is_known_at_once() {
    let (mut http, mut peer) = pair();
    peer.write_all(b"SSH-2.0").unwrap();
    assert!(matches!(http.receive_reply(&Method::Post), Err(NoReply::NotHttp(_))));
}

#[test]
fn a_bounded_wait_for_a_reply_ends() {
    let (mut http, _peer) = pair();
    http.set_reply_limit(Some(Duration::from_millis(20)));
    match http.receive_reply(&Method::Post) {
        Err(NoReply::Broken(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_that_is_too_long_is_an_error() {
    for head in ["Content-Length: 65537\r\n\r\n", "\r\n"] {
        let (mut http, mut peer) = pair();
        let writer = std::thread::spawn(move || {
            let _ = peer.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes());
            let _ = peer.write_all(&[b' '; MAX_REPLY_BODY + 1]);
        });
        assert!(matches!(http.receive_reply(&Method::Post), Err(NoReply::NotHttp(_))));
        drop(http);
        writer.join().unwrap();
    }
}

#[test]
fn interim_replies_are_skipped() {
    let (mut http, mut peer) = pair();
    peer.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    assert_eq!(http.receive_reply(&Method::Post).unwrap().0.status, 404);
}

#[test]
fn a_late_reply_calls_the_reminder_even_after_interim_replies() {
    for interim in [&b""[..], b"HTTP/1.1 100 Continue\r\n\r\n"] {
        let (mut http, mut peer) = pair();
        let (told, tell) = std::sync::mpsc::channel();
        http.set_reminder(Duration::from_millis(5), move |waited| {
            let _ = told.send(waited);
        });
        let answering = std::thread::spawn(move || {
            let mut reminders = 0;
            while reminders < 3 {
                peer.write_all(interim).unwrap();
                reminders += tell.try_iter().count();
                std::thread::sleep(Duration::from_millis(1));
            }
            peer.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        assert_eq!(http.receive_reply(&Method::Post).unwrap().0.status, 404);
        answering.join().unwrap();
    }
}

#[test]
fn interim_replies_do_not_lengthen_a_bounded_wait() {
    let (mut http, mut peer) = pair();
    http.set_reply_limit(Some(Duration::from_millis(20)));
    http.set_reminder(Duration::from_millis(5), |_| {});
    let writer =
        std::thread::spawn(
            move || {
                while peer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {}
            },
        );
    match http.receive_reply(&Method::Post) {
        Err(NoReply::Broken(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        other => panic!("{other:?}"),
    }
    drop(http);
    writer.join().unwrap();
}

/// A PUT of these fields and this body, and the connection that has received its head.
fn put(fields: &str, body: &[u8]) -> (Http, TcpStream, RequestHead) {
    let (mut http, mut peer) = pair();
    peer.write_all(format!("PUT a HTTP/1.1\r\n{fields}\r\n").as_bytes()).unwrap();
    peer.write_all(body).unwrap();
    let (head, read) = http.receive_request(PATIENCE).unwrap();
    assert!(read.is_empty());
    (http, peer, head)
}

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_body_of_a_put_is_read_piece_by_piece_up_to_its_end() {
    let (mut http, mut peer, _) = put("Content-Length: 5\r\n", b"12345GET / HTTP/1.1\r\n\r\n");
    assert!(http.has_unread_body());
    let (mut body, mut piece) = (Vec::new(), [0; 3]);
    while let count @ 1.. = http.read_body(&mut piece, LIMIT).unwrap() {
        body.extend_from_slice(&piece[..count]);
    }
    assert_eq!(body, b"12345");
    assert!(!http.has_unread_body());
    assert_eq!(http.receive_request(PATIENCE).unwrap().0.method, Method::Get);
    peer.write_all(b"PUT a HTTP/1.1\r\nContent-Length: 0\r\n\r\n").unwrap();
    http.receive_request(PATIENCE).unwrap();
    assert!(!http.has_unread_body());
}

#[test]
fn a_body_of_any_announced_length_takes_no_memory_and_one_of_no_length_ends_the_connection() {
    for fields in [
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: x\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        assert!(put(fields, b"").0.has_unread_body(), "{fields}");
    }
}

#[test]
fn a_body_that_ends_early_or_stalls_is_an_error() {
    let (mut http, peer, _) = put("Content-Length: 5\r\n", b"");
    let stalled = http.read_body(&mut [0; 8], Duration::from_millis(20)).unwrap_err();
    assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
    drop(peer);
    let ended = http.read_body(&mut [0; 8], LIMIT).unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn only_one_way_of_closing_throws_an_unread_body_away() {
    // More than the buffers of both sockets hold.
    const SIZE: usize = 64 << 20;
    for thrown_away in [true, false] {
        let (http, mut peer, _) = put(&format!("Content-Length: {SIZE}\r\n"), b"");
        let sending = std::thread::spawn(move || peer.write_all(&vec![0; SIZE]));
        match thrown_away {
            true => http.close_after_body(),
            false => http.close_gently(),
        }
        assert_eq!(sending.join().unwrap().is_ok(), thrown_away);
    }
}

#[test]
fn only_a_client_that_waits_for_it_is_invited_to_send_a_body() {
    for (fields, invited) in [("Expect: 100-continue\r\n", true), ("", false)] {
        let (http, mut peer, head) = put(&format!("Content-Length: 5\r\n{fields}"), b"");
        http.invite_body(&head).unwrap();
        drop(http);
        let mut said = Vec::new();
        peer.read_to_end(&mut said).unwrap();
        assert_eq!(said == CONTINUE, invited, "{fields}");
    }
}
