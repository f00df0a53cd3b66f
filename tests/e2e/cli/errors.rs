//! Everything that can fail for a client. Each time the client prints one clear line and ends with
//! the right exit code. The old output is unchanged, and nothing is left behind.

use crate::support::exit::{INTEGRITY, NETWORK, PROTOCOL, REFUSED, SYSTEM};
use crate::support::harness::{Running, Scratch, Server, after, content, run};
use crate::support::peers::classic::{ClassicServer, md5, seed_reply};
use crate::support::proof;
use crate::support::socket::accept;
use crate::support::system::{fill_backlog, reserve};
use ropewalk::codec::etag::MAX_OPAQUE;
use std::fs::{self};
use std::io::{Read, Write};
use std::net::TcpListener;

/// An output that exists, alone in its folder.
fn old_output(scratch: &Scratch) -> std::path::PathBuf {
    scratch.make_dir("folder");
    scratch.write("folder/out", b"old")
}

/// Demands that the output is unchanged, and that the client left nothing else.
#[track_caller]
fn old_output_survives(scratch: &Scratch) {
    assert_eq!(Scratch::names(&scratch.path("folder")), ["out"]);
    assert_eq!(fs::read(scratch.path("folder/out")).unwrap(), b"old");
    proof::nothing_stays(scratch);
}

/// Runs a client that cannot connect to `address`.
#[track_caller]
fn unreachable(test: &str, address: &str, words: &str) {
    let scratch = Scratch::new(test);
    let mut client = scratch.client(address, 2, "file", old_output(&scratch));
    run(client.args(["--connect-timeout", "1"])).failed(NETWORK, "client", words);
    old_output_survives(&scratch);
}

#[test]
fn the_error_names_a_host_that_does_not_exist() {
    // The client rejects an invalid host name without asking a resolver.
    unreachable("no-host", "no host.invalid:80", "; check the name, or use an IP address");
}

#[test]
fn the_error_says_that_a_connection_was_refused() {
    let scratch = Scratch::new("refused-port");
    let port = reserve(scratch.address(), 0).unwrap();
    let words = format!("{}: Connection refused; no server listens there: start it", port.address);
    unreachable("refused", &port.address.to_string(), &words);
}

#[test]
fn the_error_says_that_a_connection_timed_out() {
    let scratch = Scratch::new("timeout-port");
    let listener = TcpListener::bind((scratch.address(), 0)).unwrap();
    let _waiting = fill_backlog(&listener);
    let address = listener.local_addr().unwrap();
    unreachable(
        "timeout",
        &address.to_string(),
        "Connection timed out; check the address, and firewalls",
    );
}

/// Runs a client that gets these bytes for a reply.
#[track_caller]
fn answered(test: &str, reply: impl AsRef<[u8]>, code: i32, words: &str) {
    let scratch = Scratch::new(test);
    let server = ClassicServer::bind(&scratch);
    let mut client = scratch.client(server.address(), 2, "file", old_output(&scratch));
    let client = Running::start(&mut client);
    server.answer(reply);
    client.finish().failed(code, "client", words);
    old_output_survives(&scratch);
}

#[test]
fn a_refusal_is_shown_in_the_server_s_own_words() {
    let scratch = Scratch::new("no-file");
    let server = Server::start(&scratch, &[]);
    let output = old_output(&scratch);
    let mut client = scratch.client(server.address, 2, "nothing", output);
    let words = format!(
        "client: {}: 404 Not Found: no such file: 'nothing'; names begin at the server's --root; without \
         --root, x is in the folder in which the server was started, and /x in /\n",
        server.address
    );
    let outcome = run(&mut client);
    assert_eq!(outcome.err, words);
    outcome.failed(REFUSED, "client", "");
    drop(server);
    old_output_survives(&scratch);
}

#[test]
fn a_classic_server_s_refusal_is_shown_with_its_reason() {
    let reply = b"HTTP/1.0 404 File not found\r\n\r\n<html>no</html>";
    answered("classic-404", reply, REFUSED, ": 404 File not found: 'file'; names begin");
}

#[test]
fn the_error_says_that_the_name_is_a_folder() {
    let scratch = Scratch::new("folder-asked-for");
    let server = Server::start(&scratch, &[]);
    scratch.make_dir("data");
    let mut client = scratch.client(server.address, 2, "data", "-");
    let words = "404 Not Found: not a regular file: 'data'; a folder needs a folder as OFILE";
    run(&mut client).failed(REFUSED, "client", words);
    // In this case the seed's server replies nothing.
    let words = "closed without a reply; a classic server does that for a folder";
    answered("folder-classic", b"", NETWORK, words);
}

#[test]
fn the_error_names_another_kind_of_server_and_a_tool_that_fetches_from_it() {
    let advice =
        "; the server there is not ropewalk (nginx/1.22.1); to fetch from it: curl -O http://";
    for (number, status) in
        ["405 Not Allowed", "501 Unsupported method ('POST')"].iter().enumerate()
    {
        let reply =
            format!("HTTP/1.1 {status}\r\nServer: nginx/1.22.1\r\nContent-Length: 0\r\n\r\n");
        answered(&format!("nginx-{number}"), reply, REFUSED, &format!("{status}{advice}"));
    }
    let reply = b"HTTP/1.0 200 OK\r\nServer: nginx/1.22.1\r\n\r\n<html>yes</html>";
    answered("nginx-ok", reply, PROTOCOL, &format!("is not the expected JSON{advice}"));
}

