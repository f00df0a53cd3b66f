//! Single files that are pushed.

use crate::support::exit::{SYSTEM, USAGE};
use crate::support::harness::{Scratch, content, run, sparse};
use crate::support::proof;
use crate::support::uploads::Inbox;
use ropewalk::codec::json::{self, Value};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn a_file_of_any_size_arrives_with_its_mtime_and_nothing_else_stays() {
    let mut inbox = Inbox::open("push-sizes", &[]);
    for size in [0, 1, 65_535, 3 << 20] {
        let (name, bytes) = (format!("f{size}"), content(size));
        let path = inbox.scratch.write(&name, &bytes);
        let mtime = UNIX_EPOCH + Duration::new(1_700_000_001, 987_654_321);
        File::options().write(true).open(path).unwrap().set_modified(mtime).unwrap();
        let said = run(&mut inbox.push(&name, format!("in/{name}"))).succeeded();
        assert!(said.contains(", md5 ok"), "{said}");
        assert_eq!(inbox.read(&name), bytes);
        let found = fs::metadata(inbox.folder.join(&name)).unwrap();
        assert_eq!(found.modified().unwrap(), mtime);
        let line = inbox.upload_line();
        let expected = format!(" PUSH in/{name} {size} bytes of {size} over ");
        assert!(line.contains(&expected) && line.ends_with(" s: complete\n"), "{line}");
    }
    assert_eq!(inbox.names().len(), 4);
    let scratch = Scratch::new("push-sizes-end");
    drop(inbox);
    proof::nothing_stays(&scratch);
}

#[test]
fn an_empty_file_needs_no_stream() {
    let inbox = Inbox::open("push-empty", &[]);
    inbox.scratch.write("file", b"");
    for verify in ["md5", "crc32c"] {
        let mut client = inbox.push("file", format!("in/{verify}"));
        let outcome = run(client.args(["--progress=plain", "--verify", verify]));
        assert!(!outcome.err.contains("lost"), "{outcome:?}");
        outcome.succeeded();
        assert_eq!(inbox.read(verify), b"");
    }
}

#[test]
fn a_file_gets_its_own_name_where_ofile_is_missing_or_a_folder() {
    let inbox = Inbox::open("push-names", &[]);
    inbox.scratch.write("file", b"x");
    fs::create_dir(inbox.folder.join("sub")).unwrap();
    for name in ["in", "in/", "in/sub", "in/sub/", "/in/sub/."] {
        run(&mut inbox.push("file", name)).succeeded();
        let place = if name.contains("sub") { "sub/file" } else { "file" };
        assert_eq!(inbox.read(place), b"x", "{name}");
        fs::remove_file(inbox.folder.join(place)).unwrap();
    }
}

#[test]
fn a_file_that_is_there_already_is_not_sent_again_unless_that_is_wanted() {
    let mut inbox = Inbox::open("push-same", &[]);
    inbox.scratch.write("file", &content(100_000));
    run(&mut inbox.push("file", "in/file")).succeeded();
    inbox.upload_line();
    let inode = || fs::metadata(inbox.folder.join("file")).unwrap().ino();
    let before = inode();
    let said = run(&mut inbox.push("file", "in/file")).succeeded();
    assert_eq!((said.as_str(), inode()), ("in/file is up to date\n", before));
    run(inbox.push("file", "in/file").arg("--restart")).succeeded();
    assert_ne!(inode(), before);
}

#[test]
fn only_what_differs_is_sent() {
    let mut inbox = Inbox::open("push-delta", &[]);
    let mut bytes = content(8 << 20);
    inbox.scratch.write("file", &bytes);
    run(&mut inbox.push("file", "in/file")).succeeded();
    inbox.upload_line();
    bytes[5 << 20] ^= 1;
    inbox.scratch.write("file", &bytes);
    let said = run(&mut inbox.push("file", "in/file")).succeeded();
    assert!(said.contains(" the same"), "{said}");
    assert!(inbox.read("file") == bytes);
    let whole = run(inbox.push("file", "in/file").args(["--whole", "--restart"])).succeeded();
    assert!(!whole.contains(" the same"), "{whole}");
}

