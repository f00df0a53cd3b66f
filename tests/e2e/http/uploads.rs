//! PUT: the file has its name only when it is whole, checked and on the disk; conditions and limits
//! hold; what is refused is refused before the body; what fails leaves nothing.

use crate::support::harness::{Scratch, Server, after, assert_same, content, run, wait_until};
use crate::support::http::{Http, Reply};
use crate::support::namespace::on_a_small_disk;
use crate::support::uploads::{Inbox, WRITABLE, answer, begin, head, put};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant, SystemTime};

const BROWSER: &str = "Accept: text/html";

fn etag(inbox: &Inbox, target: &str) -> String {
    inbox.connect().ask("HEAD", target, &[]).field("etag").to_string()
}

#[test]
fn a_file_is_put_in_place_and_replaced_over_one_connection() {
    let inbox = Inbox::open("put", &[]);
    let mut http = inbox.connect();
    for (number, size) in [0, 1, 3_000_003, 5].into_iter().enumerate() {
        let bytes = content(size);
        let reply = put(&mut http, "/in/file", &[], &bytes);
        assert_eq!(reply.status, if number == 0 { 201 } else { 204 }, "{reply:?}");
        assert_same(&inbox.read("file"), &bytes, "the file");
        assert_eq!(reply.field("etag"), etag(&inbox, "/in/file"));
        assert_eq!(inbox.names(), ["file"]);
    }
    assert_eq!(http.ask("GET", "/in/file", &[]).body, content(5));
}

