//! The server's word on what came of a push: its code, whether the disk has it, and the figures.

use crate::support::exit::{INTEGRITY, SYSTEM};
use crate::support::harness::{Server, content, run, wait_until};
use crate::support::http::{Http, Reply};
use crate::support::relay::{Faults, Relay};
use crate::support::system::{Sync, on_a_failing_disk};
use crate::support::uploads::{Inbox, WRITABLE};
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A push of an empty file, which needs no stream.
const EMPTY: &str = concat!(
    r#"{"threads":1,"protocol":2,"push":"file","size":0,"stored":0,"mtime_s":1,"mtime_ns":0,"#,
    r#""tag":"3132","verify":"none","restart":1,"whole":0,"sync":1}"#
);

fn post(server: &Server, body: &str) -> Reply {
    begin(server, body).receive()
}

/// Sends the request.
fn begin(server: &Server, body: &str) -> Http {
    let mut http = Http::connect(server.address);
    let length = body.len();
    http.send(format!("POST /in/x HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"));
    http
}

/// Pushes an empty file, and asks what came of it.
fn outcome(inbox: &Inbox, body: &str, rest: &str) -> Reply {
    let offer = post(&inbox.server, body);
    assert_eq!(offer.status, 200, "{offer:?}");
    let token = offer.member("session");
    let ask = format!("{{\"outcome\":\"{token}\",\"wait_s\":20{rest}}}");
    let first = post(&inbox.server, &ask);
    // The server keeps it for a client that has to ask again.
    assert_eq!(post(&inbox.server, &ask).body, first.body);
    first
}

#[test]
fn it_says_whether_the_disk_has_everything() {
    let inbox = Inbox::open("push-word", &[]);
    for (sync, durable) in [("\"sync\":1", "1"), ("\"sync\":0", "0")] {
        let reply = outcome(&inbox, &EMPTY.replace("\"sync\":1", sync), "");
        let words = [reply.member("state"), reply.member("code"), reply.member("durable")];
        assert_eq!(words, ["ended", "0", durable], "{reply:?}");
        assert_eq!(inbox.read("x"), b"");
    }
}

#[test]
fn a_file_whose_md5_differs_gets_no_name() {
    let inbox = Inbox::open("push-word-md5", &[]);
    let body = EMPTY.replace("none", "md5");
    let wrong = ",\"md5\":\"781e5e245d69b566979b86e28d23f2c7\"";
    let reply = outcome(&inbox, &body, wrong);
    assert_eq!(reply.member("code"), INTEGRITY.to_string(), "{reply:?}");
    assert!(reply.member("text").starts_with("MD5 differs: 781e5e24"), "{reply:?}");
    assert!(inbox.names().is_empty());
    let right = ",\"md5\":\"d41d8cd98f00b204e9800998ecf8427e\"";
    assert_eq!(outcome(&inbox, &body, right).member("code"), "0");
    assert_eq!(inbox.names(), ["x"]);
}

#[test]
fn a_client_that_has_gone_before_it_said_its_md5_holds_no_name() {
    let inbox = Inbox::open("push-word-gone", &[]);
    let body = EMPTY.replace("none", "md5");
    let offer = post(&inbox.server, &body);
    let token = offer.member("session");
    let ask = format!("{{\"outcome\":\"{token}\",\"wait_s\":30}}");
    let asks = begin(&inbox.server, &ask);
    // The client is there: it asks.
    assert_eq!(post(&inbox.server, &body).status, 409);
    drop(asks);
    assert_eq!(post(&inbox.server, &body).status, 200);
}

#[test]
fn a_client_that_goes_while_another_one_waits_for_its_name_frees_it() {
    let inbox = Inbox::open("push-word-goes", &[]);
    let body = EMPTY.replace("none", "md5");
    let offer = post(&inbox.server, &body);
    let token = offer.member("session");
    let ask = |wait: u32| format!("{{\"outcome\":\"{token}\",\"wait_s\":{wait}}}");
    let asks = begin(&inbox.server, &ask(30));
    let mut waits = begin(&inbox.server, &body);
    // What is answered now was asked behind the other two.
    for _ in 0..100 {
        assert_eq!(post(&inbox.server, &ask(0)).status, 200);
    }
    drop(asks);
    assert_eq!(waits.receive().status, 200);
}

