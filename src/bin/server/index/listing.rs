//! What a client may see of a folder: the regular files and folders in it that it would
//! get, and no others, in an order of its choice. A listing has as many entries as fit in
//! its limits, and goes on behind any entry: so memory is bounded however many there are.

#![forbid(unsafe_code)]

use crate::target::Folder;
use ropewalk::codec::natural;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;

/// How many entries a page for a person has at most. With names of the greatest length
/// they take 3 MB.
pub(crate) const MAX_ENTRIES: usize = 10_000;

/// Bytes that the entries of a listing take in memory at most.
const MAX_BYTES: usize = 4 << 20;

/// Bytes that an entry takes beside its name, about.
const ENTRY_BYTES: usize = 96;

/// What is at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A regular file of so many bytes.
    File(u64),
}

/// One file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name: any bytes but `/` and NUL.
    pub(crate) name: Vec<u8>,
    /// What it is; for a link what that leads to.
    pub(crate) kind: Kind,
    /// When it was last modified, in seconds since 1970; negative before.
    pub(crate) modified: i64,
}

/// What entries are ordered by, of equal ones by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The bytes of the name.
    Bytes,
    /// The name, as people read it.
    Name,
    /// The size of a file.
    Size,
    /// When it was last modified.
    Modified,
}

/// An order of entries: folders first, and then as this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// By what.
    pub(crate) key: Key,
    /// Whether the greatest comes first.
    pub(crate) descending: bool,
}

/// Which entries are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// In which order.
    pub(crate) order: Order,
    /// Only those behind this one, which need not be there any more.
    pub(crate) after: Option<Entry>,
    /// Only those whose names have this text in them, in lower case.
    pub(crate) pattern: Option<String>,
}

/// What a folder shows.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// In the order that was asked for.
    pub(super) entries: Vec<Entry>,
    /// Whether more come behind these.
    pub(super) more: bool,
    /// How many come before these.
    pub(super) before: u64,
    /// All folders that were asked for, those before and behind these too.
    pub(super) folders: u64,
    /// And all files.
    pub(super) files: u64,
    /// And how many bytes these have.
    pub(super) bytes: u64,
    /// Whether the folder above may be seen too.
    pub(super) has_parent: bool,
}

impl View {
    /// All entries in this order.
    pub(super) fn all(key: Key) -> View {
        View { order: Order { key, descending: false }, after: None, pattern: None }
    }

    fn matches(&self, name: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| {
            String::from_utf8_lossy(name).to_lowercase().contains(pattern.as_str())
        })
    }

    fn is_past(&self, entry: &Entry) -> bool {
        self.after.as_ref().is_some_and(|after| self.order.compare(entry, after).is_le())
    }
}

impl Listing {
    /// Reads the folder. With a limit it keeps at most so many entries, and counts all;
    /// without one it keeps as many as memory is for, and looks at no others, so the order
    /// must be one of names. Names that begin with a dot are left out, as `ls` does: that
    /// keeps an index tidy, and no file secret.
    ///
    /// # Errors
    /// What the system says when the names cannot be read.
    pub(super) fn read(folder: &Folder, view: &View, limit: Option<usize>) -> io::Result<Listing> {
        folder.dir().rewind()?;
        let mut listing = Listing { has_parent: !folder.is_top(), ..Listing::default() };
        let mut first = First::new(view.order, limit.unwrap_or(usize::MAX));
        for name in folder.dir().entries() {
            let name = name?.into_vec();
            if name.starts_with(b".") || !view.matches(&name) {
                continue;
            }
            // Looking at a file takes much longer than all the rest.
            let wanted = |kind| {
                let entry = Entry { name: name.clone(), kind, modified: 0 };
                first.takes(&entry) && !view.is_past(&entry)
            };
            if limit.is_none() && ![Kind::Folder, Kind::File(0)].into_iter().any(wanted) {
                continue;
            }
            let found = folder.look(OsStr::from_bytes(&name));
            let Some(entry) = found.and_then(|found| Entry::new(name, &found)) else { continue };
            match entry.kind {
                Kind::Folder => listing.folders += 1,
                Kind::File(size) => {
                    listing.files += 1;
                    listing.bytes = listing.bytes.saturating_add(size);
                }
            }
            match view.is_past(&entry) {
                true => listing.before += 1,
                false => first.offer(entry),
            }
        }
        listing.more = first.ceiling.is_some();
        listing.entries = first.into_entries();
        Ok(listing)
    }
}

impl Entry {
    /// `None` for what is neither a file nor a folder.
    fn new(name: Vec<u8>, found: &Metadata) -> Option<Entry> {
        let kind = match (found.is_dir(), found.is_file()) {
            (true, _) => Kind::Folder,
            (_, true) => Kind::File(found.len()),
            _ => return None,
        };
        Some(Entry { name, kind, modified: found.mtime() })
    }

