//! What runs that were killed left in a folder of a tree.

#![forbid(unsafe_code)]

use super::file::old_pair;
use super::{FolderPath, Tree};
use crate::transfer::store::lock::is_being_written;
use crate::transfer::store::names::{self, Reserved};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

impl Tree {
    /// Removes the leftovers in a folder, before the run writes in it. A large file whose journal
    /// is about it stays, and so does its journal. So does a file that another process is writing.
    /// Answers how many names went.
    pub fn remove_leftovers(&self, path: &FolderPath) -> io::Result<u64> {
        let folder = self.folder(path)?;
        let listing = match folder.to_list() {
            Ok(listing) => listing,
            // What may not be listed is another user's.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut leftovers = Vec::new();
        for name in listing.entries() {
            let name = name?;
            if names::reserved(&name).is_some() {
                leftovers.push(name.into_vec());
            }
        }
        let mut removed = 0;
        for name in leftovers.iter().map(|name| OsStr::from_bytes(name)) {
            let temporary = match names::reserved(name) {
                Some(Reserved::Journal) => {
                    let length = name.len() - names::JOURNAL.len();
                    OsStr::from_bytes(&name.as_bytes()[..length])
                }
                _ => name,
            };
            let pair = old_pair(&folder, temporary, &names::journal_of(temporary));
            // What cannot be read is no valid journal, and what cannot be removed does no harm.
            let stays = matches!(pair, Ok(Some(_))) || is_being_written(&folder.dir, temporary);
            if !stays && folder.dir.remove_file(name).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }
}
