//! The server's log: time stamps, refused requests, and a log file.

use crate::support::harness::{Scratch, Server, run, wait_until};
use crate::support::user::{NOBODY, can_be_tried};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

/// Sends one request, and reads the reply to its end.
fn ask(address: SocketAddr, request_line: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("{request_line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Like `ask`, with one more header field.
fn ask_with(address: SocketAddr, request_line: &str, field: &str) -> String {
    ask(address, &format!("{request_line} HTTP/1.1\r\n{field}\r\nX-Rest: of"))
}

/// Makes the pipe `log` in the server's folder.
fn make_pipe(scratch: &Scratch) -> PathBuf {
    let pipe = scratch.path("log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe
}

/// Whether `line` begins with a time stamp (RFC 3339) and a space.
fn is_stamped(line: &str) -> bool {
    let form: String = line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    form.starts_with("0000-00-00T00:00:00Z ")
}

#[test]
fn each_line_has_a_time_stamp_and_a_refusal_says_peer_name_and_reason() {
    let scratch = Scratch::new("log-refusal");
    let mut server = Server::start(&scratch, &["--root", "."]);
    assert!(ask(server.address, "GET").starts_with("HTTP/1.1 400"));
    assert!(ask(server.address, "GET /none").starts_with("HTTP/1.1 404"));
    assert!(ask(server.address, "DELETE /none").starts_with("HTTP/1.1 405"));
    for end in [
        " refused: 400 Bad Request: ",
        " GET /none refused: 404 Not Found: no such file\n",
        " another method /none refused: 405 Method Not Allowed: only GET, HEAD, POST and PUT are served\n",
    ] {
        let line = server.running.next_error_line();
        assert!(is_stamped(&line) && line.contains(end), "{line}");
        assert!(line[21..].starts_with("127.0.0.1:"), "{line}");
    }
}

#[test]
fn the_log_says_why_a_file_is_refused_and_the_reply_does_not() {
    if !can_be_tried() {
        return;
    }
    let scratch = Scratch::new("log-cause");
    scratch.make_dir("root");
    let closed = scratch.write("root/closed", b"closed");
    fs::set_permissions(closed, Permissions::from_mode(0o600)).unwrap();
    let mut server = Server::start(&scratch, &["--user", NOBODY.0, "--root", "root"]);
    let closed = ask(server.address, "GET /closed");
    let missing = ask(server.address, "GET /missing");
    assert!(closed.starts_with("HTTP/1.1 404"), "{closed}");
    let body = |answer: &str| answer.split("\r\n\r\n").last().unwrap().to_string();
    assert_eq!(body(&closed), body(&missing));
    let line = server.running.next_error_line();
    assert!(line.ends_with("no such file (Permission denied)\n"), "{line}");
}

#[test]
fn a_flood_of_refused_requests_does_not_flood_the_log() {
    let scratch = Scratch::new("log-flood");
    let server = Server::start(&scratch, &[]);
    let mut stream = TcpStream::connect(server.address).unwrap();
    let mut answer = [0; 4096];
    for _ in 0..1000 {
        stream.write_all(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(stream.read(&mut answer).unwrap() > 0);
    }
    let log = server.stop().err;
    let refusals = log.lines().filter(|line| line.contains(" refused: ")).count();
    assert!((100..900).contains(&refusals), "{refusals}");
}

#[test]
fn a_quiet_server_does_not_log_refused_requests() {
    let scratch = Scratch::new("log-quiet");
    let server = Server::start(&scratch, &["-q"]);
    assert!(ask(server.address, "GET /none").starts_with("HTTP/1.1 404"));
    assert_eq!(server.stop().err, "");
}

#[test]
fn a_quiet_server_still_logs_what_the_system_refused_it() {
    let scratch = Scratch::new("log-quiet-error");
    let mut server = Server::start(&scratch, &["-q"]);
    let request = "HEAD /proc/self/mem";
    let answer = ask_with(server.address, request, "Want-Repr-Digest: md5=1");
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    let line = server.running.next_error_line();
    assert!(line.ends_with("cannot read the file (Input/output error)\n"), "{line}");
}

#[test]
fn sigusr1_opens_a_log_file_anew_that_was_moved_away() {
    let scratch = Scratch::new("log-file");
    let (log, moved) = (scratch.path("log"), scratch.path("log.1"));
    let server = Server::start(&scratch, &["--root", ".", "--log", "log"]);
    ask(server.address, "GET /first");
    fs::rename(&log, &moved).unwrap();
    server.running.signal(libc::SIGUSR1);
    wait_until("a new log", || log.exists().then_some(()));
    ask(server.address, "GET /second");
    assert_eq!(server.stop().err, "");
    let [old, new] = [moved, log].map(|path| fs::read_to_string(path).unwrap());
    assert!(is_stamped(&old) && old.contains(" /first ") && !old.contains(" /second "), "{old}");
    assert!(is_stamped(&new) && new.contains(" /second ") && !new.contains(" /first "), "{new}");
}

#[test]
fn a_log_file_that_cannot_be_written_is_an_error_at_the_start() {
    let scratch = Scratch::new("log-missing");
    let mut server = scratch.program("server");
    server.args(["--log", "none/log", "--bind", "127.0.0.1", "0"]);
    let outcome = run(&mut server);
    outcome.failed(1, "server", "--log none/log: No such file or directory");
}

#[test]
fn a_log_that_is_a_pipe_without_a_reader_is_an_error_at_the_start() {
    let scratch = Scratch::new("log-unread");
    make_pipe(&scratch);
    let mut server = scratch.program("server");
    server.current_dir(scratch.folder());
    server.args(["--log", "log", "--bind", "127.0.0.1", "0"]);
    run(&mut server).failed(1, "server", "--log log: No such device or address");
}

#[test]
fn a_pipe_that_is_not_read_does_not_block_the_server_that_logs_to_it() {
    let scratch = Scratch::new("log-full");
    let pipe = make_pipe(&scratch);
    // Also opened for writing, so that the open needs no server, and the test can fill the pipe.
    let flags = libc::O_NONBLOCK;
    let mut reader =
        File::options().read(true).write(true).custom_flags(flags).open(&pipe).unwrap();
    while reader.write(&[b'\n'; 4096]).is_ok() {}
    let server = Server::start(&scratch, &["--root", ".", "--log", "log"]);
    scratch.write("file", b"bytes");
    assert!(ask(server.address, "GET /file").starts_with("HTTP/1.1 200"));
    assert!(ask(server.address, "GET /none").starts_with("HTTP/1.1 404"));
    while reader.read(&mut [0; 4096]).is_ok() {}
    assert!(ask(server.address, "GET /later").starts_with("HTTP/1.1 404"));
    let mut line = [0; 512];
    let count = reader.read(&mut line).unwrap();
    let line = std::str::from_utf8(&line[..count]).unwrap();
    assert!(is_stamped(line) && line.contains(" /later "), "{line}");
    assert_eq!(server.stop().err, "");
}

#[test]
fn only_a_trusted_proxy_may_name_the_client() {
    let field = "X-Forwarded-For: 198.51.100.1, 192.0.2.7";
    for (options, client) in
        [(&["--trust-proxy", "127.0.0.1"][..], "192.0.2.7:0"), (&[][..], "127.0.0.1:")]
    {
        let scratch = Scratch::new(&format!("log-proxy-{}", options.len()));
        scratch.write("file", b"bytes");
        let mut server = Server::start(&scratch, &[&["--root", "."][..], options].concat());
        assert!(ask_with(server.address, "GET /none", field).starts_with("HTTP/1.1 404"));
        let line = server.running.next_error_line();
        assert!(line[21..].starts_with(client), "{line}");
        assert!(ask_with(server.address, "GET /file", field).starts_with("HTTP/1.1 200"));
        let line = server.running.next_error_line();
        assert!(line[21..].starts_with(client), "{line}");
    }
}
