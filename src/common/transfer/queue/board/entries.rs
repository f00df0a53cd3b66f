//! Folders and files of a tree as the board holds them. They never change, so every thread
//! reads them without the board's lock.

#![forbid(unsafe_code)]

use std::sync::Arc;

/// The longest path of an entry below the top of the tree, in bytes.
pub const MAX_PATH: usize = 4095;

/// The deepest folder: the top of the tree is at depth 0.
pub const MAX_DEPTH: u16 = 256;

/// A folder, by a number that no other folder of the run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderId(pub(super) u64);

/// A file, by a number that no other file of the run has. A file that has changed at the source
/// gets a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(super) u64);

/// Why an entry cannot be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Its path is longer than [`MAX_PATH`].
    Path,
    /// It is a folder deeper than [`MAX_DEPTH`].
    Depth,
}

/// A folder of the tree. `M` is what the listing says about an entry, which the board only keeps.
#[derive(Debug)]
pub struct Folder<M> {
    /// Its number.
    pub id: FolderId,
    /// The folder that it is in; none at the top of the tree.
    pub parent: Option<Arc<Folder<M>>>,
    /// Its name, 1 to 255 bytes; empty at the top of the tree.
    pub name: Box<[u8]>,
    /// How many folders are above it.
    pub depth: u16,
    /// What the listing says about it.
    pub meta: M,
    /// Bytes of its path.
    path_size: usize,
}

impl<M> Folder<M> {
    /// The top of a tree.
    pub(super) fn top(meta: M) -> Folder<M> {
        let id = FolderId(0);
        Folder { id, parent: None, name: Box::default(), depth: 0, meta, path_size: 0 }
    }

    /// A folder in `parent`.
    pub(super) fn new(id: FolderId, parent: &Arc<Folder<M>>, name: Box<[u8]>, meta: M) -> Self {
        let path_size = parent.path_size_of(&name);
        Folder { id, depth: parent.depth + 1, parent: Some(parent.clone()), name, meta, path_size }
    }

    /// Its path: the names from the top of the tree, with a slash between two of them. Empty at
    /// the top.
    pub fn path(&self) -> Vec<u8> {
        let mut path = vec![0; self.path_size];
        self.put_path(&mut path);
        path
    }

    /// The path of the entry `name`.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = vec![0; self.path_size_of(name)];
        self.put_path(put_name(&mut path, name));
        path
    }

    /// Fills `path`, from its end, with the path.
    fn put_path(&self, path: &mut [u8]) {
        let (mut folder, mut rest) = (self, path);
        while let Some(parent) = &folder.parent {
            rest = put_name(rest, &folder.name);
            folder = parent;
        }
    }

    /// Bytes of [`Folder::path`].
    pub fn path_size(&self) -> usize {
        self.path_size
    }

    /// Why an entry with this name cannot be held in this folder, if it cannot.
    pub fn beyond(&self, name: &[u8], is_folder: bool) -> Option<Beyond> {
        match self.path_size_of(name) {
            _ if is_folder && self.depth >= MAX_DEPTH => Some(Beyond::Depth),
            size if size > MAX_PATH => Some(Beyond::Path),
            _ => None,
        }
    }

    fn path_size_of(&self, name: &[u8]) -> usize {
        self.path_size + usize::from(self.depth > 0) + name.len()
    }
}

/// A file of the tree, or whatever else has a name and no entries.
#[derive(Debug)]
pub struct File<M> {
    /// Its number.
    pub id: FileId,
    /// The folder that it is in.
    pub folder: Arc<Folder<M>>,
    /// Its name, 1 to 255 bytes.
    pub name: Box<[u8]>,
    /// Bytes of its content.
    pub size: u64,
    /// What the listing says about it.
    pub meta: M,
    /// How often it has changed at the source while it was asked for.
    pub changes: u32,
}

impl<M> File<M> {
    /// Its path, as [`Folder::path`].
    pub fn path(&self) -> Vec<u8> {
        self.folder.path_of(&self.name)
    }

    /// Bytes of [`File::path`].
    pub fn path_size(&self) -> usize {
        self.folder.path_size_of(&self.name)
    }
}

/// Puts `name` at the end of `path`, behind a slash if anything is before it. Returns what is before
/// both.
fn put_name<'a>(path: &'a mut [u8], name: &[u8]) -> &'a mut [u8] {
    let start = path.len() - name.len();
    path[start..].copy_from_slice(name);
    let end = start.saturating_sub(1);
    path[end..start].fill(b'/');
    &mut path[..end]
}

/// The kind of an entry of a page, before anything is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder to be listed.
    Folder,
    /// A file.
    File,
    /// An entry that lands without a request: a link.
    Made,
    /// An entry that the run has nothing to do with.
    LeftOut,
}

/// An entry of a page that the caller has dealt with.
#[derive(Debug)]
pub struct Found<M> {
    /// Its name.
    pub name: Box<[u8]>,
    /// What the listing says about it.
    pub meta: M,
    /// What is to be done about it.
    pub what: What,
}

/// What is to be done about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is a folder, which is there and open for its entries.
    Folder,
    /// It is a file of this many bytes to ask for.
    File(u64),
    /// It has been made and waits to be put in place.
    Made,
    /// Nothing, for this reason.
    Nothing(Fate),
}

/// Why an entry has left the board without having been put in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// What is there already is the same.
    Same,
    /// It is of a type that is not transferred.
    Skipped,
    /// It could not be had, or could not be put in place.
    Refused,
    /// It has vanished from the source since it was listed.
    Gone,
}

/// What comes behind the entries of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageEnd {
    /// Further entries.
    More,
    /// Nothing: the listing is whole.
    Whole,
    /// Nothing: the listing is whole, but of another folder than was found. A disk was mounted
    /// there, or taken away.
    Other,
    /// Nothing: the source does not enter the folder, by its rules or by the user's wish.
    NotEntered,
    /// The listing ends early, by an error of the source.
    Broken,
    /// The folder has vanished from the source.
    Gone,
}
