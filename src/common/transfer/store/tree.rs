//! Where a sink puts a tree: files, folders and links below one open folder, by names relative to
//! it. No link is followed. A real name means the old content or the whole new content at every
//! instant.
//!
//! This is the store alone. Which entries come, and in which order, others decide.

#![forbid(unsafe_code)]

mod case;
mod file;
mod folders;
mod leftovers;
pub mod limits;
mod links;
mod path;
mod placing;
mod remove;
mod volume;

pub use self::case::Case;
pub use self::file::{Complete, Large, MAX_HELD, NewFile};
pub use self::path::{FolderPath, MAX_DEPTH, MAX_PATH, check_name};
pub use self::placing::Target;
pub use self::remove::{Act, Opens, Removed, Rules};

use self::volume::Volume;
use super::lock::lock_soon;
use super::names;
use crate::codec::message::version::Stamp;
use crate::sys::beneath::{self, Lookup, Mounts};
use crate::sys::dir::{Dir, Status};
use crate::sys::sync::lock;
use crate::transfer::store::journal;
use crate::transfer::timing::Timing;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Most folders that stay open.
const MAX_OPEN: usize = 64;

/// The bits of a mode that an entry gets with its owner, and without.
const MODE_WITH_OWNER: u32 = 0o7777;
const MODE_WITHOUT_OWNER: u32 = 0o777;

/// What an entry gets besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The mode in the source. Set-id bits and the sticky bit count only with an owner.
    pub mode: u32,
    /// The mtime.
    pub mtime: Stamp,
    /// The numbers of its owner and its group, where they are to be kept.
    pub owner: Option<(u32, u32)>,
}

/// What the file system refused and no content needs. The run goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Entries that did not get their owner.
    pub owners: u64,
    /// Entries that did not get their mode, such as folders of another user.
    pub modes: u64,
    /// Entries that did not get their mtime. The next run takes them for changed.
    pub mtimes: u64,
    /// Whether the file system has no locks, so that two runs may be in one tree.
    pub locks: bool,
}

/// A folder in which the entries of a source are put.
pub struct Tree {
    root: Arc<Folder>,
    durable: bool,
    /// Of the names under which this run writes what it does not go on with later.
    salt: [u8; 16],
    /// How many complete files keep their locks.
    held: Arc<AtomicUsize>,
    open: Mutex<OpenFolders>,
    volumes: Mutex<Vec<Arc<Volume>>>,
    owners: AtomicUsize,
    modes: AtomicUsize,
    mtimes: AtomicUsize,
    locks: bool,
}

/// The folders that are open, with the time of the last use of each.
#[derive(Default)]
struct OpenFolders {
    folders: HashMap<FolderPath, (Arc<Folder>, u64)>,
    uses: u64,
}

/// An open folder of the tree.
struct Folder {
    dir: Dir,
    volume: Arc<Volume>,
    /// Whether a file in it has shown that an mtime sticks, or does not.
    knows_mtimes: AtomicBool,
    /// A mode with which files in it can be created; no mode at first.
    kept_mode: AtomicU32,
}

/// Which file of this machine: its device and its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number(u64, u64);

impl Number {
    /// The number of the file that `status` shows.
    pub fn of(status: &Status) -> Number {
        Number(status.device, status.inode)
    }
}

impl Tree {
    /// Takes `root`, the open folder of a tree, and its lock. With `durable`, files are to be synced
    /// before they get their names.
    ///
    /// # Errors
    /// `WouldBlock` if another run holds the lock; errors of the system.
    pub fn open(root: File, durable: bool, timing: Timing) -> io::Result<Tree> {
        let locks = match lock_soon(&root, &timing) {
            Ok(true) => true,
            Ok(false) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(_) => false,
        };
        // The journals of large files need it, and a confined worker cannot read it any more.
        journal::note_boot();
        let dir = Dir::from(root);
        let volume = Arc::new(Volume::of(&dir)?);
        let root = Arc::new(Folder::new(dir, volume.clone()));
        Ok(Tree {
            root,
            durable,
            salt: names::salt()?,
            held: Arc::default(),
            open: Mutex::default(),
            volumes: Mutex::new(vec![volume]),
            owners: AtomicUsize::new(0),
            modes: AtomicUsize::new(0),
            mtimes: AtomicUsize::new(0),
            locks,
        })
    }

