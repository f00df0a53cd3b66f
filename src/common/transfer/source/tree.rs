//! A tree to send: lists its folders and opens its files, all beneath one descriptor and
//! without following a link. Keeps no table of files: a request brings its name.

#![forbid(unsafe_code)]

mod found;
mod listing;
mod opened;
mod run;
mod runs;

#[cfg(test)]
mod tests;

pub use found::{Found, Kind};
pub use listing::Page;
pub use opened::{Held, Opened};

use super::identity::{Identity, Tag};
use crate::sys::beneath::{Folder, Lookup};
use crate::sys::dir::Status;
use crate::sys::volume;
use crate::transfer::store::names;
use runs::Runs;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The most components of a name.
pub const MAX_DEPTH: usize = 256;

/// A folder and everything beneath it.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    root_status: Status,
    identity: Tag,
    /// The only device whose folders are entered.
    only: Option<u64>,
    lookup: Lookup,
    runs: Runs,
}

/// Why a request is not answered. The stream can go on.
#[derive(Debug)]
pub enum Refusal {
    /// There is nothing of that name in the tree.
    Gone,
    /// The source may not read it, or the name is one that no source serves.
    Forbidden,
    /// The file is not in the state that the request names, but in this one.
    Changed(Box<Found>),
    /// It is no regular file; of a listing, no folder.
    OtherType,
    /// The folder is on a file system that is not entered.
    NotEntered,
    /// The system fails: the disk, or no descriptor is left.
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        if error.raw_os_error().is_none() && error.kind() == io::ErrorKind::InvalidInput {
            return Refusal::Forbidden;
        }
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ESTALE | libc::ENAMETOOLONG) => Refusal::Gone,
            Some(libc::EACCES | libc::EPERM) => Refusal::Forbidden,
            Some(libc::ENOTDIR | libc::ELOOP) => Refusal::OtherType,
            Some(libc::EXDEV) => Refusal::NotEntered,
            _ => Refusal::Failed(error),
        }
    }
}

impl Tree {
    /// The tree of an open folder. Everything is looked up beneath the descriptor, so a rename
    /// of the folder does not redirect it.
    ///
    /// # Errors
    /// `EXDEV` for a folder of proc, sysfs or cgroup; errors of the system.
    pub fn new(folder: OwnedFd) -> io::Result<Tree> {
        if volume::shows_kernel(&folder) {
            return Err(io::Error::from_raw_os_error(libc::EXDEV));
        }
        let status = Status::of(&folder)?;
        let identity = Identity::of_status(&status, volume::keeps_inodes(&folder)).folder_tag();
        Ok(Tree {
            root: folder,
            root_status: status,
            identity,
            only: None,
            lookup: Lookup::Best,
            runs: Runs::default(),
        })
    }

    /// The same tree without what is mounted from another file system.
    pub fn one_file_system(self) -> Tree {
        Tree { only: Some(self.root_status.device), ..self }
    }

    /// The identity of the folder.
    pub fn identity(&self) -> Tag {
        self.identity
    }

    fn enter(&self, folder: &[u8]) -> Result<Folder, Refusal> {
        let parts = || folder.split(|&byte| byte == b'/');
        if parts().count() > MAX_DEPTH || parts().any(is_reserved) {
            return Err(Refusal::Forbidden);
        }
        Ok(Folder::enter(self.root.as_fd(), folder, self.only, self.lookup)?)
    }
}

/// Whether a file of this name may be one on its way, or the journal of one. Such a file is
/// never served.
fn is_reserved(name: &[u8]) -> bool {
    names::reserved(OsStr::from_bytes(name)).is_some()
}
