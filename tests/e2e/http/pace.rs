//! A server with a sender that the test plays: what the job holds, and that hashing keeps close to
//! what the sender reports.

use crate::support::http::Http;
use crate::support::site::Site;
use std::fs;
use std::io::Read;
use std::process::Command;
use std::time::Duration;

/// A sender that keeps its job, and reports that nothing was sent. When `go` is opened, it reports
/// that everything was sent. Like a real sender, it ends with the server.
const SENDER: &str = r#"#!/bin/sh
head -n 1 >job
echo '{"state":"progress","bytes":0,"streams":1}'
(read go <go; echo '{"state":"progress","bytes":268435456,"streams":1,"offset":268435456}') &
cat >/dev/null
kill $!
"#;

const SIZE: u64 = 256 << 20;
const ROPEWALK: &str = "{\"threads\": 3, \"protocol\": 2}";

/// Much longer than hashing the file takes.
const LONG: Duration = Duration::from_secs(3);

/// A server with a transfer under way, and the path of its file.
fn begun() -> (Site, String) {
    let server = Site::with_sender(SENDER);
    let path = server.sparse("file", SIZE);
    assert!(Command::new("mkfifo").arg(server.folder.join("go")).status().unwrap().success());
    assert_eq!(server.post(&path, ROPEWALK).status, 200);
    (server, path)
}

fn ask(server: &Site, path: &str) -> Http {
    let mut client = server.connect();
    client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nWant-Repr-Digest: md5=1\r\n\r\n"));
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
    let (server, path) = begun();
    let mut client = ask(&server, &path);
    nothing_comes(&mut client);
    fs::write(server.folder.join("go"), b"\n").unwrap();
    assert!(client.receive_for("HEAD").find("repr-digest").is_some());
}

#[test]
fn a_request_beyond_the_transfers_does_not_wait_for_one() {
    let (server, path) = begun();
    let mut first = ask(&server, &path);
    nothing_comes(&mut first);
    let mut second = ask(&server, &path);
    assert!(second.receive_for("HEAD").find("repr-digest").is_some());
    assert!(first.receive_for("HEAD").find("repr-digest").is_some());
}

#[test]
fn a_classic_request_does_not_wait_for_a_transfer() {
    let (server, path) = begun();
    assert_eq!(server.post(&path, "{\"threads\": 1}").status, 200);
}

#[test]
fn the_sender_s_job_has_every_member() {
    let (server, path) = begun();
    // The sender keeps its job before its first report.
    nothing_comes(&mut ask(&server, &path));
    let job = fs::read_to_string(server.folder.join("job")).unwrap();
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
