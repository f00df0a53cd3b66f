//! Folders that take two names for one, if they differ by case only: ext4 with casefold, or a
//! library that folds names where the kernel has no such file system.

use crate::support::exit::INCOMPLETE;
use crate::support::harness::{Outcome, content, run};
use crate::support::namespace::script_in;
use crate::support::preload::preload;
use crate::support::trees::{Fact, Trees, facts};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

/// A library that finds a name under every spelling, and keeps the first one, as ext4 does.
const FOLDING: &str = include_str!("folding.c");

/// How a folder comes to fold names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ext4,
    Library,
}

/// Pairs of names that differ by case.
const PAIRS: [[&str; 2]; 5] = [
    ["NAME", "Name"],
    ["d/LARGE", "d/large"],
    ["EMPTY", "empty"],
    ["LINK", "link"],
    ["FOLDER", "folder"],
];

fn fill(trees: &Trees) {
    trees.write("other", b"other");
    for (number, name) in ["NAME", "Name", "FOLDER/a", "folder/b"].into_iter().enumerate() {
        trees.write(name, &content(1000 + number));
    }
    trees.write("d/LARGE", &content(2 << 20));
    trees.write("d/large", &content((2 << 20) + 1));
    trees.write("EMPTY", b"");
    trees.write("empty", b"");
    symlink("one", trees.there("LINK")).unwrap();
    symlink("two", trees.there("link")).unwrap();
}

/// Runs the client a few times on a folder that folds names, and returns what each run says and
/// leaves. `None` where that is not possible.
fn runs(trees: &Trees, way: Way, options: &[&str], count: usize) -> Option<Vec<(Outcome, Facts)>> {
    let mut all = Vec::new();
    let client = || trees.client(options);
    if way == Way::Library {
        for _ in 0..count {
            let mut client = client();
            preload(&trees.scratch, FOLDING, &mut client);
            all.push((run(&mut client), facts(&trees.here(""))));
        }
        return Some(all);
    }
    let disk = trees.scratch.path("disk");
    fs::File::create(&disk).unwrap().set_len(32 << 20).unwrap();
    let mut make = Command::new("mkfs.ext4");
    make.args(["-q", "-F", "-O", "casefold", "-E", "encoding=utf8"]).arg(&disk);
    if !make.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("not tried: mkfs.ext4 makes no file system that folds names");
        return None;
    }
    fs::create_dir_all(trees.here("")).unwrap();
    let here = trees.here("").display().to_string();
    // The setting is tried once before it counts.
    let mount = format!("mount -o loop '{}' '{here}'", disk.display());
    let first = format!("{mount} && {{ rmdir '{here}/lost+found'; chattr +F '{here}'; }}");
    for number in 0..count {
        let setting = if number == 0 { &first } else { &mount };
        let kept = trees.scratch.path(format!("kept-{number}"));
        let script =
            format!("\"$0\" \"$@\"; code=$?; cp -a '{here}' '{}'; exit $code", kept.display());
        let outcome = run(&mut script_in("-m", setting, &script, &client())?);
        all.push((outcome, facts(&kept)));
    }
    Some(all)
}

type Facts = BTreeMap<OsString, Fact>;

/// Which name of a pair is there, and with what; the other one is not listed.
#[track_caller]
fn one_of<'a>(facts: &'a Facts, pair: [&'a str; 2]) -> (&'a str, &'a Fact) {
    let found: Vec<&str> = pair
        .into_iter()
        .filter(|name| facts.contains_key(OsString::from(name).as_os_str()))
        .collect();
    assert_eq!(found.len(), 1, "{pair:?}: {found:?}");
    (found[0], &facts[OsString::from(found[0]).as_os_str()])
}

fn folds(way: Way) {
    for is_there in [false, true] {
        let trees = Trees::new(&format!("tree-folding-{way:?}-{is_there}"));
        fill(&trees);
        if is_there {
            trees.write_here("old", b"old");
        }
        let there = facts(&trees.there(""));
        let Some(runs) = runs(&trees, way, &[], 3) else { return };
        for (outcome, here) in &runs {
            assert_eq!(outcome.status.code(), Some(INCOMPLETE), "{outcome:?}");
            for pair in PAIRS {
                let (name, fact) = one_of(here, pair);
                let named = |name: &str| outcome.err.contains(&format!("client: {name}: "));
                let refused: Vec<&str> = pair.into_iter().filter(|name| named(name)).collect();
                assert_eq!(refused.len(), 1, "{pair:?}: {outcome:?}");
                // What is there has the content of the name that was not refused.
                let source = pair.into_iter().find(|name| *name != refused[0]).unwrap();
                let source = &there[OsString::from(source).as_os_str()];
                assert!(fact.content == source.content && fact.mode == source.mode, "{name}");
            }
            assert_eq!(outcome.err.lines().count(), PAIRS.len(), "{outcome:?}");
        }
        let [_, (_, second), (_, third)] = &runs[..] else { unreachable!() };
        assert_eq!(second, third, "{way:?}: a further run changes something");
    }
}

#[test]
fn two_names_that_a_library_folds_are_an_error_for_one_and_nothing_is_overwritten() {
    folds(Way::Library);
}

#[test]
fn two_names_that_ext4_folds_are_an_error_for_one_and_nothing_is_overwritten() {
    folds(Way::Ext4);
}

#[test]
fn a_name_whose_case_has_changed_is_not_deleted() {
    let trees = Trees::new("tree-folding-delete");
    trees.write("Name", b"text");
    trees.write("Folder/file", b"text");
    trees.write_here("NAME", b"older");
    trees.write_here("FOLDER/FILE", b"older");
    trees.write_here("gone", b"older");
    let options = ["--delete", "--max-delete", "100"];
    let runs = runs(&trees, Way::Library, &options, 2).unwrap();
    for (outcome, here) in &runs {
        assert!(outcome.status.success(), "{outcome:?}");
        let names: Vec<&OsString> = here.keys().collect();
        assert_eq!(names, ["", "FOLDER", "FOLDER/FILE", "NAME"], "{outcome:?}");
        assert_eq!(here[OsString::from("NAME").as_os_str()].content, b"text");
    }
}
