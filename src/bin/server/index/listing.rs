//! What a client may see of a folder: the regular files and folders in it that it would
//! get, and no others, in a useful order. Bounded however many there are.

#![forbid(unsafe_code)]

use crate::target::Folder;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

/// How many entries an index has at most. Which of more these are depends on the file
/// system's own order. With names of the greatest length they take 3 MB.
pub(crate) const MAX_ENTRIES: usize = 10_000;

/// What is at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A regular file of so many bytes.
    File(u64),
}

/// One file or folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name: any bytes but `/` and NUL.
    pub(crate) name: Vec<u8>,
    /// What it is; for a link what that leads to.
    pub(crate) kind: Kind,
    /// When it was last modified, in seconds since 1970; negative before.
    pub(crate) modified: i64,
}

/// What a folder shows.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Folders first, and then by the bytes of the name.
    pub(crate) entries: Vec<Entry>,
    /// Whether these are all.
    pub(crate) complete: bool,
    /// Whether the folder above may be seen too.
    pub(crate) has_parent: bool,
}

impl Listing {
    /// Reads the folder. Names that begin with a dot are left out, as `ls` does: that
    /// keeps an index tidy, and no file secret.
    ///
    /// # Errors
    /// What the system says when the names cannot be read.
    pub(crate) fn of(folder: &Folder<'_>) -> io::Result<Listing> {
        let mut listing =
            Listing { entries: Vec::new(), complete: true, has_parent: !folder.is_top() };
        for name in folder.dir().entries() {
            let name = name?;
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let found = folder.look(&name);
            let entry = found.and_then(|found| Entry::new(name.into_vec(), &found));
            if entry.is_some() && listing.entries.len() == MAX_ENTRIES {
                listing.complete = false;
                break;
            }
            listing.entries.extend(entry);
        }
        listing.entries.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
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

    fn order(&self) -> (bool, &[u8]) {
        (self.kind != Kind::Folder, &self.name)
    }
}
