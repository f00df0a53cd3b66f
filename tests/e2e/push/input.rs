//! Standard input that is pushed: of unknown size, and read once.

use crate::support::exit::{NETWORK, REFUSED, SYSTEM, USAGE};
use crate::support::harness::{Running, content, run, wait_until};
use crate::support::proof;
use crate::support::system::signal;
use crate::support::uploads::Inbox;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

/// A client that pushes what is written to the other end.
fn push(inbox: &Inbox, options: &[&str]) -> (Command, UnixStream) {
    let (writer, reader) = UnixStream::pair().unwrap();
    let mut command = inbox.push("-", "in/name");
    command.args(options).stdin(OwnedFd::from(reader));
    (command, writer)
}

/// Pushes all of `bytes`.
fn push_all(inbox: &Inbox, options: &[&str], bytes: &[u8]) -> crate::support::harness::Outcome {
    let (mut command, mut writer) = push(inbox, options);
    let client = Running::start(&mut command);
    drop(command); // with its end of the pipe
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = writer.write_all(bytes); // a client that has ended reads no more
        });
        client.finish()
    })
}

/// A client of which some bytes have come, and that waits for more.
fn begin(inbox: &Inbox) -> (Running, UnixStream) {
    let (mut command, mut writer) = push(inbox, &[]);
    let client = Running::start(&mut command);
    drop(command);
    writer.write_all(&content(4 << 20)).unwrap();
    wait_until("bytes there", || {
        let sizes = inbox
            .names()
            .into_iter()
            .map(|name| std::fs::metadata(inbox.folder.join(name)).map_or(0, |found| found.len()));
        (sizes.max().unwrap_or(0) > 1 << 20).then_some(())
    });
    (client, writer)
}

fn wait_until_empty(inbox: &Inbox) {
    wait_until("an empty folder", || inbox.names().is_empty().then_some(()));
}

#[test]
fn input_of_any_size_arrives_with_its_md5() {
    let mut inbox = Inbox::open("push-input", &[]);
    // The last size is more than the client keeps in memory.
    for size in [0, 1, 128 << 10, 3_000_001, 48 << 20] {
        let bytes = content(size);
        let said = push_all(&inbox, &[], &bytes).succeeded();
        assert!(said.contains(", md5 ok"), "{said}");
        assert!(inbox.read("name") == bytes, "{size}");
        assert_eq!(inbox.names(), ["name"]);
        let line = inbox.upload_line();
        assert!(line.contains(&format!(" PUSH in/name {size} bytes over ")), "{line}");
        assert!(line.ends_with(" s: complete\n"), "{line}");
    }
}

#[test]
fn each_way_to_check_works_and_a_file_may_be_the_input() {
    let inbox = Inbox::open("push-input-ways", &[]);
    let bytes = content(2 << 20);
    for options in
        [&["--verify", "crc32c"][..], &["--verify", "none"], &["--no-sync"], &["--single-port"]]
    {
        push_all(&inbox, options, &bytes).succeeded();
        assert!(inbox.read("name") == bytes, "{options:?}");
    }
    let path = inbox.scratch.write("file", &bytes[1..]);
    run(inbox.push("-", "in/other").stdin(File::open(path).unwrap())).succeeded();
    assert!(inbox.read("other") == bytes[1..]);
}

#[test]
fn input_that_cannot_be_read_leaves_nothing() {
    let inbox = Inbox::open("push-input-bad", &[]);
    let folder = File::open(inbox.scratch.folder()).unwrap();
    let outcome = run(inbox.push("-", "in/name").stdin(folder));
    outcome.failed(SYSTEM, "client", "standard input cannot be read");
    wait_until_empty(&inbox);
}

#[test]
fn input_without_a_name_for_it_is_refused() {
    let inbox = Inbox::open("push-input-nameless", &[]);
    for name in ["in/", "."] {
        let outcome = run(&mut inbox.push("-", name));
        outcome.failed(USAGE, "client", "ofile: must be the name of a file");
    }
    std::fs::create_dir(inbox.folder.join("sub")).unwrap();
    run(&mut inbox.push("-", "in/sub")).failed(REFUSED, "client", "409 Conflict");
}

#[test]
fn a_killed_or_interrupted_client_leaves_nothing() {
    for number in [libc::SIGKILL, libc::SIGINT] {
        let inbox = Inbox::open("push-input-kill", &["--idle-timeout", "1"]);
        let (client, writer) = begin(&inbox);
        client.signal(number);
        let outcome = client.finish();
        if number == libc::SIGINT {
            let words = "stopped by SIGINT; standard input cannot be read again";
            outcome.failed(130, "client", words);
        }
        drop(writer);
        wait_until_empty(&inbox);
    }
}

#[test]
fn a_lost_session_ends_the_push_and_leaves_nothing() {
    let inbox = Inbox::open("push-input-lost", &[]);
    let (client, writer) = begin(&inbox);
    signal(proof::children(inbox.server.running.pid(), 1)[0], libc::SIGKILL);
    let outcome = client.finish();
    outcome.failed(NETWORK, "client", "standard input cannot be read again");
    drop(writer);
    wait_until_empty(&inbox);
}

#[test]
fn input_beyond_the_limit_is_cut_off_in_the_middle() {
    let inbox = Inbox::open("push-input-limit", &["--max-upload", "1M"]);
    push_all(&inbox, &[], &content(1 << 20)).succeeded();
    let outcome = push_all(&inbox, &[], &content(64 << 20));
    outcome.failed(REFUSED, "client", "the file is larger than this server takes");
    wait_until("the old file alone", || (inbox.names() == ["name"]).then_some(()));
    assert!(inbox.read("name") == content(1 << 20));
}