#[test]
fn too_many_streams_are_refused_with_the_number_that_is_allowed() {
    let scratch = Scratch::new("streams-allowed");
    let server = Server::start(&scratch, &["--max-streams", "8"]);
    scratch.write("file", b"bytes");
    let mut client = scratch.client(server.address, 9, "file", scratch.path("out"));
    let words = "403 Forbidden: this server allows 8 streams per transfer";
    run(&mut client).failed(REFUSED, "client", words);
}

#[test]
fn hostile_bytes_of_a_server_do_not_reach_the_terminal() {
    let reply = b"HTTP/1.1 403 \x1b[31mred\r\nContent-Length: 30\r\n\r\n{\"error\": \"\\u001b[2J\xc2\x9b0m\\n\\r\"} ";
    answered("hostile", reply, REFUSED, ": 403 \\x1b[31mred: \\x1b[2J\\xc2\\x9b0m\\x0a\\x0d");
}

#[test]
fn a_long_error_of_a_server_is_cut() {
    let reply = [b"HTTP/1.0 500 ", "x".repeat(8000).as_bytes(), b"\r\n\r\n"].concat();
    let words = format!(": 500 {}...\n", "x".repeat(197));
    let scratch = Scratch::new("endless");
    let server = ClassicServer::bind(&scratch);
    let client =
        Running::start(&mut scratch.client(server.address(), 1, "file", scratch.path("out")));
    server.answer(reply);
    let outcome = client.finish();
    assert!(outcome.err.ends_with(&words), "{outcome:?}");
    outcome.failed(REFUSED, "client", "");
}

#[test]
fn the_error_says_that_a_reply_is_not_http() {
    answered("not-http", b"SSH-2.0-OpenSSH_9.2\r\n", PROTOCOL, ": the reply is not HTTP: ");
}

#[test]
fn the_error_says_that_a_reply_is_not_the_expected_json() {
    for (number, body) in [
        "",
        "hello",
        "{}",
        "{\"hash\": \"900150983cd24fb0d6963f7d28e17f72\"}",
        "{\"hash\": \"900150983cd24fb0d6963f7d28e17f7\", \"port\": 80}",
        "{\"hash\": \"900150983cd24fb0d6963f7d28e17f72\", \"port\": 0}",
        "{\"hash\": \"900150983cd24fb0d6963f7d28e17f72\", \"port\": 65536}",
        "{\"hash\": 900150983, \"port\": \"80\"}",
    ]
    .iter()
    .enumerate()
    {
        let words = ": the reply is not the expected JSON";
        answered(&format!("not-json-{number}"), seed_reply(body), PROTOCOL, words);
    }
}

