//! A hostile client that pushes: it leaves the writable folder by no race, follows and plants no
//! link, changes nothing that has a name elsewhere, and learns nothing that a GET does not tell.

use crate::support::exit::{INCOMPLETE, REFUSED, SYSTEM};
use crate::support::harness::{Running, Scratch, Server, content, run, sparse, wait_until};
use crate::support::http::Http;
use crate::support::namespace::on_a_small_disk;
use crate::support::proof;
use crate::support::system::signal;
use crate::support::trees::leftovers;
use crate::support::uploads::{Inbox, WRITABLE, inbox, put, state, swap_for_link};
use crate::support::user::{NOBODY, can_be_tried};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Pushes `what` to `name` again and again while `swap` runs all the time. The answer is how many
/// pushes came to their end.
fn push_while(inbox: &Inbox, what: &str, name: &str, swap: impl Fn(&Path) + Sync) -> usize {
    let push = |_: &u32| {
        let outcome = run(inbox.push(what, name).args(["--restart", "--no-sync", "--retry-for=0"]));
        assert!(!outcome.err.contains("panicked"), "{outcome:?}");
        outcome.status.success()
    };
    inbox.while_swapped(swap, || (0..30).filter(push).count())
}

#[test]
fn a_push_never_leaves_through_a_folder_that_is_swapped_for_a_link_all_the_time() {
    let mut arrived = 0;
    for target in ["../other", "../../secret", "/dev/shm"] {
        let inbox = inbox("pushed-swapped");
        inbox.scratch.write("new", b"new");
        fs::create_dir_all(inbox.scratch.path("top/new")).unwrap();
        inbox.scratch.write("top/new/file", b"new");
        let before = state(inbox.scratch.folder(), &inbox.folder);
        for (what, name) in [("new", "in/sub/deep/../new"), ("top", "in/sub/top")] {
            arrived += push_while(&inbox, what, name, |folder| swap_for_link(folder, target));
        }
        assert_eq!(state(inbox.scratch.folder(), &inbox.folder), before, "{target}");
        assert!(!Path::new("/dev/shm/new").exists() && !Path::new("/dev/shm/top").exists());
    }
    assert!(arrived > 0);
}

#[test]
fn a_push_of_a_folder_never_leaves_through_an_inner_folder_that_is_swapped_for_a_link() {
    let inbox = inbox("pushed-swapped-inner");
    fs::create_dir_all(inbox.scratch.path("top/a/b")).unwrap();
    for number in 0..40 {
        inbox.scratch.write(format!("top/a/b/f{number}"), &content(number));
    }
    let before = state(inbox.scratch.folder(), &inbox.folder);
    push_while(&inbox, "top", "in/top", |folder| {
        let (link, inner) = (folder.join("link"), folder.join("top/a"));
        symlink("../../../secret", &link).unwrap();
        // The folder of the push may not be there yet.
        let _ = fs::rename(&inner, folder.join("old"));
        let _ = fs::rename(&link, &inner);
        let _ = fs::remove_file(&inner);
        let _ = fs::remove_file(&link);
        let _ = fs::rename(folder.join("old"), &inner);
    });
    assert_eq!(state(inbox.scratch.folder(), &inbox.folder), before);
}

#[test]
fn a_second_push_that_swaps_a_folder_for_a_link_opens_no_way_out() {
    let inbox = inbox("pushed-twice");
    for folder in ["one/d", "two", "three/d/e", "three/l"] {
        fs::create_dir_all(inbox.scratch.path(folder)).unwrap();
    }
    inbox.scratch.write("one/d/file", b"one");
    symlink("../../../secret", inbox.scratch.path("two/d")).unwrap();
    symlink("d", inbox.scratch.path("two/l")).unwrap();
    symlink("../../secret", inbox.scratch.path("two/m")).unwrap();
    inbox.scratch.write("three/l/file", b"three");
    inbox.scratch.write("three/d/e/file", b"three");
    let before = state(inbox.scratch.folder(), &inbox.folder);
    run(&mut inbox.push("one", "in/top")).succeeded();
    let said = run(&mut inbox.push("two", "in/top")).succeeded();
    assert!(said.contains(" 2 skipped"), "{said}");
    assert!(fs::symlink_metadata(inbox.folder.join("top/d")).unwrap().is_dir());
    assert!(fs::symlink_metadata(inbox.folder.join("top/l")).unwrap().is_symlink());
    // As a name the link is one of the folder that it leads to, and itself it is not followed.
    assert_eq!(inbox.put("/in/top/l/x", &[], b"x").status, 201);
    assert_eq!(Scratch::names(&inbox.folder.join("top/d")), ["file", "x"]);
    run(&mut inbox.push("one", "in/top/l")).failed(REFUSED, "client", "409 Conflict");
    // A folder takes the place of the link, and what it led to stays.
    run(&mut inbox.push("three", "in/top")).succeeded();
    assert_eq!(inbox.read("top/l/file"), b"three");
    assert_eq!(inbox.read("top/d/file"), b"one");
    assert_eq!(state(inbox.scratch.folder(), &inbox.folder), before);
}