#[test]
fn the_holes_of_a_file_are_progress() {
    let inbox = Inbox::open("push-hole-bar", &[]);
    let (hole, data) = (256 << 20, 2 << 20);
    sparse(&inbox.scratch.path("file"), hole + data, &[(hole, data as usize)]);
    let mut command = inbox.push("file", "in/file");
    let outcome = run(command.args(["--progress=json", "--limit-rate", "1M"]));
    let of = |line: &str| {
        let object = json::parse(line.as_bytes()).unwrap();
        let is_progress = object.get("event").and_then(Value::as_str) == Some("progress");
        object.get("bytes").and_then(Value::as_u64).filter(|_| is_progress)
    };
    // Long before the end, which has the whole size in any case.
    let most = outcome.err.lines().filter_map(of).max();
    assert!(most > Some(hole), "{most:?}: {outcome:?}");
    outcome.succeeded();
}

#[test]
fn holes_stay_holes_and_the_mode_is_that_of_a_new_or_of_the_replaced_file() {
    let inbox = Inbox::open("push-holes", &[]);
    sparse(&inbox.scratch.path("file"), 64 << 20, &[(32 << 20, 5000)]);
    fs::set_permissions(inbox.scratch.path("file"), Permissions::from_mode(0o4755)).unwrap();
    run(&mut inbox.push("file", "in/file")).succeeded();
    let place = inbox.folder.join("file");
    let found = fs::metadata(&place).unwrap();
    assert!(found.len() == 64 << 20 && found.blocks() * 512 < 4 << 20, "{}", found.blocks());
    assert_eq!(found.mode() & 0o7777, 0o644);
    fs::set_permissions(&place, Permissions::from_mode(0o640)).unwrap();
    run(inbox.push("file", "in/file").arg("--restart")).succeeded();
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn all_streams_may_go_to_the_control_port_and_each_way_to_check_works() {
    let inbox = Inbox::open("push-ways", &[]);
    let bytes = content(2 << 20);
    inbox.scratch.write("file", &bytes);
    for options in
        [&["--single-port"][..], &["--verify", "crc32c"], &["--verify", "none"], &["--no-sync"]]
    {
        let said = run(inbox.push("file", "in/file").arg("--restart").args(options)).succeeded();
        assert_eq!(said.contains("through the control port"), options == ["--single-port"]);
        assert!(inbox.read("file") == bytes, "{options:?}");
    }
}

#[test]
fn a_dry_run_sends_nothing() {
    let inbox = Inbox::open("push-dry", &[]);
    inbox.scratch.write("file", &content(1024));
    let said = run(inbox.push("file", "in/file").arg("-n")).succeeded();
    assert_eq!(said, "in/file would be pushed, 1.00 KiB\n");
    assert!(inbox.names().is_empty());
}

#[test]
fn a_push_of_a_file_refuses_what_only_a_folder_s_push_can_say() {
    let inbox = Inbox::open("push-only-folders", &[]);
    inbox.scratch.write("file", b"new");
    fs::write(inbox.folder.join("file"), b"old").unwrap();
    for option in ["--ignore-existing", "--update", "--checksum"] {
        let outcome = run(inbox.push("file", "in/file").arg(option));
        outcome.failed(USAGE, "client", &format!("{option}: only the push of a folder has it"));
    }
    assert_eq!(inbox.read("file"), b"old");
}

#[test]
fn a_closed_standard_input_is_no_empty_file() {
    let inbox = Inbox::open("push-closed", &[]);
    fs::write(inbox.folder.join("file"), b"old").unwrap();
    let client = inbox.push("-", "in/file");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" <&-"]).arg(client.get_program()).args(client.get_args());
    shell.current_dir(inbox.scratch.folder());
    run(&mut shell).failed(SYSTEM, "client", "standard input cannot be read");
    assert_eq!(inbox.read("file"), b"old");
}

#[test]
fn what_cannot_be_pushed_is_refused_before_the_server_is_asked() {
    let scratch = Scratch::new("push-usage");
    scratch.write("itself", b"x");
    let push = |words: &[&str]| {
        let mut command = scratch.program("client");
        command.arg("--push").args(words).current_dir(scratch.folder());
        run(&mut command)
    };
    for words in [
        &["127.0.0.1:1", "4"][..],
        &["http://127.0.0.1:1/in/x"],
        &["http://127.0.0.1:1", "file"],
        &["127.0.0.1:1", "4", "file", "", "--progress=none"],
        &["127.0.0.1:1", "4", ".", "--progress=none"],
        &["127.0.0.1:1", "4", "itself", "x", "--trace=itself"],
        &["-e", "ssh", "http://127.0.0.1:1/in/x", "file"],
    ] {
        assert_eq!(push(words).status.code(), Some(USAGE), "{words:?}");
    }
    push(&["127.0.0.1:1", "4", "none"]).failed(1, "client", "none: No such file or directory");
    push(&["127.0.0.1:1", "4", "/dev/null", "x"]).failed(1, "client", "is no file and no folder");
}