    /// Whether it is a file, and of how many bytes.
    fn size(&self) -> (bool, u64) {
        match self.kind {
            Kind::Folder => (false, 0),
            Kind::File(size) => (true, size),
        }
    }

    /// Bytes that it takes in memory, about.
    fn cost(&self) -> usize {
        ENTRY_BYTES + self.name.len()
    }
}

impl Order {
    /// Which of two entries comes first. Only entries that are equal in all that counts
    /// here, and so in their names, are equal.
    pub(super) fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        let names = natural::compare(&a.name, &b.name);
        let by_key = match self.key {
            Key::Bytes => a.name.cmp(&b.name),
            Key::Name => names,
            Key::Size => a.size().cmp(&b.size()),
            Key::Modified => a.modified.cmp(&b.modified),
        };
        let by_key = if self.descending { by_key.reverse() } else { by_key };
        a.size().0.cmp(&b.size().0).then(by_key).then(names)
    }
}

/// The first of the entries that it is offered, as many as fit in its limits.
struct First {
    order: Order,
    limit: usize,
    /// The last one on top.
    kept: BinaryHeap<Ranked>,
    bytes: usize,
    /// The first one that did not fit: none behind it is kept either.
    ceiling: Option<Entry>,
}

/// An entry that knows its order.
struct Ranked {
    entry: Entry,
    order: Order,
}

impl First {
    fn new(order: Order, limit: usize) -> First {
        First { order, limit, kept: BinaryHeap::new(), bytes: 0, ceiling: None }
    }

    /// Whether it comes before all that did not fit.
    fn takes(&self, entry: &Entry) -> bool {
        let ceiling = self.ceiling.as_ref();
        ceiling.is_none_or(|ceiling| self.order.compare(entry, ceiling).is_lt())
    }

    fn offer(&mut self, entry: Entry) {
        let order = self.order;
        if !self.takes(&entry) {
            return;
        }
        self.bytes += entry.cost();
        self.kept.push(Ranked { entry, order });
        while self.kept.len() > self.limit || self.bytes > MAX_BYTES {
            let Some(last) = self.kept.pop() else { return };
            self.bytes -= last.entry.cost();
            self.ceiling = Some(last.entry);
        }
    }

    fn into_entries(self) -> Vec<Entry> {
        self.kept.into_sorted_vec().into_iter().map(|ranked| ranked.entry).collect()
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> Ordering {
        self.order.compare(&self.entry, &other.entry)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, size: u64, modified: i64) -> Entry {
        Entry { name: name.into(), kind: Kind::File(size), modified }
    }

    fn folder(name: &str) -> Entry {
        Entry { name: name.into(), kind: Kind::Folder, modified: 0 }
    }

    fn names(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| std::str::from_utf8(&entry.name).unwrap()).collect()
    }

    fn ordered(key: Key, descending: bool) -> Vec<Entry> {
        let mut first = First::new(Order { key, descending }, usize::MAX);
        for entry in
            [file("B10", 1, 9), file("b9", 3, 5), folder("z"), file("A", 3, 7), folder("y")]
        {
            first.offer(entry);
        }
        first.into_entries()
    }

    #[test]
    fn folders_come_first_in_every_order() {
        for (key, descending, expected) in [
            (Key::Bytes, false, ["y", "z", "A", "B10", "b9"]),
            (Key::Name, false, ["y", "z", "A", "b9", "B10"]),
            (Key::Name, true, ["z", "y", "B10", "b9", "A"]),
            (Key::Size, false, ["y", "z", "B10", "A", "b9"]),
            (Key::Size, true, ["y", "z", "A", "b9", "B10"]),
            (Key::Modified, true, ["y", "z", "B10", "A", "b9"]),
        ] {
            assert_eq!(names(&ordered(key, descending)), expected, "{key:?} {descending}");
        }
    }

    #[test]
    fn the_first_are_kept_in_whatever_order_they_are_offered() {
        for step in [1, 7, 99] {
            let mut first = First::new(View::all(Key::Name).order, 10);
            (0..100).for_each(|at| first.offer(file(&format!("{}", at * step % 100), 0, 0)));
            assert_eq!(first.ceiling, Some(file("10", 0, 0)));
            assert_eq!(names(&first.into_entries()).join(" "), "0 1 2 3 4 5 6 7 8 9");
        }
    }

    #[test]
    fn memory_is_bounded_and_no_entry_before_the_last_is_missing() {
        let (long, short) = ("x".repeat(255), "y");
        let mut first = First::new(View::all(Key::Name).order, usize::MAX);
        (0..20_000).rev().for_each(|at| first.offer(file(&format!("{at}{long}"), 0, 0)));
        first.offer(file(short, 0, 0)); // there is room for it, but not for all before it
        assert!(first.bytes <= MAX_BYTES);
        let entries = first.into_entries();
        assert!(entries.len() > MAX_ENTRIES);
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(entry.name, format!("{at}{long}").into_bytes());
        }
    }
}
