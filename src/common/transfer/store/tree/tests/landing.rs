//! Complete files: durable in groups, then in place.

#![forbid(unsafe_code)]

use super::*;
use crate::transfer::store::journal::{Journal, Subject};

#[test]
fn a_file_has_its_name_only_when_it_is_put_in_place() {
    let scratch = Scratch::with(true);
    let all: Vec<Complete> = (0..100)
        .map(|number| scratch.write(&format!("f{number}"), "x", &plain()).unwrap())
        .collect();
    assert!(!scratch.at("f0").exists());
    scratch.tree.sync_files(all.iter()).unwrap();
    all.iter().for_each(|complete| scratch.tree.put_in_place(complete).unwrap());
    scratch.tree.sync_names().unwrap();
    assert_eq!(scratch.names().len(), 100);
}

#[test]
fn what_appeared_meanwhile_is_not_replaced() {
    let scratch = Scratch::with(true);
    let complete = scratch.write("b", "new", &plain()).unwrap();
    fs::write(scratch.at("b"), "appeared").unwrap();
    assert!(scratch.tree.put_in_place(&complete).is_err());
    assert_eq!((scratch.names(), scratch.read("b").as_str()), (vec!["b".into()], "appeared"));
}

#[test]
fn a_failed_sync_is_told() {
    let scratch = Scratch::with(true);
    let mut complete = scratch.write("f", "x", &plain()).unwrap();
    complete.volume = Arc::new(Volume::broken(&scratch.tree.root.dir).unwrap());
    assert!(scratch.tree.sync_files([complete].iter()).is_err());
    assert!(!scratch.at("f").exists());
}

#[test]
fn after_a_failed_sync_the_journal_of_a_complete_file_vouches_only_for_what_was_durable() {
    let scratch = Scratch::with(true);
    let large = scratch.tree.open_large(&root(), OsStr::new("f"), Target::Absent).unwrap();
    let subject = Subject { name: b"f".to_vec(), etag: b"tag".to_vec(), size: 4096 };
    let part = large.file.file();
    part.set_len(4096).unwrap();
    let file = large.journal.try_clone().unwrap();
    Journal::create(file, &subject, part).unwrap().hole(0..4096).unwrap();
    let held = || Journal::open(large.journal.try_clone().unwrap()).unwrap().unwrap().2;
    assert_eq!(held().len(), 1);
    let complete = scratch.tree.complete(large.file, 4096, &plain()).unwrap();
    scratch.tree.distrust(&complete);
    assert_eq!(held().len(), 0);
}

#[test]
fn a_large_file_loses_its_journal_when_it_is_put_in_place() {
    let scratch = Scratch::with(true);
    let large = scratch.tree.open_large(&root(), OsStr::new("f"), Target::Absent).unwrap();
    assert!(!large.found && scratch.names().len() == 2);
    let complete = scratch.tree.complete(large.file, 1 << 20, &plain()).unwrap();
    assert_eq!(scratch.names().len(), 2);
    scratch.tree.put_in_place(&complete).unwrap();
    assert_eq!((scratch.names(), scratch.look("f").unwrap().size), (vec!["f".into()], 1 << 20));
}

/// A run into a folder of another run's tree is not kept out by the lock of that tree.
fn inner(scratch: &Scratch) -> (Tree, FolderPath) {
    let folder = scratch.folder("d");
    (open(&scratch.at("d"), false).unwrap(), folder)
}

#[test]
fn of_two_runs_that_write_one_file_each_puts_its_own_in_place() {
    let scratch = Scratch::new();
    let (other, folder) = inner(&scratch);
    let name = OsStr::new("f");
    let mut one = scratch.tree.create(&folder, name, Target::Absent, &plain()).unwrap();
    one.put(0, b"one").unwrap();
    let mut two = other.create(&root(), name, Target::Present, &plain()).unwrap();
    two.put(0, b"tw").unwrap();
    let one = scratch.tree.complete(one, 3, &plain()).unwrap();
    scratch.tree.put_in_place(&one).unwrap();
    assert_eq!(scratch.read("d/f"), "one");
    two.put(2, b"o").unwrap();
    let two = other.complete(two, 3, &plain()).unwrap();
    other.put_in_place(&two).unwrap();
    assert_eq!(scratch.read("d/f"), "two");
    assert_eq!(names_in(&scratch, "d"), ["f"]);
}

fn names_in(scratch: &Scratch, folder: &str) -> Vec<std::ffi::OsString> {
    fs::read_dir(scratch.at(folder)).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// Begins a large file `f` of 3 bytes in this folder.
fn large(tree: &Tree, folder: &FolderPath) -> io::Result<NewFile> {
    let large = tree.open_large(folder, OsStr::new("f"), Target::Present)?;
    let subject = Subject { name: b"f".into(), etag: b"t".into(), size: 3 };
    Journal::create(large.journal, &subject, large.file.file()).unwrap();
    Ok(large.file)
}

#[test]
fn a_large_file_is_its_run_s_until_it_is_in_place() {
    let scratch = Scratch::new();
    let (other, folder) = inner(&scratch);
    let is_held = || large(&other, &root()).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
    let one = large(&scratch.tree, &folder).unwrap();
    assert!(is_held());
    // Complete, it waits for its sync.
    let one = scratch.tree.complete(one, 3, &plain()).unwrap();
    assert!(is_held());
    scratch.tree.put_in_place(&one).unwrap();
    assert_eq!(names_in(&scratch, "d"), ["f"]);
    drop(one);
    let two = large(&other, &root()).unwrap();
    let two = other.complete(two, 3, &plain()).unwrap();
    other.put_in_place(&two).unwrap();
    assert_eq!(names_in(&scratch, "d"), ["f"]);
}

#[test]
fn a_large_file_whose_temporary_name_is_another_s_is_not_put_in_place() {
    let scratch = Scratch::new();
    let folder = scratch.folder("d");
    let one = large(&scratch.tree, &folder).unwrap();
    let one = scratch.tree.complete(one, 3, &plain()).unwrap();
    let temporary = scratch.at("d").join(names::temporary(OsStr::new("f")));
    fs::remove_file(&temporary).unwrap();
    fs::write(&temporary, "half").unwrap();
    let refused = scratch.tree.put_in_place(&one).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    scratch.tree.discard(&one);
    assert!(!scratch.at("d/f").exists());
    assert_eq!(fs::read(temporary).unwrap(), b"half");
}

#[test]
fn many_complete_large_files_keep_a_bounded_number_of_descriptors() {
    let scratch = Scratch::new();
    let begin = |number: usize| {
        let name = format!("f{number}");
        let large = scratch.tree.open_large(&root(), OsStr::new(&name), Target::Absent).unwrap();
        scratch.tree.complete(large.file, 0, &plain()).unwrap()
    };
    let all: Vec<Complete> = (0..MAX_HELD + 9).map(begin).collect();
    assert_eq!(scratch.tree.held.load(Ordering::Relaxed), MAX_HELD);
    all.iter().for_each(|complete| scratch.tree.put_in_place(complete).unwrap());
    drop(all);
    assert_eq!(scratch.tree.held.load(Ordering::Relaxed), 0);
}
