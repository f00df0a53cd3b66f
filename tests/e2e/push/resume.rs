//! Pushes that stop: the same command goes on, whichever process was killed.

use crate::support::exit::SYSTEM;
use crate::support::harness::{Running, content, run, wait_until};
use crate::support::proof;
use crate::support::system::signal;
use crate::support::uploads::{Inbox, WRITABLE};
use std::fs;
use std::process::Command;

const SIZE: usize = 24 << 20;

/// A client that pushes a file slowly, of which some has come.
fn begin(inbox: &Inbox) -> Running {
    inbox.scratch.write("file", &content(SIZE));
    let mut command = inbox.push("file", "in/file");
    let client = Running::start(command.args(["--limit-rate", "8M"]));
    wait_for_bytes(inbox);
    client
}

/// Waits until the journal in the folder has records.
fn wait_for_bytes(inbox: &Inbox) {
    wait_until("records in the journal", || {
        let journal = inbox
            .names()
            .into_iter()
            .find(|name| name.to_str().is_some_and(|name| name.ends_with(".journal")))?;
        let length = fs::metadata(inbox.folder.join(journal)).ok()?.len();
        (length > 400).then_some(())
    });
}

/// The push again: it goes on, and leaves nothing but the file.
#[track_caller]
fn goes_on(inbox: &Inbox) {
    let said = run(&mut inbox.push("file", "in/file")).succeeded();
    assert!(said.contains(", resumed at "), "{said}");
    is_whole(inbox);
}

#[track_caller]
fn is_whole(inbox: &Inbox) {
    assert!(inbox.read("file") == content(SIZE));
    assert_eq!(inbox.names(), ["file"]);
}

#[test]
fn a_killed_client_goes_on_by_the_same_command() {
    let inbox = Inbox::open("push-kill-client", &[]);
    let client = begin(&inbox);
    client.signal(libc::SIGKILL);
    drop(client);
    goes_on(&inbox);
}

#[test]
fn an_interrupted_client_says_how_to_go_on() {
    let inbox = Inbox::open("push-interrupt", &[]);
    let client = begin(&inbox);
    client.signal(libc::SIGINT);
    let outcome = client.finish();
    outcome.failed(130, "client", "stopped by SIGINT; the server keeps ");
    goes_on(&inbox);
}

/// The number between these words.
#[track_caller]
fn percent(said: &str, before: &str, behind: &str) -> u64 {
    let (_, rest) = said.split_once(before).unwrap_or_else(|| panic!("{said}"));
    let (number, _) = rest.split_once(behind).unwrap_or_else(|| panic!("{said}"));
    number.parse().unwrap_or_else(|_| panic!("{said}"))
}

#[test]
fn an_interrupted_client_says_how_much_the_server_keeps_which_the_next_one_finds() {
    for (test, number, code) in
        [("push-kept-int", libc::SIGINT, 130), ("push-kept-term", libc::SIGTERM, 143)]
    {
        let inbox = Inbox::open(test, &[]);
        let client = begin(&inbox);
        client.signal(number);
        let outcome = client.finish();
        assert_eq!(outcome.status.code(), Some(code), "{outcome:?}");
        let kept = percent(&outcome.err, "; the server keeps ", "%; to continue: ");
        let said = run(&mut inbox.push("file", "in/file")).succeeded();
        assert_eq!(percent(&said, ", resumed at ", "%"), kept, "{said}");
        assert!((1..100).contains(&kept), "{kept}");
        is_whole(&inbox);
    }
}

#[test]
fn an_interrupted_client_whose_server_is_silent_claims_what_was_there_at_first() {
    let inbox = Inbox::open("push-kept-silent", &[]);
    let client = begin(&inbox);
    client.signal(libc::SIGINT);
    let kept = percent(&client.finish().err, "; the server keeps ", "%; to continue: ");
    let mut command = inbox.push("file", "in/file");
    let again = Running::start(command.args(["--limit-rate", "1M"]));
    // Its receiver has begun: the server has said what is there.
    let server = inbox.server.running.pid();
    proof::children(server, 1);
    proof::children(again.pid(), 1);
    inbox.server.running.signal(libc::SIGSTOP);
    again.signal(libc::SIGINT);
    let outcome = again.finish();
    inbox.server.running.signal(libc::SIGCONT);
    let words = format!("stopped by SIGINT; the server keeps at least {kept}%; to continue: ");
    outcome.failed(130, "client", &words);
}

