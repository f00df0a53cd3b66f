//! Pushes that a server refuses: where nothing may be written, without a password, what is in the
//! way, and what has no room.

use crate::support::exit::{REFUSED, SYSTEM};
use crate::support::harness::{Outcome, Running, Scratch, Server, content, run, wait_until};
use crate::support::http::{Http, Reply};
use crate::support::namespace::on_a_small_disk;
use crate::support::uploads::{Inbox, WRITABLE, inbox, spellings, state};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// The body of a POST that pushes a file without bytes.
const EMPTY: &str = concat!(
    r#"{"threads":1,"protocol":2,"push":"file","size":0,"stored":0,"mtime_s":1,"mtime_ns":0,"#,
    r#""tag":"3132","verify":"none","restart":1,"whole":0,"sync":0}"#
);

/// The same of an empty folder.
const FOLDER: &str = concat!(
    r#"{"threads":1,"protocol":2,"push":"folder","folder":"000102030405060708090a0b0c0d0e0f","#,
    r#""mode":493,"uid":0,"gid":0,"mtime_s":1,"mtime_ns":0,"verify":"crc32c","#,
    r#""tree":{"rules":[],"delete":"none","dry_run":0,"checksum":0,"whole":0,"#,
    r#""ignore_existing":0,"update":0,"hard_links":0,"owner":0,"verbose":0},"sync":0}"#
);

