//! `--delete` removes what the server does not have, and nothing when the server may be wrong.

use crate::support::exit::{DELETE_REFUSED, INCOMPLETE};
use crate::support::harness::{Scratch, Server, run};
use crate::support::namespace::script_in;
use crate::support::trees::{Trees, facts};
use crate::support::user::{self, NOBODY};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;

/// Ten files in three folders, on both sides.
fn pair(test: &str) -> Trees {
    let trees = Trees::new(test);
    for number in 0..10 {
        trees.write(&format!("d{}/f{number}", number % 3), b"text");
    }
    trees.sync(&[]);
    trees
}

#[test]
fn only_what_the_server_lacks_goes_and_links_are_not_followed() {
    let trees = pair("delete-plain");
    let outside = trees.scratch.make_dir("outside");
    fs::write(outside.join("precious"), b"x").unwrap();
    symlink(&outside, trees.here("d0/link")).unwrap();
    symlink(&outside, trees.here("link")).unwrap();
    trees.write_here("d1/a/b/c", b"x");
    assert!(trees.fetch(&[]).succeeded().contains(", 0 deleted"));
    let said = trees.fetch(&["--delete", "-v"]).succeeded();
    assert!(said.contains(", 5 deleted"), "{said}");
    trees.assert_equal();
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"x");
}

#[test]
fn an_empty_source_deletes_nothing_and_says_why() {
    let trees = pair("delete-empty");
    let before = facts(&trees.here("d0"));
    fs::remove_dir_all(trees.there("")).unwrap();
    fs::create_dir(trees.there("")).unwrap();
    let outcome = trees.fetch(&["--delete"]);
    assert_eq!(outcome.status.code(), Some(DELETE_REFUSED), "{outcome:?}");
    assert!(outcome.err.contains("nothing was deleted: the source is empty"), "{outcome:?}");
    assert_eq!(facts(&trees.here("d0")), before);
    // A number that is large enough says that this is meant.
    assert_eq!(
        trees.fetch(&["--delete", "--max-delete", "12"]).status.code(),
        Some(DELETE_REFUSED)
    );
    trees.sync(&["--delete", "--max-delete", "13"]);
}

#[test]
fn more_than_half_is_refused_with_the_number_that_allows_it() {
    let trees = pair("delete-half");
    for number in 0..7 {
        fs::remove_file(trees.there(&format!("d{}/f{number}", number % 3))).unwrap();
    }
    let outcome = trees.fetch(&["--delete"]);
    assert_eq!(outcome.status.code(), Some(DELETE_REFUSED), "{outcome:?}");
    assert!(outcome.err.contains("7 of 13 entries would go; --max-delete 7"), "{outcome:?}");
    assert!(trees.here("d0/f0").exists());
    let dry = trees.fetch(&["--delete", "-n"]);
    assert_eq!(dry.status.code(), Some(DELETE_REFUSED), "a dry run says the same: {dry:?}");
    trees.sync(&["--delete", "--max-delete", "7"]);
}

