//! GET and HEAD: whole files, ranges, conditions, names, and persistent connections.

use crate::support::harness::content;
use crate::support::site::Site;
use ropewalk::codec::date;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

#[test]
fn a_get_brings_the_whole_file_and_the_fields_that_describe_it() {
    let mut server = Site::start(&[]);
    let bytes = content(3_000_001);
    let path = server.file("a.txt", &bytes);
    let reply = server.ask("GET", &path, &[]);
    assert_eq!(reply.status, 200);
    assert!(reply.body == bytes);
    assert_eq!(reply.field("accept-ranges"), "bytes");
    assert_eq!(reply.field("content-type"), "text/plain");
    assert_eq!(reply.field("content-disposition"), "attachment; filename=\"a.txt\"");
    assert_eq!(reply.field("etag").len(), 34);
    assert!(reply.field("last-modified").ends_with(" GMT"));
    assert!(reply.field("date").ends_with(" GMT"));
    let line = server.log_line();
    assert!(line.contains(&format!(" GET {path} 3000001 bytes of 3000001 in ")), "{line}");
    assert!(line.ends_with(": complete\n"), "{line}");
}

#[test]
fn a_head_says_what_a_get_would() {
    let server = Site::start(&[]);
    let path = server.file("a.tar.gz", &content(1000));
    let mut client = server.connect();
    let (get, head) = (client.ask("GET", &path, &[]), client.ask("HEAD", &path, &[]));
    assert_eq!((head.status, head.field("content-length")), (200, "1000"));
    for name in ["etag", "last-modified", "accept-ranges", "content-type", "content-disposition"] {
        assert_eq!(get.field(name), head.field(name));
    }
    assert_eq!(client.ask("GET", &path, &[]).body, get.body);
}

#[test]
fn one_range_gets_a_part_and_several_get_the_whole_file() {
    let server = Site::start(&[]);
    let bytes = content(10_000);
    let path = server.file("file", &bytes);
    let mut client = server.connect();
    for (range, start, end) in [
        ("0-0", 0, 1),
        ("0-", 0, 10_000),
        ("9999-", 9_999, 10_000),
        ("5000-99999", 5_000, 10_000),
        ("-1", 9_999, 10_000),
        ("-99999", 0, 10_000),
    ] {
        let reply = client.ask("GET", &path, &[&format!("Range: bytes={range}")]);
        assert_eq!(reply.status, 206, "{range}");
        assert!(reply.body == bytes[start..end], "{range}");
        let expected = format!("bytes {start}-{}/10000", end - 1);
        assert_eq!(reply.field("content-range"), expected);
    }
    for range in ["0-1,5-6", "5-4", "x", "1"] {
        let reply = client.ask("GET", &path, &[&format!("Range: bytes={range}")]);
        assert_eq!((reply.status, reply.find("content-range")), (200, None), "{range}");
        assert!(reply.body == bytes);
    }
    for range in ["10000-", "10000-10001", "-0"] {
        let reply = client.ask("GET", &path, &[&format!("Range: bytes={range}")]);
        assert_eq!((reply.status, reply.field("content-range")), (416, "bytes */10000"));
    }
}

#[test]
fn a_range_from_the_start_of_an_empty_file_gets_the_whole_file() {
    let server = Site::start(&[]);
    let path = server.file("empty", b"");
    let mut client = server.connect();
    for field in ["X: y", "Range: bytes=0-", "Range: bytes=0-1048575", "Range: bytes=-5"] {
        let reply = client.ask("GET", &path, &[field]);
        assert_eq!((reply.status, reply.field("content-length")), (200, "0"), "{field}");
    }
    assert_eq!(client.ask("GET", &path, &["Range: bytes=1-"]).status, 416);
}

