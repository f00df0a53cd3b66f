//! Ctrl-C in the middle of a folder: what is complete is in place, nothing runs on, and the next
//! run goes on.

use crate::support::exit::INTERRUPTED;
use crate::support::harness::{Running, content, wait_until};
use crate::support::proof;
use crate::support::trees::{Trees, facts};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn fill(trees: &Trees) {
    for number in 0..300 {
        trees.write(&format!("d{}/f{number}", number % 10), &content(6000 + number));
    }
    trees.write("large", &content(3 << 20));
}

/// Complete files that wait for their names, or have them.
fn written(folder: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => count += written(&entry.path()),
            Ok(_) => count += 1,
            Err(_) => {}
        }
    }
    count
}

fn stopped_by(test: &str, number: i32, code: i32, options: &[&str]) {
    let mut trees = Trees::new(test);
    fill(&trees);
    let mut command = trees.client(&["--limit-rate", "1500K"]);
    let client = Running::start(command.args(options));
    wait_until("some files", || (written(&trees.here("")) > 50).then_some(()));
    client.signal(number);
    let outcome = client.finish();
    assert_eq!(outcome.status.code(), Some(code), "{outcome:?}");
    assert!(outcome.err.contains("to continue: "), "{outcome:?}");
    let children = || proof::processes(&trees.scratch).len();
    wait_until("the end of every process but the server", || (children() == 1).then_some(()));
    // What is complete is in place.
    let there = facts(&trees.there(""));
    let mut in_place = 0;
    for (name, fact) in facts(&trees.here("")) {
        if name.as_bytes().windows(10).any(|part| part == b".ropewalk-") {
            continue;
        }
        assert!(there[&name].content == fact.content, "{name:?}");
        in_place += usize::from(name.as_bytes().contains(&b'f'));
    }
    assert!(in_place > 40, "only {in_place} files are in place");
    let said = trees.sync(&[]);
    assert!(!said.contains("; 0 same,"), "{said}");
    trees.server.kill();
}

#[test]
fn ctrl_c_lands_what_is_complete() {
    stopped_by("tree-sigint", libc::SIGINT, INTERRUPTED, &[]);
}

#[test]
fn ctrl_c_without_syncs_leaves_what_is_complete() {
    stopped_by("tree-sigint-no-sync", libc::SIGINT, INTERRUPTED, &["--no-sync"]);
}

#[test]
fn sigterm_lands_what_is_complete() {
    stopped_by("tree-sigterm", libc::SIGTERM, 143, &[]);
}
