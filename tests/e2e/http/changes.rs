//! A file changes while a GET sends it. The client gets the bytes of one state of the file, or
//! notices that bytes are missing, and the log says which.

use crate::support::http::Http;
use crate::support::site::Site;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};

/// More bytes than the buffers of a connection hold.
const SIZE: u64 = 64 << 20;

/// A server that is sending its file: the client has the head and the first bytes.
fn begun() -> (Site, String, Http) {
    let server = Site::start(&["--metrics", "127.0.0.1:0"]);
    let path = server.sparse("file", SIZE);
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(client.head().field("content-length"), SIZE.to_string());
    client.stream.read_exact(&mut [0; 1000]).unwrap();
    (server, path, client)
}

fn writer(path: &str) -> File {
    File::options().write(true).open(path).unwrap()
}

/// Demands that the rest is incomplete, and that the log says why.
#[track_caller]
fn is_cut(server: &mut Site, mut client: Http, words: &str) {
    let copied = std::io::copy(&mut client.stream, &mut std::io::sink()).unwrap();
    assert!(copied < SIZE - 1000, "{copied}");
    let line = server.log_line();
    assert!(line.ends_with(&format!(": {words}\n")), "{line}");
    let metrics = Http::connect(server.metrics.unwrap()).ask("GET", "/-/metrics", &[]);
    let expected = "ropewalk_downloads_total{outcome=\"changed\"} 1";
    assert!(metrics.text().contains(expected), "{}", metrics.text());
}

/// Demands that the rest is what the file held at the start, and that the connection continues.
#[track_caller]
fn comes_whole(server: &mut Site, mut client: Http) {
    let mut rest = Vec::new();
    (&mut client.stream).take(SIZE - 1000).read_to_end(&mut rest).unwrap();
    assert!(rest.len() as u64 == SIZE - 1000 && rest.iter().all(|&byte| byte == 0));
    assert_eq!(client.ask("HEAD", "/nothing", &[]).status, 404);
    let line = server.log_line();
    assert!(line.ends_with(": complete\n"), "{line}");
}

#[test]
fn a_file_that_is_rewritten_in_place_ends_the_connection() {
    let (mut server, path, client) = begun();
    writer(&path).write_all_at(b"new", SIZE - 3).unwrap();
    is_cut(&mut server, client, "the file changed");
}

#[test]
fn a_file_that_is_rewritten_where_it_was_sent_already_ends_the_connection() {
    let (mut server, path, client) = begun();
    writer(&path).write_all_at(b"new", 0).unwrap();
    is_cut(&mut server, client, "the file changed");
}

#[test]
fn a_file_that_grows_and_is_rewritten_ends_the_connection() {
    let (mut server, path, client) = begun();
    let file = writer(&path);
    file.set_len(SIZE + 1).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    is_cut(&mut server, client, "the file changed");
}

#[test]
fn a_file_that_is_written_anew_ends_the_connection() {
    let (mut server, path, client) = begun();
    fs::write(&path, b"new").unwrap();
    is_cut(&mut server, client, "the file became shorter");
}

#[test]
fn a_file_that_is_only_appended_to_comes_whole() {
    let (mut server, path, client) = begun();
    File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    comes_whole(&mut server, client);
}

#[test]
fn a_file_that_is_replaced_by_another_one_comes_whole() {
    let (mut server, path, client) = begun();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    fs::rename(server.file("other", b"other"), &path).unwrap();
    comes_whole(&mut server, client);
    assert_eq!(server.ask("GET", &path, &[]).text(), "other");
}
