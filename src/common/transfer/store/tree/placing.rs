//! How an entry under its temporary name gets its real one.

#![forbid(unsafe_code)]

use super::{Complete, FolderPath, Tree};
use crate::sys::dir::{Access, Dir, Kind, Status};
use crate::transfer::store::{journal, names};
use std::ffi::OsStr;
use std::io;

/// What an entry is put in place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing. What appears meanwhile is not replaced.
    Absent,
    /// A file or a link, which a rename replaces.
    Present,
    /// A folder, which is replaced if it is empty.
    Folder,
}

impl Target {
    /// The target for an entry, from what [`Tree::look`] has said.
    ///
    /// # Errors
    /// `AlreadyExists` for a FIFO, a socket or a device: these are nobody's copy.
    pub fn of(found: Option<&Status>) -> io::Result<Target> {
        match found {
            None => Ok(Target::Absent),
            Some(found) if is_special(found) => Err(exists()),
            Some(found) if found.kind == Kind::Folder => Ok(Target::Folder),
            Some(_) => Ok(Target::Present),
        }
    }
}

/// Whether no file, folder or link is there.
pub(super) fn is_special(found: &Status) -> bool {
    found.kind == Kind::Special
}

/// The error for what is in the way.
pub(super) fn exists() -> io::Error {
    io::Error::from_raw_os_error(libc::EEXIST)
}

impl Tree {
    /// Puts a complete file in place. A file that cannot be put in place is removed, unless it has
    /// a journal.
    ///
    /// # Errors
    /// `AlreadyExists` if something appeared meanwhile; `WouldBlock` if another run has taken over a
    /// file with a journal; errors of the system.
    pub fn put_in_place(&self, complete: &Complete) -> io::Result<()> {
        let folder = self.folder(&complete.folder)?;
        let (dir, temporary) = (&folder.dir, &complete.temporary);
        complete.check_own(dir)?;
        let put = self.put(&complete.folder, dir, temporary, &complete.name, complete.target);
        if put.is_ok() && complete.has_journal() {
            // Only now: without its journal the file could not be resumed from.
            let _ = dir.remove_file(&names::journal_of(temporary));
        }
        if put.is_err() {
            self.leave(complete);
        }
        put
    }

    /// Removes a complete file that cannot be put in place, unless it has a journal: the next run goes
    /// on with that.
    pub fn leave(&self, complete: &Complete) {
        if !complete.has_journal() {
            self.discard(complete);
        }
    }

    /// Removes a complete file that is not needed.
    pub fn discard(&self, complete: &Complete) {
        let Ok(folder) = self.folder(&complete.folder) else { return };
        if complete.check_own(&folder.dir).is_err() {
            return;
        }
        if complete.has_journal() {
            let _ = folder.dir.remove_file(&names::journal_of(&complete.temporary));
        }
        let _ = folder.dir.remove_file(&complete.temporary);
    }

    /// A sync has failed: of a complete file with a journal, only what was durable before counts in
    /// the next run. Bytes that are read back may be in memory only.
    pub fn distrust(&self, complete: &Complete) {
        let Ok(folder) = self.folder(&complete.folder) else { return };
        let name = names::journal_of(&complete.temporary);
        if let Ok(file) = folder.dir.open_file(&name, Access::Update) {
            let _ = journal::distrust(&file);
        }
    }

    /// Renames `temporary` to `name`.
    pub(super) fn put(
        &self,
        path: &FolderPath,
        dir: &Dir,
        temporary: &OsStr,
        name: &OsStr,
        target: Target,
    ) -> io::Result<()> {
        match target {
            Target::Absent => dir.rename_new(temporary, name),
            Target::Present => dir.rename(temporary, name),
            Target::Folder => {
                dir.remove_dir(name)?;
                self.forget(&path.child(name)?);
                dir.rename_new(temporary, name)
            }
        }
    }
}