#[test]
fn a_name_is_decoded_once_and_may_be_any_bytes() {
    let inbox = Inbox::open("put-names", &[]);
    for (target, name) in [
        (&b"/in/a%20b"[..], &b"a b"[..]),
        (b"/in/%2541", b"%41"),
        (b"/in/a?x=y", b"a"),
        (b"in/relative", b"relative"),
        (b"http://host/in/absolute", b"absolute"),
        (b"/in/%ff%0a", b"\xff\n"),
        (b"/in/\xfc", b"\xfc"),
        (b"/in/-rf", b"-rf"),
    ] {
        let reply = inbox.put(target, &[], name);
        assert_eq!(reply.status, 201, "{}: {reply:?}", target.escape_ascii());
        let path = inbox.folder.join(crate::support::harness::name(name));
        assert_eq!(fs::read(path).unwrap(), name);
    }
    let longest = "x".repeat(255);
    assert_eq!(inbox.put(format!("/in/{longest}"), &[], b"").status, 201);
    let reply = inbox.put(format!("/in/{longest}x"), &[], b"");
    assert_eq!((reply.status, reply.error()), (400, "the name is too long"));
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_when_the_file_can_come() {
    let inbox = Inbox::open("put-continue", &[]);
    let mut http = inbox.connect();
    begin(&mut http, "/in/file", &[], 4);
    assert!(!inbox.folder.join("file").exists());
    http.send("body");
    assert_eq!(answer(&mut http).status, 201);
    // A client of HTTP/1.0 gets none.
    let mut http = inbox.connect();
    http.send("PUT /in/old HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nold");
    assert_eq!(answer(&mut http).status, 201);
    assert!(http.is_closed());
    assert_eq!(inbox.read("old"), b"old");
}

/// Demands that a PUT with these fields and without its body is answered so, and that the
/// connection ends.
#[track_caller]
fn refused(inbox: &Inbox, target: &str, fields: &[&str], size: u64, status: u16, words: &str) {
    let mut http = inbox.connect();
    http.send(head(target, &[&["Expect: 100-continue"], fields].concat(), size));
    let reply = answer(&mut http);
    assert_eq!((reply.status, reply.find("connection")), (status, Some("close")), "{reply:?}");
    assert!(reply.error().contains(words), "{reply:?}");
    assert!(http.is_closed());
}

#[test]
fn what_is_refused_is_refused_before_the_body_and_leaves_nothing() {
    let inbox = Inbox::open("put-refused", &["--max-upload", "1M"]);
    fs::write(inbox.folder.join("there"), b"old").unwrap();
    fs::create_dir(inbox.folder.join("folder")).unwrap();
    let free = 1 << 20;
    for (target, fields, size, status, words) in [
        ("/in/file", &[][..], free + 1, 413, "larger than this server takes"),
        ("/in/file", &[], 1 << 63, 413, "larger than this server takes"),
        ("/in/file", &[], u64::MAX, 413, "larger than this server takes"),
        ("/file", &[], 5, 403, "nothing may be written there"),
        ("/in/none/file", &[], 5, 409, "does not exist"),
        ("/in/there/file", &[], 5, 409, "does not exist"),
        ("/in/folder", &[], 5, 409, "a folder has this name"),
        ("/in/folder/", &[], 5, 409, "the name of a folder"),
        ("/in/", &[], 5, 409, "the name of a folder"),
        ("/in/%", &[], 5, 400, "percent-encoded"),
        ("/in/file", &["Content-Range: bytes 0-4/9"], 5, 400, "only the whole"),
        ("/in/file", &["Repr-Digest: md5=:AAAA:"], 5, 400, "malformed"),
        ("/in/file", &["Repr-Digest: sha-512=:AAAA:"], 5, 400, "md5 and sha-256 only"),
        ("/in/file", &["If-Match: *"], 5, 412, "another file, or none"),
        ("/in/there", &["If-None-Match: *"], 5, 412, "another file, or none"),
        ("/in/.ropewalk-0123456789abcdef0123456789abcdef", &[], 5, 403, "the server needs names"),
        ("/in/x.part", &[], 5, 403, "the server needs names"),
    ] {
        refused(&inbox, target, fields, size, status, words);
    }
    assert_eq!(inbox.names(), ["folder", "there"]);
    assert_eq!(inbox.read("there"), b"old");
}

#[test]
fn a_body_without_a_length_gets_411_and_what_to_do() {
    let inbox = Inbox::open("put-chunks", &[]);
    for fields in ["Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", ""] {
        let mut http = inbox.connect();
        http.send(format!("PUT /in/file HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        let reply = answer(&mut http);
        assert_eq!(reply.status, 411);
        assert!(reply.error().contains("write it to a file first"), "{reply:?}");
        assert_eq!(reply.find("connection").is_some(), !fields.is_empty());
    }
    for fields in ["Content-Length: 1\r\nTransfer-Encoding: chunked", "Content-Length: 1,1"] {
        let mut http = inbox.connect();
        http.send(format!("PUT /in/file HTTP/1.1\r\n{fields}\r\n\r\n"));
        assert_eq!(answer(&mut http).status, 400, "{fields}");
        assert!(http.is_closed());
    }
    assert!(inbox.names().is_empty());
}

#[test]
fn a_server_without_writable_takes_nothing_and_says_so() {
    let scratch = Scratch::new("put-none");
    let server = Server::start(&scratch, &["--root", "."]);
    let mut http = Http::connect(server.address);
    let reply = put(&mut http, "/file", &[], b"bytes");
    assert_eq!(reply.status, 403);
    assert!(reply.error().contains("--writable"), "{reply:?}");
    assert!(!scratch.path("file").exists());
}

#[test]
fn a_client_that_sends_a_refused_body_all_the_same_reads_why() {
    let inbox = Inbox::open("put-flood", &[]);
    let mut http = inbox.connect();
    let body = content(8 << 20);
    http.send(head("/file", &[], body.len() as u64));
    http.send(&body); // the server takes all of it, and throws it away
    assert_eq!(answer(&mut http).status, 403);
}

#[test]
fn conditions_decide_what_may_be_replaced() {
    let inbox = Inbox::open("put-conditions", &[]);
    let put = |fields: &[&str]| inbox.put("/in/file", fields, b"bytes").status;
    assert_eq!(put(&["If-Match: *"]), 412);
    assert_eq!(put(&["If-None-Match: *"]), 201);
    assert_eq!(put(&["If-None-Match: *"]), 412);
    let tag = etag(&inbox, "/in/file");
    assert_eq!(put(&[&format!("If-None-Match: {tag}")]), 412);
    assert_eq!(put(&["If-Match: \"other\""]), 412);
    assert_eq!(put(&["If-Match: *"]), 204);
    let (then, now) = (tag, etag(&inbox, "/in/file"));
    assert_ne!(then, now);
    assert_eq!(put(&[&format!("If-Match: {then}")]), 412);
    assert_eq!(put(&[&format!("If-Match: {now}")]), 204);
    assert_eq!(put(&["If-Unmodified-Since: Thu, 01 Jan 1970 00:00:07 GMT"]), 412);
}

/// Two uploads under the same conditions that have both begun: each sends its name.
fn two_at_once(inbox: &Inbox, fields: &[&str]) -> [u16; 2] {
    let mut both = [inbox.connect(), inbox.connect()];
    both.iter_mut().for_each(|http| begin(http, "/in/file", fields, 3));
    let statuses = [(0, "one"), (1, "two")].map(|(at, body)| {
        both[at].send(body);
        answer(&mut both[at]).status
    });
    assert_eq!(inbox.names(), ["file"]);
    statuses
}

#[test]
fn of_two_uploads_with_the_same_condition_one_is_too_late() {
    let inbox = Inbox::open("put-race", &[]);
    assert_eq!(two_at_once(&inbox, &["If-None-Match: *"]), [201, 412]);
    assert_eq!(inbox.read("file"), b"one");
    fs::write(inbox.folder.join("file"), b"old").unwrap();
    let tag = format!("If-Match: {}", etag(&inbox, "/in/file"));
    assert_eq!(two_at_once(&inbox, &[&tag]), [204, 412]);
    assert_eq!(inbox.read("file"), b"one");
}

#[test]
fn of_two_uploads_without_a_condition_the_last_one_stays() {
    let inbox = Inbox::open("put-last", &[]);
    assert_eq!(two_at_once(&inbox, &[]), [201, 204]);
    assert_eq!(inbox.read("file"), b"two");
}

#[test]
fn many_uploads_of_one_name_are_each_whole() {
    let inbox = Inbox::open("put-many", &[]);
    let bodies: Vec<Vec<u8>> = (0..8).map(|at| content(300_000 + at)).collect();
    std::thread::scope(|scope| {
        for body in &bodies {
            scope.spawn(|| {
                let mut http = inbox.connect();
                for _ in 0..10 {
                    let reply = put(&mut http, "/in/file", &[], body);
                    assert!([201, 204].contains(&reply.status), "{reply:?}");
                    let got = http.ask("GET", "/in/file", &[]).body;
                    assert!(bodies.contains(&got), "{} bytes are of no upload", got.len());
                }
            });
        }
    });
    assert_eq!(inbox.names(), ["file"]);
}

#[test]
fn a_get_of_a_file_that_is_replaced_meanwhile_brings_the_old_or_the_new_one() {
    let inbox = Inbox::open("put-get", &[]);
    // Larger than what the sockets hold, so that the GET is under way.
    let (old, new) = (content(64 << 20), content(100));
    fs::write(inbox.folder.join("file"), &old).unwrap();
    let mut reader = inbox.connect();
    reader.send("GET /in/file HTTP/1.1\r\nHost: x\r\n\r\n");
    let length: usize = reader.head().field("content-length").parse().unwrap();
    assert_eq!(inbox.put("/in/file", &[], &new).status, 204);
    let mut got = vec![0; length];
    reader.stream.read_exact(&mut got).unwrap();
    assert_same(&got, &old, "the old file");
    assert_same(&inbox.connect().ask("GET", "/in/file", &[]).body, &new, "the new file");
}

const ABC_MD5: &str = "md5=:kAFQmDzST7DWlj99KOF/cg==:";
const ABC_SHA256: &str = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";

#[test]
fn a_digest_is_checked_and_a_wrong_one_leaves_the_old_file() {
    let mut inbox = Inbox::open("put-digest", &[]);
    for digest in [ABC_MD5, ABC_SHA256] {
        for field in ["Repr-Digest", "Content-Digest"] {
            let field = format!("{field}: {digest}");
            let reply = inbox.put("/in/file", &[&field], b"abc");
            assert!([201, 204].contains(&reply.status), "{reply:?}");
            inbox.upload_line();
            let reply = inbox.put("/in/file", &[&field], b"abd");
            assert_eq!(reply.status, 400, "{field}");
            assert!(reply.error().contains("do not have the digest"), "{reply:?}");
            let line = inbox.upload_line();
            assert!(line.contains(" 3 bytes of 3 in ") && line.contains(": 400 Bad"), "{line}");
        }
    }
    assert_eq!((inbox.read("file"), inbox.names().len()), (b"abc".to_vec(), 1));
}

/// The one name in the folder that is not `file`.
fn temporary(inbox: &Inbox) -> String {
    let names = inbox.names().into_iter().map(|name| name.into_string().unwrap());
    let [name] = &names.filter(|name| name != "file").collect::<Vec<_>>()[..] else {
        panic!("{:?}", inbox.names())
    };
    name.clone()
}

#[test]
fn a_file_on_its_way_is_private_and_nobody_gets_or_sees_it() {
    let inbox = Inbox::open("put-hidden", &["--index"]);
    let mut http = inbox.connect();
    begin(&mut http, "/in/file", &[], 8);
    http.send("half");
    let name = temporary(&inbox);
    assert!(name.starts_with(".ropewalk-") && name.len() == 42, "{name}");
    assert_eq!(fs::metadata(inbox.folder.join(&name)).unwrap().mode() & 0o7777, 0o600);
    let target = format!("/in/{name}");
    for method in ["GET", "HEAD"] {
        assert_eq!(inbox.connect().ask(method, &target, &[]).status, 404, "{method}");
    }
    let listed = inbox.connect().ask("GET", "/in/", &["Accept: application/json"]);
    assert!(!listed.text().contains("ropewalk-"), "{listed:?}");
    let post = format!(
        "POST {target} HTTP/1.1\r\nContent-Length: 28\r\n\r\n{{\"threads\": 1,\"protocol\": 2}}"
    );
    assert_eq!(crate::support::http::reply(&inbox.server, post).0.status, 404);
    http.send("half");
    assert_eq!(answer(&mut http).status, 201);
    assert_eq!(inbox.names(), ["file"]);
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let mut inbox = Inbox::open("put-gone", &[]);
    fs::write(inbox.folder.join("file"), b"old").unwrap();
    let mut http = inbox.connect();
    begin(&mut http, "/in/file", &[], 1 << 30);
    http.send(content(100_000));
    temporary(&inbox);
    drop(http);
    let line = inbox.upload_line();
    assert!(line.contains(" PUT /in/file 100000 bytes of 1073741824 in "), "{line}");
    assert!(line.ends_with(" s: the client ended it\n"), "{line}");
    assert_eq!((inbox.names().len(), inbox.read("file")), (1, b"old".to_vec()));
}

#[test]
fn a_client_that_stalls_is_told_and_leaves_nothing() {
    let mut inbox = Inbox::open("put-stall", &["--stall-timeout", "1"]);
    let mut http = inbox.connect();
    begin(&mut http, "/in/file", &[], 8);
    http.send("half");
    let reply = answer(&mut http);
    assert_eq!((reply.status, reply.error()), (408, "no data came for too long"));
    assert!(http.is_closed());
    let line = inbox.upload_line();
    assert!(line.contains(" 4 bytes of 8 in ") && line.contains(": 408 Request Time"), "{line}");
    assert!(inbox.names().is_empty());
}

#[test]
fn a_server_that_ends_leaves_nothing() {
    let inbox = Inbox::open("put-stop", &[]);
    let mut http = inbox.connect();
    begin(&mut http, "/in/file", &[], 8);
    http.send("half");
    temporary(&inbox);
    let Inbox { server, folder, scratch: _scratch } = inbox;
    assert_eq!(server.stop().status.code(), Some(0));
    assert!(Scratch::names(&folder).is_empty());
}

#[test]
fn what_a_killed_server_left_goes_after_a_week() {
    let mut inbox = Inbox::open("put-killed", &[]);
    let mut http = inbox.connect();
    begin(&mut http, "/in/file", &[], 8);
    http.send("half");
    let left = inbox.folder.join(temporary(&inbox));
    inbox.server.kill();
    let starts = |expected: &[&str]| {
        let options = [&WRITABLE[..], &["--writable-by-anyone"]].concat();
        let server = Server::start(&inbox.scratch, &options);
        let reply = put(&mut Http::connect(server.address), "/in/new", &[], b"new");
        assert!([201, 204].contains(&reply.status), "{reply:?}");
        let names = inbox.names();
        assert_eq!(names.len(), expected.len(), "{names:?}");
        assert!(expected.iter().all(|name| names.contains(&(*name).into())), "{names:?}");
    };
    let name = left.file_name().unwrap().to_str().unwrap();
    starts(&["new", name]);
    let week = Duration::from_secs(7 * 86_400 + 60);
    File::options()
        .write(true)
        .open(&left)
        .unwrap()
        .set_modified(SystemTime::now() - week)
        .unwrap();
    starts(&["new"]);
}

#[test]
fn a_new_file_has_the_mode_of_the_umask_and_a_replaced_one_keeps_its_bits() {
    let inbox = Inbox::with("put-mode", |scratch| {
        let mut command = scratch.program("server");
        command.args(WRITABLE).arg("--writable-by-anyone");
        after("umask 027", &command)
    });
    let mode = || fs::metadata(inbox.folder.join("file")).unwrap().mode() & 0o7777;
    inbox.put("/in/file", &[], b"new");
    assert_eq!(mode(), 0o640);
    fs::set_permissions(inbox.folder.join("file"), Permissions::from_mode(0o4711)).unwrap();
    assert_eq!(inbox.put("/in/file", &[], b"newer").status, 204);
    assert_eq!(mode(), 0o711);
}

#[test]
fn every_upload_has_a_line_in_the_log_and_counts() {
    let mut inbox = Inbox::with("put-metrics", |scratch| {
        let mut command = scratch.program("server");
        command.args(WRITABLE).args(["--writable-by-anyone", "--metrics", "127.0.0.1:0"]);
        command
    });
    inbox.put("/in/a%0ab", &[], &content(1000));
    let line = inbox.upload_line();
    assert!(line.contains(" PUT /in/a\\x0ab 1000 bytes of 1000 in "), "{line}");
    assert!(line.ends_with(" s: complete\n"), "{line}");
    assert_eq!(inbox.put("/file", &[], b"x").status, 403);
    let line = inbox.server.running.next_error_line();
    assert!(line.contains(" PUT /file refused: 403 Forbidden: nothing may be"), "{line}");
    let mut http = inbox.connect();
    begin(&mut http, "/in/b", &[], 10);
    http.send("1234");
    let metrics = inbox.server.metrics.unwrap();
    let counts = |line: &str| {
        let text = Http::connect(metrics).ask("GET", "/-/metrics", &[]);
        text.text().lines().any(|own| own == line)
    };
    assert!(counts("ropewalk_uploads_active 1"));
    drop(http);
    inbox.upload_line();
    for line in [
        "ropewalk_uploads_active 0",
        "ropewalk_uploads_total{outcome=\"complete\"} 1",
        "ropewalk_uploads_total{outcome=\"failed\"} 1",
        "ropewalk_upload_bytes_total 1004",
        "ropewalk_errors_total{status=\"403\"} 1",
    ] {
        assert!(counts(line), "{line}");
    }
}

#[test]
fn uploads_flow_at_the_rate_of_the_server() {
    let inbox = Inbox::open("put-rate", &["--limit-rate", "1M"]);
    let begun = Instant::now();
    assert_eq!(inbox.put("/in/file", &[], &content(3 << 20)).status, 201);
    // Without the limit it takes a small part of this.
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn a_page_has_an_upload_field_only_where_files_may_be_put() {
    let inbox = Inbox::open("put-page", &["--index"]);
    fs::create_dir(inbox.folder.join("deep")).unwrap();
    fs::create_dir(inbox.scratch.path("root/other")).unwrap();
    let page = |target: &str| inbox.connect().ask("GET", target, &[BROWSER]);
    for (target, expected) in
        [("/in/", true), ("/in/deep/", true), ("/", false), ("/other/", false)]
    {
        let reply = page(target);
        let has_field = reply.text().contains("<section id=\"upload\"");
        let policy = reply.field("content-security-policy");
        assert_eq!((reply.status, has_field), (200, expected), "{target}");
        assert_eq!(policy.contains("connect-src 'self'"), expected, "{target}: {policy}");
        assert_eq!(reply.text().matches("<script>").count(), 1 + usize::from(expected));
    }
    // Programs get the plain index, as everywhere.
    let plain = inbox.connect().ask("GET", "/in/", &[]);
    assert!(!plain.text().contains("<script"), "{plain:?}");
}

/// A server on a disk of 4 MiB, of which a part may have to stay free.
fn on_a_disk_of_4_mib(test: &str, keep_free: &str) -> Option<Inbox> {
    let scratch = Scratch::new(test);
    let mut server = scratch.program("server");
    server.args(["--root", ".", "--writable", ".", "--writable-by-anyone"]);
    server.args(["--keep-free", keep_free, "--index"]);
    let folder = scratch.make_dir("root");
    let command = on_a_small_disk(&folder, "4m", "exec \"$0\" \"$@\"", &server)?;
    let mut server = Server::start_command(&scratch, command);
    server.running.next_line();
    Some(Inbox { server, folder, scratch })
}

fn listed(inbox: &Inbox) -> String {
    let mut http = inbox.connect();
    http.ask("GET", "/", &["Accept: application/json"]).text().to_string()
}

#[test]
fn a_file_that_the_disk_has_no_room_for_is_refused_before_the_body() {
    let Some(inbox) = on_a_disk_of_4_mib("put-full", "25") else { return };
    let fits = |size: u64| {
        let mut http = inbox.connect();
        http.send(head("/file", &["Expect: 100-continue"], size));
        http.head().status
    };
    assert_eq!((fits(5 << 20), fits(3 << 20), fits(1 << 40)), (507, 507, 507));
    assert_eq!(fits(2 << 20), 100);
}

#[test]
fn what_others_have_announced_counts() {
    let Some(mut inbox) = on_a_disk_of_4_mib("put-announced", "0") else { return };
    let mut first = inbox.connect();
    begin(&mut first, "/first", &[], 3 << 20);
    let second: Reply = inbox.put("/second", &[], &content(2 << 20));
    assert_eq!(second.status, 507, "{second:?}");
    assert_eq!(inbox.put("/second", &[], &content(1 << 19)).status, 201);
    drop(first);
    while !inbox.upload_line().contains("the client ended it") {}
    assert_eq!(inbox.put("/second", &[], &content(2 << 20)).status, 204);
}

#[test]
fn a_disk_that_fills_up_meanwhile_ends_the_upload_and_leaves_nothing() {
    let scratch = Scratch::new("put-fills");
    let folder = scratch.make_dir("root");
    let mut server = scratch.program("server");
    server.args(["--root", ".", "--writable", ".", "--writable-by-anyone", "--keep-free", "0"]);
    server.arg("--index");
    // Another program takes what is left when the file `go` has come, and a MiB of the other one.
    let script = "(until [ -e go ] && [ \"$(du -sk . | cut -f 1)\" -ge 1024 ]; do sleep 0.01; done
        cat /dev/zero >fill 2>/dev/null; : >full) &
        exec \"$0\" \"$@\"";
    let Some(command) = on_a_small_disk(&folder, "4m", script, &server) else { return };
    let mut server = Server::start_command(&scratch, command);
    server.running.next_line();
    let mut inbox = Inbox { server, folder, scratch };
    let mut http = inbox.connect();
    begin(&mut http, "/file", &[], 3 << 20);
    http.send(content(1 << 20));
    assert_eq!(inbox.put("/go", &[], b"").status, 201);
    wait_until("the disk is full", || listed(&inbox).contains("\"name\":\"full\"").then_some(()));
    let _ = http.stream.get_mut().write_all(&content(2 << 20));
    let reply = answer(&mut http);
    assert_eq!(reply.status, 507, "{reply:?}");
    assert!(!listed(&inbox).contains("\"name\":\"file\""));
    let line = inbox.upload_line();
    assert!(line.contains(" PUT /go 0 bytes of 0 "), "{line}");
    let line = inbox.upload_line();
    assert!(line.contains(": 507 Insufficient Storage: "), "{line}");
    // What it had taken is free again.
    let fits = inbox.put("/file", &[], &content(1 << 19));
    assert_eq!(fits.status, 201, "{fits:?}");
}

#[test]
fn a_folder_that_may_not_be_written_is_an_error_at_the_start() {
    let scratch = Scratch::new("put-options");
    fs::create_dir_all(scratch.path("root/in")).unwrap();
    fs::create_dir(scratch.path("in")).unwrap();
    let users = scratch.write("root/in/users", b"ann:sesame\n");
    fs::set_permissions(users, Permissions::from_mode(0o600)).unwrap();
    let anyone = "--writable-by-anyone";
    for (options, words) in [
        (&["--writable", "in", anyone][..], "--writable in: is not within "),
        (&["--writable", "root/..", anyone], "--writable root/..: is not within "),
        (&["--writable", "root/none", anyone], "--writable root/none: No such file"),
        (&["--writable", "root/in"], "--writable: needs --auth"),
        (&["--writable", "root/in", "--auth", "root/in/users"], "is within --writable"),
        (&["--writable", "root/in", anyone, "--log", "root/in/log"], "is within --writable"),
        (&[anyone], "--writable-by-anyone: needs --writable"),
        (&["--max-upload", "1G"], "--max-upload: needs --writable"),
        (&["--keep-free", "5"], "--keep-free: needs --writable"),
        (&["--writable", "root/in", anyone, "--auth", "users"], "exclude each other"),
        (&["--writable", "root/in", anyone, "--max-upload", "x"], "--max-upload: must be bytes"),
    ] {
        let mut server = scratch.program("server");
        server.args(["--root", "root"]).args(options).arg("0").current_dir(scratch.folder());
        run(&mut server).failed(2, "server", words);
    }
}

#[test]
fn a_server_says_at_its_start_who_may_write_where() {
    let scratch = Scratch::new("put-start");
    let folder = scratch.make_dir("in");
    let users = scratch.write("users", b"ann:sesame\n");
    fs::set_permissions(users, Permissions::from_mode(0o600)).unwrap();
    for (option, who) in [
        (&["--writable-by-anyone"][..], "EVERYBODY who can connect"),
        (&["--auth", "users"], "every user of --auth"),
    ] {
        let options = [&["-q", "--writable", "in"], option].concat();
        let mut server = Server::start(&scratch, &options);
        let line = server.running.next_line();
        assert_eq!(line, format!("writable by {who}: {}\n", folder.display()));
    }
}

#[test]
fn without_a_root_names_are_those_of_the_machine() {
    let scratch = Scratch::new("put-machine");
    let folder = scratch.make_dir("in");
    let options = ["-q", "--writable", "in", "--writable-by-anyone", "--keep-free", "0"];
    let server = Server::start(&scratch, &options);
    let put = |target: &str| put(&mut Http::connect(server.address), target, &[], b"x").status;
    assert_eq!(put(folder.join("a").to_str().unwrap()), 201);
    assert_eq!(put("in/b"), 201);
    assert_eq!((put("/in/c"), put("c"), put(scratch.path("c").to_str().unwrap())), (403, 403, 403));
    assert_eq!(Scratch::names(&folder), ["a", "b"]);
}
