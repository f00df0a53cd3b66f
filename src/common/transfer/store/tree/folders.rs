//! The folders of a tree: made private, changed as long as entries come, finished bottom up.

#![forbid(unsafe_code)]

use super::placing::{exists, is_special};
use super::{Attributes, FolderPath, Tree, count_refusal, is_refusal};
use crate::sys::dir::{Dir, Kind, Status};
use crate::sys::process;
use std::ffi::OsStr;
use std::io;

/// The mode of a folder while entries come. It is also what an old folder of this user needs.
const PRIVATE_MODE: u32 = 0o700;

/// Gives the owner of a folder, if that is this user, every right in it. Its mode is set when it
/// is finished. Where the file system refuses that, the entries tell. True if the mode was changed.
pub(super) fn allow_changes(dir: &Dir, found: &Status) -> io::Result<bool> {
    let lacks_rights = found.mode & PRIVATE_MODE != PRIVATE_MODE;
    if !lacks_rights || found.user != process::effective_user() {
        return Ok(false);
    }
    match dir.set_mode(found.mode | PRIVATE_MODE) {
        Err(error) if is_refusal(&error) => Ok(false),
        set => set.map(|()| true),
    }
}

impl Tree {
    /// Makes the folder `name`, or takes the one that is there. `found` is what
    /// [`Tree::look`] has said: a file or a link in the way is removed.
    ///
    /// # Errors
    /// `AlreadyExists` if something appeared meanwhile, as another name that the file system takes
    /// for this one; `AlreadyExists` too for a FIFO, a socket or a device; errors of the system.
    pub fn make_folder(
        &self,
        parent: &FolderPath,
        name: &OsStr,
        found: Option<&Status>,
    ) -> io::Result<FolderPath> {
        let path = parent.child(name)?;
        let folder = self.folder(parent)?;
        match found {
            Some(found) if found.kind == Kind::Folder => {
                self.take_folder(&path, &folder.dir, name, found)?;
                return Ok(path);
            }
            Some(found) if is_special(found) => return Err(exists()),
            Some(_) => folder.dir.remove_file(name)?,
            None => {}
        }
        let made = folder.dir.make_dir(name, PRIVATE_MODE)?;
        allow_changes(&made, &made.status()?)?; // the umask may have taken a right away
        Ok(path)
    }

    /// Looks whether the folder `name` has no entry. One that may not be listed counts as empty.
    ///
    /// # Errors
    /// `ENOTEMPTY`; errors of the system.
    pub fn check_empty(&self, parent: &FolderPath, name: &OsStr) -> io::Result<()> {
        let dir = super::open_child(&self.folder(parent)?.dir, name)?;
        match dir.entries().next() {
            Some(Ok(_)) => Err(io::Error::from_raw_os_error(libc::ENOTEMPTY)),
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// Makes an old folder one that can be changed.
    fn take_folder(
        &self,
        path: &FolderPath,
        parent: &Dir,
        name: &OsStr,
        found: &Status,
    ) -> io::Result<()> {
        if found.mode & PRIVATE_MODE == PRIVATE_MODE {
            return Ok(());
        }
        let dir = super::open_child(parent, name)?;
        allow_changes(&dir, &dir.status()?)?;
        self.forget(path); // it may be open for lookups only
        Ok(())
    }

    /// Gives a folder its owner, mode and mtime, when its last child is done. What the file
    /// system refuses is counted.
    pub fn finish_folder(&self, path: &FolderPath, attributes: &Attributes) -> io::Result<()> {
        let folder = self.folder(path)?;
        let mut now = folder.dir.status()?;
        let has_owner = match attributes.owner {
            Some(owner) if owner != (now.user, now.group) => {
                let done = count_refusal(folder.dir.set_owner(owner.0, owner.1), &self.owners)?;
                now = folder.dir.status()?;
                done
            }
            owner => owner.is_some(),
        };
        let mode = Tree::mode_of(attributes, has_owner);
        if now.mode != mode {
            count_refusal(folder.dir.set_mode(mode), &self.modes)?;
        }
        let mtime = attributes.mtime;
        if (now.mtime, now.mtime_nanoseconds) != (mtime.seconds, mtime.nanoseconds) {
            let set = folder.dir.set_mtime(mtime.seconds, mtime.nanoseconds);
            count_refusal(set, &self.mtimes)?;
        }
        if self.durable && !folder.volume.syncs_whole() {
            match folder.to_list() {
                Ok(dir) => dir.sync_names()?,
                Err(_) => folder.volume.sync()?, // it may not be listed
            }
        }
        self.forget(path);
        Ok(())
    }
}
