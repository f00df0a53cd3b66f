//! A file of a tree that is being written, under its temporary name, and one that is complete and
//! waits to be landed.

#![forbid(unsafe_code)]

use super::volume::Volume;
use super::{Attributes, Folder, FolderPath, Target, Tree, check_name, count_refusal};
use crate::codec::message::version::Stamp;
use crate::sys::dir::{Access, Dir, Status, place};
use crate::sys::{file, process};
use crate::transfer::store::lock::is_being_written;
use crate::transfer::store::{journal, names};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, fchown};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most complete files whose locks are kept until they are in place.
pub const MAX_HELD: usize = 256;

/// The mode of a file on its way, and of its journal.
const PRIVATE_MODE: u32 = 0o600;

/// A file that is being written. Removed if it is dropped before it is complete, unless it has a
/// journal.
pub struct NewFile {
    file: File,
    path: FolderPath,
    folder: Arc<Folder>,
    name: OsString,
    temporary: OsString,
    target: Target,
    /// Where the bytes end that were written in order.
    end: u64,
    /// The mode with which it was created, less the umask, unless that is private.
    created_as: Option<u32>,
    /// Whether the file may have its size before its bytes: a power cut could leave zeros.
    sized_ahead: bool,
    stays: Stays,
}

/// What becomes of the temporary name when a [`NewFile`] is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stays {
    /// It goes.
    No,
    /// It stays, with its journal, to be resumed from.
    WithJournal,
    /// The file is complete.
    Complete,
}

/// A large file, which has a journal beside it.
pub struct Large {
    /// The file.
    pub file: NewFile,
    /// Its journal, empty or left by an earlier run.
    pub journal: File,
    /// Whether the journal is one about this file, which an earlier run left.
    pub found: bool,
}

/// A file that is complete under its temporary name.
pub struct Complete {
    pub(super) folder: FolderPath,
    pub(super) name: OsString,
    pub(super) temporary: OsString,
    pub(super) target: Target,
    pub(super) volume: Arc<Volume>,
    /// Device and inode of a file with a journal. Another run may take its temporary name over.
    pub(super) number: Option<(u64, u64)>,
    /// Keeps the lock of a file with a journal, so that no other run does.
    _held: Option<Held>,
}

/// A file whose lock is kept. How many there are is counted.
struct Held {
    _file: File,
    count: Arc<AtomicUsize>,
}

