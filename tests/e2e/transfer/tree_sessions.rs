//! A server's sessions of folders, as a client by hand sees them: who gets an offer, what it says,
//! and that everything below the folder can be fetched in every way.

use crate::support::harness::{Scratch, Server, content, wait_until};
use crate::support::http::reply;
use crate::support::namespace::apart;
use crate::support::peers::classic;
use crate::support::peers::tree::{TREE, ask, ask_with, post};
use crate::support::proof;
use crate::support::system::{on_an_old_kernel, signal, without_privileges};
use ropewalk::codec::wire::{RefusalCode, Request};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Makes the folder `top` with some files, and returns these.
fn make_tree(scratch: &Scratch, top: &str) -> BTreeMap<String, Vec<u8>> {
    let sizes = [("a", 1), ("empty", 0), ("sub/large", 3 << 20), ("sub/deep/b", 70_000)];
    let mut files: BTreeMap<_, _> =
        sizes.into_iter().map(|(name, size)| (name.to_string(), content(size))).collect();
    files.extend((0..300).map(|number| (format!("many/{number}"), content(number))));
    for (name, bytes) in &files {
        let path = scratch.path(top).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    files
}

#[test]
fn a_folder_is_offered_listed_and_fetched_whole() {
    let scratch = Scratch::new("tree-whole");
    let files = make_tree(&scratch, "top");
    let mut server = Server::start(&scratch, &[]);
    let session = ask(&server, "top", 2);
    let (mut one, mut other) = (session.open(), session.open());
    assert_eq!(one.fetch_all(&session), files);
    assert_eq!(other.fetch_all(&session).len(), files.len());
    one.finish();
    let line = server.next_log_line();
    let (_, said) = line.split_once(" top ").unwrap();
    // A file without bytes takes no request.
    let (full, bytes) = (2 * (files.len() - 2), 2 * files.values().map(Vec::len).sum::<usize>());
    let expected = format!("{full} files, {bytes} bytes sent over 2 streams in ");
    assert!(said.starts_with(&expected) && said.ends_with(" s: complete\n"), "{line} {expected}");
    drop(server);
    proof::nothing_stays(&scratch);
}

#[test]
fn the_offer_has_the_state_of_the_folder() {
    let scratch = Scratch::new("tree-offer");
    let server = Server::start(&scratch, &[]);
    let top = scratch.make_dir("a top");
    fs::set_permissions(&top, Permissions::from_mode(0o751)).unwrap();
    let mtime = UNIX_EPOCH + Duration::new(1_700_000_001, 987_654_321);
    File::open(&top).unwrap().set_modified(mtime).unwrap();
    let found = fs::metadata(&top).unwrap();
    let session = ask(&server, "a%20top", 4);
    assert_eq!((session.folder.mode, session.granted), (0o751, None));
    assert_eq!(session.folder.mtime.seconds, 1_700_000_001);
    assert_eq!(session.folder.mtime.nanoseconds, 987_654_321);
    assert_eq!((session.folder.uid, session.folder.gid), (found.uid(), found.gid()));
    // Another session of the same folder, by another name, for a client with a file in its place.
    symlink("a top", scratch.path("link")).unwrap();
    let existing = ",\"existing\":{\"size\":1,\"mtime_s\":1,\"mtime_ns\":1}";
    let more = format!("{TREE}{existing},\"max_threads\":9");
    let again = ask_with(&server, "link", 4, &more);
    assert_eq!((again.folder, again.granted), (session.folder, Some(9)));
    assert_ne!(again.token, session.token);
}

#[test]
fn without_the_wish_for_a_tree_a_folder_is_no_file() {
    let scratch = Scratch::new("tree-unwanted");
    let server = Server::start(&scratch, &[]);
    scratch.make_dir("top");
    for more in ["", ",\"tree\":false", ",\"one_file_system\":true"] {
        let refused = post(&server, "top", 1, more);
        assert_eq!((refused.status, refused.error()), (404, "not a regular file"), "{more}");
    }
    assert_eq!(post(&server, "top", 1, ",\"tree\":1").status, 400);
    let body = "{\"threads\":1,\"tree\":true}";
    let length = body.len();
    let post = format!("POST top HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
    let (refused, _) = reply(&server, post);
    assert_eq!((refused.status, refused.error()), (404, "not a regular file"));
    let (refused, _) = reply(&server, classic::request(b"top", 1));
    assert_eq!(refused.status, 404);
}

#[test]
fn with_the_wish_for_a_tree_a_file_is_still_a_file() {
    let scratch = Scratch::new("tree-file");
    let server = Server::start(&scratch, &[]);
    scratch.write("file", b"bytes");
    let offer = post(&server, "file", 1, TREE);
    assert_eq!((offer.status, offer.member("size")), (200, "5"));
    assert!(offer.find("etag").is_some());
    for name in ["none", "file/", "/dev/null", "/proc"] {
        assert_eq!(post(&server, name, 1, TREE).status, 404, "{name}");
    }
}

#[test]
fn no_folder_outside_of_root_is_offered_and_each_looks_like_a_missing_one() {
    let scratch = Scratch::new("tree-root");
    let root = scratch.make_dir("root");
    make_tree(&scratch, "root/top");
    make_tree(&scratch, "beside");
    symlink("top/sub", root.join("inside")).unwrap();
    symlink("../beside", root.join("out")).unwrap();
    symlink(scratch.path("beside"), root.join("absolute")).unwrap();
    symlink("../../beside", root.join("top/out")).unwrap();
    fs::create_dir(root.join("closed")).unwrap();
    fs::set_permissions(root.join("closed"), Permissions::from_mode(0o311)).unwrap();
    let mut command = scratch.program("server");
    command.args(["--root", "root"]).current_dir(scratch.folder());
    without_privileges(&mut command);
    let server = Server::start_command(&scratch, command);
    for name in ["/", "top", "/top/", "top/../top/sub", "inside"] {
        let session = ask(&server, name, 1);
        let mut stream = session.open();
        assert!(!stream.list("", session.folder.identity).is_empty(), "{name}");
        // Links are entries of the tree, and lead nowhere.
        if name == "top" {
            assert_eq!(stream.refusal("out"), RefusalCode::OtherType);
            assert_eq!(stream.refusal("out/sub"), RefusalCode::OtherType);
        }
        stream.finish();
    }
    let missing = post(&server, "none", 1, TREE);
    assert_eq!((missing.status, missing.error()), (404, "no such file"));
    let beside = scratch.path("beside").into_os_string().into_string().unwrap();
    for name in ["..", "../beside", "out", "out/sub", "absolute", "top/out", "closed", &beside] {
        let refused = post(&server, name, 1, TREE);
        assert_eq!((refused.status, &refused.body), (404, &missing.body), "{name}");
    }
}

#[test]
fn a_folder_that_the_server_may_not_read_is_forbidden() {
    let scratch = Scratch::new("tree-forbidden");
    let closed = scratch.make_dir("closed");
    fs::set_permissions(closed, Permissions::from_mode(0o311)).unwrap();
    let mut command = scratch.program("server");
    command.current_dir(scratch.folder());
    without_privileges(&mut command);
    let server = Server::start_command(&scratch, command);
    let refused = post(&server, "closed", 1, TREE);
    assert_eq!((refused.status, refused.error()), (403, "permission denied"));
}

#[test]
fn a_lost_session_is_followed_by_another_one_of_the_same_folder() {
    let scratch = Scratch::new("tree-again");
    let files = make_tree(&scratch, "top");
    let mut server = Server::start(&scratch, &[]);
    let first = ask(&server, "top", 1);
    let mut stream = first.open();
    let names = stream.list("", first.folder.identity);
    signal(proof::children(server.running.pid(), 1)[0], libc::SIGKILL);
    let line = server.next_log_line();
    assert!(line.contains(" top 0 files, 0 bytes sent over "), "{line}");
    // The folder has changed meanwhile, and is the same folder.
    scratch.write("top/new", b"new");
    let second = ask(&server, "top", 1);
    assert_eq!(second.folder.identity, first.folder.identity);
    let mut stream = second.open();
    assert_eq!(stream.fetch("a", &names["a"]).unwrap(), files["a"]);
    assert_eq!(stream.list("", second.folder.identity).len(), names.len() + 1);
}

#[test]
fn a_folder_comes_through_the_control_port_too() {
    let scratch = Scratch::new("tree-port");
    let files = make_tree(&scratch, "top");
    let mut server = Server::start(&scratch, &[]);
    let session = ask(&server, "top", 4);
    let mut stream = session.open_at(server.address);
    assert_eq!(stream.fetch_all(&session), files);
    stream.finish();
    assert!(server.next_log_line().ends_with(": complete\n"));
}

#[test]
fn a_session_of_a_folder_has_a_place_as_every_transfer() {
    let scratch = Scratch::new("tree-place");
    make_tree(&scratch, "top");
    let mut server = Server::start(&scratch, &["--max-transfers", "1"]);
    let session = ask(&server, "top", 1);
    assert_eq!(post(&server, "top", 1, TREE).status, 503);
    session.open().ask(&Request::Leave);
    assert!(server.next_log_line().contains(": the client has given up the rest"));
    ask(&server, "top", 1);
}

#[test]
fn a_session_that_only_lists_is_not_silent() {
    let scratch = Scratch::new("tree-lists");
    make_tree(&scratch, "top");
    let options = ["--max-transfers", "1", "--idle-timeout", "1"];
    let mut server = Server::start(&scratch, &options);
    let session = ask(&server, "top", 1);
    let mut stream = session.open();
    // Longer than a silent session keeps its place.
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        stream.list("", session.folder.identity);
        assert_eq!(post(&server, "top", 1, TREE).status, 503);
        // A hundredth of the time after which it is silent.
        thread::sleep(Duration::from_millis(10));
    }
    // And now it is.
    wait_until("a free place", || (post(&server, "top", 1, TREE).status == 200).then_some(()));
    let line = server.next_log_line();
    assert!(line.ends_with(": moved nothing, and made room for another transfer\n"), "{line}");
}

#[test]
fn a_folder_needs_the_password_too() {
    let scratch = Scratch::new("tree-auth");
    make_tree(&scratch, "top");
    let users = scratch.write("users", b"ann:sesame\n");
    fs::set_permissions(users, Permissions::from_mode(0o600)).unwrap();
    let server = Server::start(&scratch, &["--auth", "users"]);
    for name in ["top", "none"] {
        let refused = post(&server, name, 1, TREE);
        assert_eq!((refused.status, refused.error()), (401, "a password is needed"), "{name}");
    }
}

#[test]
fn other_file_systems_are_entered_unless_the_client_says_otherwise() {
    let scratch = Scratch::new("tree-mounts");
    make_tree(&scratch, "top");
    let mounted = scratch.make_dir("top/mounted");
    let command = scratch.program("server");
    let (setting, mounted) = ("mount -t tmpfs tmpfs", mounted.display());
    let setting = format!("{setting} '{mounted}' && echo text >'{mounted}/file'");
    let Some(mut command) = apart("-m", &setting, &command) else { return };
    command.current_dir(scratch.folder());
    let server = Server::start_command(&scratch, command);
    let session = ask(&server, "top", 1);
    let mut stream = session.open();
    let top = stream.list("", session.folder.identity);
    let inside = stream.list("mounted", top["mounted"].identity);
    assert_eq!(stream.fetch("mounted/file", &inside["file"]).unwrap(), b"text\n");
    let session = ask_with(&server, "top", 1, &format!("{TREE},\"one_file_system\":true"));
    let mut stream = session.open();
    assert_eq!(stream.list("", session.folder.identity), top);
    assert_eq!(stream.refusal("mounted"), RefusalCode::NotEntered);
    let refused = stream.fetch("mounted/file", &inside["file"]);
    assert_eq!(refused, Err(RefusalCode::NotEntered));
    assert_eq!(stream.list("sub", top["sub"].identity).len(), 2);
}

#[test]
fn an_old_kernel_serves_folders_as_well() {
    let scratch = Scratch::new("tree-old");
    let files = make_tree(&scratch, "top");
    symlink("../top", scratch.path("top/sub/link")).unwrap();
    let mut command = scratch.program("server");
    command.arg("-v").current_dir(scratch.folder());
    on_an_old_kernel(&mut command);
    let mut server = Server::start_command(&scratch, command);
    let session = ask(&server, "top", 1);
    let line = server.next_log_line();
    assert!(line.contains("no other folder (Landlock): not supported"), "{line}");
    assert!(line.contains("system calls (seccomp): applied"), "{line}");
    let mut stream = session.open();
    let sub = stream.list("", session.folder.identity)["sub"].identity;
    assert_eq!(stream.list("sub", sub).len(), 3);
    assert_eq!(stream.refusal("sub/link"), RefusalCode::OtherType);
    for (name, bytes) in [("a", &files["a"]), ("sub/large", &files["sub/large"])] {
        let (folder, base) = name.rsplit_once('/').unwrap_or(("", name));
        let identity = if folder.is_empty() { session.folder.identity } else { sub };
        let fact = stream.list(folder, identity)[base].clone();
        assert_eq!(&stream.fetch(name, &fact).unwrap(), bytes);
    }
}
