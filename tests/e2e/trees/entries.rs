//! Every kind of entry arrives as it is: names, types, modes, times, holes and links.

use crate::support::exit::INCOMPLETE;
use crate::support::harness::{Running, after, content, name, run, sparse};
use crate::support::path::wait_for_blocks;
use crate::support::trees::{Trees, facts, leftovers};
use crate::support::user::{self, NOBODY};
use ropewalk::transfer::store::names;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

#[test]
fn names_of_every_byte_arrive() {
    let trees = Trees::new("tree-names");
    for byte in (1..=255u8).filter(|byte| *byte != b'/') {
        let folder = trees.there("").join(name(&[b'd', byte]));
        fs::create_dir(&folder).unwrap();
        for bytes in [&[byte][..], &[byte, byte], &[b'.', byte, b' ']] {
            if !matches!(bytes, b"." | b"..") {
                fs::write(folder.join(name(bytes)), bytes).unwrap();
            }
        }
        symlink(name(&[byte]), folder.join("link")).unwrap();
    }
    fs::write(trees.there("").join(name(&[0xff; 255])), b"long").unwrap();
    fs::create_dir(trees.there(&"n".repeat(255))).unwrap();
    trees.write(&format!("{}/{}", "n".repeat(255), "m".repeat(255)), b"long");
    // These look like names of ours, and are none.
    for close in [".ropewalk-", ".ropewalk-0123", "x.part", "x.part.journal"] {
        trees.write(close, b"a usual file");
    }
    trees.sync(&[]);
    let said = trees.sync(&[]);
    assert!(said.starts_with("0 files, "), "{said}");
}

#[test]
fn folders_250_levels_deep_and_paths_of_4000_bytes_arrive() {
    let trees = Trees::new("tree-deep");
    let deep = "d/".repeat(250);
    trees.write(&format!("{deep}file"), b"deep");
    let room = 4095 - trees.there("").as_os_str().len().max(trees.here("").as_os_str().len());
    let mut path = String::new();
    while path.len() + 200 < room.min(4000) {
        path += &format!("{}/", "p".repeat(199));
    }
    let rest = room.min(4000) - path.len();
    trees.write(&format!("{path}{}", "f".repeat(rest)), b"long");
    trees.sync(&[]);
    trees.sync(&["--delete"]);
}

#[test]
fn a_folder_beyond_the_limits_is_named_and_the_rest_arrives() {
    let trees = Trees::new("tree-too-deep");
    trees.write(&format!("{}file", "d/".repeat(260)), b"too deep");
    trees.write("other", b"other");
    let outcome = trees.fetch(&[]);
    assert_eq!(outcome.status.code(), Some(8), "{outcome:?}");
    assert!(outcome.err.contains("256 folders deep"), "{outcome:?}");
    assert_eq!(fs::read(trees.here("other")).unwrap(), b"other");
    assert!(trees.here(&"d/".repeat(256)).is_dir());
    assert!(!trees.here(&"d/".repeat(257)).exists());
}

