//! What a POST is answered, by both protocols.

use crate::http::harness::Server;
use std::fs;

/// The text behind `"key":` up to the next comma or brace.
fn member<'a>(reply: &'a str, key: &str) -> &'a str {
    let from = reply.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{reply}"));
    reply[from + key.len() + 3..].split([',', '}']).next().unwrap().trim_matches('"')
}

#[test]
fn a_ropewalk_offer_comes_at_once_however_long_the_file() {
    let server = Server::start(&[]);
    let size: u64 = 1 << 43;
    let path = server.sparse("file", size);
    let reply = server.post(&path, "{\"threads\": 4, \"protocol\": 2, \"more\": [1]}");
    assert_eq!(reply.status, 200);
    assert_eq!(member(reply.text(), "protocol"), "2");
    assert_eq!(member(reply.text(), "size"), size.to_string());
    assert_eq!(member(reply.text(), "stored"), "0");
    assert!(member(reply.text(), "port").parse::<u16>().unwrap() > 0);
    let session = member(reply.text(), "session");
    assert!(session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(reply.field("etag"), server.ask("HEAD", &path, &[]).field("etag"));
    let other = server.post(&path, "{\"threads\": 4, \"protocol\": 2}");
    assert_ne!(member(other.text(), "session"), session);
    assert_eq!(other.field("etag"), reply.field("etag"));
}

#[test]
fn a_newer_protocol_is_answered_with_ours() {
    let server = Server::start(&[]);
    let path = server.file("file", b"x");
    let reply = server.post(&path, "{\"threads\": 4, \"protocol\": 99}");
    assert_eq!((reply.status, member(reply.text(), "protocol")), (200, "2"));
}

#[test]
fn what_is_no_protocol_is_a_bad_request() {
    let server = Server::start(&[]);
    let path = server.file("file", b"x");
    for text in ["\"2\"", "2.5", "null", "0", "-2"] {
        let body = format!("{{\"threads\": 4, \"protocol\": {text}}}");
        assert_eq!(server.post(&path, &body).status, 400, "{text}");
    }
}

#[test]
fn only_a_ropewalk_request_has_its_name_decoded() {
    let server = Server::start(&[]);
    fs::write(server.folder.join("a b"), b"x").unwrap();
    fs::write(server.folder.join("c%20d?e"), b"x").unwrap();
    let (classic, ropewalk) = ("{\"threads\": 1}", "{\"threads\": 1, \"protocol\": 2}");
    assert_eq!(server.post("a%20b", ropewalk).status, 200);
    assert_eq!(server.post("a%20b", classic).status, 404);
    assert_eq!(server.post("c%20d?e", classic).status, 200);
    assert_eq!(server.post("c%20d?e", "{\"threads\": 1, \"protocol\": 1}").status, 200);
    assert_eq!(server.post("c%2520d%3Fe", ropewalk).status, 200);
    assert_eq!(server.post("a%2", ropewalk).status, 400);
    assert_eq!(server.post("nothing", ropewalk).status, 404);
    assert_eq!(server.post("/", ropewalk).status, 404);
}

#[test]
fn a_classic_offer_is_what_it_always_was() {
    let server = Server::start(&[]);
    let path = server.file("file", b"abc");
    let reply = server.post(&path, "{\"threads\": 2}");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.find("etag"), None);
    assert_eq!(member(reply.text(), "hash"), "900150983cd24fb0d6963f7d28e17f72");
    assert!(reply.text().starts_with("{\"hash\":\""));
    assert!(member(reply.text(), "port").parse::<u16>().unwrap() > 0);
}