#[test]
fn conditions_apply_to_the_current_state_of_the_file() {
    let server = Site::start(&[]);
    let path = server.file("file", b"first");
    let mut client = server.connect();
    let first = client.ask("HEAD", &path, &[]);
    let (tag, date) = (first.field("etag"), first.field("last-modified"));
    let known = client.ask("GET", &path, &[&format!("If-None-Match: {tag}")]);
    assert_eq!((known.status, known.field("etag")), (304, tag));
    assert_eq!(client.ask("GET", &path, &[&format!("If-Modified-Since: {date}")]).status, 304);
    let if_range = format!("If-Range: {tag}");
    assert_eq!(client.ask("GET", &path, &["Range: bytes=1-", &if_range]).status, 206);
    server.file("file", b"second");
    assert_eq!(client.ask("GET", &path, &[&format!("If-None-Match: {tag}")]).status, 200);
    assert_eq!(client.ask("GET", &path, &[&format!("If-Match: {tag}")]).status, 412);
    assert_eq!(client.ask("HEAD", &path, &[&format!("If-Match: {tag}")]).status, 412);
    let whole = client.ask("GET", &path, &["Range: bytes=1-", &if_range]);
    assert_eq!((whole.status, whole.text()), (200, "second"));
}

#[test]
fn last_modified_is_never_later_than_the_reply() {
    let server = Site::start(&[]);
    let path = server.file("file", b"x");
    let day = Duration::from_secs(86_400);
    fs::File::open(&path).unwrap().set_modified(SystemTime::now() + day).unwrap();
    let mut client = server.connect();
    let reply = client.ask("GET", &path, &[]);
    let told = date::parse(reply.field("last-modified").as_bytes()).unwrap();
    assert!(told <= date::parse(reply.field("date").as_bytes()).unwrap(), "{reply:?}");
    // Such a date does not tell whether the file has changed.
    let told = date::format(told);
    assert_eq!(client.ask("GET", &path, &[&format!("If-Modified-Since: {told}")]).status, 200);
    let range = client.ask("GET", &path, &["Range: bytes=0-", &format!("If-Range: {told}")]);
    assert_eq!(range.status, 200);
}

#[test]
fn the_range_unit_has_any_case_and_a_list_of_ranges_gets_the_whole_file() {
    let server = Site::start(&[]);
    let path = server.file("file", b"0123456789");
    let mut client = server.connect();
    for (range, status, text) in [
        ("Range: BYTES=2-3", 206, "23"),
        ("range:bytes=-2", 206, "89"),
        ("Range: bytes=2-3,", 200, "0123456789"),
        ("Range: items=2-3", 200, "0123456789"),
    ] {
        let reply = client.ask("GET", &path, &[range]);
        assert_eq!((reply.status, reply.text()), (status, text), "{range}");
    }
    assert_eq!(client.ask("HEAD", &path, &["Range: bytes=2-3"]).status, 200);
    let weak = client.ask("HEAD", &path, &[]).field("etag").to_string();
    let weak = client.ask("GET", &path, &["Range: bytes=2-3", &format!("If-Range: W/{weak}")]);
    assert_eq!((weak.status, weak.text()), (200, "0123456789"));
}

#[test]
fn if_none_match_takes_a_list_and_makes_the_server_ignore_the_date() {
    let server = Site::start(&[]);
    let path = server.file("file", b"x");
    let mut client = server.connect();
    let head = client.ask("HEAD", &path, &[]);
    let (tag, date) = (head.field("etag"), head.field("last-modified"));
    for (none_match, status) in [
        (format!("\"a\", W/{tag}"), 304),
        ("*".to_string(), 304),
        ("\"a\", \"b\"".to_string(), 200),
    ] {
        let fields = [format!("If-None-Match: {none_match}"), format!("If-Modified-Since: {date}")];
        let reply = client.ask("GET", &path, &[&fields[0], &fields[1]]);
        assert_eq!(reply.status, status, "{none_match}");
    }
}

#[test]
fn names_are_decoded_and_end_before_the_query() {
    let server = Site::start(&[]);
    let name = std::ffi::OsStr::from_bytes(b"a b?%41\xff.txt");
    fs::write(server.folder.join(name), b"x").unwrap();
    let folder = server.folder.to_str().unwrap();
    let mut client = server.connect();
    for target in ["a%20b%3F%2541%FF.txt", "a%20b%3f%2541%ff.txt?q=%zz"] {
        assert_eq!(client.ask("GET", &format!("{folder}/{target}"), &[]).text(), "x", "{target}");
        assert_eq!(client.ask("GET", target, &[]).text(), "x", "{target}");
    }
    for target in ["http://host/etc/passwd", "https://host:443/etc/passwd?x"] {
        assert_eq!(client.ask("GET", target, &[]).status, 200, "{target}");
        assert_eq!(client.ask("HEAD", target, &[]).status, 200, "{target}");
    }
    assert_eq!(client.ask("GET", "/%zz", &[]).status, 400);
    assert_eq!(client.ask("GET", "/etc/passwd%00", &[]).status, 400);
}