/// A file with a second name outside, as pushes of the same file see it.
fn shared(inbox: &Inbox) -> (Vec<u8>, std::path::PathBuf) {
    let outside = inbox.scratch.path("root/other/shared");
    let bytes = content(70_000);
    fs::write(&outside, &bytes).unwrap();
    fs::set_permissions(&outside, Permissions::from_mode(0o600)).unwrap();
    (bytes, outside)
}

#[test]
fn what_has_a_name_outside_too_keeps_its_bytes_and_its_mode() {
    let inbox = inbox("pushed-hard-links");
    let (bytes, outside) = shared(&inbox);
    fs::create_dir(inbox.folder.join("top")).unwrap();
    for name in ["same", "differs", "top/same", "top/differs"] {
        fs::hard_link(&outside, inbox.folder.join(name)).unwrap();
    }
    let mtime = fs::metadata(&outside).unwrap().modified().unwrap();
    inbox.scratch.make_dir("top");
    for (name, bytes) in [("same", &bytes[..]), ("differs", b"new")] {
        for name in [name.to_string(), format!("top/{name}")] {
            let path = inbox.scratch.write(&name, bytes);
            fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
            File::open(path).unwrap().set_modified(mtime).unwrap();
        }
    }
    for (what, name) in [("same", "in/same"), ("differs", "in/differs"), ("top", "in/top")] {
        run(&mut inbox.push(what, name)).succeeded();
    }
    let found = fs::metadata(&outside).unwrap();
    assert_eq!((found.mode() & 0o7777, found.modified().unwrap()), (0o600, mtime));
    assert!(fs::read(&outside).unwrap() == bytes);
    assert_eq!(inbox.read("top/differs"), b"new");
    // The name in the folder got the mode, of a file of its own.
    let own = fs::metadata(inbox.folder.join("top/same")).unwrap();
    assert_eq!((own.mode() & 0o777, own.nlink()), (0o755, 1));
}

#[test]
fn fifos_sockets_and_devices_are_neither_opened_nor_replaced() {
    let inbox = inbox("pushed-special");
    let there = inbox.folder.join("top");
    fs::create_dir(&there).unwrap();
    let make =
        |words: &[&str]| Command::new(words[0]).args(&words[1..]).status().unwrap().success();
    assert!(make(&["mkfifo", there.join("fifo").to_str().unwrap()]));
    let _socket = UnixListener::bind(there.join("socket")).unwrap();
    let mut names = vec!["fifo", "socket"];
    if make(&["mknod", there.join("device").to_str().unwrap(), "c", "1", "7"]) {
        names.push("device"); // /dev/full: every write to it fails
    } else {
        eprintln!("not tried: making devices needs root");
    }
    inbox.scratch.make_dir("top");
    for name in &names {
        inbox.scratch.write(format!("top/{name}"), b"new");
    }
    inbox.scratch.write("top/z", b"new");
    let outcome = run(&mut inbox.push("top", "in/top"));
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert_eq!(inbox.read("top/z"), b"new");
    for name in names {
        assert!(outcome.err.contains(&format!("{name}: File exists")), "{outcome:?}");
        let kind = fs::symlink_metadata(there.join(name)).unwrap().file_type();
        assert!(kind.is_fifo() || kind.is_socket() || kind.is_char_device(), "{name}");
        let refused = run(&mut inbox.push("top/z", format!("in/top/{name}")));
        refused.failed(REFUSED, "client", "409 Conflict");
    }
    assert!(leftovers(&there).is_empty());
}

/// A server that runs as a user without rights, and a folder of that user for uploads.
fn as_nobody(test: &str) -> Inbox {
    let inbox = Inbox::with(test, |scratch| {
        let mut command = scratch.program("server");
        command.args(WRITABLE).args(["--writable-by-anyone", "--user", NOBODY.0]);
        command
    });
    fs::set_permissions(&inbox.folder, Permissions::from_mode(0o777)).unwrap();
    inbox
}

/// The path of a file of 70,000 bytes in a pushed folder, which only root may read.
fn unreadable(inbox: &Inbox) -> std::path::PathBuf {
    let there = inbox.folder.join("top");
    fs::create_dir(&there).unwrap();
    chown(&there, Some(NOBODY.1), None).unwrap();
    let secret = there.join("secret");
    fs::write(&secret, content(70_000)).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    secret
}

