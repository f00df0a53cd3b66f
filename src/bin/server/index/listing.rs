//! The listing of a folder: the regular files and folders in it that a client may fetch, in
//! the order that it asks for. A listing may start behind any entry and ends at a limit, so a
//! folder of any size takes bounded memory.

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

/// The most entries of a page for people. With the longest names they take 3 MB.
pub(crate) const MAX_ENTRIES: usize = 10_000;

/// The most bytes of memory for the entries of a listing.
const MAX_BYTES: usize = 4 << 20;

/// About how many bytes an entry takes beside its name.
const ENTRY_BYTES: usize = 96;

/// The type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A regular file of so many bytes.
    File(u64),
}

/// A file or folder in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name: any bytes but `/` and NUL.
    pub(crate) name: Vec<u8>,
    /// The type; of a link, that of its target.
    pub(crate) kind: Kind,
    /// The time of the last change, in seconds since 1970; negative before that.
    pub(crate) modified: i64,
}

/// The property by which entries are ordered. Equal entries are ordered by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The bytes of the name.
    Bytes,
    /// The name in natural order: `a9` before `a10`.
    Name,
    /// The size of a file.
    Size,
    /// The time of the last change.
    Modified,
}

/// An order of entries. Folders come first in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The property.
    pub(crate) key: Key,
    /// Whether the greatest value comes first.
    pub(crate) descending: bool,
}

/// The entries that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Their order.
    pub(crate) order: Order,
    /// Only entries behind this one, which need not exist any more.
    pub(crate) after: Option<Entry>,
    /// Only entries whose name in lower case contains this text.
    pub(crate) pattern: Option<String>,
}

/// A part of the entries of a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The entries, in the order of the view.
    pub(super) entries: Vec<Entry>,
    /// Whether more entries follow.
    pub(super) more: bool,
    /// How many entries of the view come before these.
    pub(super) before: u64,
    /// The number of folders of the view, also before and behind these entries.
    pub(super) folders: u64,
    /// The number of files of the view.
    pub(super) files: u64,
    /// The size of all these files, in bytes.
    pub(super) bytes: u64,
    /// Whether the client may list the folder above.
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
    /// Reads the folder. With a limit it keeps at most that many entries, and counts all.
    /// Without a limit it keeps as many as fit in memory, and looks at no others, so the order
    /// must be by name. Names with a dot in front are left out, as by `ls`; a client may
    /// still fetch them.
    ///
    /// # Errors
    /// The system cannot read the names.
    pub(super) fn read(folder: &Folder, view: &View, limit: Option<usize>) -> io::Result<Listing> {
        folder.dir().rewind()?;
        let mut listing = Listing { has_parent: !folder.is_top(), ..Listing::default() };
        let mut first = FirstEntries::new(view.order, limit.unwrap_or(usize::MAX));
        for name in folder.dir().entries() {
            let name = name?.into_vec();
            if name.starts_with(b".") || !view.matches(&name) {
                continue;
            }
            // Skipped before `look`, which takes much longer than all the rest.
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
        listing.more = first.left_out.is_some();
        listing.entries = first.into_entries();
        Ok(listing)
    }
}

impl Entry {
    /// An entry with this metadata; `None` if that is of neither a file nor a folder.
    fn new(name: Vec<u8>, found: &Metadata) -> Option<Entry> {
        let kind = match (found.is_dir(), found.is_file()) {
            (true, _) => Kind::Folder,
            (_, true) => Kind::File(found.len()),
            _ => return None,
        };
        Some(Entry { name, kind, modified: found.mtime() })
    }

    /// A rank by size: folders first, then files by their bytes.
    fn size(&self) -> (bool, u64) {
        match self.kind {
            Kind::Folder => (false, 0),
            Kind::File(size) => (true, size),
        }
    }

    /// About how many bytes of memory the entry takes.
    fn cost(&self) -> usize {
        ENTRY_BYTES + self.name.len()
    }
}

impl Order {
    /// Compares two entries. Only entries of the same name are equal.
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

/// The first entries of all that are offered, as many as fit in the limits.
struct FirstEntries {
    order: Order,
    limit: usize,
    /// The last entry on top.
    kept: BinaryHeap<Ranked>,
    bytes: usize,
    /// The first entry that did not fit. No entry behind it is kept.
    left_out: Option<Entry>,
}

/// An entry with its order, for the heap.
struct Ranked {
    entry: Entry,
    order: Order,
}

impl FirstEntries {
    fn new(order: Order, limit: usize) -> FirstEntries {
        FirstEntries { order, limit, kept: BinaryHeap::new(), bytes: 0, left_out: None }
    }

    /// Whether the entry comes before all entries that did not fit.
    fn takes(&self, entry: &Entry) -> bool {
        let left_out = self.left_out.as_ref();
        left_out.is_none_or(|left_out| self.order.compare(entry, left_out).is_lt())
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
            self.left_out = Some(last.entry);
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
        let mut first = FirstEntries::new(Order { key, descending }, usize::MAX);
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
    fn the_first_entries_are_kept_in_whatever_order_they_come() {
        for step in [1, 7, 99] {
            let mut first = FirstEntries::new(View::all(Key::Name).order, 10);
            (0..100).for_each(|at| first.offer(file(&format!("{}", at * step % 100), 0, 0)));
            assert_eq!(first.left_out, Some(file("10", 0, 0)));
            assert_eq!(names(&first.into_entries()).join(" "), "0 1 2 3 4 5 6 7 8 9");
        }
    }

    #[test]
    fn memory_is_bounded_and_no_entry_before_the_last_is_missing() {
        let (long, short) = ("x".repeat(255), "y");
        let mut first = FirstEntries::new(View::all(Key::Name).order, usize::MAX);
        (0..20_000).rev().for_each(|at| first.offer(file(&format!("{at}{long}"), 0, 0)));
        first.offer(file(short, 0, 0)); // it would fit, but not all entries before it do
        assert!(first.bytes <= MAX_BYTES);
        let entries = first.into_entries();
        assert!(entries.len() > MAX_ENTRIES);
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(entry.name, format!("{at}{long}").into_bytes());
        }
    }
}