    /// Gives this user every right in the tree's own folder, if it owns it. To be called before
    /// anything is changed there. The folder gets its mode when it is finished.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn allow_changes(&self) -> io::Result<()> {
        folders::allow_changes(&self.root.dir, &self.root.dir.status()?).map(drop)
    }

    /// What is at `name` in a folder now; `None` if nothing is. A link is not followed.
    ///
    /// # Errors
    /// `InvalidInput` for a name that no entry may have; errors of the system.
    pub fn look(&self, folder: &FolderPath, name: &OsStr) -> io::Result<Option<Status>> {
        check_name(name)?;
        match self.folder(folder)?.dir.status_of(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// Whether this process may read the file or the folder `name`, and search the folder.
    pub fn may_read(&self, folder: &FolderPath, name: &OsStr, is_folder: bool) -> bool {
        check_name(name).is_ok()
            && self.folder(folder).is_ok_and(|folder| folder.dir.may_read(name, is_folder))
    }

    /// Whether [`Tree::dress`] would change what is as `found` says.
    pub fn would_dress(found: &Status, attributes: &Attributes) -> bool {
        let owner = attributes.owner.filter(|owner| *owner != (found.user, found.group));
        let mode = Tree::mode_of(attributes, attributes.owner.is_some());
        owner.is_some() || found.mode & MODE_WITH_OWNER != mode
    }

    /// Gives what is at `name`, which is as `found` says and has the right content, its owner, its
    /// mode and its mtime. What the file system refuses is counted.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn dress(
        &self,
        folder: &FolderPath,
        name: &OsStr,
        found: &Status,
        attributes: &Attributes,
    ) -> io::Result<()> {
        let has_mode = !Tree::would_dress(found, attributes);
        let has_time = Stamp::of(found).agrees_with(attributes.mtime);
        if has_mode && has_time {
            return Ok(());
        }
        check_name(name)?;
        let folder = self.folder(folder)?;
        if !has_mode {
            let mode = Tree::mode_of(attributes, attributes.owner.is_some());
            let owner = attributes.owner.filter(|owner| *owner != (found.user, found.group));
            if let Some((user, group)) = owner {
                count_refusal(folder.dir.set_owner_of(name, user, group), &self.owners)?;
            }
            count_refusal(folder.dir.set_mode_of(name, mode), &self.modes)?;
        }
        if !has_time {
            let Stamp { seconds, nanoseconds } = attributes.mtime;
            let set = folder.dir.set_mtime_of(name, seconds, nanoseconds);
            count_refusal(set, &self.mtimes)?;
        }
        Ok(())
    }

    /// Whether files become durable before they get their names.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Waits until these files are on the disk. Those of a file system whose sync does not tell of
    /// every failure were synced when they were completed.
    ///
    /// # Errors
    /// A failed sync: the kernel may have dropped what it could not write. None of the files may
    /// get its name.
    pub fn sync_files<'a>(&self, files: impl Iterator<Item = &'a Complete>) -> io::Result<()> {
        let mut synced: Vec<&Arc<Volume>> = Vec::new();
        for volume in files.map(|file| &file.volume).filter(|volume| volume.syncs_whole()) {
            if !synced.iter().any(|known| Arc::ptr_eq(known, volume)) {
                volume.sync()?;
                synced.push(volume);
            }
        }
        Ok(())
    }

    /// Waits until every name that was given is on the disk.
    ///
    /// # Errors
    /// A failed sync.
    pub fn sync_names(&self) -> io::Result<()> {
        let volumes = lock(&self.volumes).clone();
        volumes.iter().try_for_each(|volume| volume.sync())
    }

    /// What the file system has refused until now.
    pub fn lacks(&self) -> Lacks {
        Lacks {
            owners: self.owners.load(Ordering::Relaxed) as u64,
            modes: self.modes.load(Ordering::Relaxed) as u64,
            mtimes: self.mtimes.load(Ordering::Relaxed) as u64,
            locks: !self.locks,
        }
    }

    /// The open folder at `path`. Opens it if it is not among the last ones used.
    fn folder(&self, path: &FolderPath) -> io::Result<Arc<Folder>> {
        if path.is_root() {
            return Ok(self.root.clone());
        }
        if let Some(folder) = lock(&self.open).used(path) {
            return Ok(folder);
        }
        let dir = open_child(&self.root.dir, OsStr::from_bytes(path.as_bytes()))?;
        let volume = self.volume_of(&dir)?;
        let folder = Arc::new(Folder::new(dir, volume));
        lock(&self.open).keep(path.clone(), folder.clone());
        Ok(folder)
    }

    /// Closes the folder at `path`: it was replaced, or it is done.
    fn forget(&self, path: &FolderPath) {
        lock(&self.open).folders.remove(path);
    }

    /// The file system that a folder is on.
    fn volume_of(&self, dir: &Dir) -> io::Result<Arc<Volume>> {
        let device = dir.status()?.device;
        let mut volumes = lock(&self.volumes);
        if let Some(known) = volumes.iter().find(|volume| volume.device() == device) {
            return Ok(known.clone());
        }
        let new = Arc::new(Volume::of(dir)?);
        volumes.push(new.clone());
        Ok(new)
    }

    /// The mode that an entry gets. Set-id bits mean nothing without their owner.
    fn mode_of(attributes: &Attributes, has_owner: bool) -> u32 {
        let bits = if has_owner { MODE_WITH_OWNER } else { MODE_WITHOUT_OWNER };
        attributes.mode & bits
    }
}

