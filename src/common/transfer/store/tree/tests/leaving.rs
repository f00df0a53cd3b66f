//! What goes: leftovers of killed runs, and what the source does not have.

#![forbid(unsafe_code)]

use super::*;
use crate::sys::dir::Kind;
use crate::transfer::store::journal::{Journal, Subject};
use crate::transfer::store::names;
use std::os::unix::fs::symlink;
use std::time::SystemTime;

/// Has a large file begun, as a run that is killed leaves it.
fn begin_large(scratch: &Scratch, name: &str) {
    let large = scratch.tree.open_large(&root(), OsStr::new(name), Target::Absent).unwrap();
    let subject = Subject { name: b"f".to_vec(), etag: b"tag".to_vec(), size: 4096 };
    large.file.file().set_len(4096).unwrap();
    let journal = Journal::create(large.journal, &subject, large.file.file()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(large.file.file(), &[7; 100], 0).unwrap();
    journal.written(0..100, crate::hash::crc32c(&[7; 100])).unwrap();
}

#[test]
fn a_file_that_is_dropped_leaves_nothing_and_a_large_one_stays() {
    let scratch = Scratch::new();
    drop(scratch.tree.create(&root(), OsStr::new("f"), Target::Absent, &plain()).unwrap());
    assert!(scratch.names().is_empty());
    begin_large(&scratch, "f");
    assert_eq!(scratch.names().len(), 2);
    let mut large = scratch.tree.open_large(&root(), OsStr::new("f"), Target::Absent).unwrap();
    assert!(large.found);
    assert_eq!(large.file.file().metadata().unwrap().len(), 4096);
    large.file.discard();
    drop(large);
    assert!(scratch.names().is_empty());
}

#[test]
fn a_large_file_is_written_by_one_process() {
    let scratch = Scratch::new();
    begin_large(&scratch, "f");
    let held = scratch.tree.open_large(&root(), OsStr::new("f"), Target::Absent).unwrap();
    let second = scratch.tree.open_large(&root(), OsStr::new("f"), Target::Absent);
    assert!(second.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    drop(held);
    scratch.tree.open_large(&root(), OsStr::new("f"), Target::Absent).unwrap();
}

#[test]
fn a_journal_about_another_file_is_no_reason_to_go_on() {
    let scratch = Scratch::new();
    begin_large(&scratch, "f");
    let temporary = scratch.path.join(names::temporary(OsStr::new("f")));
    fs::remove_file(&temporary).unwrap();
    fs::write(&temporary, "somebody else's").unwrap();
    let large = scratch.tree.open_large(&root(), OsStr::new("f"), Target::Absent).unwrap();
    assert_eq!((large.found, large.file.file().metadata().unwrap().len()), (false, 0));
    assert_eq!(large.journal.metadata().unwrap().len(), 0);
}

#[test]
fn leftovers_go_and_a_large_file_with_its_journal_stays() {
    let scratch = Scratch::new();
    begin_large(&scratch, "large");
    let digits = "0".repeat(32);
    let (one, two) = (format!(".ropewalk-{digits}"), format!(".ropewalk-1{}", &digits[1..]));
    fs::write(scratch.at(&one), "small").unwrap();
    fs::write(scratch.at(&format!("{two}.journal")), "no journal").unwrap();
    symlink("/nowhere", scratch.at(&two)).unwrap();
    let similar = [".ropewalk-x".to_string(), format!(".ropewalk-{digits}.part"), "f.part".into()];
    similar.iter().for_each(|name| fs::write(scratch.at(name), "x").unwrap());
    assert!(scratch.tree.remove_leftovers(&root()).unwrap());
    let mut stay = similar.to_vec();
    let large = names::temporary(OsStr::new("large")).into_string().unwrap();
    stay.extend([large.clone(), format!("{large}.journal")]);
    stay.sort();
    assert_eq!(scratch.names(), stay);
    fs::File::open(&scratch.path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    scratch.tree.remove_useless(&root()).unwrap();
    stay.retain(|name| !name.starts_with(&large));
    assert_eq!(scratch.names(), stay);
    // The folder has its mtime by then.
    let mtime = fs::metadata(&scratch.path).unwrap().modified().unwrap();
    assert_eq!(mtime, SystemTime::UNIX_EPOCH);
}

#[test]
fn a_second_run_does_not_get_the_folder_of_the_first() {
    let scratch = Scratch::new();
    let second = open(&scratch.path, false);
    assert!(second.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    let Scratch { path, tree } = &scratch;
    let path = path.clone();
    assert!(!tree.lacks().locks);
    let other = Scratch::new();
    let inner = other.folder("d");
    drop(inner);
    open(&other.at("d"), false).unwrap();
    drop(other);
    assert!(path.exists());
}

/// Removes what is not named, and answers what was told, in order.
fn remove(
    scratch: &Scratch,
    act: Act,
    has: &[&str],
    spares: &dyn Fn(&[u8], bool) -> bool,
) -> (Removed, Vec<String>) {
    remove_and_open(Opens::All, scratch, act, has, spares)
}

fn remove_and_open(
    opens: Opens,
    scratch: &Scratch,
    act: Act,
    has: &[&str],
    spares: &dyn Fn(&[u8], bool) -> bool,
) -> (Removed, Vec<String>) {
    let mut heard = Vec::new();
    let mut told = |path: &[u8], gone: io::Result<Kind>| {
        let word = if gone.is_ok() { "" } else { "!" };
        heard.push(format!("{word}{}", String::from_utf8_lossy(path)));
    };
    let has = |name: &OsStr| has.iter().any(|known| name == *known);
    let mut rules = Rules { opens, has: &has, spares, told: &mut told };
    let removed = scratch.tree.remove_others(&root(), act, &mut rules).unwrap();
    (removed, heard)
}

fn spare_nothing(_: &[u8], _: bool) -> bool {
    false
}

/// `d/e/f`, `d/g`, a link to a folder outside, and `kept`.
fn grow(scratch: &Scratch, outside: &Path) {
    fs::create_dir_all(scratch.at("d/e")).unwrap();
    for name in ["d/e/f", "d/g", "kept"] {
        fs::write(scratch.at(name), "x").unwrap();
    }
    symlink(outside, scratch.at("link")).unwrap();
    symlink(outside, scratch.at("d/link")).unwrap();
}

#[test]
fn what_the_source_lacks_goes_deepest_first_and_never_through_a_link() {
    let (scratch, outside) = (Scratch::new(), Scratch::new());
    fs::write(outside.at("precious"), "x").unwrap();
    grow(&scratch, &outside.path);
    let (removed, told) = remove(&scratch, Act::Remove, &["kept"], &spare_nothing);
    assert_eq!(removed, Removed { files: 4, folders: 2, refused: 0 });
    let at = |path: &str| told.iter().position(|told| told == path).unwrap();
    assert!(at("d/e/f") < at("d/e") && at("d/e") < at("d") && at("d/g") < at("d"), "{told:?}");
    assert_eq!((scratch.names(), outside.names()), (vec!["kept".into()], vec!["precious".into()]));
}

#[test]
fn counting_removes_nothing_and_counts_the_same() {
    let (scratch, outside) = (Scratch::new(), Scratch::new());
    grow(&scratch, &outside.path);
    let (counted, would) = remove(&scratch, Act::Count, &["kept"], &spare_nothing);
    assert!(scratch.at("d/e/f").exists() && scratch.at("link").is_symlink());
    let (removed, went) = remove(&scratch, Act::Remove, &["kept"], &spare_nothing);
    assert_eq!((counted, would), (removed, went));
    assert_eq!(counted.entries(), 6);
}

#[test]
fn what_is_spared_keeps_the_folders_above_it() {
    let (scratch, outside) = (Scratch::new(), Scratch::new());
    grow(&scratch, &outside.path);
    let spares = |path: &[u8], is_folder: bool| path == b"d/e/f" && !is_folder;
    let (removed, _) = remove(&scratch, Act::Remove, &["kept"], &spares);
    assert_eq!(removed, Removed { files: 3, folders: 0, refused: 0 });
    assert!(scratch.at("d/e/f").exists() && !scratch.at("d/g").exists());
}

#[test]
fn a_folder_that_another_process_removes_meanwhile_counts_as_removed() {
    for act in [Act::Count, Act::Remove] {
        let (scratch, outside) = (Scratch::new(), Scratch::new());
        grow(&scratch, &outside.path);
        let vanish = |path: &[u8], _: bool| {
            if path.starts_with(b"d/") && scratch.at("d").exists() {
                fs::remove_dir_all(scratch.at("d")).unwrap();
            }
            false
        };
        let (removed, told) = remove(&scratch, act, &["kept", "link"], &vanish);
        assert_eq!((removed.folders, removed.refused), (1, 0), "{told:?}");
        assert_eq!(told.last().map(String::as_str), Some("d"));
    }
}

#[test]
fn reserved_names_in_use_stay() {
    let scratch = Scratch::new();
    begin_large(&scratch, "f");
    let (removed, _) = remove(&scratch, Act::Remove, &[], &spare_nothing);
    assert_eq!((removed.entries(), scratch.names().len()), (0, 2));
    // In a folder that the source lacks only what another run writes stays.
    fs::create_dir(scratch.at("d")).unwrap();
    let name = names::temporary(OsStr::new("x"));
    let held = File::create(scratch.at("d").join(&name)).unwrap();
    assert!(crate::sys::file::try_lock(&held).unwrap());
    assert_eq!(remove(&scratch, Act::Remove, &[], &spare_nothing).0.entries(), 0);
    drop(held);
    assert_eq!(remove(&scratch, Act::Remove, &[], &spare_nothing).0.entries(), 2);
}

#[test]
fn the_folder_keeps_its_mode_and_its_mtime() {
    if !is_ordinary("leaving::the_folder_keeps_its_mode_and_its_mtime") {
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("d")).unwrap();
    fs::write(scratch.at("d/f"), "x").unwrap();
    set_mode(&scratch.at("d"), 0o000);
    let attributes = Attributes { mode: 0o555, ..plain() };
    scratch.tree.finish_folder(&root(), &attributes).unwrap();
    let (removed, told) = remove(&scratch, Act::Remove, &[], &spare_nothing);
    assert_eq!((removed.entries(), removed.refused), (2, 0), "{told:?}");
    let found = Status::from(&fs::metadata(&scratch.path).unwrap());
    assert_eq!((found.mode, stamp(&found)), (0o555, attributes.mtime));
    set_mode(&scratch.path, 0o700);
}

/// A folder `d` of this mode with three files.
fn with_mode(mode: u32) -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("d")).unwrap();
    ["d/a", "d/b", "d/c"].iter().for_each(|name| fs::write(scratch.at(name), "x").unwrap());
    set_mode(&scratch.at("d"), mode);
    scratch
}

fn mode_of(scratch: &Scratch) -> u32 {
    fs::metadata(scratch.at("d")).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_folder_without_rights_is_counted_with_everything_in_it() {
    if !is_ordinary("leaving::a_folder_without_rights_is_counted_with_everything_in_it") {
        return;
    }
    for mode in [0o000, 0o100, 0o300, 0o444] {
        let scratch = with_mode(mode);
        let (counted, _) = remove(&scratch, Act::Count, &[], &spare_nothing);
        assert_eq!(counted, Removed { files: 3, folders: 1, refused: 0 }, "{mode:o}");
        assert_eq!(mode_of(&scratch), mode);
        let (removed, _) = remove(&scratch, Act::Remove, &[], &spare_nothing);
        assert_eq!(removed, counted);
    }
}

#[test]
fn a_folder_that_stays_keeps_its_mode() {
    if !is_ordinary("leaving::a_folder_that_stays_keeps_its_mode") {
        return;
    }
    for mode in [0o000, 0o500] {
        let scratch = with_mode(mode);
        let spares = |path: &[u8], _: bool| path == b"d/b";
        let (removed, _) = remove(&scratch, Act::Remove, &[], &spares);
        assert_eq!(removed, Removed { files: 2, folders: 0, refused: 0 });
        assert_eq!(mode_of(&scratch), mode);
    }
}

#[test]
fn a_folder_that_gets_a_new_entry_while_it_is_emptied_keeps_its_mode() {
    if !is_ordinary("leaving::a_folder_that_gets_a_new_entry_while_it_is_emptied_keeps_its_mode") {
        return;
    }
    let scratch = with_mode(0o500);
    let appear = |path: &[u8], _: bool| {
        if path == b"d/c" || path == b"d/a" {
            fs::write(scratch.at("d/new"), "x").unwrap();
        }
        false
    };
    let (removed, told) = remove(&scratch, Act::Remove, &[], &appear);
    assert_eq!((removed.files, removed.folders, removed.refused), (3, 0, 1), "{told:?}");
    assert_eq!(mode_of(&scratch), 0o500);
    set_mode(&scratch.at("d"), 0o700);
}

#[test]
fn a_folder_that_may_not_be_read_is_not_opened_for_a_stranger_or_a_dry_run() {
    if !is_ordinary(
        "leaving::a_folder_that_may_not_be_read_is_not_opened_for_a_stranger_or_a_dry_run",
    ) {
        return;
    }
    for (opens, mode, entries) in [
        (Opens::Readable, 0o000, 0),
        (Opens::Readable, 0o300, 0),
        (Opens::Readable, 0o500, 4),
        (Opens::Nothing, 0o000, 0),
        (Opens::Nothing, 0o500, 0),
    ] {
        let scratch = with_mode(mode);
        let (removed, told) = remove_and_open(opens, &scratch, Act::Remove, &[], &spare_nothing);
        assert_eq!(removed.entries(), entries, "{opens:?} {mode:o} {told:?}");
        if entries == 0 {
            assert!(removed.refused > 0);
            assert_eq!(mode_of(&scratch), mode);
            set_mode(&scratch.at("d"), 0o700);
        }
    }
}

#[test]
fn the_deepest_folder_of_a_tree_goes_with_what_is_in_it() {
    let scratch = Scratch::new();
    let mut path = FolderPath::root();
    for _ in 0..MAX_DEPTH {
        path = scratch.tree.make_folder(&path, OsStr::new("d"), None).unwrap();
    }
    let file = scratch.tree.create(&path, OsStr::new("f"), Target::Absent, &plain()).unwrap();
    scratch.tree.put_in_place(&scratch.tree.complete(file, 0, &plain()).unwrap()).unwrap();
    let (removed, _) = remove(&scratch, Act::Remove, &[], &spare_nothing);
    assert_eq!(removed, Removed { files: 1, folders: MAX_DEPTH as u64, refused: 0 });
}

#[test]
fn what_cannot_be_removed_is_counted_and_told() {
    if !is_ordinary("leaving::what_cannot_be_removed_is_counted_and_told") {
        return;
    }
    // A folder of root, in a tree of this user: nothing in /proc can be removed.
    let (root_folder, path) = (File::open("/proc/self").unwrap(), FolderPath::root());
    let tree = Tree::open(root_folder, false, Timing::default().divided(100)).unwrap();
    let mut heard = 0;
    let mut told = |_: &[u8], gone: io::Result<Kind>| heard += usize::from(gone.is_err());
    let has = |name: &OsStr| name != "status";
    let opens = Opens::All;
    let mut rules = Rules { opens, has: &has, spares: &spare_nothing, told: &mut told };
    let removed = tree.remove_others(&path, Act::Remove, &mut rules).unwrap();
    assert_eq!(removed, Removed { files: 0, folders: 0, refused: 1 });
    assert_eq!(heard, 1);
}

#[test]
fn folders_get_their_modes_back_if_one_below_them_is_gone() {
    let scratch = Scratch::new();
    let inner = scratch.folder("outer").child(OsStr::new("inner")).unwrap();
    let mode = |name: &str| fs::metadata(scratch.at(name)).unwrap().permissions().mode() & 0o777;
    for name in ["outer", ""] {
        fs::set_permissions(scratch.at(name), fs::Permissions::from_mode(0o500)).unwrap();
    }
    let mut told = |_: &[u8], _: io::Result<Kind>| {};
    let (has, spares) = (|_: &OsStr| false, |_: &[u8], _| false);
    let mut rules = Rules { opens: Opens::All, has: &has, spares: &spares, told: &mut told };
    assert!(scratch.tree.remove_others(&inner, Act::Remove, &mut rules).is_err());
    assert_eq!((mode("outer"), mode("")), (0o500, 0o500));
    fs::set_permissions(scratch.at(""), fs::Permissions::from_mode(0o700)).unwrap();
}
