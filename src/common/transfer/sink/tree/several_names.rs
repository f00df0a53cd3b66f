//! Files with several names. The names of one file at the source become names of one file here. A file
//! that has other names here keeps its mode and its times for them.

#![forbid(unsafe_code)]

use super::{First, Inode, MAX_LINKED, Meta, TreeSink};
use crate::codec::message::version::Stamp;
use crate::sys::dir::Status;
use crate::sys::sync::lock;
use crate::transfer::store::tree::{FolderPath, Number, Target, Tree};
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::ffi::OsStr;
use std::io;
use std::sync::atomic::Ordering;

impl TreeSink {
    /// Whether a file that has the right content may stay under its name. What its name is to get would
    /// be that of its other names too. So it may get another mode, owner or mtime only if each of its
    /// names met so far is of the same file of the source.
    pub(super) fn may_stay(&self, found: &Status, meta: &Meta) -> bool {
        if found.links == 1 {
            return true;
        }
        let is_dressed = !Tree::would_dress(found, &self.attributes(meta))
            && Stamp::of(found).agrees_with(meta.mtime);
        if !self.wanted.options.hard_links {
            return is_dressed;
        }
        let may_be_dressed = self.wanted.limits.is_none() && meta.inode().is_some();
        match self.claim(Number::of(found), meta.inode()) {
            Some(is_ours) => is_ours && (is_dressed || may_be_dressed),
            None => is_dressed,
        }
    }

    /// Takes a file here for this file of the source, which is `None` if it has one name there. False if
    /// it was taken for another one before; `None` if there is no room to remember it.
    fn claim(&self, number: Number, inode: Option<Inode>) -> Option<bool> {
        let mut claimed = lock(&self.claimed);
        let has_room = claimed.len() < MAX_LINKED;
        match claimed.entry(number) {
            Occupied(place) => Some(*place.get() == inode),
            Vacant(place) if has_room => Some(*place.insert(inode) == inode),
            Vacant(_) => None,
        }
    }

    /// Makes the name of a file that has the right content a further name of the first file with this
    /// inode. If it is the first itself, it gets its mode, owner and mtime.
    pub(super) fn link_or_dress(
        &self,
        store: &Tree,
        (path, name): (&FolderPath, &OsStr),
        found: &Status,
        meta: &Meta,
    ) -> io::Result<()> {
        let inode = self.inode(meta);
        let is_first = self.become_first(inode, (path, name), Number::of(found));
        // The thread that keeps the first name dresses its file, which may have names elsewhere.
        if !is_first && self.link_to_first(store, (path, name), inode, Target::Present)? {
            return Ok(());
        }
        store.dress(path, name, found, &self.attributes(meta))
    }

    /// The file of an entry, if its names are to be those of one file here.
    pub(super) fn inode(&self, meta: &Meta) -> Option<Inode> {
        meta.inode().filter(|_| self.wanted.options.hard_links)
    }

    /// Makes a name a further one of the first file with this inode. False if there is none, or if
    /// the name has to be a copy.
    pub(super) fn link_to_first(
        &self,
        store: &Tree,
        (path, name): (&FolderPath, &OsStr),
        inode: Option<Inode>,
        target: Target,
    ) -> io::Result<bool> {
        let Some(first) = self.first(inode) else { return Ok(false) };
        let of = (&first.path, first.name.as_os_str(), first.number);
        match store.make_hard_link((path, name), of, target) {
            Ok(()) => Ok(true),
            Err(error) if Tree::needs_copy(&error) => {
                // A name that has vanished meanwhile is no lack of the place.
                if error.kind() != io::ErrorKind::NotFound {
                    self.has_copies.store(true, Ordering::Relaxed);
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The first name with this inode.
    pub(super) fn first(&self, inode: Option<Inode>) -> Option<First> {
        lock(&self.linked).get(&inode?).cloned()
    }

    /// Remembers a name as the first with its inode, unless there is one: the file with this number is
    /// in place under it. Whether the name is the first.
    pub(super) fn become_first(
        &self,
        inode: Option<Inode>,
        (path, name): (&FolderPath, &OsStr),
        number: Number,
    ) -> bool {
        let Some(inode) = inode else { return false };
        let mut linked = lock(&self.linked);
        if !linked.contains_key(&inode) && linked.len() < MAX_LINKED {
            let first = First { path: path.clone(), name: name.to_os_string(), number };
            linked.insert(inode, first);
        }
        linked.get(&inode).is_some_and(|first| first.path == *path && first.name == name)
    }
}
