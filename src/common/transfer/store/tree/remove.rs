//! Removes what the source does not have: deepest first, never through a link, never on another
//! mount.

#![forbid(unsafe_code)]

use super::path::MAX_DEPTH;
use super::{Folder, FolderPath, Tree, folders};
use crate::sys::beneath::{self, Lookup, Mounts};
use crate::sys::dir::{Access, Dir, Kind};
use crate::sys::file;
use crate::transfer::store::names;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Names that are read before they are removed: removing disturbs a listing. Each level holds some, so
/// deeper ones hold fewer: all of them a few MiB.
const BATCH: usize = 4096;
const SMALLEST_BATCH: usize = 16;

/// The rights that a folder's owner needs to read it, and to change what is in it.
const READABLE: u32 = 0o500;
const CHANGEABLE: u32 = 0o700;

/// What is done with the entries that the source does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// They are counted.
    Count,
    /// They are removed.
    Remove,
}

/// Which folders of this user get the rights that are needed in them. A folder that stays gets its
/// mode back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// None: nothing is changed.
    Nothing,
    /// Those that may be read already: nobody can read more then.
    Readable,
    /// All.
    All,
}

/// The entries that stay, and the function that hears of the others.
pub struct Rules<'a> {
    /// Which of the folders that are to go get more rights.
    pub opens: Opens,
    /// Whether the source has this name in the folder.
    pub has: &'a dyn Fn(&OsStr) -> bool,
    /// Whether an entry is excluded: its path in the tree, and whether it is a folder. It stays,
    /// and so do the folders above it.
    pub spares: &'a dyn Fn(&[u8], bool) -> bool,
    /// Hears the path of each entry that goes, and the error of each that cannot.
    pub told: &'a mut dyn FnMut(&[u8], io::Result<Kind>),
}

/// What went, or would go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files, links and special files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Entries that could not be removed.
    pub refused: u64,
}

impl Removed {
    /// The entries that went.
    pub fn entries(&self) -> u64 {
        self.files + self.folders
    }
}

struct Removal<'a, 'b> {
    act: Act,
    rules: &'a mut Rules<'b>,
    removed: Removed,
}

impl Tree {
    /// Counts or removes the entries of one folder that the source does not have, with everything
    /// below them. Keeps the mode and the mtime of the folder.
    ///
    /// # Errors
    /// The folder cannot be listed. What cannot be removed is no error: it is counted.
    pub fn remove_others(
        &self,
        path: &FolderPath,
        act: Act,
        rules: &mut Rules<'_>,
    ) -> io::Result<Removed> {
        if act == Act::Count {
            return self.clear_others(path, act, rules);
        }
        self.with_rights(path, || self.clear_others(path, act, rules))
    }

    /// Does something in a folder while its owner has every right in it and in those above it. They get
    /// their modes back.
    ///
    /// # Errors
    /// The first error of all of that.
    pub(super) fn with_rights<T>(
        &self,
        path: &FolderPath,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut changed = Vec::new();
        let done = self.open_up(path, &mut changed).and_then(|()| act());
        let mut given_back = Ok(());
        for (folder, mode) in changed.iter().rev() {
            given_back = given_back.and(folder.dir.set_mode(*mode)); // each of them is tried
        }
        given_back.and(done)
    }

    /// Gives the owner of a folder, and of those above it, every right in them. `changed` gets the
    /// folders that lacked rights, with their modes, also where an error ends this.
    fn open_up(&self, path: &FolderPath, changed: &mut Vec<(Arc<Folder>, u32)>) -> io::Result<()> {
        for path in path.way() {
            let folder = self.folder(&path)?;
            let before = folder.dir.status()?;
            if folders::allow_changes(&folder.dir, &before)? {
                changed.push((folder, before.mode));
                self.forget(&path); // it may be open for lookups only
            }
        }
        Ok(())
    }

    fn clear_others(
        &self,
        path: &FolderPath,
        act: Act,
        rules: &mut Rules<'_>,
    ) -> io::Result<Removed> {
        let dir = self.folder(path)?.to_list()?;
        let before = dir.status()?;
        let mut removal = Removal { act, rules, removed: Removed::default() };
        let cleared = removal.clear_top(path, &dir, before.device);
        let removed = removal.removed;
        if act == Act::Remove && removed.entries() > 0 {
            // A folder of another user keeps the time of this change.
            let _ = dir.set_mtime(before.mtime, before.mtime_nanoseconds);
        }
        cleared.map(|()| removed)
    }
}

