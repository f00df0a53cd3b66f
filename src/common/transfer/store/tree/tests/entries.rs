//! Files, folders and links: what they get, and what they replace.

#![forbid(unsafe_code)]

use super::*;
use std::os::unix::fs::{MetadataExt, symlink};

#[test]
fn a_file_gets_its_content_its_mode_and_its_mtime_to_the_nanosecond() {
    let scratch = Scratch::new();
    for (mode, seconds) in [(0o000, -5_000_000_000), (0o644, 0), (0o777, 5_000_000_000)] {
        let name = format!("f{mode:o}");
        let mtime = Stamp { seconds, nanoseconds: 999_999_999 };
        let complete = scratch.write(&name, "text", &Attributes { mode, mtime, owner: None });
        scratch.tree.put_in_place(&complete.unwrap()).unwrap();
        let found = scratch.look(&name).unwrap();
        assert_eq!((found.mode, stamp(&found), found.size), (mode, mtime, 4));
    }
    assert_eq!(scratch.names(), ["f0", "f644", "f777"]);
    assert_eq!(scratch.tree.lacks(), Lacks::default());
}

#[test]
fn set_id_bits_come_only_with_their_owner() {
    let scratch = Scratch::new();
    let put = |name: &str, owner| {
        let attributes = Attributes { mode: 0o7755, owner, ..plain() };
        let complete = scratch.write(name, "x", &attributes).unwrap();
        scratch.tree.put_in_place(&complete).unwrap();
        scratch.look(name).unwrap()
    };
    assert_eq!(put("without", None).mode, 0o755);
    if process::effective_user() == 0 {
        let found = put("with", Some((12345, 54321)));
        assert_eq!((found.mode, found.user, found.group), (0o7755, 12345, 54321));
    }
}

#[test]
fn an_ordinary_user_gets_no_set_id_bit_of_another_owner() {
    if !is_ordinary("entries::an_ordinary_user_gets_no_set_id_bit_of_another_owner") {
        return;
    }
    let scratch = Scratch::new();
    let attributes = Attributes { mode: 0o4755, owner: Some((0, 0)), ..plain() };
    let complete = scratch.write("f", "x", &attributes).unwrap();
    scratch.tree.put_in_place(&complete).unwrap();
    assert_eq!(scratch.look("f").unwrap().mode, 0o755);
    assert_eq!(scratch.tree.lacks().owners, 1);
}

#[test]
fn holes_stay_holes() {
    let scratch = Scratch::new();
    let mut file = scratch.tree.create(&root(), OsStr::new("f"), Target::Absent, &plain()).unwrap();
    file.put(0, &[1; 65536]).unwrap();
    file.put_hole(65536..1 << 30).unwrap();
    file.put(1 << 30, &[2; 65536]).unwrap();
    let size = (1 << 30) + 65536;
    let complete = scratch.tree.complete(file, size, &plain()).unwrap();
    scratch.tree.put_in_place(&complete).unwrap();
    let found = scratch.look("f").unwrap();
    assert!(found.size == size && found.stored < 1 << 20, "{found:?}");
}

#[test]
fn blocks_may_come_in_any_order_and_a_hole_may_come_last() {
    let scratch = Scratch::new();
    let mut file = scratch.tree.create(&root(), OsStr::new("f"), Target::Absent, &plain()).unwrap();
    file.put(5, b"world").unwrap();
    file.put(0, b"hello").unwrap();
    file.put_hole(10..12).unwrap();
    file.put_hole(12..12).unwrap();
    let complete = scratch.tree.complete(file, 13, &plain()).unwrap();
    scratch.tree.put_in_place(&complete).unwrap();
    assert_eq!(scratch.read("f"), "helloworld\0\0\0");
}

#[test]
fn what_appears_in_the_place_of_nothing_is_not_replaced() {
    let scratch = Scratch::new();
    let complete = scratch.write("f", "new", &plain()).unwrap();
    fs::write(scratch.at("f"), "appeared").unwrap();
    let refused = scratch.tree.put_in_place(&complete).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!((scratch.read("f").as_str(), scratch.names()), ("appeared", vec!["f".into()]));
}