impl OpenFolders {
    fn used(&mut self, path: &FolderPath) -> Option<Arc<Folder>> {
        self.uses += 1;
        let (folder, last) = self.folders.get_mut(path)?;
        *last = self.uses;
        Some(folder.clone())
    }

    fn keep(&mut self, path: FolderPath, folder: Arc<Folder>) {
        if self.folders.len() >= MAX_OPEN {
            let oldest = self.folders.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(oldest) = oldest.map(|(path, _)| path.clone()) {
                self.folders.remove(&oldest);
            }
        }
        self.folders.insert(path, (folder, self.uses));
    }
}

impl Folder {
    fn new(dir: Dir, volume: Arc<Volume>) -> Folder {
        Folder {
            dir,
            volume,
            knows_mtimes: AtomicBool::new(false),
            kept_mode: AtomicU32::new(u32::MAX),
        }
    }

    /// The folder opened once more, to list it: a descriptor has one position.
    fn to_list(&self) -> io::Result<Dir> {
        beneath::open_dir(self.dir.as_fd(), b".", Lookup::Best).map(Dir::from)
    }
}

/// Opens the folder at `path` in another one. Mounts are entered, and no link is followed.
fn open_child(parent: &Dir, path: &OsStr) -> io::Result<Dir> {
    let path = path.as_bytes();
    beneath::open_plain_dir(parent.as_fd(), path, Mounts::Enter, Lookup::Best).map(Dir::from)
}

/// Whether a file system, or the kernel, refused a change that no content needs.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EPERM
                | libc::EACCES
                | libc::EROFS
                | libc::EINVAL
                | libc::ENOSYS
                | libc::EOPNOTSUPP
                | libc::EBADF // open for lookups only: a folder of another user
        )
    ) || error.kind() == io::ErrorKind::InvalidInput
}

/// Counts a refusal, and hands on every other error. `true` if the call was done.
fn count_refusal(done: io::Result<()>, counter: &AtomicUsize) -> io::Result<bool> {
    match done {
        Err(error) if is_refusal(&error) => {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(false)
        }
        done => done.map(|()| true),
    }
}

#[cfg(test)]
mod tests;
