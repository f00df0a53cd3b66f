//! The output file of a client. It is found once, written under another name (`OUT.part`), and gets
//! its own name when it is whole. At every instant the output is the old file or the whole new one.

#![forbid(unsafe_code)]

mod part;
mod route;

pub use part::PartFile;
use route::Place;

use super::journal::{self, Journal, bytes_of};
use super::names::{self, PART};
use crate::codec::message::version::{Existing, Version};
use crate::codec::text::{escape, escape_limited};
use crate::error::{Error, ExitCode, Result, system_words};
use crate::sys::dir::{Access, Dir};
use crate::sys::{process, random};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Most bytes of a name in a message. An escaped name can be several times as long as any path, and
/// has to fit into a worker's job and into its reports.
const MAX_SHOWN: usize = 4096;

/// Most bytes of a file's name (NAME_MAX).
const MAX_NAME: usize = 255;

/// The journal's name is the output's name with this suffix.
const PART_JOURNAL: &str = ".part.journal";

/// The permission bits of a replaced file that the new file gets. Set-user-id and similar bits are
/// lost, since they were given to the old content.
const KEPT_MODE: u32 = 0o777;

/// The mode of a new file, before the umask. A folder may give the file other rights.
const NEW_MODE: u32 = 0o666;

/// The place of an output file.
#[derive(Debug)]
pub struct Output {
    folder: Dir,
    /// The path of the output, after symbolic links.
    path: PathBuf,
    name: OsString,
    part_name: OsString,
    journal_name: OsString,
    /// The mode of the file that will be replaced.
    old_mode: Option<u32>,
    /// The name as the user gave it, escaped, and cut if it is very long.
    shown: String,
}

impl Output {
    /// Finds the output at `path`. Follows symbolic links now, and never again.
    ///
    /// # Errors
    /// There is no such folder, the output exists and is not a regular file, or it cannot be
    /// replaced.
    pub fn locate(path: &Path) -> Result<Output> {
        let shown = escape_limited(path.as_os_str().as_bytes(), MAX_SHOWN);
        let Place { path, folder, name } =
            route::find(path).map_err(|error| Error::system(&shown, &error))?;
        let (part_name, journal_name) = (joined(&name, PART), joined(&name, PART_JOURNAL));
        let mut output =
            Output { folder, path, name, part_name, journal_name, old_mode: None, shown };
        let no_place = |error: &io::Error| error.raw_os_error() == Some(libc::ENAMETOOLONG);
        let too_long = output.journal_name.len() > MAX_NAME;
        if too_long || output.number_of(&output.journal_name).is_err_and(|e| no_place(&e)) {
            output.use_own_names();
        }
        output.look_at_old()?;
        Ok(output)
    }

    /// The output `name` in an open folder. The part file and the journal have reserved names, which
    /// nobody is served. `shown` is the name for messages, escaped.
    ///
    /// # Errors
    /// The output exists and is not a regular file, or it cannot be replaced.
    pub fn at(folder: Dir, name: OsString, shown: String) -> Result<Output> {
        let path = PathBuf::from(&name);
        let (part_name, journal_name) = (names::temporary(&name), names::journal(&name));
        let mut output =
            Output { folder, path, name, part_name, journal_name, old_mode: None, shown };
        output.look_at_old()?;
        Ok(output)
    }

    /// Looks at the file that will be replaced, if there is one.
    fn look_at_old(&mut self) -> Result<()> {
        if let Some(old) = self.existing()? {
            self.old_mode = Some(old.permissions().mode() & KEPT_MODE);
            self.check_replaceable()?;
        }
        Ok(())
    }

    /// The name as the user gave it, safe to print.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The path of the part file, which is beside the target of a symbolic link; safe to print.
    pub fn shown_part(&self) -> String {
        let show = |path: &Path| escape_limited(path.as_os_str().as_bytes(), MAX_SHOWN);
        match self.has_own_names() {
            true => show(&self.path.with_file_name(&self.part_name)),
            false => format!("{}{PART}", show(&self.path)),
        }
    }

    /// The folder that the output is in.
    pub fn folder(&self) -> &Dir {
        &self.folder
    }