#[test]
fn files_links_and_empty_folders_are_replaced() {
    let scratch = Scratch::new();
    fs::write(scratch.at("file"), "old").unwrap();
    fs::write(scratch.at("target"), "target").unwrap();
    symlink("target", scratch.at("link")).unwrap();
    fs::create_dir(scratch.at("folder")).unwrap();
    for name in ["file", "link", "folder"] {
        scratch.put(name, "new").unwrap();
        assert_eq!(scratch.look(name).unwrap().kind, crate::sys::dir::Kind::File);
        assert_eq!(scratch.read(name), "new");
    }
    assert_eq!(scratch.read("target"), "target");
}

#[test]
fn a_folder_with_content_refuses_what_would_replace_it() {
    let scratch = Scratch::new();
    let folder = scratch.folder("d");
    fs::write(scratch.at("d/precious"), "x").unwrap();
    let refused = scratch.put("d", "new").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::DirectoryNotEmpty);
    let target = scratch.target("d").unwrap();
    let link = scratch.tree.make_link(&root(), OsStr::new("d"), b"x", &plain(), target);
    assert_eq!(link.unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
    assert_eq!(scratch.names(), ["d"]);
    assert!(scratch.tree.look(&folder, OsStr::new("precious")).unwrap().is_some());
}

#[test]
fn a_special_file_is_not_replaced() {
    let scratch = Scratch::new();
    std::os::unix::net::UnixListener::bind(scratch.at("socket")).unwrap();
    assert!(scratch.target("socket").is_err());
    let found = scratch.look("socket");
    assert!(scratch.tree.make_folder(&root(), OsStr::new("socket"), found.as_ref()).is_err());
    assert_eq!(scratch.names(), ["socket"]);
}

#[test]
fn the_real_name_has_the_old_content_until_the_landing() {
    let scratch = Scratch::new();
    fs::write(scratch.at("f"), "old").unwrap();
    let complete = scratch.write("f", "new", &plain()).unwrap();
    assert_eq!(scratch.read("f"), "old");
    scratch.tree.put_in_place(&complete).unwrap();
    assert_eq!((scratch.read("f").as_str(), scratch.names()), ("new", vec!["f".into()]));
}

#[test]
fn names_that_no_entry_may_have_are_refused_everywhere() {
    let scratch = Scratch::new();
    let temporary = crate::transfer::store::names::temporary(OsStr::new("x"));
    for name in [OsStr::new(".."), OsStr::new("a/b"), OsStr::new(""), &temporary] {
        let (tree, root) = (&scratch.tree, root());
        assert!(tree.create(&root, name, Target::Absent, &plain()).is_err());
        assert!(tree.open_large(&root, name, Target::Absent).is_err());
        assert!(tree.make_folder(&root, name, None).is_err());
        assert!(tree.make_link(&root, name, b"x", &plain(), Target::Absent).is_err());
        let first = (&root, name, Number(0, 0));
        assert!(tree.make_hard_link((&root, name), first, Target::Absent).is_err());
        assert!(tree.look(&root, name).is_err() && tree.link_text(&root, name).is_err());
    }
    assert!(scratch.names().is_empty());
}

#[test]
fn nothing_is_written_over_a_link_to_a_folder() {
    let scratch = Scratch::new();
    let outside = Scratch::new();
    symlink(&outside.path, scratch.at("d")).unwrap();
    let path = root().child(OsStr::new("d")).unwrap();
    assert!(scratch.tree.create(&path, OsStr::new("f"), Target::Absent, &plain()).is_err());
    assert!(scratch.tree.finish_folder(&path, &plain()).is_err());
    assert!(scratch.tree.look(&path, OsStr::new("f")).is_err());
    assert!(outside.names().is_empty());
}