#[test]
fn a_client_whose_connection_is_cut_comes_back_for_the_word() {
    let mut inbox = Inbox::open("push-word-cut", &[]);
    inbox.scratch.write("file", &content(3 << 20));
    inbox.scratch.make_dir("top");
    inbox.scratch.write("top/one", b"1");
    for what in ["file", "top"] {
        let replies = AtomicUsize::new(0);
        let faults = Faults {
            // The first one has the session.
            reply: Box::new(move |_, head| {
                (!(1..4).contains(&replies.fetch_add(1, SeqCst))).then_some(head)
            }),
            ..Faults::default()
        };
        let relay = Relay::start(&inbox.scratch, inbox.server.address, faults);
        let name = format!("in/{what}");
        let said = run(&mut inbox.push_at(relay.address, what, &name)).succeeded();
        assert!(relay.controls().len() >= 5, "{:?}", relay.controls());
        // It went on with nothing: the one push was complete.
        let line = inbox.upload_line();
        assert!(
            line.contains(&format!(" PUSH {name} ")) && line.ends_with(": complete\n"),
            "{line}"
        );
        assert!(!said.contains("resumed") && !said.contains("up to date"), "{said}");
    }
    assert!(inbox.read("file") == content(3 << 20) && inbox.read("top/one") == b"1");
    assert_eq!(inbox.names(), ["file", "top"]);
}

#[test]
fn a_connection_that_is_cut_while_the_server_waits_for_the_md5_ends_no_push() {
    let inbox = Inbox::open("push-word-cut-md5", &[]);
    let offer = post(&inbox.server, &EMPTY.replace("none", "md5"));
    let token = offer.member("session");
    let ask = |rest: &str| format!("{{\"outcome\":\"{token}\",\"wait_s\":{rest}}}");
    wait_until("the landing", || {
        (post(&inbox.server, &ask("0")).member("state") == "landing").then_some(())
    });
    let waiting = begin(&inbox.server, &ask("20"));
    waiting.stream.get_ref().shutdown(Shutdown::Both).unwrap();
    assert_eq!(post(&inbox.server, &ask("0")).member("state"), "landing");
    let said = post(&inbox.server, &ask("20,\"md5\":\"d41d8cd98f00b204e9800998ecf8427e\""));
    assert_eq!([said.member("state"), said.member("code")], ["ended", "0"], "{said:?}");
    assert_eq!(inbox.names(), ["x"]);
}

#[test]
fn a_disk_that_loses_bytes_is_no_success() {
    let inbox = Inbox::with("push-word-disk", |scratch| {
        let mut command = scratch.program("server");
        command.args(WRITABLE).arg("--writable-by-anyone");
        on_a_failing_disk(&mut command, Sync::All);
        command
    });
    inbox.scratch.write("file", &content(100_000));
    let outcome = run(&mut inbox.push("file", "in/file"));
    assert!(matches!(outcome.status.code(), Some(SYSTEM | 4)), "{outcome:?}");
    assert!(!inbox.folder.join("file").exists());
}

#[test]
fn pushes_are_counted() {
    let mut inbox = Inbox::with("push-metrics", |scratch| {
        let mut command = scratch.program("server");
        command.args(WRITABLE).args(["--writable-by-anyone", "--metrics", "127.0.0.1:0"]);
        command
    });
    inbox.scratch.write("file", &content(100_000));
    inbox.scratch.make_dir("top");
    inbox.scratch.write("top/one", b"1");
    for what in ["file", "top"] {
        run(&mut inbox.push(what, format!("in/{what}"))).succeeded();
        inbox.upload_line();
    }
    let text = Http::connect(inbox.server.metrics.unwrap()).ask("GET", "/-/metrics", &[]);
    for line in [
        "ropewalk_pushes_total{outcome=\"complete\"} 2",
        "ropewalk_pushes_active 0",
        "ropewalk_push_bytes_total 100001",
        "ropewalk_push_files_total 1",
    ] {
        assert!(text.text().lines().any(|own| own == line), "{line}: {}", text.text());
    }
}
