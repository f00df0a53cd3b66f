//! `auto` as the number of streams of a push: the server's receiver finds the number, and the
//! client opens the streams.

use crate::support::harness::{Server, content, run};
use crate::support::http::Http;
use crate::support::uploads::Inbox;

/// Pushes over `auto` streams, so slowly that the search begins: 4 at first, and 16 after two
/// seconds. The answer is the most streams that were open at once.
fn push(inbox: &Inbox, what: &str, name: &str) -> u64 {
    let mut command = inbox.scratch.program("client");
    command.arg("--push").arg(inbox.server.address.to_string()).args(["auto", what, name]);
    command.args(["--progress=json", "--limit-rate", "4M"]).current_dir(inbox.scratch.folder());
    let outcome = run(&mut command);
    assert!(outcome.status.success(), "{outcome:?}");
    let streams = outcome.err.lines().filter_map(|line| {
        let (_, rest) = line.split_once("\"streams\":")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    });
    streams.max().unwrap_or_else(|| panic!("{outcome:?}"))
}

#[test]
fn a_push_that_takes_longer_tries_more_streams() {
    let inbox = Inbox::open("push-auto", &[]);
    let bytes = content(16 << 20);
    inbox.scratch.write("file", &bytes);
    assert_eq!(push(&inbox, "file", "in/file"), 16);
    assert!(inbox.read("file") == bytes);
}

#[test]
fn a_folder_is_pushed_over_as_many_streams_as_help() {
    let inbox = Inbox::open("push-auto-folder", &[]);
    inbox.scratch.make_dir("top");
    for number in 0..300 {
        inbox.scratch.write(format!("top/f{number}"), &content(50_000 + number));
    }
    assert_eq!(push(&inbox, "top", "in/top"), 16);
    for number in 0..300 {
        assert!(inbox.read(&format!("top/f{number}")) == content(50_000 + number));
    }
}

#[test]
fn a_server_that_allows_fewer_streams_gets_no_more() {
    for most in [1, 6] {
        let inbox = Inbox::open("push-auto-few", &["--max-streams", &most.to_string()]);
        inbox.scratch.write("file", &content(16 << 20));
        assert_eq!(push(&inbox, "file", "in/file"), most);
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
    let rest = concat!(
        r#""protocol":2,"push":"file","size":0,"stored":0,"mtime_s":1,"mtime_ns":0,"#,
        r#""tag":"3132","verify":"none","restart":1,"whole":0,"sync":0}"#
    );
    let cases = [
        (r#""threads":4,"max_threads":255"#, "9"),
        (r#""threads":4,"max_threads":1"#, "1"),
        (r#""threads":9"#, "9"),
        (r#""threads":10"#, "403"),
        (r#""threads":4,"max_threads":0"#, "400"),
    ];
    for (name, (threads, expected)) in cases.into_iter().enumerate() {
        let body = format!("{{{threads},{rest}");
        assert_eq!(granted(&inbox.server, name, &body), expected, "{threads}");
    }
}