impl Removal<'_, '_> {
    /// Handles the folder itself, in which the source has names.
    fn clear_top(&mut self, path: &FolderPath, dir: &Dir, device: u64) -> io::Result<()> {
        let mut entries = dir.entries();
        loop {
            let names = entries.by_ref().take(BATCH).collect::<io::Result<Vec<OsString>>>()?;
            if names.is_empty() {
                return Ok(());
            }
            for name in &names {
                // Files of ours on their way are for the run, and for its leftovers.
                if names::reserved(name).is_none() && !(self.rules.has)(name) {
                    self.remove(dir, device, name, &mut path.join(name), 0);
                }
            }
        }
    }

    /// Removes one entry with everything below it. `false` if it stays. `path` is for a person.
    fn remove(
        &mut self,
        dir: &Dir,
        device: u64,
        name: &OsStr,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> bool {
        let found = match dir.status_of(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
            Err(error) => return self.refuse(path, error),
            Ok(found) => found,
        };
        let is_folder = found.kind == Kind::Folder;
        if (self.rules.spares)(path, is_folder) || is_in_use(dir, name) {
            return false;
        }
        // A folder at the greatest depth may have entries.
        if found.device != device || depth > MAX_DEPTH {
            let code = if depth > MAX_DEPTH { libc::ENAMETOOLONG } else { libc::EXDEV };
            return self.refuse(path, io::Error::from_raw_os_error(code));
        }
        let gone = match self.act {
            _ if is_folder => self.remove_folder(dir, device, name, path, depth),
            Act::Count => Ok(true),
            Act::Remove => dir.remove_file(name).map(|()| true),
        };
        match gone {
            Ok(false) => return false,
            // Another process removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return self.refuse(path, error),
            Ok(true) => {}
        }
        let count = if is_folder { &mut self.removed.folders } else { &mut self.removed.files };
        *count += 1;
        (self.rules.told)(path, Ok(found.kind));
        true
    }

    /// Removes the folder `name` with everything in it. `false` if something in it stays. A folder
    /// that stays gets its mode back, whatever the reason is.
    fn remove_folder(
        &mut self,
        parent: &Dir,
        device: u64,
        name: &OsStr,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> io::Result<bool> {
        let dir = open_same_mount(parent, name)?;
        let found = dir.status()?;
        let is_opened =
            self.needs_rights(found.mode) && folders::allow_changes(&dir, &found).unwrap_or(false);
        let all = match is_opened {
            false => self.clear_entries(&dir, device, path, depth),
            // It was open for lookups only.
            true => open_same_mount(parent, name)
                .and_then(|dir| self.clear_entries(&dir, device, path, depth)),
        };
        let gone = match all {
            Ok(true) if self.act == Act::Remove => parent.remove_dir(name).map(|()| true),
            all => all,
        };
        if is_opened && (self.act == Act::Count || !matches!(gone, Ok(true))) {
            dir.set_mode(found.mode)?;
        }
        gone
    }

    /// Whether a folder of this mode needs more rights, and gets them.
    fn needs_rights(&self, mode: u32) -> bool {
        let needed = if self.act == Act::Count { READABLE } else { CHANGEABLE };
        mode & needed != needed
            && match self.rules.opens {
                Opens::Nothing => false,
                Opens::Readable => mode & READABLE == READABLE,
                Opens::All => true,
            }
    }

    fn clear_entries(
        &mut self,
        dir: &Dir,
        device: u64,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> io::Result<bool> {
        let mut all = true;
        let (length, batch) = (path.len(), (BATCH / (depth + 2)).max(SMALLEST_BATCH));
        let mut entries = dir.entries();
        loop {
            let names = entries.by_ref().take(batch).collect::<io::Result<Vec<OsString>>>();
            let names = names.map_err(|error| match error.raw_os_error() {
                // It is open for lookups only.
                Some(libc::EBADF) => io::Error::from_raw_os_error(libc::EACCES),
                _ => error,
            })?;
            if names.is_empty() {
                return Ok(all);
            }
            for name in &names {
                path.push(b'/');
                path.extend_from_slice(name.as_bytes());
                all &= self.remove(dir, device, name, path, depth + 1);
                path.truncate(length);
            }
        }
    }

    /// Counts and tells an entry that stays.
    fn refuse(&mut self, path: &[u8], error: io::Error) -> bool {
        self.removed.refused += 1;
        (self.rules.told)(path, Err(error));
        false
    }
}

/// Opens the folder `name`: no link, and on the same mount.
fn open_same_mount(parent: &Dir, name: &OsStr) -> io::Result<Dir> {
    let name = name.as_bytes();
    beneath::open_plain_dir(parent.as_fd(), name, Mounts::Refuse, Lookup::Best).map(Dir::from)
}

/// Whether `name` is a file of ours that another run is writing.
fn is_in_use(dir: &Dir, name: &OsStr) -> bool {
    if names::reserved(name).is_none() {
        return false;
    }
    let Ok(opened) = dir.open_file(name, Access::Update) else { return false };
    file::try_lock(&opened).is_ok_and(|locked| !locked)
}
