//! What the options of the client mean for a push, and what the client prints and draws.

use crate::support::exit::{INCOMPLETE, SYSTEM};
use crate::support::harness::{Outcome, Scratch, content, run};
use crate::support::system::without_privileges;
use crate::support::uploads::Inbox;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::{Duration, UNIX_EPOCH};

/// Pushes the folder `top` with these options.
fn push(inbox: &Inbox, options: &[&str]) -> Outcome {
    run(inbox.push("top", "in/top").args(options))
}

/// Writes `top/NAME` here, with this mtime in seconds.
fn here(inbox: &Inbox, name: &str, bytes: &[u8], mtime: u64) {
    let path = inbox.scratch.path("top").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    set_mtime(&path, mtime);
}

/// The same there.
fn there(inbox: &Inbox, name: &str, bytes: &[u8], mtime: u64) {
    let path = inbox.folder.join("top").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    set_mtime(&path, mtime);
}

fn set_mtime(path: &std::path::Path, seconds: u64) {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn inbox(test: &str, options: &[&str]) -> Inbox {
    let inbox = Inbox::open(test, options);
    inbox.scratch.make_dir("top");
    inbox
}

#[test]
fn what_is_excluded_is_neither_sent_nor_deleted() {
    let inbox = inbox("push-exclude", &["--allow-delete"]);
    here(&inbox, "a.c", b"source", 1);
    here(&inbox, "a.o", b"object", 1);
    there(&inbox, "b.o", b"kept", 1);
    there(&inbox, "b.c", b"gone", 1);
    push(&inbox, &["--exclude", "*.o", "--delete", "--max-delete", "1"]).succeeded();
    assert_eq!(Scratch::names(&inbox.folder.join("top")), ["a.c", "b.o"]);
}

#[test]
fn contents_are_compared_with_checksum() {
    let inbox = inbox("push-checksum", &[]);
    here(&inbox, "file", b"new bytes", 1000);
    there(&inbox, "file", b"old bytes", 1000);
    let said = push(&inbox, &[]).succeeded();
    assert!(said.contains("; 1 same") && inbox.read("top/file") == b"old bytes", "{said}");
    push(&inbox, &["--checksum"]).succeeded();
    assert_eq!(inbox.read("top/file"), b"new bytes");
}

#[test]
fn what_exists_or_is_newer_there_stays_where_that_is_wanted() {
    let inbox = inbox("push-existing", &[]);
    for (name, mtime) in [("older", 1000), ("newer", 3000)] {
        here(&inbox, name, b"from here", 2000);
        there(&inbox, name, b"there", mtime);
    }
    here(&inbox, "missing", b"from here", 2000);
    push(&inbox, &["--ignore-existing"]).succeeded();
    let read = |name: &str| String::from_utf8(inbox.read(&format!("top/{name}"))).unwrap();
    assert_eq!([read("older"), read("newer"), read("missing")], ["there", "there", "from here"]);
    push(&inbox, &["--update"]).succeeded();
    assert_eq!([read("older"), read("newer")], ["from here", "there"]);
}

#[test]
fn a_dry_run_tells_each_file_and_changes_nothing() {
    let inbox = inbox("push-dry-folder", &[]);
    here(&inbox, "file", b"new", 1000);
    let said = push(&inbox, &["-n", "-v"]).succeeded();
    assert_eq!(said, "file\n1 file would be pushed; 0 same, 0 skipped, 0 would be deleted\n");
    assert!(inbox.names().is_empty());
    there(&inbox, "other", b"stays", 1);
    push(&inbox, &["-n"]).succeeded();
    assert_eq!(Scratch::names(&inbox.folder.join("top")), ["other"]);
}

#[test]
fn each_change_is_told_with_v() {
    let inbox = inbox("push-verbose", &[]);
    here(&inbox, "a", b"x", 1000);
    here(&inbox, "d/b", b"x", 1000);
    std::os::unix::fs::symlink("a", inbox.scratch.path("top/link")).unwrap();
    let said = push(&inbox, &["-v"]).succeeded();
    let (lines, _) = said.rsplit_once("3 files").unwrap();
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a", "d/b", "folder d", "link link"], "{said}");
}

#[test]
fn the_last_object_of_progress_has_what_the_server_says() {
    let inbox = inbox("push-json", &[]);
    for name in ["a", "b", "c"] {
        here(&inbox, name, &content(5000), 1000);
    }
    there(&inbox, "a", &content(5000), 1000);
    let outcome = push(&inbox, &["--progress=json"]);
    let last = outcome.err.lines().last().unwrap();
    let figures = "\"files\":2,\"files_known\":2,\"listing_complete\":true,\"files_same\":1,";
    assert!(last.contains(figures) && last.contains("\"code\":0,"), "{outcome:?}");
}

#[test]
fn names_of_one_file_stay_so_with_hard_links() {
    let inbox = inbox("push-links", &[]);
    here(&inbox, "a", &content(5000), 1000);
    fs::hard_link(inbox.scratch.path("top/a"), inbox.scratch.path("top/b")).unwrap();
    let inode = |name: &str| fs::metadata(inbox.folder.join("top").join(name)).unwrap().ino();
    push(&inbox, &["-H"]).succeeded();
    assert_eq!(inode("a"), inode("b"));
}

#[test]
fn older_bytes_are_used_unless_the_whole_file_is_wanted() {
    let inbox = inbox("push-whole", &[]);
    let mut bytes = content(4 << 20);
    there(&inbox, "file", &bytes, 1000);
    bytes[3 << 20] ^= 1;
    here(&inbox, "file", &bytes, 2000);
    let said = push(&inbox, &[]).succeeded();
    assert!(said.contains(" found in older files"), "{said}");
    bytes[2 << 20] ^= 1;
    here(&inbox, "file", &bytes, 3000);
    let said = push(&inbox, &["--whole"]).succeeded();
    assert!(!said.contains(" found in older files"), "{said}");
    assert!(inbox.read("top/file") == bytes);
}

#[test]
fn owners_and_set_id_bits_arrive_where_the_server_allows_it() {
    let inbox = inbox("push-owner", &["--allow-owner"]);
    here(&inbox, "file", b"x", 1000);
    let path = inbox.scratch.path("top/file");
    if chown(&path, Some(1234), Some(2345)).is_err() {
        return eprintln!("not tried: needs root");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o4751)).unwrap();
    push(&inbox, &["--owner"]).succeeded();
    let found = fs::metadata(inbox.folder.join("top/file")).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1234, 2345, 0o4751));
}

