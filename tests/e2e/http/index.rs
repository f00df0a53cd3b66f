//! `--index`: which entries of a folder it shows, in which form, and that no name in it does harm.

use crate::support::harness::Scratch;
use crate::support::http::Reply;
use crate::support::site::Site;
use ropewalk::codec::json::{self, Value};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

const JSON: &str = "Accept: application/json";
const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Names with bytes that are special in HTML, in URLs or in headers, or that are not text.
const NAMES: [&[u8]; 10] = [
    b"plain",
    b"<script>alert(1)<script>",
    b"\"><img src=x onerror=alert(1)>",
    b"it's & that",
    b"a#b?c=d%41+",
    b"two\nlines\r\nX: y",
    b"javascript:alert(1)",
    b"\xff\xfe",
    "Übung \u{202e}txt.exe".as_bytes(),
    b"back\\slash",
];

/// A server of its own folder, which holds `sub` with a file, and something hidden.
fn shown() -> Site {
    let server = Site::start(&["--root", ".", "--index"]);
    fs::create_dir(server.folder.join("sub")).unwrap();
    server.file("sub/file", b"four");
    server.file("a", b"");
    server.file(".hidden", b"");
    server
}

#[track_caller]
fn entries(reply: &Reply) -> Vec<Value> {
    assert_eq!((reply.status, reply.field("content-type")), (200, "application/json"));
    parse(reply.text())
}

/// The entries of a listing. Each has its own line.
#[track_caller]
fn parse(listing: &str) -> Vec<Value> {
    let lines = listing.strip_prefix("{\"entries\":[\n").expect("no listing");
    let lines = lines.strip_suffix("\n],\"complete\":true}\n").expect("an incomplete listing");
    let entries = lines.split(",\n").filter(|line| !line.is_empty());
    entries.map(|entry| json::parse(entry.as_bytes()).unwrap()).collect()
}

#[track_caller]
fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap()
}