#[test]
fn a_source_that_cannot_be_read_protects_what_is_here() {
    if !user::can_be_tried() {
        return;
    }
    let scratch = Scratch::new("delete-unreadable");
    let mut trees = Trees { server: Server::start(&scratch, &[]), scratch };
    fs::create_dir(trees.there("")).unwrap();
    for number in 0..12 {
        trees.write(&format!("d{}/f{number}", number % 3), b"text");
    }
    trees.sync(&[]);
    // A server that is no root.
    let mut command = trees.scratch.program("server");
    command.current_dir(trees.scratch.folder()).uid(NOBODY.1).gid(NOBODY.1);
    trees.server = Server::start_command(&trees.scratch, command);
    fs::set_permissions(trees.there("d1"), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(trees.there("d2"), Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(trees.there("d0/f0"), Permissions::from_mode(0o000)).unwrap();
    fs::remove_file(trees.here("d0/f0")).unwrap();
    trees.write_here("d1/mine", b"mine");
    trees.write_here("d0/mine", b"mine");
    let outcome = trees.fetch(&["--delete"]);
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    for name in ["d1", "d0/f0", "d2"] {
        assert!(outcome.err.contains(&format!("client: {name}: ")), "{name} {outcome:?}");
    }
    // The folder that was listed whole has lost what the server lacks; the others are as before.
    assert!(!trees.here("d0/mine").exists());
    for name in ["d1/mine", "d1/f1", "d2/f2", "d2/f5"] {
        assert!(trees.here(name).exists(), "{name} {outcome:?}");
    }
    // The whole source cannot be read.
    fs::set_permissions(trees.there(""), Permissions::from_mode(0o000)).unwrap();
    let outcome = trees.fetch(&["--delete", "--max-delete", "1000"]);
    assert!(!outcome.status.success(), "{outcome:?}");
    assert!(trees.here("d1/mine").exists() && trees.here("d0/f3").exists());
}

#[test]
fn a_source_whose_disk_was_taken_away_or_put_over_it_deletes_nothing() {
    let trees = pair("delete-mount");
    // The client runs twice: the second time an empty disk is mounted over the server's folder,
    // in the server's own namespace.
    let mut server = trees.scratch.program("server");
    server.current_dir(trees.scratch.folder());
    let there = trees.there("");
    let setting = format!("mount -t tmpfs none '{}'", there.display());
    let Some(command) = script_in("-m", &setting, "exec \"$0\" \"$@\"", &server) else { return };
    let mut command = command;
    command.current_dir(trees.scratch.folder());
    let scratch = Scratch::new("delete-mount-server");
    let mounted = Server::start_command(&scratch, command);
    let mut client = trees.scratch.client(mounted.address, 4, &there, trees.scratch.path("here"));
    let outcome = run(client.arg("--delete"));
    assert_eq!(outcome.status.code(), Some(DELETE_REFUSED), "{outcome:?}");
    assert!(trees.here("d0/f0").exists());
}

#[test]
fn what_is_excluded_is_never_deleted() {
    let trees = pair("delete-excluded");
    trees.write_here("keep.o", b"mine");
    trees.write_here("old/keep.o", b"mine");
    trees.write_here("old/gone", b"mine");
    trees.write_here("cache/x", b"mine");
    let said = trees.fetch(&["--delete", "--exclude", "*.o", "--exclude", "/cache/"]);
    assert!(said.succeeded().contains(", 1 deleted"));
    for name in ["keep.o", "old/keep.o", "cache/x"] {
        assert!(trees.here(name).exists(), "{name}");
    }
    assert!(!trees.here("old/gone").exists());
    trees.sync(&["--delete", "--max-delete", "100"]);
}

#[test]
fn what_cannot_be_removed_is_named() {
    if !user::can_be_tried() {
        return;
    }
    let trees = pair("delete-refused");
    user::give_to_nobody(&trees.here(""));
    for name in ["d0", "d1", "d2"] {
        user::give_to_nobody(&trees.here(name));
    }
    // Another user's folder, which is not empty.
    trees.write_here("theirs/file", b"x");
    let mut client = trees.client(&["--delete"]);
    let outcome = run(client.uid(NOBODY.1).gid(NOBODY.1));
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert!(outcome.err.contains("client: theirs/file: Permission denied"), "{outcome:?}");
    assert!(trees.here("theirs/file").exists());
}

#[test]
fn a_folder_in_the_way_of_a_file_is_refused_and_deletes_nothing() {
    let trees = pair("delete-in-the-way");
    fs::remove_file(trees.there("d0/f0")).unwrap();
    trees.write("x", b"x");
    trees.write_here("x/full", b"mine");
    let outcome = trees.fetch(&["--delete"]);
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert!(outcome.err.contains("client: x: "), "{outcome:?}");
    assert!(outcome.err.contains("were not deleted, since there were errors"), "{outcome:?}");
    assert!(trees.here("x/full").exists() && trees.here("d0/f0").exists());
}