#[test]
fn a_push_does_not_tell_size_or_time_of_a_file_that_the_server_may_not_read() {
    if !can_be_tried() {
        return;
    }
    let inbox = as_nobody("pushed-unreadable");
    let secret = unreadable(&inbox);
    let mtime = fs::metadata(&secret).unwrap().modified().unwrap();
    inbox.scratch.make_dir("top");
    let guess = |size: usize, ahead: i64| {
        let path = inbox.scratch.write("top/secret", &content(size));
        let by = Duration::from_secs(ahead.unsigned_abs());
        let time = if ahead < 0 { mtime - by } else { mtime + by };
        File::open(path).unwrap().set_modified(time).unwrap();
    };
    let said = |options: &[&str]| {
        run(inbox.push("top", "in/top").args(["-n", "-v"]).args(options)).succeeded()
    };
    for options in [&[][..], &["--update"], &["--checksum"]] {
        guess(70_000, 0);
        let right = said(options);
        for ahead in [-5, 5] {
            guess(70_000, ahead);
            assert_eq!(said(options), right, "{options:?}, {ahead} s");
        }
    }
    // A file alone is not "up to date" either: it is sent, and replaces the file.
    guess(70_000, 0);
    let said = run(&mut inbox.push("top/secret", "in/top/secret")).succeeded();
    assert!(!said.contains("up to date") && !said.contains(" the same"), "{said}");
    assert_eq!(fs::metadata(&secret).unwrap().uid(), NOBODY.1);
}

#[test]
fn a_folder_or_a_link_in_place_of_a_file_that_the_server_may_not_read_tells_no_time_of_it() {
    if !can_be_tried() {
        return;
    }
    let inbox = as_nobody("pushed-unreadable-place");
    let mtime = fs::metadata(unreadable(&inbox)).unwrap().mtime();
    inbox.scratch.make_dir("top");
    let guess = inbox.scratch.path("top/secret");
    let said = |ahead: i64| {
        let mut touch = Command::new("touch");
        touch.arg("-h").arg(format!("-d@{}", mtime + ahead)).arg(&guess);
        run(&mut touch).succeeded();
        run(inbox.push("top", "in/top").args(["-n", "-v", "--update"])).succeeded()
    };
    symlink("elsewhere", &guess).unwrap();
    assert_eq!(said(-5), said(5));
    fs::remove_file(&guess).unwrap();
    fs::create_dir(&guess).unwrap();
    assert_eq!(said(-5), said(5));
}

#[test]
fn a_push_opens_no_folder_that_is_closed_to_the_server() {
    if !can_be_tried() {
        return;
    }
    let inbox = as_nobody("pushed-closed");
    for folder in ["closed", "top", "top/closed"] {
        let folder = inbox.folder.join(folder);
        fs::create_dir(&folder).unwrap();
        if folder.ends_with("closed") {
            fs::write(folder.join("secret"), b"secret").unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(0o000)).unwrap();
        }
        chown(&folder, Some(NOBODY.1), None).unwrap();
    }
    inbox.scratch.make_dir("top");
    inbox.scratch.make_dir("top/closed");
    inbox.scratch.make_dir("top/open");
    let outcome = run(&mut inbox.push("top", "in/top"));
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert!(outcome.err.contains("closed: Permission denied"), "{outcome:?}");
    assert!(inbox.folder.join("top/open").exists());
    run(&mut inbox.push("top", "in/closed")).failed(REFUSED, "client", "403 Forbidden");
    for name in ["closed", "top/closed"] {
        assert_eq!(fs::metadata(inbox.folder.join(name)).unwrap().mode() & 0o777, 0, "{name}");
        let target = format!("/in/{name}/secret");
        assert_eq!(inbox.connect().ask("GET", &target, &[]).status, 404);
    }
}

#[test]
fn a_client_sets_owners_and_set_id_bits_only_where_the_server_allows_that() {
    if !can_be_tried() {
        return;
    }
    for (options, expected) in [(&[][..], None), (&["--allow-owner"], Some((1234, 0o6755)))] {
        let inbox = Inbox::open("pushed-owner", options);
        inbox.scratch.make_dir("top");
        let path = inbox.scratch.write("top/file", b"x");
        chown(&path, Some(1234), Some(1234)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o6755)).unwrap();
        let outcome = run(inbox.push("top", "in/top").arg("--owner"));
        match expected {
            None => {
                outcome.failed(REFUSED, "client", "403 Forbidden: this server sets no owners");
                run(&mut inbox.push("top", "in/top")).succeeded();
            }
            Some(_) => drop(outcome.succeeded()),
        }
        let found = fs::metadata(inbox.folder.join("top/file")).unwrap();
        let (owner, mode) = expected.unwrap_or((0, 0o755));
        assert_eq!((found.uid(), found.gid()), (owner, owner));
        assert_eq!(found.mode() & 0o7777, mode);
    }
}

