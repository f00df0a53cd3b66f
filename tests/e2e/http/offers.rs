//! The reply to a POST, in both protocols, and the job that the sender gets.

use crate::support::harness::wait_until;
use crate::support::site::Site;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn a_ropewalk_offer_comes_at_once_however_long_the_file() {
    let server = Site::start(&[]);
    let size: u64 = 1 << 43;
    let path = server.sparse("file", size);
    let reply = server.post(&path, "{\"threads\": 4, \"protocol\": 2, \"more\": [1]}");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.member("protocol"), "2");
    assert_eq!(reply.member("size"), size.to_string());
    assert_eq!(reply.member("stored"), "0");
    assert!(reply.member("port").parse::<u16>().unwrap() > 0);
    let session = reply.member("session");
    assert!(session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(reply.field("etag"), server.ask("HEAD", &path, &[]).field("etag"));
    let other = server.post(&path, "{\"threads\": 4, \"protocol\": 2}");
    assert_ne!(other.member("session"), session);
    assert_eq!(other.field("etag"), reply.field("etag"));
}

#[test]
fn a_file_that_the_client_has_is_up_to_date_though_the_server_is_full() {
    let server = Site::start(&["--max-transfers", "1"]);
    let path = server.file("file", b"bytes");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::new(1_700_000_001, 987_654_321)).unwrap();
    let ask = |more: &str| server.post(&path, &format!("{{\"threads\":4,\"protocol\":2{more}}}"));
    let existing = |size: u64, seconds: u64, nanoseconds: u32| {
        ask(&format!(
            ",\"existing\":{{\"size\":{size},\"mtime_s\":{seconds},\"mtime_ns\":{nanoseconds}}}"
        ))
    };
    let offer = existing(4, 1_700_000_001, 987_654_321);
    assert_eq!((offer.status, offer.member("size")), (200, "5"));
    assert_eq!((offer.member("mtime_s"), offer.member("mtime_ns")), ("1700000001", "987654321"));
    for (seconds, nanoseconds) in [(1_700_000_001, 987_654_321), (1_700_000_000, 0)] {
        let reply = existing(5, seconds, nanoseconds);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.text().trim_end(), "{\"protocol\":2,\"up_to_date\":true}");
        assert_eq!(reply.field("etag"), offer.field("etag"));
    }
    // The one place is taken by the offer.
    assert_eq!(existing(5, 1_700_000_002, 0).status, 503);
    assert_eq!(ask(",\"existing\":null").status, 400);
}

#[test]
fn a_request_for_a_newer_protocol_gets_this_version() {
    let server = Site::start(&[]);
    let path = server.file("file", b"x");
    let reply = server.post(&path, "{\"threads\": 4, \"protocol\": 99}");
    assert_eq!((reply.status, reply.member("protocol")), (200, "2"));
}

#[test]
fn an_invalid_protocol_number_is_a_bad_request() {
    let server = Site::start(&[]);
    let path = server.file("file", b"x");
    for text in ["\"2\"", "2.5", "null", "0", "-2"] {
        let body = format!("{{\"threads\": 4, \"protocol\": {text}}}");
        assert_eq!(server.post(&path, &body).status, 400, "{text}");
    }
}

#[test]
fn the_server_decodes_the_name_of_a_ropewalk_request_only() {
    let server = Site::start(&[]);
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
fn a_classic_offer_has_the_seed_s_form() {
    let server = Site::start(&[]);
    let path = server.file("file", b"abc");
    let reply = server.post(&path, "{\"threads\": 2}");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.find("etag"), None);
    assert_eq!(reply.member("hash"), "900150983cd24fb0d6963f7d28e17f72");
    assert!(reply.text().starts_with("{\"hash\":\""));
    assert!(reply.member("port").parse::<u16>().unwrap() > 0);
}

#[test]
fn the_sender_s_job_has_every_member() {
    let server = Site::with_sender("#!/bin/sh\nhead -n 1 >job\ncat >/dev/null\n");
    let path = server.sparse("file", 256 << 20);
    assert_eq!(server.post(&path, "{\"threads\": 3, \"protocol\": 2}").status, 200);
    let job = wait_until("the job", || {
        fs::read_to_string(server.folder.join("job")).ok().filter(|job| job.ends_with('\n'))
    });
    for member in ["\"protocol\":2", "\"size\":268435456", "\"stored\":0", "\"threads\":3"] {
        assert!(job.contains(member), "{member} is missing: {job}");
    }
    for member in ["\"idle_ms\":30000", "\"stall_ms\":60000", "\"peer\":\"127.0.0.1\""] {
        assert!(job.contains(member), "{member} is missing: {job}");
    }
    for key in ["session", "mtime_s", "mtime_ns", "ctime_s", "ctime_ns"] {
        assert!(job.contains(&format!("\"{key}\":")), "{key} is missing: {job}");
    }
    assert!(job.contains("\"descriptors\":2"), "{job}");
}