#[test]
fn an_interrupted_client_leaves_its_place_on_the_server_at_once() {
    let mut inbox = Inbox::open("push-leave", &["--max-transfers", "1"]);
    let client = begin(&inbox);
    client.signal(libc::SIGINT);
    drop(client.finish());
    // Not only after the idle time.
    let line = inbox.upload_line();
    assert!(line.ends_with(": the client has given up the rest\n"), "{line}");
    assert!(!line.contains(" over 0 streams "), "{line}");
    goes_on(&inbox);
}

#[test]
fn a_killed_sender_ends_the_client_and_the_same_command_goes_on() {
    let inbox = Inbox::open("push-kill-sender", &[]);
    let client = begin(&inbox);
    signal(proof::children(client.pid(), 1)[0], libc::SIGKILL);
    let outcome = client.finish();
    outcome.failed(SYSTEM, "client", "sender: stopped by signal 9; the server keeps ");
    assert!(outcome.err.contains("%; to continue: "), "{outcome:?}");
    goes_on(&inbox);
}

#[test]
fn a_killed_receiver_is_replaced_and_the_push_goes_on() {
    let inbox = Inbox::open("push-kill-receiver", &[]);
    let client = begin(&inbox);
    signal(proof::children(inbox.server.running.pid(), 1)[0], libc::SIGKILL);
    client.finish().succeeded();
    is_whole(&inbox);
}

#[test]
fn a_server_that_is_started_again_goes_on() {
    let mut inbox = Inbox::open("push-restart", &[]);
    let client = begin(&inbox);
    let address = inbox.server.address;
    inbox.server.kill();
    let mut command: Command = inbox.scratch.program("server");
    command.args(WRITABLE).arg("--writable-by-anyone").current_dir(inbox.scratch.folder());
    command.args(["--bind", &address.ip().to_string(), &address.port().to_string()]);
    let again = Running::start(&mut command);
    client.finish().succeeded();
    is_whole(&inbox);
    drop(again);
}

#[test]
fn a_changed_file_is_not_mixed_with_what_came_of_the_old_one() {
    let inbox = Inbox::open("push-changed", &[]);
    let client = begin(&inbox);
    client.signal(libc::SIGKILL);
    drop(client);
    let mut bytes = content(SIZE);
    bytes[SIZE - 1] ^= 1;
    inbox.scratch.write("file", &bytes);
    let said = run(&mut inbox.push("file", "in/file")).succeeded();
    assert!(!said.contains("resumed"), "{said}");
    assert!(inbox.read("file") == bytes);
    assert_eq!(inbox.names(), ["file"]);
}

#[test]
fn what_is_on_its_way_is_neither_served_nor_listed() {
    let inbox = Inbox::open("push-hidden-part", &["--index"]);
    let client = begin(&inbox);
    let names = inbox.names();
    assert_eq!(names.len(), 2);
    let mut http = inbox.connect();
    for name in &names {
        let target = format!("/in/{}", name.to_str().unwrap());
        assert_eq!(http.ask("GET", &target, &[]).status, 404);
    }
    let listing = http.ask("GET", "/in/", &[]);
    assert!(listing.status == 200 && !listing.text().contains("ropewalk-0"));
    for name in names {
        assert!(!listing.text().contains(name.to_str().unwrap()));
    }
    drop(client);
}

#[test]
fn a_killed_push_of_a_folder_goes_on() {
    let inbox = Inbox::open("push-kill-folder", &[]);
    inbox.scratch.make_dir("top");
    for number in 0..40 {
        inbox.scratch.write(format!("top/f{number}"), &content(300_000 + number));
    }
    let mut command = inbox.push("top", "in/top");
    let client = Running::start(command.args(["--limit-rate", "4M"]));
    wait_until("a file", || inbox.folder.join("top/f1").exists().then_some(()));
    client.signal(libc::SIGKILL);
    drop(client);
    let said = run(&mut inbox.push("top", "in/top")).succeeded();
    assert!(!said.contains("; 0 same"), "{said}");
    for number in 0..40 {
        assert!(inbox.read(&format!("top/f{number}")) == content(300_000 + number));
    }
    assert_eq!(fs::read_dir(inbox.folder.join("top")).unwrap().count(), 40);
}
