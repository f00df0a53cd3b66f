//! What killed servers left in the folders that clients write to: files on their way that nobody
//! writes any more.

#![forbid(unsafe_code)]

use ropewalk::codec::message::version::Stamp;
use ropewalk::sys::beneath::{self, Lookup};
use ropewalk::sys::dir::Dir;
use ropewalk::sys::sync::lock;
use ropewalk::transfer::store::lock::is_being_written;
use ropewalk::transfer::store::names::{self, Reserved};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// How old leftovers get. An interrupted transfer into the folder may be resumed until then.
const MAX_AGE: Duration = Duration::from_secs(7 * 86_400);

/// How often a folder is looked through, at most.
const INTERVAL: Duration = Duration::from_secs(3600);

/// The most folders that are remembered. Beyond that, all are looked through again.
const MAX_FOLDERS: usize = 4096;

/// The folders that were looked through, by device and inode, and when.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    seen: Mutex<HashMap<(u64, u64), Instant>>,
}

impl Leftovers {
    /// Removes the leftovers in the folder, unless that was done a short time ago. What cannot be
    /// removed stays, and does no harm.
    pub(crate) fn visit(&self, folder: &Dir) {
        let Ok(found) = folder.metadata() else { return };
        let (numbers, now) = ((found.dev(), found.ino()), Instant::now());
        {
            let mut seen = lock(&self.seen);
            if seen.get(&numbers).is_some_and(|at| now.duration_since(*at) < INTERVAL) {
                return;
            }
            if seen.len() >= MAX_FOLDERS {
                seen.clear();
            }
            seen.insert(numbers, now);
        }
        remove_old(folder, SystemTime::now());
    }
}

/// Removes files that nobody writes any more with their journals, and journals without a file.
fn remove_old(folder: &Dir, now: SystemTime) {
    let Ok(old) = old_names(folder, now) else { return };
    let (files, journals): (Vec<_>, Vec<_>) =
        old.into_iter().partition(|name| names::reserved(name) == Some(Reserved::Temporary));
    for file in files {
        if !is_being_written(folder, &file) && folder.remove_file(&file).is_ok() {
            let _ = folder.remove_file(&names::journal_of(&file));
        }
    }
    for journal in journals {
        let file = names::file_of_journal(&journal);
        if file.is_some_and(|file| folder.status_of(file).is_err()) {
            let _ = folder.remove_file(&journal);
        }
    }
}

/// The reserved names in the folder whose files were last written long before `now`.
fn old_names(folder: &Dir, now: SystemTime) -> io::Result<Vec<OsString>> {
    // Opened anew, since a listing moves the descriptor's position.
    let listing = Dir::from(beneath::open_dir(folder.as_fd(), b".", Lookup::Best)?);
    let mut old = Vec::new();
    for name in listing.entries() {
        let name = name?;
        if names::reserved(&name).is_none() {
            continue;
        }
        // What has gone meanwhile, or is from the future, is not old.
        let Ok(found) = folder.status_of(&name) else { continue };
        let written = Stamp::of(&found);
        if written.is_older(MAX_AGE, now) {
            old.push(name);
        }
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::sys::file;
    use std::fs::{self, File};
    use std::path::PathBuf;

    fn folder(test: &str) -> (PathBuf, Dir) {
        let name = format!("ropewalk-leftovers-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        let dir = Dir::open(&path).unwrap();
        (path, dir)
    }

    fn reserved(digit: char) -> String {
        format!("{}{}", names::PREFIX, String::from(digit).repeat(32))
    }

    #[test]
    fn only_old_files_of_reserved_names_that_nobody_writes_are_removed() {
        let (path, dir) = folder("age");
        let names = [
            reserved('a'),
            reserved('a') + names::JOURNAL,
            reserved('b') + names::JOURNAL,
            reserved('c'),
            reserved('c') + names::JOURNAL,
            "file".to_string(),
            "x.part".to_string(),
        ];
        for name in &names {
            let written = SystemTime::now() - MAX_AGE - Duration::from_secs(60);
            File::create(path.join(name)).unwrap().set_modified(written).unwrap();
        }
        let (young, written) = (reserved('d'), File::open(path.join(&names[3])).unwrap());
        fs::write(path.join(&young), b"").unwrap();
        assert!(file::try_lock(&written).unwrap());
        remove_old(&dir, SystemTime::now());
        let mut left: Vec<_> =
            dir.entries().map(|name| name.unwrap().into_string().unwrap()).collect();
        left.sort();
        let expected = [names[3].as_str(), &names[4], &young, "file", "x.part"];
        assert_eq!(left, expected);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_folder_is_looked_through_once_in_a_while() {
        let (path, dir) = folder("once");
        let leftovers = Leftovers::default();
        let leave = || {
            let file = File::create(path.join(reserved('a'))).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        };
        leave();
        leftovers.visit(&dir);
        assert!(!path.join(reserved('a')).exists());
        leave();
        leftovers.visit(&dir);
        assert!(path.join(reserved('a')).exists());
        fs::remove_dir_all(path).unwrap();
    }
}