#[test]
fn a_folder_is_private_until_it_is_finished() {
    let scratch = Scratch::new();
    let path = scratch.tree.make_folder(&root(), OsStr::new("d"), None).unwrap();
    assert_eq!(scratch.look("d").unwrap().mode, 0o700);
    drop(scratch.tree.create(&path, OsStr::new("f"), Target::Absent, &plain()).unwrap());
    let attributes = Attributes { mode: 0o2555, ..plain() };
    scratch.tree.finish_folder(&path, &attributes).unwrap();
    let found = scratch.look("d").unwrap();
    assert_eq!((found.mode, stamp(&found)), (0o555, attributes.mtime));
    scratch.tree.finish_folder(&root(), &attributes).unwrap();
    assert_eq!(stamp(&Status::from(&fs::metadata(&scratch.path).unwrap())), attributes.mtime);
}

#[test]
fn a_folder_replaces_a_file_and_a_link_and_takes_a_folder() {
    let scratch = Scratch::new();
    let outside = Scratch::new();
    fs::write(scratch.at("file"), "x").unwrap();
    symlink(&outside.path, scratch.at("link")).unwrap();
    fs::create_dir(scratch.at("folder")).unwrap();
    fs::write(scratch.at("folder/kept"), "x").unwrap();
    for name in ["file", "link", "folder"] {
        let found = scratch.look(name);
        let path = scratch.tree.make_folder(&root(), OsStr::new(name), found.as_ref()).unwrap();
        scratch.tree.create(&path, OsStr::new("f"), Target::Absent, &plain()).unwrap();
        assert!(fs::symlink_metadata(scratch.at(name)).unwrap().is_dir());
    }
    assert!(scratch.at("folder/kept").exists() && outside.names().is_empty());
    let twice = scratch.tree.make_folder(&root(), OsStr::new("folder"), None).unwrap_err();
    assert_eq!(twice.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn an_own_folder_without_write_permission_gets_it_meanwhile() {
    if !is_ordinary("entries::an_own_folder_without_write_permission_gets_it_meanwhile") {
        return;
    }
    for mode in [0o555, 0o000, 0o300] {
        let scratch = Scratch::new();
        let path = scratch.folder("d");
        set_mode(&scratch.at("d"), mode);
        let found = scratch.look("d");
        scratch.tree.make_folder(&root(), OsStr::new("d"), found.as_ref()).unwrap();
        let mut file =
            scratch.tree.create(&path, OsStr::new("f"), Target::Absent, &plain()).unwrap();
        file.put(0, b"x").unwrap();
        let complete = scratch.tree.complete(file, 1, &plain()).unwrap();
        scratch.tree.put_in_place(&complete).unwrap();
        let attributes = Attributes { mode, ..plain() };
        scratch.tree.finish_folder(&path, &attributes).unwrap();
        assert_eq!(scratch.look("d").unwrap().mode, mode);
        assert_eq!(scratch.tree.lacks(), Lacks::default());
        set_mode(&scratch.at("d"), 0o700);
    }
}

#[test]
fn a_folder_of_another_user_takes_files_and_its_mode_is_counted() {
    let name = "entries::a_folder_of_another_user_takes_files_and_its_mode_is_counted";
    let foreign = std::env::temp_dir().join("ropewalk-tree-foreign");
    if process::effective_user() == 0 {
        let _ = fs::remove_dir_all(&foreign);
        fs::create_dir(&foreign).unwrap();
        // It may be changed and not listed.
        set_mode(&foreign, 0o733);
    }
    let ordinary = is_ordinary(name);
    let is_foreign = fs::metadata(&foreign).is_ok_and(|found| found.uid() == 0);
    if !ordinary || !is_foreign || process::effective_user() == 0 {
        let _ = fs::remove_dir_all(&foreign);
        return;
    }
    let opened = beneath::open_folder(&foreign).unwrap();
    let tree = Tree::open(File::from(opened), true, Timing::default()).unwrap();
    let mut file = tree.create(&root(), OsStr::new("f"), Target::Absent, &plain()).unwrap();
    file.put(0, b"x").unwrap();
    let complete = tree.complete(file, 1, &plain()).unwrap();
    tree.put_in_place(&complete).unwrap();
    assert!(!tree.remove_leftovers(&root()).unwrap());
    tree.finish_folder(&root(), &plain()).unwrap();
    let lacks = tree.lacks();
    assert_eq!((lacks.modes, lacks.mtimes, lacks.owners), (1, 1, 0));
    assert_eq!(fs::read(foreign.join("f")).unwrap(), b"x");
}

#[test]
fn more_folders_than_stay_open_are_written_to() {
    let scratch = Scratch::new();
    let paths: Vec<FolderPath> = (0..3 * MAX_OPEN)
        .map(|n| scratch.tree.make_folder(&root(), OsStr::new(&n.to_string()), None).unwrap())
        .collect();
    for _ in 0..2 {
        for path in &paths {
            drop(scratch.tree.create(path, OsStr::new("f"), Target::Absent, &plain()).unwrap());
        }
    }
    assert_eq!(lock(&scratch.tree.open).folders.len(), MAX_OPEN);
}

#[test]
fn a_link_is_text_and_its_target_is_not_touched() {
    let scratch = Scratch::new();
    fs::write(scratch.at("old"), "x").unwrap();
    for (name, text) in [("a", &b"/etc/passwd"[..]), ("b", b"../../x"), ("old", b"\xff nowhere")] {
        let target = scratch.target(name).unwrap();
        scratch.tree.make_link(&root(), OsStr::new(name), text, &plain(), target).unwrap();
        assert_eq!(scratch.tree.link_text(&root(), OsStr::new(name)).unwrap(), text);
        assert_eq!(stamp(&scratch.look(name).unwrap()), plain().mtime);
    }
    assert_eq!(scratch.names(), ["a", "b", "old"]);
    let again = scratch.tree.make_link(&root(), OsStr::new("a"), b"x", &plain(), Target::Absent);
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(scratch.names(), ["a", "b", "old"]);
}

#[test]
fn a_hard_link_is_the_file_that_landed_first() {
    let scratch = Scratch::new();
    scratch.put("first", "x").unwrap();
    fs::write(scratch.at("old"), "old").unwrap();
    let folder = scratch.folder("d");
    let found = scratch.look("first").unwrap();
    let first = found.inode;
    let root = root();
    let link = |folder, name, target| {
        let first = (&root, OsStr::new("first"), Number::of(&found));
        scratch.tree.make_hard_link((folder, OsStr::new(name)), first, target)
    };
    link(&root, "old", Target::Present).unwrap();
    link(&root, "old", Target::Present).unwrap();
    link(&folder, "second", Target::Absent).unwrap();
    assert_eq!(scratch.look("old").unwrap().inode, first);
    assert_eq!(fs::metadata(scratch.at("d/second")).unwrap().ino(), first);
    assert_eq!(scratch.look("first").unwrap().links, 3);
    assert_eq!(scratch.names(), ["d", "first", "old"]);
}

#[test]
fn a_hard_link_to_what_went_away_asks_for_a_copy() {
    let scratch = Scratch::new();
    let root = root();
    scratch.put("first", "x").unwrap();
    let number = Number::of(&scratch.look("first").unwrap());
    let link = |first| {
        let first = (&root, OsStr::new(first), number);
        scratch.tree.make_hard_link((&root, OsStr::new("l")), first, Target::Absent)
    };
    assert!(Tree::needs_copy(&link("gone").unwrap_err()));
    // Another process puts a file of its own in place.
    fs::write(scratch.at("other"), "y").unwrap();
    fs::rename(scratch.at("other"), scratch.at("first")).unwrap();
    assert!(Tree::needs_copy(&link("first").unwrap_err()));
    assert_eq!(scratch.names(), ["first"]);
    assert!(!Tree::needs_copy(&io::Error::from_raw_os_error(libc::ENOSPC)));
}
