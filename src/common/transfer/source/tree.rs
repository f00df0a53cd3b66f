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
pub use opened::{Held, MAX_OPEN, Opened};

use super::identity::{Identity, Stamp, Tag};
use crate::codec::message::offer::FolderState;
use crate::sys::beneath::{Folder, Lookup};
use crate::sys::dir::{self, Status};
use crate::sys::volume;
use crate::transfer::store::names;
use runs::Runs;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The most components of a name.
pub const MAX_DEPTH: usize = 256;

/// A folder and everything beneath it.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    device: u64,
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
            _ if has_vanished(&error) => Refusal::Gone,
            Some(libc::ENAMETOOLONG) => Refusal::Gone,
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
    /// `EXDEV` for a folder of proc, sysfs or cgroup; `ENOTDIR` for anything but a folder; errors
    /// of the system.
    pub fn new(folder: OwnedFd) -> io::Result<Tree> {
        let (status, identity) = identify(&folder)?;
        Ok(Tree {
            root: folder,
            device: status.device,
            identity,
            only: None,
            lookup: Lookup::Best,
            runs: Runs::default(),
        })
    }

    /// The same tree without what is mounted from another file system.
    pub fn one_file_system(self) -> Tree {
        Tree { only: Some(self.device), ..self }
    }

    /// The identity of the folder.
    pub fn identity(&self) -> Tag {
        self.identity
    }

    /// The folder itself.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn enter(&self, folder: &[u8]) -> Result<Folder, Refusal> {
        let parts = || folder.split(|&byte| byte == b'/');
        if parts().count() > MAX_DEPTH || parts().any(is_reserved) {
            return Err(Refusal::Forbidden);
        }
        Ok(Folder::enter(self.root.as_fd(), folder, self.only, self.lookup)?)
    }
}

/// What a server says of the open folder of a tree.
///
/// # Errors
/// Those of [`Tree::new`].
pub fn state_of(folder: BorrowedFd<'_>) -> io::Result<FolderState> {
    let (status, identity) = identify(folder)?;
    Ok(FolderState {
        identity,
        mode: status.mode as u16,
        mtime: Stamp::of(&status),
        uid: status.user,
        gid: status.group,
    })
}

fn identify(folder: impl AsFd) -> io::Result<(Status, Tag)> {
    let folder = folder.as_fd();
    if volume::shows_kernel(folder) {
        return Err(io::Error::from_raw_os_error(libc::EXDEV));
    }
    let status = Status::of(folder)?;
    if status.kind != dir::Kind::Folder {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    let identity = Identity::of_status(&status, volume::keeps_inodes(folder)).folder_tag();
    Ok((status, identity))
}

/// Whether an error says that something was there and is no more. A network file system says so in
/// its own way.
fn has_vanished(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE))
}

/// Whether a file of this name may be one on its way, or the journal of one. Such a file is
/// never served.
fn is_reserved(name: &[u8]) -> bool {
    names::reserved(OsStr::from_bytes(name)).is_some()
}
