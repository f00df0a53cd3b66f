//! Folders between programs without the system calls that are newer than Linux 3.10.

use crate::support::exit::INCOMPLETE;
use crate::support::harness::{Outcome, Scratch, Server, content, run, sparse};
use crate::support::system::on_an_old_kernel;
use crate::support::trees::Trees;
use crate::support::user::{self, NOBODY};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;

/// Both programs on the old kernel.
fn old(test: &str) -> Trees {
    let scratch = Scratch::new(test);
    scratch.make_dir("there");
    let mut command = scratch.program("server");
    command.current_dir(scratch.folder());
    on_an_old_kernel(&mut command);
    Trees { server: Server::start_command(&scratch, command), scratch }
}

fn fetch(trees: &Trees, options: &[&str]) -> Outcome {
    let mut client = trees.client(options);
    on_an_old_kernel(&mut client);
    run(&mut client)
}

#[test]
fn every_kind_of_entry_arrives_and_goes() {
    let trees = old("tree-old-all");
    for number in 0..100 {
        trees.write(&format!("d{}/e/f{number}", number % 5), &content(number * 100));
    }
    trees.write("large", &content(3_000_000));
    sparse(&trees.there("holes"), 30 << 20, &[(5 << 20, 1000)]);
    symlink("large", trees.there("link")).unwrap();
    fs::hard_link(trees.there("large"), trees.there("second")).unwrap();
    fs::set_permissions(trees.there("d1"), Permissions::from_mode(0o500)).unwrap();
    for options in [&["-H"][..], &["--no-sync"], &["--delete"]] {
        fetch(&trees, options).succeeded();
        trees.assert_equal();
    }
    let number = |name: &str| fs::metadata(trees.here(name)).unwrap().ino();
    assert_eq!(number("large"), number("second"));
    assert!(fs::metadata(trees.here("holes")).unwrap().blocks() < 2000);
    // A change of a few bytes, and a name that goes.
    let mut bytes = content(3_000_000);
    bytes[2_000_000] ^= 1;
    trees.write("large", &bytes);
    fs::remove_dir_all(trees.there("d2")).unwrap();
    fetch(&trees, &["--delete"]).succeeded();
    trees.assert_equal();
}

#[test]
fn no_link_is_followed_on_either_side() {
    let trees = old("tree-old-links");
    let outside = trees.scratch.make_dir("outside");
    fs::write(outside.join("file"), b"precious").unwrap();
    trees.write("a/file", b"new");
    trees.write("b", b"new");
    symlink("../outside", trees.there("out")).unwrap();
    fs::create_dir(trees.here("")).unwrap();
    symlink("../outside", trees.here("a")).unwrap();
    symlink("../outside/file", trees.here("b")).unwrap();
    fetch(&trees, &[]).succeeded();
    trees.assert_equal();
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"precious");
}

#[test]
fn read_only_folders_are_updated_by_their_owner() {
    if !user::can_be_tried() {
        return;
    }
    let trees = old("tree-old-read-only");
    for mode in [0o555, 0o000, 0o311] {
        trees.write(&format!("d{mode:o}/e/f"), b"first");
        trees.write(&format!("d{mode:o}/e/g"), b"first");
    }
    let set = || {
        for mode in [0o555, 0o000, 0o311] {
            for name in [format!("d{mode:o}/e"), format!("d{mode:o}")] {
                fs::set_permissions(trees.there(&name), Permissions::from_mode(mode)).unwrap();
            }
        }
    };
    set();
    fs::create_dir(trees.here("")).unwrap();
    user::give_to_nobody(&trees.here(""));
    let fetch = |options: &[&str]| {
        let mut client = trees.client(options);
        client.uid(NOBODY.1).gid(NOBODY.1);
        on_an_old_kernel(&mut client);
        run(&mut client)
    };
    fetch(&[]).succeeded();
    trees.assert_equal();
    for mode in [0o555, 0o000, 0o311] {
        trees.write(&format!("d{mode:o}/e/f"), b"second");
        fs::remove_file(trees.there(&format!("d{mode:o}/e/g"))).unwrap();
    }
    set();
    fetch(&["--delete"]).succeeded();
    trees.assert_equal();
}

#[test]
fn a_folder_in_the_way_is_refused() {
    let trees = old("tree-old-in-the-way");
    trees.write("x", b"x");
    trees.write_here("x/full", b"mine");
    assert_eq!(fetch(&trees, &[]).status.code(), Some(INCOMPLETE));
    assert_eq!(fs::read(trees.here("x/full")).unwrap(), b"mine");
}
