//! Every wait ends, with the file or with an error that says what the client waited for.

use crate::support::exit::{NETWORK, REFUSED};
use crate::support::harness::{Running, Scratch, Server, content, run, wait_until};
use crate::support::http::reply;
use crate::support::path::{Gate, Path};
use crate::support::peers::classic::{ClassicServer, md5, request, seed_reply};
use crate::support::relay::Faults;
use crate::support::system::{limit_descriptors, signal_thread, user_timeouts};
use std::fs::{self};
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The files that keep the bytes for the next run.
const KEPT: [&str; 2] = ["out.part", "out.part.journal"];

/// A file behind a relay that passes the head of each reply to a HEAD through `reply`.
fn before_head(
    test: &str,
    reply: impl Fn(String) -> Option<String> + Send + Sync + 'static,
) -> Path {
    let reply = move |request: &str, head: String| match request.starts_with("HEAD ") {
        true => reply(head),
        false => Some(head),
    };
    Path::new(test, 700_000, Faults { reply: Box::new(reply), ..Faults::default() })
}

/// A client of that file that wants the MD5.
fn client(path: &Path, options: &[&str]) -> Command {
    let output = path.folder("out");
    let mut client = path.scratch.client(path.relay.address, 2, "file", output);
    client.args(options);
    client
}

#[test]
fn a_file_that_the_server_cannot_read_is_an_error_at_once() {
    let scratch = Scratch::new("wait-unreadable");
    let mut server = Server::start(&scratch, &[]);
    let mut client = scratch.client(server.address, 4, "/proc/self/mem", scratch.path("out"));
    let words = ": the server cannot read the file for its MD5";
    run(&mut client).failed(REFUSED, "client", words);
    // A classic client, which waits for the MD5 before anything else, gets the error too.
    let (reply, _) = reply(&server, request(b"/proc/self/mem", 1));
    assert_eq!((reply.status, reply.error()), (500, "the server cannot read the file"));
    let logged = "the server cannot read the file (Input/output error)";
    wait_until("the line in the log", || {
        server.running.next_error_line().contains(logged).then_some(())
    });
}

#[test]
fn the_client_gives_up_on_a_server_that_never_has_room_for_the_md5() {
    for (number, field) in ["Retry-After: 1\r\n", ""].into_iter().enumerate() {
        let reply = format!("HTTP/1.1 503 Full\r\n{field}Content-Length: 0\r\n\r\n");
        let path = before_head(&format!("wait-503-{number}"), move |_| Some(reply.clone()));
        let outcome = run(&mut client(&path, &["--retry-for", "2"]));
        outcome.failed(REFUSED, "client", ": 503 Full; try again later");
        assert_eq!(outcome.err.contains("with --retry-for"), !field.is_empty(), "{outcome:?}");
        assert_eq!(path.names(), KEPT);
    }
}

#[test]
fn the_client_sends_a_lost_head_again() {
    let late = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
    let lost = AtomicUsize::new(0);
    let path = before_head("wait-408", move |head| match lost.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Some(late.to_string()),
        _ => Some(head),
    });
    run(&mut client(&path, &[])).succeeded();
    path.is_whole();
    let path = before_head("wait-408-always", move |_| Some(late.to_string()));
    let outcome = run(&mut client(&path, &["--retry-for", "1"]));
    outcome.failed(NETWORK, "client", ": 408 Request Timeout");
    assert_eq!(path.names(), KEPT);
}

#[test]
fn a_lost_post_is_a_lost_connection() {
    let (_scratch, _server, client, mut stream) = asking("wait-408-post", &[]);
    stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").unwrap();
    client.finish().failed(NETWORK, "client", ": 408 Request Timeout");
}

/// A client that has sent its POST to a server that the test plays.
fn asking(test: &str, options: &[&str]) -> (Scratch, ClassicServer, Running, TcpStream) {
    let scratch = Scratch::new(test);
    let server = ClassicServer::bind(&scratch);
    let mut client = scratch.client(server.address(), 1, "file", scratch.path("out"));
    let client = Running::start(client.args(options));
    let (_, stream) = server.accept_request();
    (scratch, server, client, stream)
}

