//! The entries of a page: what is here under each name, and what is to be done about it.

#![forbid(unsafe_code)]

use super::{Here, Meta, TreeSink};
use crate::codec::entry::{Entry, EntryType};
use crate::codec::message::report::Act;
use crate::codec::message::tree_options::Delete;
use crate::codec::message::version::Stamp;
use crate::error::{Error, ExitCode, Result};
use crate::sys::dir::{Kind as FileKind, Status};
use crate::sys::sync::lock;
use crate::transfer::queue::board::entries::{Fate, Folder, Found, Kind, What};
use crate::transfer::store::names;
use crate::transfer::store::tree::{Case, FolderPath, Number, Target, Tree};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// Why a large file is refused.
pub(super) use super::super::TOO_LARGE;

/// Why the second of two names is refused that differ by case only.
const TAKEN: &str = "this file system takes it for another name of the folder";

/// What an entry has come to.
type Decided = io::Result<(Here, What)>;

/// The entry has nothing to do with the run any more.
fn nothing(fate: Fate) -> Decided {
    Ok((Here::Done, What::Nothing(fate)))
}

impl TreeSink {
    /// The kind of an entry, before anything is done about it.
    pub(super) fn kind_of(&self, folder: &Folder<Meta>, entry: &Entry<'_>) -> Kind {
        let is_folder = entry.entry_type == EntryType::Folder;
        if !self.rules.is_empty() && self.rules.exclude(&folder.path_of(entry.name), is_folder) {
            return Kind::LeftOut;
        }
        match entry.entry_type {
            EntryType::Folder => Kind::Folder,
            EntryType::Link(_) => Kind::Made,
            EntryType::File if entry.size == 0 => Kind::Made,
            EntryType::File | EntryType::Other | EntryType::Unreadable => Kind::File,
        }
    }