fn links(page: &Reply) -> Vec<&str> {
    page.text().split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

fn paths(reply: &Reply) -> Vec<String> {
    entries(reply).iter().map(|entry| text(entry, "path").to_string()).collect()
}

#[test]
fn without_index_a_folder_is_not_found() {
    let server = Site::start(&["--root", "."]);
    for target in ["/", "//", "/."] {
        assert_eq!(server.ask("GET", target, &[JSON]).status, 404, "{target}");
    }
}

#[test]
fn a_page_shows_folders_first_and_nothing_hidden() {
    let server = shown();
    let reply = server.ask("GET", "/", &[]);
    assert_eq!((reply.status, reply.field("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(links(&reply), ["sub/", "a"]);
    let below = server.ask("GET", "/sub/", &[]);
    assert!(below.text().contains("<a href=\"../\">"), "{}", below.text());
    assert!(below.text().contains("<a href=\"file\">file</a></td><td>4 B</td>"));
}

#[test]
fn a_client_that_asks_for_json_gets_json() {
    let server = shown();
    fs::File::open(server.folder.join("sub/file"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777))
        .unwrap();
    let mut client = server.connect();
    let found = entries(&client.ask("GET", "/sub/", &[JSON]));
    assert_eq!(
        Value::Array(found).to_string(),
        "[{\"name\":\"file\",\"path\":\"file\",\"type\":\"file\",\"size\":4,\"mtime\":784111777}]"
    );
    assert_eq!(paths(&client.ask("GET", "/?x", &[JSON])), ["sub/", "a"]);
    for accept in ["Accept: */*", "Accept: text/html, application/json;q=0.9", "X: y"] {
        let reply = client.ask("GET", "/", &[accept]);
        assert_eq!(reply.field("content-type"), "text/html; charset=utf-8", "{accept}");
    }
}

#[test]
fn every_name_is_a_link_that_leads_to_its_file_and_nothing_else() {
    let server = shown();
    fs::create_dir(server.folder.join("odd")).unwrap();
    for name in NAMES {
        fs::write(server.folder.join("odd").join(OsStr::from_bytes(name)), name).unwrap();
    }
    let mut client = server.connect();
    let found = entries(&client.ask("GET", "/odd/", &[JSON]));
    assert_eq!(found.len(), NAMES.len());
    let page = client.ask("GET", "/odd/", &[]);
    for entry in found {
        let path = text(&entry, "path");
        let file = client.ask("GET", &format!("/odd/{path}"), &[]);
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(text(&entry, "name"), String::from_utf8_lossy(&file.body), "{path}");
        assert!(page.text().contains(&format!("<a href=\"{path}\">")), "{path}");
    }
    // The page has no such tag, so no name brought one in.
    for tag in ["script", "img", "iframe"] {
        assert!(!page.text().contains(&format!("<{tag}")), "{tag}: {}", page.text());
    }
    assert!(page.text().contains("two\\x0alines\\x0d\\x0aX: y"), "{}", page.text());
}

#[test]
fn a_page_can_run_no_script() {
    let server = shown();
    let reply = server.ask("GET", "/", &[]);
    assert_eq!(reply.field("x-content-type-options"), "nosniff");
    for accept in ["X: y", BROWSER] {
        let reply = server.ask("GET", "/", &[accept]);
        let policy = reply.field("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    }
}

#[test]
fn a_folder_without_a_slash_is_sent_to_the_same_host() {
    let server = shown();
    let mut client = server.connect();
    for (target, location) in [
        ("/sub", "/sub/"),
        ("/sub?x=//host", "/sub/"),
        ("//sub", "/sub/"),
        ("//sub/../sub", "/sub/../sub/"),
        ("/%2Fsub", "/%2Fsub/"),
        ("http://host/sub", "/sub/"),
        ("https://host//sub", "/sub/"),
        ("/sub/..", "/sub/../"),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = client.ask(method, target, &[]);
            assert_eq!((reply.status, reply.field("location")), (301, location), "{target}");
        }
    }
    assert_eq!(client.ask("GET", "//host", &[]).status, 404);
}

#[test]
fn a_head_of_a_folder_says_what_a_get_would() {
    let server = shown();
    let mut client = server.connect();
    for accept in ["X: y", JSON] {
        let (get, head) = (client.ask("GET", "/", &[accept]), client.ask("HEAD", "/", &[accept]));
        assert_eq!(head.status, 200);
        for name in ["content-length", "content-type", "etag", "vary", "cache-control"] {
            assert_eq!(get.field(name), head.field(name));
        }
    }
}

#[test]
fn the_etag_of_an_index_holds_until_an_entry_changes() {
    let server = shown();
    let mut client = server.connect();
    let tag = client.ask("GET", "/sub/", &[]).field("etag").to_string();
    let known = format!("If-None-Match: {tag}");
    let reply = client.ask("GET", "/sub/", &[&known]);
    assert_eq!((reply.status, reply.field("etag")), (304, tag.as_str()));
    assert_eq!(client.ask("GET", "/sub/", &[&known, JSON]).status, 200);
    assert_eq!(client.ask("GET", "/sub/", &["If-Match: \"other\""]).status, 412);
    // Such a write does not change the folder itself.
    fs::write(server.folder.join("sub/file"), b"longer").unwrap();
    assert_eq!(client.ask("GET", "/sub/", &[&known]).status, 200);
}

#[test]
fn an_index_has_no_parts() {
    let server = shown();
    let reply = server.ask("GET", "/", &["Range: bytes=0-9"]);
    assert_eq!((reply.status, reply.find("accept-ranges")), (200, None));
}

#[test]
fn a_link_is_shown_as_its_target_and_not_at_all_if_that_is_outside() {
    let server = shown();
    let link = |to: &str, name: &str| symlink(to, server.folder.join(name)).unwrap();
    link("sub", "link");
    link("sub/file", "file");
    link("../..", "outside");
    link("/etc/passwd", "absolute");
    link("nothing", "dangling");
    link("loop", "loop");
    assert_eq!(paths(&server.ask("GET", "/", &[JSON])), ["link/", "sub/", "a", "file"]);
    assert_eq!(paths(&server.ask("GET", "/link/", &[JSON])), ["file"]);
    for name in ["/outside", "/outside/", "/../", "/%2e%2e/", "/absolute", "/dangling/"] {
        assert_eq!(server.ask("GET", name, &[]).status, 404, "{name}");
    }
}

#[test]
fn without_a_root_every_folder_is_shown_but_nothing_above_the_top() {
    let server = Site::start(&["--index"]);
    server.file("a b", b"");
    let folder = server.folder.to_str().unwrap();
    assert_eq!(paths(&server.ask("GET", &format!("{folder}/"), &[JSON])), ["a%20b"]);
    assert!(server.ask("GET", &format!("{folder}/"), &[]).text().contains("href=\"../\""));
    let top = server.ask("GET", "/", &[]);
    assert!(top.text().contains("<a href=\"etc/\">") && !top.text().contains("href=\"../\""));
    for target in ["/dev/null/", "/etc/passwd/", "/nothing/"] {
        assert_eq!(server.ask("GET", target, &[]).status, 404, "{target}");
    }
}

#[test]
fn devices_and_pipes_are_not_shown() {
    let server = Site::start(&["--index"]);
    let found = paths(&server.ask("GET", "/dev/", &[JSON]));
    assert!(!found.iter().any(|path| path == "null" || path == "tty"), "{found:?}");
}

/// A folder with `count` files. Each name is a number followed by `rest`.
fn filled(server: &Site, count: usize, rest: &str) -> BTreeSet<String> {
    let huge = server.folder.join("huge");
    fs::create_dir(&huge).unwrap();
    let names = || (0..count).map(|number| format!("{number}{rest}"));
    Scratch::fill(&huge, names(), b"");
    names().collect()
}

#[test]
fn a_program_gets_every_entry_of_a_huge_folder() {
    let server = shown();
    let names = filled(&server, 10_001, "");
    let mut client = server.connect();
    let found = paths(&client.ask("GET", "/huge/", &[JSON]));
    assert!(found.is_sorted() && found.len() == names.len());
    assert_eq!(BTreeSet::from_iter(found), names);
    let page = client.ask("GET", "/huge/", &[]);
    let found = links(&page).into_iter().skip(1).map(String::from);
    assert_eq!(BTreeSet::from_iter(found), names);
}

#[test]
fn an_index_that_is_too_long_for_memory_is_sent_while_it_is_read() {
    let mut server = shown();
    let names = filled(&server, 25_000, &"x".repeat(245));
    let mut client = server.connect();
    for accept in [JSON, "X: y"] {
        let reply = client.ask("GET", "/huge/", &[accept]);
        assert_eq!((reply.field("transfer-encoding"), reply.find("etag")), ("chunked", None));
        let found = match accept {
            JSON => paths(&reply),
            _ => links(&reply).into_iter().skip(1).map(String::from).collect(),
        };
        assert_eq!(found.len(), names.len());
        assert_eq!(BTreeSet::from_iter(found), names);
        let line = server.log_line();
        assert!(line.contains(" GET /huge/ ") && line.ends_with(": complete\n"), "{line}");
        assert_eq!(client.ask("HEAD", "/huge/", &[accept]).field("transfer-encoding"), "chunked");
    }
    // An HTTP/1.0 client gets everything until the connection ends, even with keep-alive.
    client.send(format!("GET /huge/ HTTP/1.0\r\nConnection: keep-alive\r\n{JSON}\r\n\r\n"));
    let head = client.head();
    assert_eq!((head.field("connection"), head.find("transfer-encoding")), ("close", None));
    let mut body = Vec::new();
    client.stream.read_to_end(&mut body).unwrap();
    assert_eq!(parse(std::str::from_utf8(&body).unwrap()).len(), names.len());
}

#[test]
fn a_person_gets_pages_each_with_a_link_to_the_next() {
    let server = shown();
    let names = filled(&server, 20_001, "");
    let mut client = server.connect();
    let (mut target, mut found, mut pages) = ("/huge/".to_string(), Vec::new(), Vec::new());
    loop {
        let page = client.ask("GET", &target, &[BROWSER]);
        let files = links(&page).into_iter().filter(|link| names.contains(*link));
        let before = found.len();
        found.extend(files.map(String::from));
        pages.push(found.len() - before);
        match page.text().split("rel=\"next\" href=\"").nth(1) {
            Some(rest) => target = format!("/huge/{}", rest.split('"').next().unwrap()),
            None => break,
        }
    }
    assert_eq!(pages, [10_000, 10_000, 1]);
    let expected: Vec<String> = (0..20_001).map(|number| number.to_string()).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_index_needs_the_password_too() {
    let folder = std::env::temp_dir().join(format!("ropewalk-index-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let users = folder.join("users");
    fs::write(&users, b"user:password\n").unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();
    let options = ["--root", ".", "--index", "--auth", users.to_str().unwrap()];
    let server = Site::start(&options);
    server.file("a", b"");
    let expected = server.ask("GET", "/nothing", &[]);
    let found = server.ask("GET", "/", &[]);
    assert_eq!((found.status, &found.body), (401, &expected.body));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_get_of_a_folder_is_logged() {
    let mut server = shown();
    let length = server.ask("GET", "/sub/", &[JSON]).body.len();
    let line = server.log_line();
    assert!(line.contains(&format!(" GET /sub/ {length} bytes of {length} in ")), "{line}");
    assert!(line.ends_with(": complete\n"), "{line}");
}
