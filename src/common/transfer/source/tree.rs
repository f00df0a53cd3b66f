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
use crate::sys::stat::Stat;
use crate::sys::volume;
use runs::Runs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The most components of a name.
pub const MAX_DEPTH: usize = 256;

/// What the names of files in progress begin with; hexadecimal digits follow.
const RESERVED: &[u8] = b".ropewalk-";
const RESERVED_DIGITS: usize = 32;
const RESERVED_JOURNAL: &[u8] = b".journal";

/// A folder and everything beneath it.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    root_stat: Stat,
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
        let stat = Stat::of(&folder)?;
        let identity = Identity::of_stat(&stat, volume::keeps_inodes(&folder)).folder_tag();
        Ok(Tree {
            root: folder,
            root_stat: stat,
            identity,
            only: None,
            lookup: Lookup::Best,
            runs: Runs::default(),
        })
    }

    /// The same tree without what is mounted from another file system.
    pub fn one_file_system(self) -> Tree {
        Tree { only: Some(self.root_stat.device), ..self }
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

/// Whether a file of this name may be one in progress, or the journal of one. Such a file is
/// never served.
pub fn is_reserved(name: &[u8]) -> bool {
    let Some((digits, rest)) =
        name.strip_prefix(RESERVED).and_then(|rest| rest.split_at_checked(RESERVED_DIGITS))
    else {
        return false;
    };
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.iter().all(is_digit) && (rest.is_empty() || rest == RESERVED_JOURNAL)
}
