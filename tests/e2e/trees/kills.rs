//! Processes that are killed in the middle of a folder. At every instant each real name has the old
//! or the new content, and the next run makes the folders equal.

use crate::support::harness::{Running, content, run, wait_until};
use crate::support::kills::{Victims, allowed};
use crate::support::proof;
use crate::support::system::signal;
use crate::support::trees::{Trees, facts, leftovers};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Small files, and some of many requests.
fn fill(trees: &Trees) {
    for number in 0..400 {
        let name = format!("d{}/e{}/f{number}", number % 9, number % 4);
        trees.write(&name, &content(number * 37 + 1));
    }
    for number in 0..4 {
        trees.write(&format!("d{number}/large"), &content((2 << 20) + number));
    }
}

#[test]
fn thirty_kills_leave_no_wrong_file_and_the_next_run_makes_an_equal_folder() {
    let mut trees = Trees::new("tree-kills");
    fill(&trees);
    // Half of it is there already, and older.
    let mut older = HashMap::new();
    for number in (0..400).step_by(2) {
        let name = format!("d{}/e{}/f{number}", number % 9, number % 4);
        trees.write_here(&name, b"older");
        older.insert(name.into(), b"older".to_vec());
    }
    let old = content((2 << 20) - 1);
    trees.write_here("d1/large", &old);
    older.insert("d1/large".into(), old);
    let Trees { scratch, server } = &mut trees;
    let (scratch, address) = (&*scratch, server.address);
    let (source, sink) = (scratch.path("there"), scratch.path("here"));
    let client = || {
        let mut client = scratch.client(address, 4, "there", &sink);
        client.args(["--limit-rate", "12M"]);
        client
    };
    let allowed = allowed(facts(&source), &older);
    let again = server.again(scratch, &[]);
    let mut victims =
        Victims { scratch, source, sink: sink.clone(), allowed, server: again, client: &client };
    victims.kill_thirty(server);
    trees.sync(&[]);
    assert_eq!(leftovers(&trees.here("")), Vec::<OsString>::new());
}

#[test]
fn a_server_that_is_killed_and_comes_back_is_waited_for() {
    let mut trees = Trees::new("tree-server-back");
    fill(&trees);
    let mut command = trees.client(&["--limit-rate", "4M", "--retry-for", "60", "--no-sync"]);
    let client = Running::start(&mut command);
    let begun = Instant::now();
    for _ in 0..2 {
        let before = count(&trees);
        assert!(before < 404, "the client was too fast");
        wait_until("more files", || (count(&trees) > before).then_some(()));
        trees.server.kill();
        trees.restart_server(&[]);
    }
    client.finish().succeeded();
    assert!(begun.elapsed() < Duration::from_secs(60));
    trees.assert_equal();
}

#[test]
fn the_summary_covers_the_sessions_before_a_killed_sender_too() {
    let trees = Trees::new("tree-sum");
    (0..40).for_each(|number| trees.write(&format!("f{number}"), &content(1000)));
    trees.write("large", &content(8 << 20));
    (0..5).for_each(|number| trees.write_here(&format!("f{number}"), &content(1000)));
    for number in 0..5 {
        let name = format!("f{number}");
        let mtime = fs::metadata(trees.there(&name)).unwrap().modified().unwrap();
        let file = fs::File::options().write(true).open(trees.here(&name)).unwrap();
        file.set_modified(mtime).unwrap();
    }
    let client = Running::start(&mut trees.client(&["--limit-rate", "2M", "--no-sync"]));
    wait_until("the small files", || (count(&trees) == 40).then_some(()));
    signal(proof::children(trees.server.running.pid(), 1)[0], libc::SIGKILL);
    let said = client.finish().succeeded();
    assert!(said.starts_with("36 files, 8.03 MiB in ") && said.contains("; 5 same, "), "{said}");
    trees.assert_equal();
}

/// Files that are in place.
fn count(trees: &Trees) -> usize {
    match fs::exists(trees.here("")).unwrap() {
        true => facts_without_reading(&trees.here("")),
        false => 0,
    }
}

fn facts_without_reading(folder: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        count += match entry.file_type().unwrap().is_dir() {
            true => facts_without_reading(&entry.path()),
            false => usize::from(!entry.file_name().as_bytes().starts_with(b".ropewalk-")),
        };
    }
    count
}

#[test]
fn what_a_killed_client_left_goes_with_the_next_run() {
    let trees = Trees::new("tree-leftovers");
    trees.write("a", b"a");
    trees.write("d/b", b"b");
    for name in ["", "d/"] {
        let left = format!("{name}.ropewalk-{}", "0123456789abcdef".repeat(2));
        trees.write_here(&left, b"left by another file");
        trees.write_here(&format!("{left}.journal"), b"no journal");
    }
    assert_eq!(leftovers(&trees.here("")).len(), 4);
    run(&mut trees.client(&["-n"])).succeeded();
    assert_eq!(leftovers(&trees.here("")).len(), 4, "a dry run changes nothing");
    trees.sync(&[]);
}

#[test]
fn the_md5_of_a_resumed_file_covers_what_the_killed_run_had_fetched() {
    let mut trees = Trees::with_server("tree-md5-resume", &["--idle-timeout", "1"]);
    trees.write("large", &content(40 << 20));
    let slow = ["--verify=md5", "--limit-rate", "16M", "--retry-for", "0"];
    let client = Running::start(&mut trees.client(&slow));
    // A record of the journal has 28 bytes, and a block 128 KiB.
    let is_begun = || {
        let names = fs::read_dir(trees.here("")).into_iter().flatten().flatten();
        let journal = names
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "journal"))?;
        (fs::metadata(journal).ok()?.len() > 28 * 80).then_some(())
    };
    wait_until("a quarter of the file", is_begun);
    signal(client.pid(), libc::SIGKILL);
    client.finish();
    let first = trees.server.next_log_line();
    let said = trees.sync(&["--verify=md5"]);
    assert!(said.starts_with("1 file, ") && said.contains(", md5 ok of 1 file; "), "{said}");
    let second = trees.server.next_log_line();
    let sent = |line: &str| {
        let (before, _) = line.split_once(" bytes sent").unwrap_or_else(|| panic!("{line}"));
        before.rsplit(' ').next().and_then(|bytes| bytes.parse::<u64>().ok()).unwrap()
    };
    assert!(sent(&first) > 8 << 20 && sent(&second) < 34 << 20, "{first} {second}");
    assert_eq!(leftovers(&trees.here("")), Vec::<OsString>::new());
}
