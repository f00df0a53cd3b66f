//! Links in a tree: symbolic ones, made as text and never followed, and second names of files.

#![forbid(unsafe_code)]

use super::{Attributes, FolderPath, Number, Target, Tree, check_name, count_refusal};
use crate::codec::message::version::Stamp;
use crate::sys::dir::{Dir, Status};
use crate::transfer::store::names;
use std::ffi::OsStr;
use std::io;

impl Tree {
    /// Puts a symbolic link with this text in place. Its owner and its mtime are counted where the
    /// file system refuses them.
    ///
    /// # Errors
    /// As for a file, and `InvalidInput` for a text with NUL.
    pub fn make_link(
        &self,
        folder: &FolderPath,
        name: &OsStr,
        text: &[u8],
        attributes: &Attributes,
        target: Target,
    ) -> io::Result<()> {
        check_name(name)?;
        let open = self.folder(folder)?;
        let (dir, temporary) = (&open.dir, names::of_run(name, &self.salt));
        make_anew(dir, &temporary, || dir.make_link(text, &temporary))?;
        let put = self.dress_new_link(dir, &temporary, attributes);
        self.put_or_remove(folder, dir, &temporary, name, target, put)
    }

    /// The text of the symbolic link `name`.
    ///
    /// # Errors
    /// `EINVAL` if it is no symbolic link; errors of the system.
    pub fn link_text(&self, folder: &FolderPath, name: &OsStr) -> io::Result<Vec<u8>> {
        check_name(name)?;
        self.folder(folder)?.dir.link_text(name)
    }

    /// Gives the file `first` of another entry, which is in place, the name `name` as well.
    ///
    /// # Errors
    /// [`needs_copy`](Tree::needs_copy) says whether the entry has to be fetched as a file: `ESTALE` if
    /// another file has the first name by now.
    pub fn make_hard_link(
        &self,
        (folder, name): (&FolderPath, &OsStr),
        (first_folder, first, number): (&FolderPath, &OsStr, Number),
        target: Target,
    ) -> io::Result<()> {
        check_name(name)?;
        check_name(first)?;
        let (here, there) = (self.folder(folder)?, self.folder(first_folder)?);
        let dir = &here.dir;
        let shows = |dir: &Dir, name: &OsStr| {
            dir.status_of(name).is_ok_and(|found| Number::of(&found) == number)
        };
        if shows(dir, name) {
            return Ok(()); // a rename between two names of one file does nothing
        }
        let temporary = names::of_link(name, &self.salt);
        make_anew(dir, &temporary, || there.dir.link(first, dir, &temporary))?;
        // Some file systems (FUSE) give each name a number of its own: then the first name tells.
        let ready = match shows(dir, &temporary) || shows(&there.dir, first) {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ESTALE)),
        };
        self.put_or_remove(folder, dir, &temporary, name, target, ready)
    }

    /// Whether [`Tree::make_hard_link`] failed because this file can have no further name here.
    pub fn needs_copy(error: &io::Error) -> bool {
        matches!(
            error.raw_os_error(),
            Some(
                libc::EMLINK
                    | libc::EXDEV
                    | libc::EPERM
                    | libc::EACCES
                    | libc::EOPNOTSUPP
                    | libc::ENOSYS
                    | libc::ENOENT
                    | libc::ESTALE
            )
        )
    }

    /// Gives the link `name`, which is as `found` says and has the right text, its owner and its
    /// mtime. What the file system refuses is counted.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn dress_link(
        &self,
        folder: &FolderPath,
        name: &OsStr,
        found: &Status,
        attributes: &Attributes,
    ) -> io::Result<()> {
        let owner = attributes.owner.filter(|owner| *owner != (found.user, found.group));
        if owner.is_none() && Stamp::of(found).agrees_with(attributes.mtime) {
            return Ok(());
        }
        check_name(name)?;
        let attributes = Attributes { owner, ..*attributes };
        self.dress_new_link(&self.folder(folder)?.dir, name, &attributes)
    }

    fn dress_new_link(&self, dir: &Dir, name: &OsStr, attributes: &Attributes) -> io::Result<()> {
        if let Some((user, group)) = attributes.owner {
            count_refusal(dir.set_owner_of(name, user, group), &self.owners)?;
        }
        let mtime = attributes.mtime;
        let set = dir.set_mtime_of(name, mtime.seconds, mtime.nanoseconds);
        count_refusal(set, &self.mtimes).map(drop)
    }

    /// Puts what has the temporary name in place if it is `ready`, and removes it otherwise.
    fn put_or_remove(
        &self,
        folder: &FolderPath,
        dir: &Dir,
        temporary: &OsStr,
        name: &OsStr,
        target: Target,
        ready: io::Result<()>,
    ) -> io::Result<()> {
        let put = ready.and_then(|()| self.put(folder, dir, temporary, name, target));
        if put.is_err() {
            let _ = dir.remove_file(temporary);
        }
        put
    }
}

/// Makes what has the temporary name. A complete file of this run that the name is to replace may
/// have it.
fn make_anew(dir: &Dir, temporary: &OsStr, make: impl Fn() -> io::Result<()>) -> io::Result<()> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            dir.remove_file(temporary)?;
            make()
        }
        made => made,
    }
}