#[test]
fn timeout_bounds_the_wait_for_the_reply_to_a_post() {
    let (_scratch, _server, client, stream) = asking("wait-post", &["--connect-timeout", "1"]);
    let outcome = client.finish();
    outcome.failed(NETWORK, "client", ": no reply within 1 s; the server may be hashing");
    drop(stream);
}

#[test]
fn endless_interim_replies_count_as_silence() {
    let (_scratch, _server, client, mut stream) =
        asking("wait-interim", &["--connect-timeout", "1"]);
    let talking =
        std::thread::spawn(
            move || {
                while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {}
            },
        );
    client.finish().failed(NETWORK, "client", ": no reply within 1 s; ");
    talking.join().unwrap();
}

/// A relay that passes no reply to a HEAD before the gate is open.
fn held_head(test: &str) -> (Path, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let own = gate.clone();
    let path = before_head(test, move |head| {
        own.pass();
        Some(head)
    });
    (path, gate)
}

#[test]
fn timeout_bounds_the_wait_for_the_reply_to_a_head() {
    let (path, gate) = held_head("wait-head");
    let outcome = run(&mut client(&path, &["--connect-timeout", "1"]));
    outcome.failed(NETWORK, "client", ": no MD5 within 1 s; the server may be hashing");
    assert_eq!(path.names(), KEPT);
    gate.open();
    run(&mut client(&path, &[])).succeeded();
    path.is_whole();
}

#[test]
fn the_client_says_every_ten_seconds_that_it_waits_for_a_reply() {
    let (scratch, server, mut client, mut stream) = asking("wait-says", &[]);
    let line = client.next_error_line();
    assert!(line.contains(": no reply for 10 s, still waiting: "), "{line}");
    let bytes = content(1000);
    let (hash, port) = (md5(&bytes), server.data_port());
    stream.write_all(&seed_reply(&format!("{{\"hash\": \"{hash}\", \"port\": {port}}}"))).unwrap();
    drop(stream);
    server.send(&bytes, 1);
    client.finish().succeeded();
    assert_eq!(fs::read(scratch.path("out")).unwrap(), bytes);
}

#[test]
fn the_client_says_every_ten_seconds_that_it_waits_for_the_md5() {
    let (path, gate) = held_head("wait-says-md5");
    let mut client = Running::start(&mut client(&path, &[]));
    let line = client.next_error_line();
    let words = "all bytes arrived 10 s ago; still waiting for the server's MD5";
    assert!(line.contains(words), "{line}");
    gate.open();
    client.finish().succeeded();
    path.is_whole();
}

#[test]
fn the_client_gives_up_a_request_without_an_acknowledgement_after_two_minutes() {
    let (_scratch, _server, client, stream) = asking("wait-dead", &[]);
    // Old kernels and some sandboxes do not show this.
    if let Some(found) = user_timeouts(client.pid()) {
        assert!(found.contains(&120_000), "{found:?}");
    }
    drop(stream);
}

/// The thread with this name in a process.
fn thread_called(pid: u32, name: &str) -> Option<u32> {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let own = fs::read_to_string(path.join("comm")).ok()?;
        (own.trim_end() == name).then(|| path.file_name()?.to_str()?.parse().ok())?
    })
}

#[test]
fn a_server_whose_wait_for_workers_fails_once_goes_on() {
    let scratch = Scratch::new("wait-poll");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let pid = server.running.pid();
    let supervisor = wait_until("the supervisor", || thread_called(pid, "supervisor"));
    // The main thread must already be waiting: its own wait may not fail.
    wait_until("a server that waits", || {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{pid}/status")).ok()?;
        status.contains("State:\tS").then_some(())
    });
    // With one descriptor allowed, poll fails for the two that it waits for.
    limit_descriptors(pid, 1);
    signal_thread(pid, supervisor, libc::SIGCHLD);
    let switches = || -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{supervisor}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?;
        line.split_whitespace().last()?.parse().ok()
    };
    let before = switches().unwrap();
    wait_until("the end of a failed wait", || match switches() {
        Some(count) => (count > before + 2).then_some(()),
        None => Some(()),
    });
    limit_descriptors(pid, 1024);
    let mut client = scratch.client(server.address, 2, "file", scratch.path("out"));
    run(client.args(["--retry-for", "0"])).succeeded();
}