impl Held {
    /// `None` beyond [`MAX_HELD`], and where the system has no descriptor left.
    fn new(file: &File, count: &Arc<AtomicUsize>) -> Option<Held> {
        let less = |held: usize| (held < MAX_HELD).then_some(held + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        let count = count.clone();
        match file.try_clone() {
            Ok(file) => Some(Held { _file: file, count }),
            Err(_) => {
                count.fetch_sub(1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Complete {
    /// The folder that it is in.
    pub fn folder(&self) -> &FolderPath {
        &self.folder
    }

    /// The name that it gets.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Whether it has a journal: it can be resumed from.
    pub(super) fn has_journal(&self) -> bool {
        self.number.is_some()
    }

    /// Whether its temporary name is still that of the file.
    ///
    /// # Errors
    /// `WouldBlock` if another run has taken the name over; errors of the system.
    pub(super) fn check_own(&self, dir: &Dir) -> io::Result<()> {
        match self.number {
            Some(number) if dir.number_of(&self.temporary)? != number => Err(written_elsewhere()),
            _ => Ok(()),
        }
    }
}

impl Tree {
    /// Creates the file that is to become `name`, under a name of this run alone: a run into a
    /// folder of this tree may write the same file. With the mode that it gets at the end, one call
    /// less is needed then.
    pub fn create(
        &self,
        path: &FolderPath,
        name: &OsStr,
        target: Target,
        attributes: &Attributes,
    ) -> io::Result<NewFile> {
        check_name(name)?;
        let folder = self.folder(path)?;
        let mode = Tree::mode_of(attributes, false);
        let temporary = names::of_run(name, &self.salt);
        let file = create(&folder, &temporary, mode)?;
        let mut new = NewFile::new(file, path, folder, name, target);
        new.temporary = temporary;
        new.created_as = Some(mode);
        Ok(new)
    }

    /// Opens the large file that is to become `name` and its journal, or creates both. It is kept
    /// when it is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if another run is writing it; errors of the system.
    pub fn open_large(&self, path: &FolderPath, name: &OsStr, target: Target) -> io::Result<Large> {
        check_name(name)?;
        let folder = self.folder(path)?;
        let (temporary, journal_name) = (names::temporary(name), names::journal(name));
        let pair = match old_pair(&folder, &temporary, &journal_name)? {
            Some((file, journal)) => (file, journal, true),
            None => {
                if is_being_written(&folder.dir, &temporary) {
                    return Err(written_elsewhere());
                }
                let private = |name: &OsStr| create(&folder, name, PRIVATE_MODE);
                (private(&temporary)?, private(&journal_name)?, false)
            }
        };
        let (file, journal, found) = pair;
        hold(&folder.dir, &temporary, &file)?;
        let mut file = NewFile::new(file, path, folder, name, target);
        file.temporary = temporary;
        file.stays = Stays::WithJournal;
        file.sized_ahead = true;
        Ok(Large { file, journal, found })
    }

    /// Opens what is at `name` for reading, if it is a regular file.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn open_older(&self, path: &FolderPath, name: &OsStr) -> io::Result<Option<File>> {
        check_name(name)?;
        let file = self.folder(path)?.dir.open_file(name, Access::Read)?;
        Ok(file.metadata()?.is_file().then_some(file))
    }

    /// Gives a file, whose bytes are all there, its size, owner, mode and mtime. After that it can
    /// be landed. What the file system refuses of the last three is counted.
    pub fn complete(
        &self,
        mut new: NewFile,
        size: u64,
        attributes: &Attributes,
    ) -> io::Result<Complete> {
        let has_journal = new.stays == Stays::WithJournal;
        let (number, held) = match has_journal {
            true => (Some(number_of(&new.file)?), Held::new(&new.file, &self.held)),
            false => (None, None),
        };
        if new.end != size || has_journal {
            new.sized_ahead |= new.end < size;
            file::set_length(&new.file, size)?;
        }
        let has_owner = match attributes.owner {
            Some((user, group)) => {
                count_refusal(fchown(&new.file, Some(user), Some(group)), &self.owners)?
            }
            None => false,
        };
        let mode = Tree::mode_of(attributes, has_owner);
        if has_owner || !new.has_mode(mode)? {
            let set = new.file.set_permissions(Permissions::from_mode(mode));
            count_refusal(set, &self.modes)?;
        }
        let needs_sync = match self.durable {
            true => !new.folder.volume.syncs_whole(),
            // Else right size, right mtime and only zeros could be left by a power cut.
            false => new.sized_ahead,
        };
        if needs_sync {
            file::sync_data(&new.file)?;
        }
        self.set_mtime(&new, attributes.mtime)?;
        new.stays = Stays::Complete;
        Ok(Complete {
            folder: new.path.clone(),
            name: std::mem::take(&mut new.name),
            target: new.target,
            temporary: std::mem::take(&mut new.temporary),
            volume: new.folder.volume.clone(),
            number,
            _held: held,
        })
    }

    fn set_mtime(&self, new: &NewFile, mtime: Stamp) -> io::Result<()> {
        let set = place::set_mtime(&new.file, mtime.seconds, mtime.nanoseconds);
        let set = count_refusal(set, &self.mtimes)?;
        // One file of a folder tells for all.
        if set && !new.folder.knows_mtimes.swap(true, Ordering::Relaxed) {
            let found = Status::from(&new.file.metadata()?);
            if !Stamp::of(&found).agrees_with(mtime) {
                self.mtimes.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl NewFile {
    fn new(
        file: File,
        path: &FolderPath,
        folder: Arc<Folder>,
        name: &OsStr,
        target: Target,
    ) -> NewFile {
        NewFile {
            file,
            path: path.clone(),
            folder,
            name: name.to_os_string(),
            temporary: OsString::new(),
            target,
            end: 0,
            created_as: None,
            sized_ahead: false,
            stays: Stays::No,
        }
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes `bytes` at `offset`.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.reach(offset, offset + bytes.len() as u64);
        Ok(())
    }

    /// Whether the file was created with this mode. The umask or an ACL of the folder may have
    /// taken bits away: one file of a folder tells that for all of this mode.
    fn has_mode(&self, mode: u32) -> io::Result<bool> {
        if self.created_as != Some(mode) {
            return Ok(false);
        }
        if self.folder.kept_mode.load(Ordering::Relaxed) == mode {
            return Ok(true);
        }
        let is_kept = self.file.metadata()?.mode() & 0o7777 == mode;
        if is_kept {
            self.folder.kept_mode.store(mode, Ordering::Relaxed);
        }
        Ok(is_kept)
    }

    /// Makes a hole.
    pub fn put_hole(&mut self, hole: Range<u64>) -> io::Result<()> {
        if hole.start >= hole.end {
            return Ok(());
        }
        match hole.start >= self.end {
            // Behind everything that is stored: no hole has to be made there.
            true => file::set_length(&self.file, hole.end)?,
            false => file::make_hole(&self.file, hole.start, hole.end)?,
        }
        self.sized_ahead = true;
        self.reach(hole.start, hole.end);
        Ok(())
    }

    /// Notes what the file has now.
    fn reach(&mut self, start: u64, end: u64) {
        self.sized_ahead |= start > self.end;
        self.end = self.end.max(end);
    }

    /// Has the file, and its journal, removed when it is dropped.
    pub fn discard(&mut self) {
        if self.stays == Stays::WithJournal {
            let _ = self.folder.dir.remove_file(&names::journal(&self.name));
        }
        self.stays = Stays::No;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.stays == Stays::No {
            let _ = self.folder.dir.remove_file(&self.temporary);
        }
    }
}

/// Creates a file under a reserved name, in place of a leftover.
fn create(folder: &Folder, name: &OsStr, mode: u32) -> io::Result<File> {
    match folder.dir.open_file(name, Access::Create(mode)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            folder.dir.remove_file(name)?;
            folder.dir.open_file(name, Access::Create(mode))
        }
        created => created,
    }
}

/// Takes the lock of a file with a journal, whose temporary name must be that of `file` then. Where
/// the file system has no locks, the lock of the tree's folder failed as well.
///
/// # Errors
/// `WouldBlock` if another run has it; errors of the system.
fn hold(dir: &Dir, temporary: &OsStr, file: &File) -> io::Result<()> {
    let is_locked = file::try_lock(file).unwrap_or(true);
    match is_locked && dir.number_of(temporary)? == number_of(file)? {
        true => Ok(()),
        false => Err(written_elsewhere()),
    }
}

/// The device and the inode of a file.
fn number_of(file: &File) -> io::Result<(u64, u64)> {
    let found = file.metadata()?;
    Ok((found.dev(), found.ino()))
}

fn written_elsewhere() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, "another transfer is writing it")
}

/// The file and the journal that an earlier run left, if the journal is about the file.
pub(super) fn old_pair(
    folder: &Folder,
    temporary: &OsStr,
    journal_name: &OsStr,
) -> io::Result<Option<(File, File)>> {
    let open = |name: &OsStr| {
        let opened = folder.dir.open_file(name, Access::Update).ok()?;
        let found = opened.metadata().ok()?;
        let good =
            found.is_file() && found.nlink() == 1 && found.uid() == process::effective_user();
        good.then_some(opened)
    };
    let Some((file, journal)) = open(temporary).zip(open(journal_name)) else { return Ok(None) };
    Ok(journal::is_about(&journal, &file)?.then_some((file, journal)))
}
