//! `auto` as the number of streams of a push: the server's receiver finds the number, and the
//! client opens the streams.

use crate::support::harness::{Server, content, run};
use crate::support::http::Http;
use crate::support::uploads::Inbox;

/// A client that pushes the file over `auto` streams.
fn push(inbox: &Inbox, what: &str, name: &str) -> std::process::Command {
    let mut command = inbox.scratch.program("client");
    command.arg("--push").arg(inbox.server.address.to_string()).args(["auto", what, name]);
    command.arg("--progress=none").current_dir(inbox.scratch.folder());
    command
}

#[test]
fn a_push_that_takes_longer_tries_more_streams() {
    let mut inbox = Inbox::open("push-auto", &[]);
    let bytes = content(24 << 20);
    inbox.scratch.write("file", &bytes);
    // The server begins with 4, and tries 16 after two seconds.
    run(push(&inbox, "file", "in/file").args(["--limit-rate", "6M"])).succeeded();
    assert!(inbox.read("file") == bytes);
    let line = inbox.upload_line();
    assert!(line.contains(" over 16 streams "), "{line}");
}

#[test]
fn a_folder_is_pushed_over_as_many_streams_as_help() {
    let mut inbox = Inbox::open("push-auto-folder", &[]);
    inbox.scratch.make_dir("top");
    for number in 0..300 {
        inbox.scratch.write(format!("top/f{number}"), &content(50_000 + number));
    }
    run(push(&inbox, "top", "in/top").args(["--limit-rate", "4M"])).succeeded();
    for number in 0..300 {
        assert!(inbox.read(&format!("top/f{number}")) == content(50_000 + number));
    }
    let line = inbox.upload_line();
    assert!(line.contains(" over 16 streams "), "{line}");
}

#[test]
fn a_server_that_allows_fewer_streams_gets_no_more() {
    for (most, words) in [("1", " over 1 streams "), ("6", " over 6 streams ")] {
        let mut inbox = Inbox::open("push-auto-few", &["--max-streams", most]);
        inbox.scratch.write("file", &content(16 << 20));
        run(push(&inbox, "file", "in/file").args(["--limit-rate", "4M"])).succeeded();
        let line = inbox.upload_line();
        assert!(line.contains(words), "{line}");
    }
}

/// The number of streams in the offer for `body`, or the status of a refusal.
fn granted(server: &Server, name: usize, body: &str) -> String {
    let mut http = Http::connect(server.address);
    http.send(format!("POST /in/{name} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let reply = http.receive();
    match reply.status {
        200 => reply.member("threads").to_string(),
        status => status.to_string(),
    }
}

#[test]
fn a_server_grants_as_many_streams_as_it_allows() {
    let inbox = Inbox::open("push-auto-granted", &["--max-streams", "9"]);
    let body = |threads: &str| {
        format!(
            r#"{{{threads},"protocol":2,"push":"file","size":0,"stored":0,"mtime_s":1,"mtime_ns":0,"tag":"3132","verify":"none","restart":1,"whole":0,"sync":0}}"#
        )
    };
    for (name, (threads, expected)) in [
        (r#""threads":4,"max_threads":255"#, "9"),
        (r#""threads":4,"max_threads":1"#, "1"),
        (r#""threads":9"#, "9"),
        (r#""threads":10"#, "403"),
        (r#""threads":4,"max_threads":0"#, "400"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(granted(&inbox.server, name, &body(threads)), expected, "{threads}");
    }
}
