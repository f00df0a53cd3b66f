//! The file changes on the server while a ropewalk transfer is under way.

use crate::support::exit::CHANGED;
use crate::support::harness::{assert_same, content, run};
use crate::support::path::{Gate, Path};
use std::fs;
use std::os::unix::fs::FileExt;

/// Changes the file with `change` while a client waits for the rest of it.
#[track_caller]
fn changes(test: &str, options: &[&str], change: impl Fn(&Path)) {
    let (gate, faults) = Gate::after(10);
    let path = Path::new(test, 6 << 20, faults);
    fs::write(path.folder("out"), b"old").unwrap();
    let mut client = path.scratch.client(path.relay.address, 1, "file", path.folder("out"));
    client.args(options);
    let client = path.begin(&gate, 10, client);
    change(&path);
    gate.open();
    client.finish().failed(CHANGED, "client", "the file changed on the server");
    assert_eq!(fs::read(path.folder("out")).unwrap(), b"old");
    // What came is the basis of the next fetch, and nothing else is left.
    assert_eq!(path.names(), ["out", "out.part", "out.part.journal"]);
    let mut again = path.direct(2);
    run(again.args(options)).succeeded();
    let now = fs::read(path.scratch.path("file")).unwrap();
    assert_same(&fs::read(path.folder("out")).unwrap(), &now, "the output");
    assert_eq!(path.names(), ["out"]);
}

const WAYS: [&[&str]; 3] = [&[], &["--verify", "crc32c"], &["--verify", "none"]];

#[test]
fn a_file_that_is_rewritten_in_place_ends_the_transfer() {
    for options in WAYS {
        changes("rewritten", options, |path| {
            let file = fs::File::options().write(true).open(path.scratch.path("file")).unwrap();
            file.write_all_at(b"other", 5 << 20).unwrap();
        });
    }
}

#[test]
fn a_file_that_is_truncated_ends_the_transfer() {
    for options in WAYS {
        changes("truncated", options, |path| {
            let file = fs::File::options().write(true).open(path.scratch.path("file")).unwrap();
            file.set_len(2 << 20).unwrap();
        });
    }
}

#[test]
fn a_file_that_grows_ends_the_transfer() {
    changes("grown", &[], |path| {
        let file = fs::File::options().append(true).open(path.scratch.path("file")).unwrap();
        file.write_all_at(b"more", 6 << 20).unwrap();
    });
}

#[test]
fn a_file_that_is_replaced_ends_the_transfer() {
    for options in WAYS {
        changes("replaced", options, |path| {
            path.scratch.write("new", &content((6 << 20) + 1)[1..]);
            fs::rename(path.scratch.path("new"), path.scratch.path("file")).unwrap();
        });
    }
}

#[test]
fn a_file_that_is_rewritten_with_its_old_mtime_ends_the_transfer_too() {
    changes("touched", &["--verify", "crc32c"], |path| {
        let file = fs::File::options().write(true).open(path.scratch.path("file")).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(b"other", 5 << 20).unwrap();
        file.set_modified(before).unwrap();
    });
}