#[test]
fn every_type_of_entry_is_kept_or_skipped_and_counted() {
    let trees = Trees::new("tree-types");
    trees.write("empty", b"");
    trees.write("one", b"x");
    trees.write("just-small", &content(256 << 10));
    trees.write("large", &content((256 << 10) + 1));
    trees.write("larger", &content(3_000_000));
    fs::create_dir_all(trees.there("a/b/c")).unwrap();
    symlink("one", trees.there("link")).unwrap();
    symlink("/nowhere/at/all", trees.there("dangling")).unwrap();
    symlink("a", trees.there("to-folder")).unwrap();
    symlink("../../../../etc", trees.there("out")).unwrap();
    symlink(name(&[b'x'; 4095]), trees.there("long-link")).unwrap();
    let fifo = trees.there("a/fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let socket = UnixListener::bind(format!("{}/s", relative(&trees.there("a")).display()));
    let skipped = 1 + usize::from(socket.is_ok());
    let outcome = trees.fetch(&["-v"]);
    assert!(outcome.err.contains("a/fifo") || outcome.out.contains("a/fifo"), "{outcome:?}");
    let said = outcome.succeeded();
    assert!(said.contains(&format!(", {skipped} skipped,")), "{said}");
    fs::remove_file(fifo).unwrap();
    let _ = fs::remove_file(trees.there("a/s"));
    trees.sync(&[]);
}

/// A path that is short enough for a socket.
fn relative(path: &Path) -> &Path {
    path.strip_prefix(std::env::current_dir().unwrap()).unwrap_or(path)
}

#[test]
fn all_modes_arrive_without_set_id_bits() {
    let trees = Trees::new("tree-modes");
    for mode in (0..=0o7777).step_by(7).chain([0o4754, 0o2755, 0o1777]) {
        let (file, folder) = (format!("m{mode:04o}"), format!("d{mode:04o}"));
        trees.write(&file, b"x");
        fs::create_dir(trees.there(&folder)).unwrap();
        for name in [file, folder] {
            fs::set_permissions(trees.there(&name), Permissions::from_mode(mode)).unwrap();
        }
    }
    for _ in 0..2 {
        trees.fetch(&[]).succeeded();
        let mut there = facts(&trees.there(""));
        there.values_mut().for_each(|fact| fact.mode &= !0o7000);
        crate::support::trees::assert_equal(&there, &facts(&trees.here("")));
    }
}

#[test]
fn owners_and_set_id_bits_arrive_with_owner() {
    if !user::can_be_tried() {
        return;
    }
    let trees = Trees::new("tree-owners");
    for mode in [0o4755, 0o2755, 0o6711, 0o1777, 0o644] {
        let (file, folder) = (format!("m{mode:o}"), format!("d{mode:o}"));
        trees.write(&file, b"x");
        trees.write(&format!("{folder}/inner"), b"y");
        for name in [file, folder] {
            std::os::unix::fs::chown(trees.there(&name), Some(1234), Some(4321)).unwrap();
            fs::set_permissions(trees.there(&name), Permissions::from_mode(mode)).unwrap();
        }
    }
    symlink("m644", trees.there("link")).unwrap();
    std::os::unix::fs::lchown(trees.there("link"), Some(77), Some(78)).unwrap();
    // What is there and equal gets its owner and mode too.
    trees.fetch(&[]).succeeded();
    trees.sync(&["--owner"]);
    for name in facts(&trees.there("")).keys() {
        let owner = |path: &Path| {
            let found = fs::symlink_metadata(path.join(name)).unwrap();
            (found.uid(), found.gid())
        };
        assert_eq!(owner(&trees.here("")), owner(&trees.there("")), "{name:?}");
    }
}

#[test]
fn a_link_of_the_same_text_gets_its_new_time() {
    let trees = Trees::new("tree-link-time");
    symlink("x", trees.there("link")).unwrap();
    trees.sync(&[]);
    fs::remove_file(trees.there("link")).unwrap();
    symlink("x", trees.there("link")).unwrap();
    let said = trees.sync(&[]);
    assert!(said.starts_with("0 files, "), "{said}");
}

#[test]
fn times_before_1970_and_past_2038_arrive_to_the_nanosecond() {
    let trees = Trees::new("tree-times");
    let times = [
        (-1, 999_999_999),
        (-2_000_000_000, 1),
        (0, 0),
        (1, 1),
        (i64::from(i32::MAX), 999_999_999),
        (i64::from(i32::MAX) + 1, 5),
        (5_000_000_000, 123_456_789),
        (1_700_000_000, 100),
    ];
    for (index, (seconds, nanoseconds)) in times.into_iter().enumerate() {
        trees.write(&format!("f{index}"), b"x");
        trees.write(&format!("e{index}"), b"");
        fs::create_dir(trees.there(&format!("d{index}"))).unwrap();
        symlink("x", trees.there(&format!("l{index}"))).unwrap();
        let epoch = SystemTime::UNIX_EPOCH;
        let whole = match seconds {
            0.. => epoch + Duration::from_secs(seconds as u64),
            _ => epoch - Duration::from_secs(seconds.unsigned_abs()),
        };
        let time = whole + Duration::from_nanos(nanoseconds);
        for kind in ["f", "e", "d"] {
            let file = File::open(trees.there(&format!("{kind}{index}"))).unwrap();
            file.set_modified(time).unwrap();
        }
        let touch = format!("touch -h -d @{seconds}.{nanoseconds:09} \"$0\"");
        let link = trees.there(&format!("l{index}"));
        assert!(Command::new("sh").args(["-c", &touch]).arg(link).status().unwrap().success());
    }
    trees.sync(&[]);
    let said = trees.sync(&[]);
    assert!(said.starts_with("0 files, "), "{said}");
}

#[test]
fn holes_stay_holes() {
    let trees = Trees::new("tree-holes");
    sparse(&trees.there("all"), 50 << 20, &[]);
    sparse(&trees.there("some"), 20 << 20, &[(5 << 20, 100_000), (15 << 20, 5)]);
    sparse(&trees.there("small"), 200_000, &[(100_000, 3)]);
    sparse(&trees.there("small-end"), 200_000, &[(0, 3)]);
    for sync in [&[][..], &["--no-sync"]] {
        let _ = fs::remove_dir_all(trees.here(""));
        trees.sync(sync);
        for name in ["all", "some", "small", "small-end"] {
            let stored = |path: &Path| fs::metadata(path).unwrap().blocks();
            let (here, there) = (stored(&trees.here(name)), stored(&trees.there(name)));
            assert!(here <= there + 256, "{name}: {here} blocks of {there}");
        }
    }
}

#[test]
fn hard_links_are_made_with_the_option_and_doubled_without() {
    let trees = Trees::new("tree-hard-links");
    for (first, size) in [("small", 10), ("empty", 0), ("large", 2_000_000)] {
        trees.write(first, &content(size));
        fs::create_dir_all(trees.there("d")).unwrap();
        for number in 0..5 {
            let second = trees.there(&format!("d/{first}{number}"));
            fs::hard_link(trees.there(first), second).unwrap();
        }
    }
    let number = |name: &str| fs::metadata(trees.here(name)).unwrap().ino();
    trees.sync(&[]);
    assert_ne!(number("small"), number("d/small1"));
    for _ in 0..2 {
        trees.sync(&["-H"]);
        for first in ["small", "empty", "large"] {
            for index in 0..5 {
                let second = format!("d/{first}{index}");
                assert_eq!(number(first), number(&second), "{second}");
            }
        }
    }
    fs::remove_dir_all(trees.here("")).unwrap();
    trees.sync(&["-H"]);
    assert_eq!(number("large"), number("d/large4"));
}

/// Modes that shut the owner of a folder out in every way.
const MODES: [u32; 8] = [0o555, 0o500, 0o000, 0o311, 0o111, 0o444, 0o600, 0o777];

/// The command as an ordinary user, who owns `here` and everything in it.
fn as_nobody(trees: &Trees, options: &[&str]) -> Command {
    let mut client = trees.client(options);
    client.uid(NOBODY.1).gid(NOBODY.1);
    client
}

#[test]
fn read_only_folders_are_updated_by_their_owner() {
    if !user::can_be_tried() {
        return;
    }
    let trees = Trees::new("tree-read-only");
    for mode in MODES {
        trees.write(&format!("d{mode:o}/e/f"), b"first");
        trees.write(&format!("d{mode:o}/g"), b"first");
        trees.write(&format!("d{mode:o}/e/h/i"), b"first");
    }
    let set = |top: &Path| {
        for mode in MODES {
            for name in ["/e/h", "/e/f", "/e", ""] {
                let path = top.join(format!("d{mode:o}{name}"));
                let _ = fs::set_permissions(path, Permissions::from_mode(mode));
            }
        }
    };
    set(&trees.there(""));
    fs::create_dir(trees.here("")).unwrap();
    user::give_to_nobody(&trees.here(""));
    run(&mut as_nobody(&trees, &[])).succeeded();
    trees.assert_equal();
    for mode in MODES {
        trees.write(&format!("d{mode:o}/e/f"), b"second");
        fs::remove_file(trees.there(&format!("d{mode:o}/g"))).unwrap();
        fs::remove_dir_all(trees.there(&format!("d{mode:o}/e/h"))).unwrap();
    }
    set(&trees.there(""));
    run(&mut as_nobody(&trees, &["--delete"])).succeeded();
    trees.assert_equal();
    // Only the modes differ, also of files that their owner cannot read.
    for mode in MODES {
        let path = trees.there(&format!("d{mode:o}/e/f"));
        fs::set_permissions(path, Permissions::from_mode(mode ^ 0o777)).unwrap();
    }
    run(&mut as_nobody(&trees, &["--delete"])).succeeded();
    trees.assert_equal();
}

#[test]
fn a_folder_whose_own_mode_shuts_its_owner_out_is_fetched_twice() {
    if !user::can_be_tried() {
        return;
    }
    let trees = Trees::new("tree-shut-top");
    trees.write("f", b"first");
    let parent = trees.scratch.make_dir("own");
    user::give_to_nobody(&parent);
    for mode in [0o000, 0o111, 0o311, 0o555] {
        fs::set_permissions(trees.there(""), Permissions::from_mode(mode)).unwrap();
        for text in ["first", "second"] {
            fs::write(trees.there("f"), text).unwrap();
            let mut client =
                trees.scratch.client(trees.server.address, 4, "there", parent.join("out"));
            client.uid(NOBODY.1).gid(NOBODY.1);
            run(&mut client).succeeded();
            assert_eq!(fs::read(parent.join("out/f")).unwrap(), text.as_bytes());
            let found = fs::metadata(parent.join("out")).unwrap();
            assert_eq!(found.mode() & 0o7777, mode);
        }
    }
}

#[test]
fn a_umask_changes_nothing() {
    let trees = Trees::new("tree-umask");
    trees.write("d/e/f", b"x");
    trees.write("large", &content(1_000_000));
    fs::set_permissions(trees.there("d"), Permissions::from_mode(0o777)).unwrap();
    run(&mut after("umask 777", &trees.client(&[]))).succeeded();
    trees.assert_equal();
}

#[test]
fn a_folder_of_a_hundred_thousand_entries_arrives() {
    let trees = Trees::new("tree-many");
    for number in 0..100_000 {
        match number % 10 {
            0 => symlink("x", trees.there(&format!("l{number}"))).unwrap(),
            1 => fs::create_dir(trees.there(&format!("d{number}"))).unwrap(),
            2 => fs::write(trees.there(&format!("g{number}")), name(b"text").as_bytes()).unwrap(),
            _ => drop(File::create(trees.there(&format!("f{number}"))).unwrap()),
        }
    }
    trees.sync(&["--no-sync"]);
    let said = trees.sync(&["--delete"]);
    assert!(said.contains("; 90,000 same, 0 skipped, 0 deleted"), "{said}");
}

#[test]
fn what_a_killed_run_left_in_a_folder_that_may_only_be_read_goes() {
    if !user::can_be_tried() {
        return;
    }
    let trees = Trees::new("tree-left-read-only");
    trees.write("d/large", &content(8 << 20));
    trees.write("d/small", b"x");
    let mode = |mode| Permissions::from_mode(mode);
    fs::set_permissions(trees.there("d"), mode(0o555)).unwrap();
    fs::create_dir(trees.here("")).unwrap();
    user::give_to_nobody(&trees.here(""));
    let client = Running::start(&mut as_nobody(&trees, &["--limit-rate", "1M"]));
    wait_for_blocks(&trees.here("d").join(names::journal(OsStr::new("large"))), 2);
    client.signal(libc::SIGKILL);
    client.finish();
    fs::remove_file(trees.there("d/large")).unwrap();
    run(&mut as_nobody(&trees, &[])).succeeded();
    assert_eq!(leftovers(&trees.here("")), Vec::<OsString>::new());
    trees.assert_equal();
}

#[test]
fn a_name_that_cannot_become_a_link_leaves_nothing_of_what_came_for_it() {
    if !user::can_be_tried() {
        return;
    }
    let trees = Trees::new("tree-link-refused");
    trees.write("a", b"hello");
    fs::hard_link(trees.there("a"), trees.there("b")).unwrap();
    trees.write_here("b/full", b"x");
    for name in ["", "b"] {
        user::give_to_nobody(&trees.here(name));
    }
    // What is in a folder that may not be listed is not known before it cannot be removed.
    fs::set_permissions(trees.here("b"), Permissions::from_mode(0o000)).unwrap();
    let outcome = run(&mut as_nobody(&trees, &["-H"]));
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert_eq!(leftovers(&trees.here("")), Vec::<OsString>::new());
}

#[test]
fn what_is_not_deleted_since_a_folder_cannot_be_listed_is_no_success() {
    if !user::can_be_tried() {
        return;
    }
    let trees = Trees::new("tree-unlisted");
    trees.scratch.make_dir("there/p");
    trees.write_here("p/extra", b"x");
    trees.write_here("more", b"x");
    user::give_to_nobody(&trees.here(""));
    fs::set_permissions(trees.here("p"), Permissions::from_mode(0o711)).unwrap();
    let outcome = run(&mut as_nobody(&trees, &["--delete", "--max-delete", "9"]));
    assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
    assert!(outcome.err.contains("nothing can be deleted: p: Permission denied"), "{outcome:?}");
    assert!(trees.here("more").exists());
}
