//! `Want-Repr-Digest`, and the hashing for it and for the classic reply.

use crate::support::harness::wait_until;
use crate::support::http::{Http, Reply};
use crate::support::proof;
use crate::support::site::Site;
use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

const WANT: &str = "Want-Repr-Digest: md5=1";

/// The MD5 of nothing, and of 256 MiB of zeros.
const NOTHING: &str = "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:";
const ZEROS: u64 = 256 << 20;
const MD5_OF_ZEROS: &str = "1f5039e50bd66b290c56684d8550c6c2";
const DIGEST_OF_ZEROS: &str = "md5=:H1A55QvWaykMVmhNhVDGwg==:";

/// The size of a sparse file that takes hours to hash, in bytes.
const ENDLESS: u64 = 1 << 43;

/// How many clients come at once.
const CROWD: usize = 50;

fn together(ask: impl Fn() -> Reply + Sync) -> Vec<Reply> {
    thread::scope(|scope| {
        let asking: Vec<_> = (0..CROWD).map(|_| scope.spawn(&ask)).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

#[test]
fn a_head_brings_the_digest_only_where_the_client_wants_it() {
    let server = Site::start(&[]);
    let path = server.file("file", b"");
    let mut client = server.connect();
    assert_eq!(client.ask("HEAD", &path, &[WANT]).field("repr-digest"), NOTHING);
    let weight = "Want-Repr-Digest: sha-256=10, md5=3";
    assert_eq!(client.ask("HEAD", &path, &[weight]).field("repr-digest"), NOTHING);
    for field in ["Want-Repr-Digest: md5=0", "Want-Repr-Digest: sha-256=1", "X: y"] {
        assert_eq!(client.ask("HEAD", &path, &[field]).find("repr-digest"), None, "{field}");
    }
}

#[test]
fn a_client_that_does_not_want_to_wait_is_told_to_ask_again() {
    let server = Site::start(&[]);
    let (endless, empty) = (server.sparse("file", ENDLESS), server.file("empty", b""));
    let mut client = server.connect();
    for seconds in [0, 1] {
        let prefer = format!("Prefer: respond-async, wait={seconds}");
        let begun = Instant::now();
        let reply = client.ask("HEAD", &endless, &[WANT, &prefer]);
        assert_eq!((reply.status, reply.find("repr-digest")), (202, None));
        assert!(begun.elapsed() >= Duration::from_secs(seconds));
    }
    proof::hashes(server.pid());
    let reply = client.ask("HEAD", &empty, &[WANT, "Prefer: respond-async, wait=60"]);
    assert_eq!((reply.status, reply.field("repr-digest")), (200, NOTHING));
}

#[test]
fn a_head_for_another_file_s_tag_does_not_hash() {
    let server = Site::start(&[]);
    let path = server.sparse("file", ENDLESS);
    assert_eq!(server.ask("HEAD", &path, &[WANT, "If-Match: \"x\""]).status, 412);
    assert_eq!(server.ask("HEAD", &path, &[]).status, 200);
}

#[test]
fn the_server_hashes_a_file_once_for_many_clients() {
    let server = Site::start(&[]);
    let (alone, shared) = (server.sparse("alone", ZEROS), server.sparse("shared", ZEROS));
    assert_eq!(server.ask("HEAD", &alone, &[WANT]).field("repr-digest"), DIGEST_OF_ZEROS);
    let once = server.processor_time();
    for reply in together(|| server.ask("HEAD", &shared, &[WANT])) {
        assert_eq!(reply.field("repr-digest"), DIGEST_OF_ZEROS);
    }
    let crowd = server.processor_time() - once;
    assert!(crowd < 5.0 * once + 1.0, "{crowd} s for {CROWD} clients, {once} s for one");
}

#[test]
fn the_server_hashes_a_file_once_for_many_classic_clients() {
    let server = Site::start(&["--idle-timeout", "1"]);
    let path = server.sparse("file", ZEROS);
    for reply in together(|| server.post(&path, "{\"threads\": 1}")) {
        assert!(reply.text().contains(MD5_OF_ZEROS), "{}", reply.text());
    }
    let crowd = server.processor_time();
    assert!(crowd < 10.0, "{crowd} s for {CROWD} clients");
}

#[test]
fn the_server_remembers_the_digest_of_a_settled_file_and_sends_it_with_a_get() {
    let server = Site::start(&[]);
    let path = server.sparse("file", ZEROS);
    // The time stamps have to be older than 2 s, and a program cannot set the ctime.
    thread::sleep(Duration::from_millis(2_200));
    let mut client = server.connect();
    let range = "Range: bytes=0-0";
    assert_eq!(client.ask("GET", &path, &[WANT, range]).find("repr-digest"), None);
    assert_eq!(client.ask("HEAD", &path, &[WANT]).field("repr-digest"), DIGEST_OF_ZEROS);
    let before = server.processor_time();
    for _ in 0..20 {
        assert_eq!(client.ask("HEAD", &path, &[WANT]).field("repr-digest"), DIGEST_OF_ZEROS);
    }
    assert!(server.processor_time() - before < 1.0);
    assert_eq!(client.ask("GET", &path, &[WANT, range]).field("repr-digest"), DIGEST_OF_ZEROS);
}

/// Waits until the server hashes: until it has used some processor time.
#[track_caller]
fn hashes_already(server: &Site) {
    wait_until("a hash under way", || (server.processor_time() >= 0.1).then_some(()));
}

#[test]
fn a_file_that_changes_while_it_is_hashed_has_no_digest() {
    let server = Site::start(&[]);
    let path = server.sparse("file", 1 << 30);
    let mut client = server.connect();
    client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n{WANT}\r\n\r\n"));
    hashes_already(&server);
    fs::File::options().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    assert_eq!(client.receive_for("HEAD").status, 412);
}

#[test]
fn hashing_long_files_does_not_delay_the_hash_of_a_short_file() {
    let server = Site::start(&[]);
    let short = server.file("short", b"");
    let waiting = ["1", "2", "3", "4", "5"].map(|name| {
        let path = server.sparse(name, ENDLESS);
        let mut client = server.connect();
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n{WANT}\r\n\r\n"));
        client
    });
    assert_eq!(server.ask("HEAD", &short, &[WANT]).field("repr-digest"), NOTHING);
    drop(waiting);
}

#[test]
fn a_stop_does_not_wait_for_hashes() {
    let mut server = Site::start(&[]);
    let path = server.sparse("file", ENDLESS);
    let mut clients = [server.connect(), server.connect()];
    clients[0].send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n{WANT}\r\n\r\n"));
    clients[1].send(format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{{\"threads\":1}}"
    ));
    hashes_already(&server);
    let begun = Instant::now();
    assert_eq!(server.stop(), Some(0));
    // A server waits for connections for up to 5 s, and this hash takes hours.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// The most files that the server hashes, or has queued, at once.
const MOST_HASHES: usize = 256;

#[test]
fn abandoned_hashes_do_not_shut_out_other_clients() {
    let server = Site::start(&["--max-connections", "600"]);
    let short = server.file("short", b"bytes");
    for number in 0..MOST_HASHES {
        let path = server.sparse(&format!("huge{number}"), 1 << 40);
        server.connect().send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n{WANT}\r\n\r\n"));
    }
    wait_until("every hash", || (proof::hashers(server.pid()) >= MOST_HASHES).then_some(()));
    let reply = server.post(&short, "{\"threads\": 1}");
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// A sender that reports that nothing was sent. When `go` is opened, it reports that everything was
/// sent. Like a real sender, it ends with the server.
const SENDER: &str = r#"#!/bin/sh
echo '{"state":"progress","bytes":0,"streams":1}'
(read go <go; echo '{"state":"progress","bytes":268435456,"streams":1,"offset":268435456}') &
cat >/dev/null
kill $!
"#;

/// Much longer than hashing `ZEROS` takes.
const LONG: Duration = Duration::from_secs(3);

/// A server with a transfer of `ZEROS` under way by that sender, and the path of the file.
fn sending() -> (Site, String) {
    let server = Site::with_sender(SENDER);
    let path = server.sparse("file", ZEROS);
    assert!(Command::new("mkfifo").arg(server.folder.join("go")).status().unwrap().success());
    assert_eq!(server.post(&path, "{\"threads\": 3, \"protocol\": 2}").status, 200);
    (server, path)
}

fn ask(server: &Site, path: &str) -> Http {
    let mut client = server.connect();
    client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n{WANT}\r\n\r\n"));
    client
}

#[track_caller]
fn nothing_comes(client: &mut Http) {
    let stream = client.stream.get_ref();
    let usual = stream.read_timeout().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    assert!(client.stream.read(&mut [0]).is_err(), "a reply came");
    client.stream.get_ref().set_read_timeout(usual).unwrap();
}

#[test]
fn a_hash_keeps_close_to_its_transfer() {
    let (server, path) = sending();
    let mut client = ask(&server, &path);
    nothing_comes(&mut client);
    fs::write(server.folder.join("go"), b"\n").unwrap();
    assert!(client.receive_for("HEAD").find("repr-digest").is_some());
}

#[test]
fn a_request_beyond_the_transfers_does_not_wait_for_one() {
    let (server, path) = sending();
    let mut first = ask(&server, &path);
    nothing_comes(&mut first);
    let mut second = ask(&server, &path);
    assert!(second.receive_for("HEAD").find("repr-digest").is_some());
    assert!(first.receive_for("HEAD").find("repr-digest").is_some());
}

#[test]
fn a_classic_request_does_not_wait_for_a_transfer() {
    let (server, path) = sending();
    assert_eq!(server.post(&path, "{\"threads\": 1}").status, 200);
}