#[test]
fn a_sparse_giant_takes_no_room_and_no_time() {
    let inbox = Inbox::open("pushed-giant", &[]);
    inbox.scratch.make_dir("top");
    for name in ["giant", "top/giant"] {
        sparse(&inbox.scratch.path(name), 1 << 40, &[(1 << 39, 5000)]);
    }
    for (what, name) in [("giant", "in/giant"), ("top", "in/top")] {
        let verify: &[&str] = if what == "top" { &[] } else { &["--verify", "crc32c"] };
        run(inbox.push(what, name).args(verify)).succeeded();
        let path = if what == "top" { "top/giant" } else { what };
        let found = fs::metadata(inbox.folder.join(path)).unwrap();
        assert!(found.len() == 1 << 40 && found.blocks() * 512 < 4 << 20, "{}", found.blocks());
    }
    let inbox = Inbox::open("pushed-giant-limit", &["--max-upload", "1G"]);
    inbox.scratch.make_dir("top");
    sparse(&inbox.scratch.path("top/giant"), 1 << 40, &[]);
    let outcome = run(&mut inbox.push("top", "in/top"));
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert!(!inbox.folder.join("top/giant").exists());
}

#[test]
fn a_client_that_fills_the_disk_does_not_take_the_room_that_another_one_was_promised() {
    let scratch = Scratch::new("pushed-two");
    let disk = scratch.make_dir("disk");
    scratch.write("file", &content(3 << 20));
    scratch.make_dir("top");
    for number in 0..30 {
        scratch.write(format!("top/f{number}"), &content(900_000));
    }
    let mut command = scratch.program("server");
    command.args(WRITABLE).arg("--writable-by-anyone");
    let script = "mkdir -p root/in && exec \"$0\" \"$@\"";
    let Some(command) = on_a_small_disk(&disk, "8m", script, &command) else { return };
    let server = Server::start_command(&scratch, command);
    let push = |what: &str, name: &str, rate: &str| {
        let mut client = scratch.program("client");
        client.arg("--push").arg(server.address.to_string()).args(["4", what, name]);
        client.args(["--progress=none", "--limit-rate", rate]).current_dir(scratch.folder());
        client
    };
    let mut first = push("file", "in/file", "1M");
    let first = Running::start(&mut first);
    let receiver = proof::children(server.running.pid(), 1)[0];
    // All of its room stays promised. The server looks at the room now and then: it notices in time
    // if it looks once while the other client fills 3 MiB.
    signal(receiver, libc::SIGSTOP);
    let second = run(&mut push("top", "in/top", "1M"));
    signal(receiver, libc::SIGCONT);
    second.failed(SYSTEM, "client", "too little free space");
    first.finish().succeeded();
    let got = Http::connect(server.address).ask("GET", "/in/file", &[]);
    assert!(got.body == content(3 << 20));
}

#[test]
fn what_a_push_left_goes_after_a_week_with_the_next_file() {
    let mut inbox = Inbox::open("pushed-left", &[]);
    inbox.scratch.write("file", &content(24 << 20));
    let mut command = inbox.push("file", "in/file");
    let client = Running::start(command.args(["--limit-rate", "8M"]));
    wait_until("a part file and its journal", || {
        let names = inbox.names();
        let sizes = names.iter().map(|name| fs::metadata(inbox.folder.join(name)).unwrap().len());
        (names.len() == 2 && sizes.min() > Some(0)).then_some(())
    });
    client.signal(libc::SIGKILL);
    drop(client);
    inbox.server.kill();
    let options = [&WRITABLE[..], &["--writable-by-anyone"]].concat();
    let next = |inbox: &mut Inbox, days: u64| {
        for name in inbox.names().iter().filter(|name| *name != "new") {
            let time = SystemTime::now() - Duration::from_secs(days * 86_400 + 60);
            File::open(inbox.folder.join(name)).unwrap().set_modified(time).unwrap();
        }
        inbox.server.start_again(&inbox.scratch, &options);
        put(&mut Http::connect(inbox.server.address), "/in/new", &[], b"new");
        inbox.server.kill();
        inbox.names()
    };
    assert_eq!(next(&mut inbox, 6).len(), 3);
    assert_eq!(next(&mut inbox, 7), ["new"]);
}