    /// Whether `path` leads to the output, its part file or its journal.
    pub fn has(&self, path: &Path) -> bool {
        let Ok(Place { folder, name, .. }) = route::find(path) else { return false };
        let same = match (folder.metadata(), self.folder.metadata()) {
            (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
            _ => false,
        };
        same && [&self.name, &self.part_name, &self.journal_name].contains(&&name)
    }

    /// How many bytes an earlier run has left, as its journal records, and the size of the file.
    /// `None` if no part file with a journal can be resumed.
    pub fn kept(&self) -> Option<(u64, u64)> {
        let journal = self.folder.open_file(&self.journal_name, Access::Update).ok()?;
        let part = self.folder.open_file(&self.part_name, Access::Update).ok()?;
        let (header, _, contents) = Journal::open(journal.try_clone().ok()?).ok()??;
        let good = !header.etag.is_empty() && journal::is_about(&journal, &part).ok()?;
        good.then(|| (bytes_of(&contents), header.size))
    }

    /// The size and the mtime of the regular file with the output's name, if there is one.
    pub fn replaced(&self) -> Option<Existing> {
        let Version { size, mtime, .. } = Version::of(&self.existing().ok()??);
        Some(Existing { size, mtime })
    }

    /// Opens the file with the output's name for reading.
    pub(in crate::transfer) fn open_existing(&self) -> io::Result<File> {
        self.folder.open_file(&self.name, Access::Read)
    }

    /// Removes a journal without a part file: a run was killed after its part file had become the
    /// output. A journal beside a part file stays.
    pub fn tidy(self) {
        let is_there = |name| self.number_of(name).is_ok();
        if is_there(&self.journal_name) && !is_there(&self.part_name) {
            // Dropping the new part file removes it and the journal, under the lock.
            let _ = self.open_part(false).map(|mut part| {
                let is_empty = part.file().metadata().is_ok_and(|found| found.len() == 0);
                part.keep(!is_empty);
            });
        }
    }

    /// The metadata of the regular file with the output's name, if there is one.
    fn existing(&self) -> Result<Option<Metadata>> {
        match look(&self.folder, &self.name) {
            Ok(old) if old.is_file() => Ok(Some(old)),
            Ok(old) if old.is_dir() => {
                Err(self.failed(&io::Error::from_raw_os_error(libc::EISDIR)))
            }
            Ok(_) => Err(Error::new(
                ExitCode::System,
                format!("{}: exists and is not a regular file", self.shown),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Refuses a file with the output's name that a rename cannot replace.
    fn check_replaceable(&self) -> Result<()> {
        let refused = |why: &str| {
            let text = format!("{}: cannot be replaced: {why}", self.shown);
            let error = Error::new(ExitCode::System, text);
            error.advise("choose another output, or '-' and a redirection")
        };
        if self.folder.is_mount_point(&self.name) {
            return Err(refused("it is a mount point"));
        }
        self.folder.may_replace(&self.name).map_err(|error| refused(&system_words(&error)))
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::system(&self.shown, error)
    }

    fn part_error(&self, what: &str) -> Error {
        Error::new(ExitCode::System, format!("{}: {what}", self.shown_part()))
    }

    /// Gives the part file and the journal names of a fixed length.
    fn use_own_names(&mut self) {
        self.journal_name = names::journal(&self.name);
        self.part_name = names::temporary(&self.name);
    }

    fn has_own_names(&self) -> bool {
        self.part_name != joined(&self.name, PART)
    }

    /// The numbers of the device and of the inode that have this name now.
    fn number_of(&self, name: &OsStr) -> io::Result<(u64, u64)> {
        self.folder.number_of(name)
    }

    /// Whether this name is that of `file` now. Opens no descriptor.
    fn names(&self, name: &OsStr, file: &File) -> io::Result<bool> {
        let held = file.metadata()?;
        match self.number_of(name) {
            Ok(named) => Ok(named == (held.dev(), held.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes this name if it is that of `file`.
    fn remove(&self, name: &OsStr, file: &File) {
        if self.names(name, file).is_ok_and(|same| same) {
            let _ = self.folder.remove_file(name);
        }
    }

    /// The metadata of a new file in the folder, as touch(1) would make it. A default ACL may give
    /// it other rights than the umask, and a file server another owner. `None` if no file can be
    /// made.
    fn new_file(&self) -> Option<Metadata> {
        if let Ok(file) = self.folder.create_nameless(NEW_MODE) {
            return file.metadata().ok();
        }
        let mut token = [0; 8];
        random::fill(&mut token).ok()?;
        let name = OsString::from(format!("{}{:016x}", names::PREFIX, u64::from_ne_bytes(token)));
        let file = self.folder.open_file(&name, Access::Create(NEW_MODE)).ok()?;
        let _ = self.folder.remove_file(&name);
        file.metadata().ok()
    }

    /// The mode that the output gets.
    fn mode(&self) -> u32 {
        let new = || self.new_file().map(|file| file.permissions().mode() & KEPT_MODE);
        self.old_mode.or_else(new).unwrap_or_else(|| NEW_MODE & !process::creation_mask())
    }

    /// Whether the owner of `found` is this user, or the owner of new files in this folder.
    fn is_own(&self, found: &Metadata) -> bool {
        found.uid() == process::effective_user()
            || self.new_file().is_some_and(|file| file.uid() == found.uid())
    }

    /// An error about a foreign file with the name of the part file or of the journal.
    fn trap(&self, name: &OsStr, what: &str) -> Error {
        Error::new(ExitCode::System, format!("{}: {what}", escape(name.as_bytes())))
            .advise("remove it, or choose another output")
    }
}

fn joined(name: &OsStr, suffix: &str) -> OsString {
    let mut joined = name.to_os_string();
    joined.push(suffix);
    joined
}

fn look(folder: &Dir, name: &OsStr) -> io::Result<Metadata> {
    folder.open_file(name, Access::Look)?.metadata()
}

#[cfg(test)]
mod tests;
