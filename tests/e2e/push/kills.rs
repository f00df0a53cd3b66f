//! Processes that are killed in the middle of a push. At every instant each real name on the server
//! has the old or the new content, and the next push makes both sides equal.

use crate::support::harness::{Running, content, run, wait_until};
use crate::support::http::Http;
use crate::support::kills::{Victims, allowed};
use crate::support::proof;
use crate::support::system::signal;
use crate::support::trees::{assert_equal, facts, leftovers};
use crate::support::uploads::{Inbox, WRITABLE};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::process::Command;

/// Small files in folders, and some files of many requests, in the folder `top` of the client.
fn fill(inbox: &Inbox) {
    let write = |name: String, bytes: &[u8]| {
        let path = inbox.scratch.path("top").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    for number in 0..400 {
        write(format!("d{}/e{}/f{number}", number % 9, number % 4), &content(number * 37 + 1));
    }
    for number in 0..4 {
        write(format!("d{number}/large"), &content((2 << 20) + number));
    }
}

/// The command that starts the inbox's server again.
fn again(inbox: &Inbox) -> Command {
    let options = [&WRITABLE[..], &["--writable-by-anyone"]].concat();
    inbox.server.again(&inbox.scratch, &options)
}

/// A client that pushes `what` slowly to `in/there` at this server.
fn slow(inbox: &Inbox) -> impl Fn(&str) -> Command + use<> {
    let (program, folder) = (inbox.scratch.program("client"), inbox.scratch.folder().to_owned());
    let address = inbox.server.address;
    move |what| {
        let mut client = Command::new(program.get_program());
        client.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        client.args(["--push", &address.to_string(), "4", what, "in/there", "--progress=none"]);
        client.args(["--limit-rate", "12M"]).current_dir(&folder);
        client
    }
}

#[test]
fn thirty_kills_in_a_push_of_a_file_leave_the_old_or_the_new_file() {
    let mut inbox = Inbox::open("push-kills-file", &[]);
    let (old, new) = (content((8 << 20) - 1), content(8 << 20));
    inbox.scratch.write("file", &new);
    fs::write(inbox.folder.join("there"), &old).unwrap();
    let slow = slow(&inbox);
    let client = || {
        let mut client = slow("file");
        client.arg("--whole"); // else a second push of the same bytes moves none
        client
    };
    let mut victims = Victims {
        scratch: &inbox.scratch,
        source: inbox.scratch.path("file"),
        sink: inbox.folder.clone(),
        allowed: [("there".into(), vec![old, new.clone()])].into(),
        server: again(&inbox),
        client: &client,
    };
    victims.kill_thirty(&mut inbox.server);
    run(&mut inbox.push("file", "in/there")).succeeded();
    assert!(inbox.read("there") == new);
    assert_eq!(inbox.names(), ["there"]);
}

#[test]
fn thirty_kills_in_a_push_of_a_folder_leave_no_wrong_file_and_the_next_one_makes_it_equal() {
    let mut inbox = Inbox::open("push-kills-folder", &[]);
    fill(&inbox);
    let (top, there) = (inbox.scratch.path("top"), inbox.folder.join("there"));
    // Half of it is there already, and older.
    let mut older: HashMap<OsString, Vec<u8>> = HashMap::new();
    for number in (0..400).step_by(2) {
        let name = format!("d{}/e{}/f{number}", number % 9, number % 4);
        let path = there.join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"older").unwrap();
        older.insert(name.into(), b"older".to_vec());
    }
    let slow = slow(&inbox);
    let client = || slow("top");
    let mut victims = Victims {
        scratch: &inbox.scratch,
        source: top.clone(),
        sink: there.clone(),
        allowed: allowed(facts(&top), &older),
        server: again(&inbox),
        client: &client,
    };
    victims.kill_thirty(&mut inbox.server);
    run(&mut inbox.push("top", "in/there")).succeeded();
    assert_equal(&facts(&top), &facts(&there));
    assert_eq!(leftovers(&inbox.folder), Vec::<OsString>::new());
}

#[test]
fn a_server_that_is_killed_in_a_push_of_a_folder_and_comes_back_is_waited_for() {
    let mut inbox = Inbox::open("push-server-back", &[]);
    fill(&inbox);
    let (top, there) = (inbox.scratch.path("top"), inbox.folder.join("there"));
    let mut command = inbox.push("top", "in/there");
    let client = Running::start(command.args(["--limit-rate", "4M", "--no-sync"]));
    for _ in 0..2 {
        let before = count(&there);
        wait_until("more files", || (count(&there) > before).then_some(()));
        inbox.server.kill();
        let mut command = again(&inbox);
        inbox.server.running = Running::start(&mut command);
        inbox.server.running.next_line();
    }
    let said = client.finish().succeeded();
    // The figures are gone with the server, and the summary says so.
    assert!(said.ends_with("before the server was started again counts as the same\n"), "{said}");
    assert_equal(&facts(&top), &facts(&there));
    assert_eq!(leftovers(&inbox.folder), Vec::<OsString>::new());
}

#[test]
fn the_summary_of_a_folder_covers_the_sessions_before_a_killed_receiver_too() {
    let mut inbox = Inbox::open("push-sum", &["--metrics", "127.0.0.1:0"]);
    let write = |name: String, bytes: &[u8]| {
        fs::create_dir_all(inbox.scratch.path("top")).unwrap();
        inbox.scratch.write(format!("top/{name}"), bytes);
    };
    for number in 0..40 {
        write(format!("f{number}"), &content(1000));
    }
    write("large".into(), &content(8 << 20));
    // Five are there already.
    run(inbox.push("top", "in/top").args(["--include=f1?", "--exclude=*"])).succeeded();
    (2..7)
        .for_each(|number| fs::remove_file(inbox.folder.join(format!("top/f1{number}"))).unwrap());
    let line = inbox.upload_line();
    assert!(line.contains(" PUSH in/top 10 files, 10000 bytes over "), "{line}");
    let mut command = inbox.push("top", "in/top");
    let client = Running::start(command.args(["--limit-rate", "2M", "--no-sync", "-v"]));
    // The first ten, and 35 others.
    wait_for_files(&inbox, 45);
    signal(proof::children(inbox.server.running.pid(), 1)[0], libc::SIGKILL);
    let said = client.finish().succeeded();
    let summary = said.lines().last().unwrap();
    assert!(summary.starts_with("36 files, 8.03 MiB in "), "{said}");
    assert!(summary.contains("; 5 same, 0 skipped, 0 deleted"), "{said}");
    assert!(!summary.contains("started again"), "{said}");
    // Each is told of once.
    assert_eq!(said.lines().count(), 37, "{said}");
    // The lines of the log are about one session each.
    let line = inbox.upload_line();
    assert!(line.contains(" 35 files, 35000 bytes over ") && line.contains("signal 9"), "{line}");
    let line = inbox.upload_line();
    assert!(line.contains(" 1 files, 8388608 bytes over "), "{line}");
}

/// Waits until the server has heard of so many files of pushes.
fn wait_for_files(inbox: &Inbox, files: u64) {
    let expected = format!("ropewalk_push_files_total {files}");
    let metrics = inbox.server.metrics.unwrap();
    wait_until("the files", || {
        let text = Http::connect(metrics).ask("GET", "/-/metrics", &[]);
        text.text().lines().any(|line| line == expected).then_some(())
    });
}

/// Files below a folder that have their names.
fn count(folder: &std::path::Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        count += match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => self::count(&entry.path()),
            false => usize::from(!entry.file_name().as_encoded_bytes().starts_with(b".ropewalk-")),
        };
    }
    count
}