    /// Does what can be done about an entry at once: makes a folder, a link or an empty file, and
    /// compares.
    ///
    /// # Errors
    /// No entry can be put in place here any more.
    pub(super) fn prepare(&self, folder: &Folder<Meta>, entry: &Entry<'_>) -> Result<Found<Meta>> {
        self.look_at_case(folder);
        self.remember(folder, entry.name);
        self.count_entry()?;
        let name = OsStr::from_bytes(entry.name);
        let decided = match entry.entry_type {
            _ if names::reserved(name).is_some() => nothing(Fate::Skipped),
            EntryType::File | EntryType::Folder | EntryType::Link(_)
                if self.take_name(folder, entry.name) =>
            {
                Err(io::Error::new(io::ErrorKind::AlreadyExists, TAKEN))
            }
            // The board does not take it, and tells why.
            EntryType::Folder if folder.beyond(entry.name, true).is_some() => {
                Ok((Here::Done, What::Folder))
            }
            _ if folder.beyond(entry.name, false).is_some() => Ok((Here::Done, What::File(0))),
            EntryType::File if self.is_too_large(entry.size) => {
                self.tell_refused(&folder.path_of(entry.name), TOO_LARGE);
                nothing(Fate::Refused)
            }
            EntryType::Link(text)
                if self.wanted.limits.is_some_and(|limits| !limits.any_link)
                    && leads_out(folder.depth, text) =>
            {
                self.tell(Act::Skipped, || folder.path_of(entry.name));
                nothing(Fate::Skipped)
            }
            EntryType::File => self.file(folder, name, entry),
            EntryType::Folder => self.folder(folder, name, entry),
            EntryType::Link(text) => self.link(folder, name, entry, text),
            EntryType::Other => {
                self.tell(Act::Skipped, || folder.path_of(entry.name));
                nothing(Fate::Skipped)
            }
            EntryType::Unreadable => {
                let words = format!("the {} cannot look at it", self.health.source());
                self.tell_refused(&folder.path_of(entry.name), &words);
                nothing(Fate::Refused)
            }
        };
        let (here, what) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                self.refuse_here(&folder.path_of(entry.name), &error)?;
                (Here::Done, What::Nothing(Fate::Refused))
            }
        };
        Ok(Found { name: entry.name.into(), meta: Meta::of(entry, here), what })
    }

    /// Whether a file of so many bytes is not taken.
    pub(super) fn is_too_large(&self, size: u64) -> bool {
        self.wanted.limits.is_some_and(|limits| size > limits.max_size)
    }

    /// Counts one more entry.
    ///
    /// # Errors
    /// There are more than the limits allow.
    fn count_entry(&self) -> Result<()> {
        let Some(limits) = &self.wanted.limits else { return Ok(()) };
        let mut entries = lock(&self.entries);
        *entries += 1;
        match *entries > limits.max_entries {
            true => {
                let text = format!("the folder has more than {} entries", limits.max_entries);
                Err(Error::new(ExitCode::Refused, text))
            }
            false => Ok(()),
        }
    }

    /// Finds out what case means in a folder, before its first entry. A folder that this run has
    /// made needs that no more than an empty one: there no name replaces another.
    fn look_at_case(&self, folder: &Folder<Meta>) {
        let Here::Folder { path: Some(path), is_new: false, names } = &folder.meta.here else {
            return;
        };
        let Some(store) = &self.wanted.store else { return };
        let mut names = lock(names);
        if names.case.is_none() {
            // What cannot be looked at is told of when something is put there.
            names.case = Some(store.case_of(path).unwrap_or_default());
        }
    }

    /// Takes the name of an entry where the file system ignores case. True if another entry has taken
    /// it, in another case.
    fn take_name(&self, folder: &Folder<Meta>, name: &[u8]) -> bool {
        let Here::Folder { is_new: false, names, .. } = &folder.meta.here else { return false };
        let mut names = lock(names);
        names.case == Some(Case::Ignored) && self.deletion.take_name(&mut names, name)
    }

    /// The source has this name: it is not deleted.
    fn remember(&self, folder: &Folder<Meta>, name: &[u8]) {
        if let Here::Folder { names, is_new: false, .. } = &folder.meta.here {
            if self.wanted.options.delete != Delete::Nothing {
                self.deletion.remember(&mut lock(names), name);
            }
        }
    }

    /// What is here under a name. Nothing is looked at in a folder that this run has made or found
    /// empty.
    fn found(&self, folder: &Folder<Meta>, name: &OsStr) -> io::Result<Option<Status>> {
        let Here::Folder { path: Some(path), is_new: false, names } = &folder.meta.here else {
            return Ok(None);
        };
        let Some(store) = &self.wanted.store else { return Ok(None) };
        if lock(names).case == Some(Case::Unknown) {
            return Ok(None);
        }
        let found = store.look(path, name)?;
        lock(names).before += u64::from(found.is_some());
        Ok(found)
    }

    /// The store, and the path of a folder in it, where something may be changed.
    fn place<'a>(&'a self, folder: &'a Folder<Meta>) -> Option<(&'a Tree, &'a FolderPath)> {
        let Meta { here: Here::Folder { path: Some(path), .. }, .. } = &folder.meta else {
            return None;
        };
        self.wanted.store.as_ref().filter(|_| !self.wanted.options.dry_run).zip(Some(path))
    }

    /// Whether the source may learn of what is here. Else whoever sends to a server could guess at
    /// files that the server may not read, and have such a folder opened for all.
    fn may_learn(&self, folder: &Folder<Meta>, name: &OsStr, found: &Status) -> bool {
        let here = folder.meta.path().zip(self.wanted.store.as_ref());
        match (self.wanted.limits, here) {
            (Some(_), Some((path, store))) if found.kind != FileKind::Link => {
                store.may_read(path, name, found.kind == FileKind::Folder)
            }
            _ => true,
        }
    }

    /// Whether what is here stays as it is, whatever the source has.
    fn stays(
        &self,
        folder: &Folder<Meta>,
        name: &OsStr,
        found: &Status,
        entry: &Entry<'_>,
    ) -> bool {
        let options = &self.wanted.options;
        let is_newer = || found.kind == FileKind::File && Stamp::of(found).is_after(entry.mtime);
        options.ignore_existing
            || options.update && is_newer() && self.may_learn(folder, name, found)
    }

    fn file(&self, folder: &Folder<Meta>, name: &OsStr, entry: &Entry<'_>) -> Decided {
        let found = self.found(folder, name)?;
        let meta = Meta::of(entry, Here::Done);
        if let Some(found) = &found {
            if self.stays(folder, name, found, entry) {
                return nothing(Fate::Same);
            }
            if self.is_same(found, entry.size, &meta) && self.may_learn(folder, name, found) {
                return self.keep(folder, name, found, &meta);
            }
            let first = self.first(self.inode(&meta));
            if first.is_some_and(|first| first.number == Number::of(found)) {
                return nothing(Fate::Same);
            }
        }
        let target = self.target(folder, name, found.as_ref())?;
        let Some((store, path)) = self.place(folder) else {
            self.tell(Act::File, || folder.path_of(entry.name));
            return Ok((Here::Done, What::Made));
        };
        if self.link_to_first(store, (path, name), self.inode(&meta), target)? {
            self.tell(Act::Link, || folder.path_of(entry.name));
            return Ok((Here::Done, What::Made));
        }
        if entry.size > 0 {
            return Ok((Here::file(target), What::File(entry.size)));
        }
        let attributes = self.attributes(&meta);
        let new = store.create(path, name, target, &attributes)?;
        let complete = store.complete(new, 0, &attributes)?;
        Ok((Here::File { target, complete: complete.into() }, What::Made))
    }

    /// What a file or a link is to replace.
    ///
    /// # Errors
    /// `ENOTEMPTY` for a folder with entries, and `AlreadyExists` for a special file: these are not
    /// replaced, and nothing has to come for them.
    fn target(
        &self,
        folder: &Folder<Meta>,
        name: &OsStr,
        found: Option<&Status>,
    ) -> io::Result<Target> {
        let target = Target::of(found)?;
        let here = folder.meta.path().zip(self.wanted.store.as_ref());
        match here {
            Some((path, store)) if target == Target::Folder => store.check_empty(path, name)?,
            _ => {}
        }
        Ok(target)
    }

    fn is_same(&self, found: &Status, size: u64, meta: &Meta) -> bool {
        let is_same = match self.wanted.options.checksum {
            // What has bytes is compared when these have come.
            true => found.size == 0 && size == 0,
            false => found.size == size && Stamp::of(found).agrees_with(meta.mtime),
        };
        found.kind == FileKind::File && is_same && self.may_stay(found, meta)
    }

    /// Keeps a file that has the right content.
    fn keep(&self, folder: &Folder<Meta>, name: &OsStr, found: &Status, meta: &Meta) -> Decided {
        if let Some((store, path)) = self.place(folder) {
            self.link_or_dress(store, (path, name), found, meta)?;
        }
        nothing(Fate::Same)
    }

    fn folder(&self, folder: &Folder<Meta>, name: &OsStr, entry: &Entry<'_>) -> Decided {
        let found = self.found(folder, name)?;
        let is_new = !found.as_ref().is_some_and(|found| found.kind == FileKind::Folder);
        if is_new && found.as_ref().is_some_and(|found| self.stays(folder, name, found, entry)) {
            return nothing(Fate::Same);
        }
        if found.as_ref().is_some_and(|found| !is_new && !self.may_learn(folder, name, found)) {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        if is_new {
            self.tell(Act::Folder, || folder.path_of(name.as_bytes()));
        }
        let path = match (self.place(folder), folder.meta.path()) {
            (Some((store, parent)), _) => {
                let path = store.make_folder(parent, name, found.as_ref())?;
                if !is_new {
                    self.clean(store, &path)?;
                }
                Some(path)
            }
            (None, Some(parent)) if !is_new => Some(parent.child(name)?),
            (None, _) => None,
        };
        Ok((Here::folder(path, is_new), What::Folder))
    }

    fn link(&self, folder: &Folder<Meta>, name: &OsStr, entry: &Entry<'_>, text: &[u8]) -> Decided {
        let found = self.found(folder, name)?;
        let here = folder.meta.path().zip(self.wanted.store.as_ref());
        if let (Some(found), Some((path, store))) = (&found, here) {
            if self.stays(folder, name, found, entry) {
                return nothing(Fate::Same);
            }
            if found.kind == FileKind::Link
                && store.link_text(path, name).is_ok_and(|there| there == text)
            {
                if !self.wanted.options.dry_run {
                    let attributes = self.attributes(&Meta::of(entry, Here::Done));
                    store.dress_link(path, name, found, &attributes)?;
                }
                return nothing(Fate::Same);
            }
        }
        let target = self.target(folder, name, found.as_ref())?;
        if let Some((store, path)) = self.place(folder) {
            let meta = Meta::of(entry, Here::Done);
            store.make_link(path, name, text, &self.attributes(&meta), target)?;
        }
        self.tell(Act::Link, || folder.path_of(entry.name));
        Ok((Here::Done, What::Made))
    }
}

/// Whether the text of a link in a folder of this depth may lead out of the tree: it is absolute, has
/// more leading `..` than there are folders above, or has `..` behind another component, which may
/// be a link.
fn leads_out(depth: u16, text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let ups = parts.by_ref().take_while(|part| *part == b"..").count();
    // The part that ended the row of `..` is none.
    text.is_empty() || text.starts_with(b"/") || ups > depth.into() || parts.any(|p| p == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_out_by_its_text_alone() {
        for (depth, text, expected) in [
            (0, "a", false),
            (0, "a/b", false),
            (0, "./a", false),
            (0, ".", false),
            (0, "..", true),
            (0, "../a", true),
            (0, "./../a", true),
            (1, "..", false),
            (1, "../a", false),
            (1, ".././a", false),
            (1, "../..", true),
            (2, "..//../a", false),
            (2, "../a/..", true),
            (9, "a/../b", true),
            (9, "a/..", true),
            (9, "/", true),
            (9, "/a", true),
            (9, "", true),
            (0, "...", false),
            (0, "a../..b", false),
        ] {
            assert_eq!(leads_out(depth, text.as_bytes()), expected, "{depth} {text}");
        }
    }
}
