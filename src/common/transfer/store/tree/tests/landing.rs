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
