//! What the sink of a tree knows about an entry beside its name.

#![forbid(unsafe_code)]

use crate::codec::entry::{Entry, IDENTITY_SIZE};
use crate::codec::message::offer::FolderState;
use crate::codec::message::version::Stamp;
use crate::transfer::store::tree::{Case, Complete, FolderPath, Number, Target};
use std::collections::HashSet;
use std::ffi::OsString;
use std::sync::{Mutex, OnceLock};

/// What the listing says, and what is here.
pub(super) struct Meta {
    pub(super) mode: u16,
    pub(super) mtime: Stamp,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Which state of the file, or which folder.
    pub(super) identity: [u8; IDENTITY_SIZE],
    /// Bytes that a file takes at the source.
    pub(super) stored: u64,
    /// What entries of one file have in common.
    pub(super) tag: Option<u64>,
    pub(super) here: Here,
}

/// A file of the source that several names may have. Its number alone could be that of another file
/// by now, so its state counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    tag: u64,
    identity: [u8; IDENTITY_SIZE],
}

/// The first name of a file that has several, and the file that is in place under it.
#[derive(Clone)]
pub(super) struct First {
    pub(super) path: FolderPath,
    pub(super) name: OsString,
    pub(super) number: Number,
}

/// What is here, or what was made.
pub(super) enum Here {
    /// A folder.
    Folder {
        /// Its path; `None` in a dry run where no such folder is there.
        path: Option<FolderPath>,
        /// Whether it was made by this run, so that nothing else is in it.
        is_new: bool,
        /// The names that the source has in it, as far as they are needed.
        names: Mutex<Names>,
    },
    /// A file that is asked for, or complete.
    File {
        /// What its name stands for now.
        target: Target,
        /// It, when it is complete.
        complete: OnceLock<Complete>,
    },
    /// What is in place already, or would be in a dry run.
    Done,
}

/// The names of a folder, as hashes. Two names of one hash keep each other from being deleted.
#[derive(Default)]
pub(super) struct Names {
    /// What case means there; `None` before the first entry.
    pub(super) case: Option<Case>,
    /// The names of entries that were taken, where case is ignored.
    pub(super) taken: HashSet<u64>,
    pub(super) hashes: Vec<u64>,
    /// Whether there were too many: then nothing is deleted in the folder.
    pub(super) is_cut: bool,
    /// How many of them were here before the run.
    pub(super) before: u64,
}

impl Meta {
    /// Of an entry.
    pub(super) fn of(entry: &Entry<'_>, here: Here) -> Meta {
        Meta {
            mode: entry.mode,
            mtime: entry.mtime,
            uid: entry.uid,
            gid: entry.gid,
            identity: entry.identity,
            stored: entry.stored,
            tag: entry.inode_tag.map(u64::from),
            here,
        }
    }

    /// The same, for another attempt.
    pub(super) fn again(&self, here: Here) -> Meta {
        Meta { here, ..*self }
    }

    /// Of the top of the tree.
    pub(super) fn of_top(top: &FolderState, is_here: bool) -> Meta {
        let path = is_here.then(FolderPath::root);
        Meta {
            mode: top.mode,
            mtime: top.mtime,
            uid: top.uid,
            gid: top.gid,
            identity: top.identity,
            stored: 0,
            tag: None,
            here: Here::folder(path, false),
        }
    }

    /// The file, if it may have further names.
    pub(super) fn inode(&self) -> Option<Inode> {
        self.tag.map(|tag| Inode { tag, identity: self.identity })
    }

    /// The path of a folder; `None` if no such folder is here.
    pub(super) fn path(&self) -> Option<&FolderPath> {
        match &self.here {
            Here::Folder { path, .. } => path.as_ref(),
            Here::File { .. } | Here::Done => None,
        }
    }
}

impl Here {
    /// A folder.
    pub(super) fn folder(path: Option<FolderPath>, is_new: bool) -> Here {
        Here::Folder { path, is_new, names: Mutex::default() }
    }

    /// A file that takes the place of `target`.
    pub(super) fn file(target: Target) -> Here {
        Here::File { target, complete: OnceLock::new() }
    }
}
