//! The output file of a client: found once, written under another name (`OUT.part`),
//! and given its own name only when it is whole. At every instant the output is
//! either the old file or the whole new one.

#![forbid(unsafe_code)]

use super::journal::{Journal, bytes_of, read_header};
use crate::codec::text::{escape, escape_limited};
use crate::error::{Error, ExitCode, Result};
use crate::sys::dir::{Access, Dir};
use crate::sys::{file, process};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How many symbolic links are followed to the output, as in the kernel.
const MAX_LINKS: usize = 40;

/// Most bytes of a name that are shown. Escaped it can be several times as long as any
/// path, and it has to fit into a worker's job and into its reports.
const MAX_SHOWN: usize = 4096;

/// How often the part file may be replaced by others while it is being opened.
const MAX_ATTEMPTS: usize = 10;

/// How long the part file's holder may take to let go of it: the worker of a client that
/// was killed needs a moment to end. The kernel has no lock with a deadline, so it is
/// asked again and again.
const LET_GO_TIME: Duration = Duration::from_secs(1);
const LET_GO_PAUSE: Duration = Duration::from_millis(10);

/// Permission bits that a replaced file hands on. Set-user-id and its like stay
/// behind: they were given to the old content.
const KEPT_MODE: u32 = 0o777;

/// The mode of a new file, less the umask.
const NEW_MODE: u32 = 0o666;

/// Where a file is to go.
#[derive(Debug)]
pub struct Output {
    folder: Dir,
    name: OsString,
    part_name: OsString,
    journal_name: OsString,
    /// The mode of the file that is to be replaced.
    old_mode: Option<u32>,
    /// The name as the user gave it, escaped, cut when it is very long.
    shown: String,
}

impl Output {
    /// Finds the output at `path`: a symbolic link is resolved now, and never again.
    ///
    /// # Errors
    /// When something other than a regular file is there, or no such folder is.
    pub fn locate(path: &Path) -> Result<Output> {
        let shown = escape_limited(path.as_os_str().as_bytes(), MAX_SHOWN);
        let (folder, name) = find(path).map_err(|error| Error::system(&shown, &error))?;
        let mut part_name = name.clone();
        part_name.push(".part");
        let mut journal_name = part_name.clone();
        journal_name.push(".journal");
        let mut output = Output { folder, name, part_name, journal_name, old_mode: None, shown };
        output.old_mode = output.existing()?.map(|old| old.permissions().mode() & KEPT_MODE);
        Ok(output)
    }

    /// The name as the user gave it, safe to print.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The folder that the output is in.
    pub fn folder(&self) -> &Dir {
        &self.folder
    }