#[test]
fn the_error_says_why_an_offer_is_invalid() {
    let offer = |protocol: u8, fields: &str| {
        let session = "59843ddebe0a9675580d96b8bfb4b196";
        let body = format!(
            "{{\"protocol\":{protocol},\"port\":80,\"session\":\"{session}\",\"size\":1,\"stored\":0}}"
        );
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let tag = "ETag: \"tag\"\r\n";
    answered("offer-3", offer(3, tag), PROTOCOL, ": the reply is of protocol 3, which this");
    answered("offer-untagged", offer(2, ""), PROTOCOL, ": the reply has no ETag");
    let words = ": the reply's ETag is not a strong entity tag: W/\"tag\"";
    answered("offer-weak", offer(2, "ETag: W/\"tag\"\r\n"), PROTOCOL, words);
}

#[test]
fn the_error_says_that_a_reply_is_too_long() {
    let reply = seed_reply(&" ".repeat(70_000));
    let scratch = Scratch::new("reply-long");
    let server = ClassicServer::bind(&scratch);
    let client =
        Running::start(&mut scratch.client(server.address(), 1, "file", scratch.path("out")));
    let (_, mut stream) = server.accept_request();
    let _ = stream.write_all(&reply); // the client need not read all of it
    client.finish().failed(PROTOCOL, "client", "the reply is too long");
}

#[test]
fn the_error_says_that_a_server_did_not_reply() {
    answered("nothing", b"", NETWORK, ": the server closed without a reply");
    answered("half", b"HTTP/1.1 200 OK\r\nContent", NETWORK, ": the server closed without");
}

/// Runs a client whose streams end early: `end` gets them once they are all open.
#[track_caller]
fn cut_short(test: &str, code: i32, words: &str, reset: bool) {
    let scratch = Scratch::new(test);
    let server = ClassicServer::bind(&scratch);
    let mut client = scratch.client(server.address(), 3, "file", old_output(&scratch));
    let client = Running::start(&mut client);
    let bytes = content(900_000);
    server.offer(&md5(&bytes));
    for (_, mut stream) in server.accept_streams(3) {
        stream.write_all(&bytes[..1000]).unwrap();
        if reset {
            use std::os::fd::AsFd;
            ropewalk::sys::socket::reset_on_close(stream.as_fd(), true).unwrap();
        }
    }
    client.finish().failed(code, "client", words);
    old_output_survives(&scratch);
}

#[test]
fn a_sender_that_ends_early_is_noticed() {
    cut_short("early", INTEGRITY, "out: MD5 differs: ", false);
}

#[test]
fn the_error_says_that_the_streams_broke() {
    cut_short("reset", NETWORK, ": Connection reset by peer", true);
}

#[test]
fn the_error_says_after_a_while_that_a_sender_never_listened() {
    let scratch = Scratch::new("never-listens");
    let server = ClassicServer::bind(&scratch);
    let port = reserve(scratch.address(), 0).unwrap();
    let mut client = scratch.client(server.address(), 3, "file", old_output(&scratch));
    let client = Running::start(&mut client);
    let address = port.address;
    let offer = format!("{{\"hash\": \"{}\", \"port\": {}}}", md5(b""), address.port());
    server.answer(seed_reply(&offer));
    client.finish().failed(NETWORK, "client", &format!("{address}: Connection refused"));
    old_output_survives(&scratch);
}

#[test]
fn the_client_waits_for_a_sender_that_listens_late() {
    let scratch = Scratch::new("listens-late");
    let server = ClassicServer::bind(&scratch);
    let port = reserve(scratch.address(), 0).unwrap();
    let address = port.address;
    let output = scratch.path("out");
    let client = Running::start(&mut scratch.client(server.address(), 1, "file", &output));
    server.answer(seed_reply(&format!(
        "{{\"hash\": \"{}\", \"port\": {}}}",
        md5(b"late"),
        address.port()
    )));
    // The client pauses only after a refused attempt.
    let receiver = proof::children(client.pid(), 1)[0];
    proof::pauses(receiver);
    let listener = TcpListener::bind(address).unwrap();
    let mut stream = accept(&listener);
    stream.read_exact(&mut [0]).unwrap();
    stream.write_all(b"late").unwrap();
    drop(stream);
    client.finish().succeeded();
    assert_eq!(fs::read(output).unwrap(), b"late");
}

#[test]
fn the_error_says_that_the_md5_differs() {
    let scratch = Scratch::new("md5");
    let server = ClassicServer::bind(&scratch);
    let mut client = scratch.client(server.address(), 3, "file", old_output(&scratch));
    let client = Running::start(&mut client);
    let (bytes, other) = (content(5000), md5(b"other"));
    server.offer(&other);
    server.send(&bytes, 3);
    let words = format!("out: MD5 differs: {} here, {other} on the server", md5(&bytes));
    client.finish().failed(INTEGRITY, "client", &words);
    old_output_survives(&scratch);
}

#[test]
fn a_file_size_limit_is_an_error_and_does_not_kill_the_client() {
    let scratch = Scratch::new("fsize");
    let (server, _) = Server::with_file(&scratch, 1 << 20);
    let output = old_output(&scratch);
    for streams in [1, 4] {
        let client = scratch.client(server.address, streams, "file", &output);
        // In blocks of 512 bytes: enough for a quarter of the file only.
        let outcome = run(&mut after("ulimit -f 1024", &client));
        outcome.failed(SYSTEM, "client", "out: File too large");
        assert_eq!(Scratch::names(&scratch.path("folder")), ["out"], "{streams}");
    }
    drop(server);
    old_output_survives(&scratch);
}

#[test]
fn a_client_without_descriptors_leaves_nothing() {
    let scratch = Scratch::new("few-descriptors");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    scratch.make_dir("folder");
    let mut failed = 0;
    for limit in 8..40 {
        let client = scratch.client(server.address, 1, "file", scratch.path("folder/out"));
        let outcome = run(&mut after(&format!("ulimit -n {limit}"), &client));
        let names = Scratch::names(&scratch.path("folder"));
        match outcome.status.success() {
            true => assert_eq!(names, ["out"], "{limit}"),
            false => assert!(names.is_empty(), "{limit}: {names:?}, {outcome:?}"),
        }
        failed += u32::from(!outcome.status.success());
        let _ = fs::remove_file(scratch.path("folder/out"));
    }
    assert!((1..32).contains(&failed), "{failed}");
}

#[test]
fn the_error_says_that_the_etag_is_too_long() {
    let scratch = Scratch::new("long-tag");
    let server = ClassicServer::bind(&scratch);
    let client =
        Running::start(&mut scratch.client(server.address(), 1, "file", scratch.path("out")));
    let (_, mut stream) = server.accept_request();
    let tag = "t".repeat(MAX_OPAQUE + 3);
    let body = "{\"protocol\":2,\"port\":80,\"session\":\"00112233445566778899aabbccddeeff\",\
                \"size\":1,\"stored\":1}";
    let fields = format!("ETag: \"{tag}\"\r\nContent-Length: {}", body.len());
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}").as_bytes()).unwrap();
    client.finish().failed(PROTOCOL, "client", "the reply's ETag is longer than 1024 bytes");
}
