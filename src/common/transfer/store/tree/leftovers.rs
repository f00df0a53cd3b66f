//! What runs that were killed left in a folder of a tree.

#![forbid(unsafe_code)]

use super::file::old_pair;
use super::{FolderPath, Tree};
use crate::transfer::store::lock::is_being_written;
use crate::transfer::store::names;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

impl Tree {
    /// Removes the leftovers in a folder, before the run writes in it. A large file whose journal
    /// is about it stays, and so does its journal. So does a file that another process is writing.
    /// Answers whether a large file stayed.
    pub fn remove_leftovers(&self, path: &FolderPath) -> io::Result<bool> {
        self.clear(path, true)
    }

    /// Removes every leftover in a folder whose entries are all in place: no large file will be
    /// resumed from. A file that another process is writing stays. So do the folder's mode and mtime.
    pub fn remove_useless(&self, path: &FolderPath) -> io::Result<()> {
        let before = self.folder(path)?.dir.status()?;
        self.with_rights(path, || self.clear(path, false))?;
        let dir = &self.folder(path)?.dir;
        dir.set_mtime(before.mtime, before.mtime_nanoseconds)
    }

    /// Removes leftovers; large files, which can be resumed from, only if they are not kept.
    fn clear(&self, path: &FolderPath, keeps_large: bool) -> io::Result<bool> {
        let folder = self.folder(path)?;
        let listing = match folder.to_list() {
            Ok(listing) => listing,
            // What may not be listed is another user's.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut leftovers = Vec::new();
        for name in listing.entries() {
            let name = name?;
            if names::reserved(&name).is_some() {
                leftovers.push(name.into_vec());
            }
        }
        let mut has_large = false;
        for name in leftovers.iter().map(|name| OsStr::from_bytes(name)) {
            let temporary = names::file_of_journal(name).unwrap_or(name);
            let pair = old_pair(&folder, temporary, &names::journal_of(temporary));
            // What cannot be read is no valid journal, and what cannot be removed does no harm.
            let is_large = keeps_large && matches!(pair, Ok(Some(_)));
            has_large |= is_large;
            if !is_large && !is_being_written(&folder.dir, temporary) {
                let _ = folder.dir.remove_file(name);
            }
        }
        Ok(has_large)
    }
}