#[test]
fn a_refused_entry_is_named_once_escaped_with_the_end_that_refuses_it() {
    let inbox = inbox("push-words", &["--max-upload", "1000"]);
    here(&inbox, "back\\slash", &content(2000), 1000);
    let outcome = push(&inbox, &[]);
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    let line = "back\\\\slash: the file is larger than this server takes\n";
    assert!(outcome.err.ends_with(line), "{outcome:?}");
    fs::remove_file(inbox.scratch.path("top/back\\slash")).unwrap();

    here(&inbox, "in-the-way", b"x", 1000);
    there(&inbox, "in-the-way/file", b"x", 1000);
    let outcome = push(&inbox, &[]);
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    let line = outcome.err.lines().last().unwrap();
    assert!(line.contains("in-the-way: ") && line.ends_with(" on the server"), "{outcome:?}");
    fs::remove_file(inbox.scratch.path("top/in-the-way")).unwrap();

    here(&inbox, "secret", b"x", 1000);
    fs::set_permissions(inbox.scratch.path("top/secret"), Permissions::from_mode(0o000)).unwrap();
    let mut command = inbox.push("top", "in/top");
    without_privileges(&mut command);
    let outcome = run(&mut command);
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert!(outcome.err.ends_with("secret: the client may not read it\n"), "{outcome:?}");
}

#[test]
fn a_url_names_the_server_and_the_name_there() {
    let inbox = Inbox::open("push-url", &[]);
    inbox.scratch.write("file", b"x");
    fs::create_dir(inbox.folder.join("sub")).unwrap();
    let address = inbox.server.address;
    let urls = |path: &str| [format!("http://{address}/{path}"), format!("{address}/{path}")];
    for (path, name) in [("in/a%20b", "a b"), ("in/", "file"), ("in/sub", "sub/file")] {
        for url in urls(path) {
            let mut command = inbox.scratch.program("client");
            command.args(["--push", &url, "file", "--streams=2", "--progress=none"]);
            run(command.current_dir(inbox.scratch.folder())).succeeded();
            assert_eq!(inbox.read(name), b"x", "{url}");
            fs::remove_file(inbox.folder.join(name)).unwrap();
        }
    }
    let mut command = inbox.scratch.program("client");
    command.args(["--push", "file", &urls("in/last")[0], "--progress=none"]);
    run(command.current_dir(inbox.scratch.folder())).succeeded();
    assert_eq!(inbox.names(), ["last", "sub"]);
}

/// The picture of a push of `what` to `name`.
fn picture(inbox: &Inbox, what: &str, name: &str) -> (Outcome, String) {
    let outcome = run(inbox.push(what, name).args(["--restart", "--trace", "trace.svg"]));
    (outcome, fs::read_to_string(inbox.scratch.path("trace.svg")).unwrap())
}

#[test]
fn the_picture_has_a_row_for_each_stream_of_a_push_and_comes_after_a_failure_too() {
    let inbox = inbox("push-trace", &[]);
    inbox.scratch.write("file", &content(8 << 20));
    for number in 0..200 {
        here(&inbox, &format!("f{number}"), &content(20_000), 1000);
    }
    for what in ["file", "top"] {
        let (outcome, svg) = picture(&inbox, what, "in/x");
        outcome.succeeded();
        let title = format!("in/x to {}", inbox.server.address);
        assert!(svg.contains(&title), "{svg}");
        let rows = svg.matches("<g class=\"row\" ").count();
        assert!((1..=4).contains(&rows), "{rows}: {svg}");
        let _ = fs::remove_file(inbox.folder.join("x"));
    }
    let (outcome, svg) = picture(&inbox, "file", "in/none/x");
    assert!(svg.contains("failed: ") && outcome.status.code() == Some(4), "{outcome:?}");
    let outcome = run(inbox.push("file", "in/y").args(["--trace", "no/such/folder.svg"]));
    assert!(outcome.status.success() && outcome.err.contains("no picture"), "{outcome:?}");
    let outcome = run(inbox.push("none", "in/y").arg("--trace=trace.svg"));
    assert_eq!(outcome.status.code(), Some(SYSTEM), "{outcome:?}");
}