#[test]
fn only_regular_files_and_four_methods_are_served() {
    let server = Site::start(&[]);
    let folder = server.folder.to_str().unwrap().to_string();
    let mut client = server.connect();
    for target in ["/", &folder, "/dev/null", "/nothing", "*", "/etc/passwd/", "?"] {
        assert_eq!(client.ask("GET", target, &[]).status, 404, "{target}");
        assert_eq!(client.ask("HEAD", target, &[]).status, 404, "{target}");
    }
    for method in ["TRACE", "OPTIONS", "DELETE", "get", "put"] {
        let reply = client.ask(method, "/etc/passwd", &[]);
        assert_eq!((reply.status, reply.field("allow")), (405, "GET, HEAD, POST, PUT"), "{method}");
    }
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let server = Site::start(&[]);
    let paths = ["a", "b", "c"].map(|name| server.file(name, name.as_bytes()));
    let mut client = server.connect();
    let requests: String =
        paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    client.send(&requests);
    assert_eq!(
        ["a", "b", "c"].map(|_| client.receive_for("GET").text().to_string()),
        ["a", "b", "c"]
    );
}

#[test]
fn a_connection_lasts_as_long_as_its_client_wants() {
    let server = Site::start(&[]);
    let path = server.file("file", b"x");
    let mut client = server.connect();
    assert_eq!(client.ask("GET", &path, &["Connection: close"]).field("connection"), "close");
    assert!(client.is_closed());
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
    assert_eq!(client.receive_for("GET").text(), "x");
    assert!(client.is_closed());
    let mut client = server.connect();
    for _ in 0..2 {
        client.send(format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert_eq!(client.receive_for("GET").field("connection"), "keep-alive");
    }
}

#[test]
fn a_file_that_grows_meanwhile_is_cut_where_it_was() {
    let server = Site::start(&[]);
    let size = 64 << 20;
    let path = server.sparse("file", size);
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(client.head().field("content-length"), size.to_string());
    fs::File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    let copied = std::io::copy(&mut client.stream.by_ref().take(size), &mut std::io::sink());
    assert_eq!(copied.unwrap(), size);
    assert_eq!(client.ask("GET", &path, &["Range: bytes=-4"]).text(), "more");
}

#[test]
fn a_file_that_shrinks_meanwhile_ends_the_connection() {
    let mut server = Site::start(&[]);
    let path = server.sparse("file", 1 << 30);
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.head();
    client.stream.read_exact(&mut [0; 1000]).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let copied = std::io::copy(&mut client.stream, &mut std::io::sink()).unwrap();
    assert!(copied < (1 << 30) - 1000, "{copied}");
    let line = server.log_line();
    assert!(line.ends_with(": the file became shorter\n"), "{line}");
}

#[test]
fn a_client_that_takes_no_bytes_is_dropped_in_time() {
    let mut server = Site::start(&["--stall-timeout", "1"]);
    let path = server.sparse("file", 1 << 30);
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    let line = server.log_line();
    assert!(line.ends_with(": took no data for 1 s\n"), "{line}");
}

#[test]
fn a_new_connection_does_not_end_a_download() {
    let server = Site::start(&["--max-connections", "1"]);
    let path = server.sparse("file", 64 << 20);
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.head();
    assert_eq!(server.connect().head().status, 503);
    let copied = std::io::copy(&mut client.stream.by_ref().take(64 << 20), &mut std::io::sink());
    assert_eq!(copied.unwrap(), 64 << 20);
}

#[test]
fn a_stop_ends_downloads_under_way() {
    let mut server = Site::start(&[]);
    let path = server.sparse("file", 1 << 40);
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.head();
    assert_eq!(server.stop(), Some(0));
    std::io::copy(&mut client.stream, &mut std::io::sink()).unwrap();
}