#[track_caller]
fn post(server: &Server, target: impl AsRef<[u8]>, body: &str) -> Reply {
    let mut http = Http::connect(server.address);
    let rest = format!(" HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    http.send([b"POST ", target.as_ref(), rest.as_bytes()].concat());
    http.receive()
}

#[test]
fn no_spelling_pushes_outside_of_the_folder() {
    for (test, body) in [("push-spellings", EMPTY), ("push-folder-spellings", FOLDER)] {
        let inbox = inbox(test);
        let before = state(inbox.scratch.folder(), &inbox.folder);
        let mut taken = 0;
        for target in spellings(&inbox.scratch) {
            let reply = post(&inbox.server, &target, body);
            let shown = target.escape_ascii();
            match reply.status {
                200 => taken += 1,
                400 | 403 | 409 => assert!(!reply.error().is_empty(), "{shown}"),
                // A server with this many sessions that nobody uses.
                503 => {}
                status => panic!("{shown}: {status}: {reply:?}"),
            }
            assert!(!Path::new("/etc/new").exists() && !Path::new("/dev/shm/new").exists());
        }
        assert!(taken > 0, "{test}");
        assert_eq!(state(inbox.scratch.folder(), &inbox.folder), before);
    }
}

#[test]
fn what_is_outside_gets_the_same_answer_whether_it_exists_or_not() {
    let inbox = inbox("push-hidden");
    let expected = post(&inbox.server, "/new", EMPTY);
    assert_eq!(expected.status, 403);
    for target in ["/file", "/other/file", "/none/new", "/in/out/file", "/in/absolute/file"] {
        for body in [EMPTY, FOLDER] {
            let reply = post(&inbox.server, target, body);
            assert_eq!((reply.status, reply.body), (403, expected.body.clone()), "{target}");
        }
    }
}

#[test]
fn names_of_files_on_their_way_are_refused() {
    let inbox = Inbox::open("push-reserved", &[]);
    for name in [".ropewalk-0123456789abcdef0123456789abcdef", "x.part", "x.part.journal"] {
        for body in [EMPTY, FOLDER] {
            assert_eq!(post(&inbox.server, format!("/in/{name}"), body).status, 403, "{name}");
        }
    }
    assert!(inbox.names().is_empty());
}

#[test]
fn what_is_in_the_way_stays() {
    let inbox = Inbox::open("push-way", &[]);
    inbox.scratch.write("file", b"x");
    inbox.scratch.make_dir("top");
    fs::write(inbox.folder.join("there"), b"there").unwrap();
    fs::create_dir_all(inbox.folder.join("sub/file")).unwrap();
    symlink("there", inbox.folder.join("link")).unwrap();
    let made = Command::new("mkfifo").arg(inbox.folder.join("fifo")).status().unwrap();
    assert!(made.success());
    for (what, name) in [
        ("file", "in/none/file"),
        ("file", "in/there/file"),
        ("file", "in/sub"),
        ("file", "in/link"),
        ("file", "in/fifo"),
        ("top", "in/there"),
        ("top", "in/link"),
        ("top", "in/fifo"),
        ("top", "in/none/top"),
    ] {
        run(&mut inbox.push(what, name)).failed(REFUSED, "client", ": 409 Conflict: ");
    }
    assert_eq!(inbox.read("there"), b"there");
    assert!(fs::symlink_metadata(inbox.folder.join("link")).unwrap().is_symlink());
}

#[test]
fn without_writable_or_without_the_password_nothing_is_taken() {
    let scratch = Scratch::new("push-closed");
    scratch.write("file", b"x");
    scratch.make_dir("root");
    let server = Server::start(&scratch, &["--root", "root"]);
    let mut command = scratch.program("client");
    command.arg("--push").arg(server.address.to_string()).args(["4", "file", "x"]);
    let refused = run(command.arg("--progress=none").current_dir(scratch.folder()));
    refused.failed(REFUSED, "client", "403 Forbidden: this server takes no uploads");

    let inbox = Inbox::with("push-password", |scratch| {
        scratch.write("users", b"me:secret\n");
        scratch.write("login", b"me:secret\n");
        scratch.write("wrong", b"me:wrong\n");
        for name in ["users", "login", "wrong"] {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(scratch.path(name), mode).unwrap();
        }
        let mut command = scratch.program("server");
        command.args(WRITABLE).args(["--auth", "users"]);
        command
    });
    inbox.scratch.write("file", &content(100_000));
    for target in ["/in/new", "/new", "/in/none/new"] {
        assert_eq!(post(&inbox.server, target, EMPTY).status, 401);
        assert_eq!(post(&inbox.server, target, r#"{"outcome":"00","wait_s":0}"#).status, 401);
    }
    let wrong = run(inbox.push("file", "in/file").args(["--auth", "wrong"]));
    assert_eq!(wrong.status.code(), Some(REFUSED), "{wrong:?}");
    run(inbox.push("file", "in/file").args(["--auth", "login"])).succeeded();
    assert_eq!(inbox.names(), ["file"]);
}

#[test]
fn a_file_that_is_too_large_or_has_no_room_is_refused_before_bytes_move() {
    let inbox = Inbox::open("push-size", &["--max-upload", "1M"]);
    inbox.scratch.write("file", &content((1 << 20) + 1));
    let refused = run(&mut inbox.push("file", "in/file"));
    refused.failed(REFUSED, "client", "413 Content Too Large: the file is larger");
    assert!(inbox.names().is_empty());
    let inbox = Inbox::open("push-room", &[]);
    let huge = EMPTY.replace("\"size\":0", "\"size\":4000000000000000");
    let huge = huge.replace("\"stored\":0", "\"stored\":4000000000000000");
    let reply = post(&inbox.server, "/in/huge", &huge);
    assert!(matches!(reply.status, 507 | 413), "{reply:?}");
    assert!(inbox.names().is_empty());
}

#[test]
fn a_second_push_to_one_name_is_refused_while_the_first_one_moves() {
    let inbox = Inbox::open("push-second", &[]);
    inbox.scratch.write("file", &content(8 << 20));
    let mut slow = inbox.push("file", "in/file");
    let first = Running::start(slow.args(["--limit-rate", "1M"]));
    wait_until("a part file", || (!inbox.names().is_empty()).then_some(()));
    let second = run(&mut inbox.push("file", "in/file"));
    second.failed(REFUSED, "client", "409 Conflict: another upload to this name is under way");
    drop(first);
}

#[test]
fn requests_that_are_none_are_refused() {
    let inbox = Inbox::open("push-bad", &[]);
    for body in [
        r#"{"push":1}"#,
        r#"{"push":"file"}"#,
        &EMPTY.replace("\"threads\":1", "\"threads\":0"),
        &EMPTY.replace("\"size\":0", "\"size\":9223372036854775808"),
        &EMPTY.replace("\"size\":0", "\"size\":-1"),
        r#"{"outcome":"xx","wait_s":0}"#,
        r#"{"outcome":"59843ddebe0a9675580d96b8bfb4b196"}"#,
    ] {
        assert_eq!(post(&inbox.server, "/in/x", body).status, 400, "{body}");
    }
    let unknown = r#"{"outcome":"59843ddebe0a9675580d96b8bfb4b196","wait_s":9}"#;
    assert_eq!(post(&inbox.server, "/in/x", unknown).status, 404);
    assert!(inbox.names().is_empty());
}

/// A server of a disk of 8 MiB, and a client that pushes `what` there.
fn push_to_a_small_disk(scratch: &Scratch, options: &[&str], what: &str) -> Option<Outcome> {
    let disk = scratch.make_dir("disk");
    let mut command = scratch.program("server");
    command.args(["--root", "root", "--writable", "root/in", "--writable-by-anyone"]).args(options);
    let script = "mkdir -p root/in && exec \"$0\" \"$@\"";
    let command = on_a_small_disk(&disk, "8m", script, &command)?;
    let server = Server::start_command(scratch, command);
    let mut client = scratch.program("client");
    client.arg("--push").arg(server.address.to_string()).args(["4", what, "in/there"]);
    Some(run(client.arg("--progress=none").current_dir(scratch.folder())))
}

#[test]
fn a_full_disk_ends_a_push_of_a_folder_with_words() {
    for (test, options, words) in [
        ("push-full", &["--keep-free", "0"][..], "No space left on device"),
        ("push-keep", &["--keep-free", "30"], "too little free space"),
    ] {
        let scratch = Scratch::new(test);
        scratch.make_dir("top");
        for number in 0..40 {
            scratch.write(format!("top/f{number}"), &content(500_000));
        }
        let Some(outcome) = push_to_a_small_disk(&scratch, options, "top") else { return };
        outcome.failed(SYSTEM, "client", words);
    }
}

#[test]
fn a_file_without_room_is_refused_before_bytes_move() {
    let scratch = Scratch::new("push-full-file");
    scratch.write("file", &content(9 << 20));
    let Some(outcome) = push_to_a_small_disk(&scratch, &["--keep-free", "0"], "file") else {
        return;
    };
    outcome.failed(REFUSED, "client", "507 Insufficient Storage: the server has too little free");
}