    /// Whether `path` leads to the output, or to what becomes it.
    pub fn has(&self, path: &Path) -> bool {
        let Ok((folder, name)) = find(path) else { return false };
        let same = match (folder.metadata(), self.folder.metadata()) {
            (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
            _ => false,
        };
        same && [&self.name, &self.part_name, &self.journal_name].contains(&&name)
    }

    /// How many bytes are there to go on with, of a file of how many: what the journal beside
    /// the part file vouches for. `None` where there is no such pair.
    pub fn kept(&self) -> Option<(u64, u64)> {
        let journal = self.folder.open_file(&self.journal_name, Access::Update).ok()?;
        let (header, _, contents) = Journal::open(journal).ok()??;
        let part = look(&self.folder, &self.part_name).ok()?;
        (header.inode == part.ino()).then(|| (bytes_of(&contents), header.size))
    }

    /// The regular file that has the output's name now, if any has.
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

    fn failed(&self, error: &io::Error) -> Error {
        Error::system(&self.shown, error)
    }

    /// Opens and locks `OUT.part`, which may hold what an earlier run left. It is
    /// removed again unless it is committed or kept.
    ///
    /// # Errors
    /// When another client holds it, or when something that this user did not put
    /// there has its name.
    pub fn open_part(self) -> Result<PartFile> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(file) = self.open_or_create(&self.part_name)? else { continue };
            if !lock_soon(&file).map_err(|error| self.failed(&error))? {
                return Err(self.held_by_another());
            }
            // Between the open and the lock its former holder may have renamed or
            // removed it; the lock then guards a file that nobody else can find.
            if self.still_named(&file).map_err(|error| self.failed(&error))? {
                let private = Permissions::from_mode(0o600);
                file.set_permissions(private).map_err(|error| self.failed(&error))?;
                return Ok(PartFile { output: self, file, keep: false });
            }
        }
        Err(self.part_error("others keep replacing it"))
    }

    fn held_by_another(&self) -> Error {
        let journal = self.folder.open_file(&self.journal_name, Access::Update);
        let header = journal.and_then(|journal| read_header(&journal));
        match header {
            Ok(Some((_, header))) => {
                self.part_error(&format!("process {} is writing it", header.pid))
            }
            _ => self.part_error("another client is writing it"),
        }
    }

    /// Opens `name`, which must be this user's own regular file, or creates it. Nobody
    /// else may read it: what replaces a file gets that file's mode only when it is whole.
    /// `None` when it was there, and went away meanwhile: a client that ends does that.
    fn open_or_create(&self, name: &OsStr) -> Result<Option<File>> {
        match self.folder.open_file(name, Access::Create(0o600)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(Some).map_err(|error| self.failed(&error)),
        }
        let trap = |what: &str| {
            Error::new(ExitCode::System, format!("{}: {what}", escape(name.as_bytes())))
                .advise("remove it, or choose another output")
        };
        let file = match self.folder.open_file(name, Access::Update) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(trap("is a symbolic link"));
            }
            Err(error) => return Err(trap(&crate::error::system_words(&error))),
        };
        let found = file.metadata().map_err(|error| self.failed(&error))?;
        if !found.is_file() {
            return Err(trap("is not a regular file"));
        }
        if found.uid() != process::effective_user() {
            return Err(trap("belongs to another user"));
        }
        if found.nlink() > 1 {
            return Err(trap("has a second name"));
        }
        Ok(Some(file))
    }

    fn part_error(&self, what: &str) -> Error {
        Error::new(ExitCode::System, format!("{}.part: {what}", self.shown))
    }

    /// Whether the part file's name still means `file`.
    fn still_named(&self, file: &File) -> io::Result<bool> {
        let held = file.metadata()?;
        match look(&self.folder, &self.part_name) {
            Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The file that is being written, under its temporary name, locked.
#[derive(Debug)]
pub struct PartFile {
    output: Output,
    file: File,
    keep: bool,
}

impl PartFile {
    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is to go.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Throws away what an earlier run left in the file.
    pub fn start_over(&self) -> Result<()> {
        self.file.set_len(0).map_err(|error| self.output.failed(&error))
    }

    /// Opens `OUT.part.journal`.
    pub fn open_journal(&self) -> Result<File> {
        let opened = self.output.open_or_create(&self.output.journal_name)?;
        opened.ok_or_else(|| self.output.part_error("its journal was removed by somebody else"))
    }

    /// Whether part file and journal stay when this is dropped, to be resumed from.
    pub fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }

    /// Whether they stay.
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// Waits until the names of part file and journal are on the disk.
    pub fn sync_folder(&self) -> Result<()> {
        self.output.folder.sync().map_err(|error| self.output.failed(&error))
    }

    /// Gives the file, which has `size` bytes, the output's name, once its bytes are on the
    /// disk.
    ///
    /// Without `sync` it does not wait for the disk: after a power cut the output may
    /// be anything.
    pub fn commit(mut self, size: u64, sync: bool) -> Result<()> {
        let failed = |error: io::Error| self.output.failed(&error);
        let found = self.file.metadata().map_err(failed)?.len();
        if found != size {
            let text = format!("has {found} bytes, not {size}: another program writes to it");
            return Err(self.output.part_error(&text));
        }
        let mode = self.output.old_mode.unwrap_or(NEW_MODE & !process::creation_mask());
        self.file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        if sync {
            self.file.sync_all().map_err(failed)?;
        }
        self.output.existing()?; // refuses what is not a regular file
        if !self.output.still_named(&self.file).map_err(failed)? {
            return Err(self.output.part_error("was replaced by somebody else"));
        }
        let Output { folder, name, part_name, .. } = &self.output;
        folder.rename(part_name, name).map_err(failed)?;
        self.keep = true;
        if sync {
            self.sync_folder()?;
        }
        // Only now: with the journal gone, the part file could not be resumed from.
        let _ = self.output.folder.remove_file(&self.output.journal_name);
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Where nobody can say whose it is, it is more likely this one's than not.
        if !self.keep && self.output.still_named(&self.file).unwrap_or(true) {
            let _ = self.output.folder.remove_file(&self.output.journal_name);
            let _ = self.output.folder.remove_file(&self.output.part_name);
        }
    }
}

/// Locks `file` within [`LET_GO_TIME`]. `false` where somebody holds it for longer.
fn lock_soon(file: &File) -> io::Result<bool> {
    let deadline = Instant::now() + LET_GO_TIME;
    while !file::try_lock(file)? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(LET_GO_PAUSE);
    }
    Ok(true)
}

fn look(folder: &Dir, name: &OsStr) -> io::Result<Metadata> {
    folder.open_file(name, Access::Look)?.metadata()
}

/// The folder and the name that a file at `path` has: a symbolic link is followed.
fn find(path: &Path) -> io::Result<(Dir, OsString)> {
    let target = follow_links(path)?;
    let is_folder = || io::Error::from_raw_os_error(libc::EISDIR);
    let spelled = target.as_os_str().as_bytes();
    if spelled.ends_with(b"/") || spelled.ends_with(b"/.") {
        return Err(is_folder());
    }
    let name = target.file_name().ok_or_else(is_folder)?.to_os_string();
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((Dir::open(parent)?, name))
}

/// The path that the symbolic links at `path` lead to; it need not exist.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&path)?;
                path.pop();
                path.push(target);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

#[cfg(test)]
mod tests;
