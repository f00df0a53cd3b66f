//! The part file and its journal. They are opened and locked, or refused if another program made
//! them. The part file is renamed when it is whole.

#![forbid(unsafe_code)]

use super::{Output, PART, joined};
use crate::codec::message::version::{Stamp, Version};
use crate::error::{Error, Result, system_words};
use crate::sys::dir::Access;
use crate::sys::file;
use crate::transfer::store::journal::{self, Journal, Subject, read_header};
use crate::transfer::store::lock::lock_soon;
use crate::transfer::store::names;
use crate::transfer::timing::Timing;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// How often other programs may replace the part file while it is being opened.
const MAX_ATTEMPTS: usize = 10;

/// The mode of part file and journal. The part file gets the output's mode only when it is whole.
const PRIVATE_MODE: u32 = 0o600;

/// The features that a file system may refuse.
const LOCKS: &str = "locks";
const MODES: &str = "modes";
const SYNCS: &str = "syncs";
const TIMES: &str = "times";

/// The part file of an output: locked, with its journal.
#[derive(Debug)]
pub struct PartFile {
    output: Output,
    file: File,
    journal: File,
    /// An older file that may have bytes of the new one; open for reading.
    basis: Option<File>,
    /// The mode that the file gets when it is whole.
    mode: u32,
    /// Whether the part file and the journal stay when this is dropped.
    keep: bool,
    /// The features that the file system has refused.
    lacks: Vec<String>,
}

/// The result of opening a name.
enum Opened {
    File(File),
    /// The file was removed meanwhile, as by a client that ends.
    Gone,
    /// The name is too long for this file system.
    TooLong,
}

/// The state while part file and journal are being opened.
#[derive(Default)]
struct Opening {
    /// The files that were made, with their names.
    made: Vec<(OsString, File)>,
    /// The features that the file system has refused.
    lacks: Vec<String>,
}

impl Opening {
    fn lack(&mut self, what: &str, error: &io::Error) {
        self.lacks.push(format!("{what} ({})", system_words(error)));
    }

    /// Makes `file` readable for its owner only.
    fn make_private(&mut self, file: &File) {
        // Also if it has that mode already: a refusal must be known before bytes move.
        match file.set_permissions(Permissions::from_mode(PRIVATE_MODE)) {
            Err(error) if !lacks_modes(&self.lacks) => self.lack(MODES, &error),
            _ => {}
        }
    }
}

impl Output {
    /// Opens and locks the part file, in which an earlier run may have left bytes, and its journal.
    /// Both are removed again unless the part file is committed or kept. `restart` allows to throw
    /// away any content of the part file.
    ///
    /// # Errors
    /// Another client holds the part file, or a file that no earlier run made has the name of the
    /// part file or of the journal. Then nothing is changed.
    pub fn open_part(mut self, restart: bool) -> Result<PartFile> {
        let mut opening = Opening::default();
        match self.open_pair(restart, &mut opening) {
            Ok((file, journal)) => {
                opening.make_private(&file);
                opening.make_private(&journal);
                let mode = self.mode();
                let lacks = opening.lacks;
                let output = self;
                Ok(PartFile { output, file, journal, basis: None, mode, keep: false, lacks })
            }
            Err(error) => {
                opening.made.iter().for_each(|(name, file)| self.remove(name, file));
                Err(error)
            }
        }
    }

    fn open_pair(&mut self, restart: bool, opening: &mut Opening) -> Result<(File, File)> {
        for _ in 0..MAX_ATTEMPTS {
            // The journal comes first: a part file with bytes and no journal counts as foreign.
            let journal = match self.open_or_create(&self.journal_name, opening)? {
                Opened::File(journal) => journal,
                Opened::Gone => continue,
                Opened::TooLong => {
                    self.use_own_names();
                    continue;
                }
            };
            let opened = self.open_or_create(&self.part_name, opening)?;
            let Opened::File(file) = opened else { continue };
            match lock_soon(&file, &Timing::default()) {
                Ok(true) => {}
                Ok(false) => {
                    opening.made.clear(); // the holder of the lock uses these files
                    return Err(self.held_by_another());
                }
                Err(error) => opening.lack(LOCKS, &error),
            }
            // The former holder may have renamed or removed the file before this lock. Then the
            // lock guards a file that no other client can find.
            let both = self
                .names(&self.part_name, &file)
                .and_then(|same| Ok(same && self.names(&self.journal_name, &journal)?));
            if both.map_err(|error| self.failed(&error))? {
                self.check_ours(&file, &journal, restart)?;
                return Ok((file, journal));
            }
        }
        Err(self.part_error("other programs keep replacing it"))
    }

    /// Opens `name`, which must be this user's own regular file, or creates it.
    fn open_or_create(&self, name: &OsStr, opening: &mut Opening) -> Result<Opened> {
        match self.folder.open_file(name, Access::Create(PRIVATE_MODE)) {
            Ok(file) => {
                // The umask may have removed rights that the next run needs.
                opening.make_private(&file);
                let again = file.try_clone().map_err(|error| {
                    self.remove(name, &file);
                    self.failed(&error)
                })?;
                opening.made.push((name.to_os_string(), again));
                return Ok(Opened::File(file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if is_too_long(&error) && !self.has_own_names() => {
                return Ok(Opened::TooLong);
            }
            Err(error) => return Err(self.failed(&error)),
        }
        let file = match self.folder.open_file(name, Access::Update) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Gone),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(self.trap(name, "is a symbolic link"));
            }
            Err(error) => return Err(self.trap(name, &system_words(&error))),
        };
        let found = file.metadata().map_err(|error| self.failed(&error))?;
        if !found.is_file() {
            return Err(self.trap(name, "is not a regular file"));
        }
        if !self.is_own(&found) {
            return Err(self.trap(name, "belongs to another user"));
        }
        if found.nlink() > 1 {
            return Err(self.trap(name, "has a second name"));
        }
        Ok(Opened::File(file))
    }

    /// Refuses files that no earlier run left, unless they may be thrown away.
    fn check_ours(&self, part: &File, journal: &File, restart: bool) -> Result<()> {
        let failed = |error: io::Error| self.failed(&error);
        if !journal::looks_like_one(journal).map_err(failed)? {
            if !self.has_own_names() {
                return Err(self.trap(&self.journal_name, "is not this program's journal"));
            }
            // Only this program gives files such names. After a power cut, the journal may hold
            // what the disk held before.
            journal.set_len(0).map_err(failed)?;
        }
        let is_empty = part.metadata().map_err(failed)?.len() == 0;
        if is_empty || restart || journal::is_about(journal, part).map_err(failed)? {
            return Ok(());
        }
        let error = self.part_error("was not left by this program: no journal belongs to it");
        Err(error.advise("move it away, or overwrite it with --restart"))
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
}

impl PartFile {
    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The journal beside the file.
    pub fn journal(&self) -> &File {
        &self.journal
    }

    /// The basis, if there is one.
    pub fn basis(&self) -> Option<&File> {
        self.basis.as_ref()
    }

    /// Takes `basis` in place of the one before.
    pub(in crate::transfer) fn set_basis(&mut self, basis: Option<File>) {
        self.basis = basis;
    }

    /// Puts a new, empty file in the place of the part file, which becomes the basis and has no
    /// name any more. The journal stays the one about the old file.
    ///
    /// # Errors
    /// Another client or program was faster, or no file can be made.
    pub(in crate::transfer) fn replace(&mut self) -> Result<()> {
        let (output, name) = (&self.output, &self.output.part_name);
        let failed = |error: io::Error| output.failed(&error);
        let is_named = |file: &File| match output.names(name, file) {
            Ok(true) => Ok(()),
            Ok(false) => Err(output.part_error("was replaced by another program")),
            Err(error) => Err(failed(error)),
        };
        // The receiver gets a descriptor that cannot write.
        let old = output.folder.open_file(name, Access::Read).map_err(failed)?;
        is_named(&self.file)?;
        is_named(&old)?;
        output.folder.remove_file(name).map_err(failed)?;
        let new = match output.folder.open_file(name, Access::Create(PRIVATE_MODE)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(output.held_by_another());
            }
            new => new.map_err(failed)?,
        };
        // A refusal of either was noted when the old file was opened.
        let _ = new.set_permissions(Permissions::from_mode(PRIVATE_MODE));
        if let Ok(false) = lock_soon(&new, &Timing::default()) {
            return Err(output.held_by_another());
        }
        is_named(&new)?;
        (self.file, self.basis) = (new, Some(old));
        Ok(())
    }

    /// The output that the file becomes.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The words for the user about refused features; `None` if nothing was refused.
    pub fn lacks(&self) -> Option<String> {
        let lacks = self.lacks.join(" and ");
        let words = || format!("{}: the file system refuses {lacks}", self.output.shown());
        (!self.lacks.is_empty()).then(words)
    }

    /// Notes that the file system cannot sync files.
    pub(in crate::transfer) fn lacks_syncs(&mut self) {
        self.lacks.push(SYNCS.to_string());
    }

    /// Whether the file system has refused no sync.
    pub fn syncs(&self) -> bool {
        !self.has_lack(SYNCS)
    }

    fn has_lack(&self, what: &str) -> bool {
        self.lacks.iter().any(|lack| lack == what)
    }

    /// Throws away what an earlier run left in the file, for a transfer of `name` that cannot be
    /// resumed. The new journal names the part file, and records no range.
    pub fn start_over(&self, name: &[u8]) -> Result<()> {
        let subject = Subject { name: name.to_vec(), etag: Vec::new(), size: 0 };
        let begun = file::set_length(&self.file, 0).and_then(|()| {
            Journal::create(self.journal.try_clone()?, &subject, &self.file).map(drop)
        });
        begun.map_err(|error| self.output.failed(&error))
    }

    /// Decides whether part file and journal stay when this is dropped, for a later run.
    pub fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }

    /// How many bytes a later run finds, as the journal records.
    pub fn kept_bytes(&self) -> u64 {
        let journal = self.journal.try_clone().and_then(Journal::open);
        journal.ok().flatten().map_or(0, |(_, _, contents)| journal::bytes_of(&contents))
    }

    /// Whether the journal has a record. `true` if the journal cannot be read.
    pub fn has_records(&self) -> bool {
        let length = self.journal.metadata().map(|found| found.len());
        match (read_header(&self.journal), length) {
            (Ok(Some((header, _))), Ok(length)) => length > header,
            _ => true,
        }
    }

    /// Whether part file and journal stay when this is dropped.
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// Waits until the names of part file and journal are on the disk.
    pub fn sync_folder(&self) -> Result<()> {
        self.output.folder.sync(&self.file).map_err(|error| self.output.failed(&error))
    }

    /// [`PartFile::complete`], with the time of its last write, and [`PartFile::put_in_place`].
    pub fn commit(mut self, size: u64, sync: bool) -> Result<Option<String>> {
        let refused = self.complete(size, None, sync)?;
        self.put_in_place(sync)?;
        Ok(refused)
    }

    /// Prepares the file, which must have `size` bytes, for the output's name. Gives it `mtime`.
    /// Returns the words for the user about refused features that [`PartFile::lacks`] has not
    /// named.
    ///
    /// Without `sync` and `mtime` it does not wait for the disk: after a power cut the output may
    /// have any content. With `mtime` it waits for the bytes, since the next run takes a file with
    /// the right size and time for complete.
    ///
    /// # Errors
    /// The file has another size, or it cannot be written to the disk.
    pub fn complete(
        &mut self,
        size: u64,
        mtime: Option<Stamp>,
        sync: bool,
    ) -> Result<Option<String>> {
        let failed = |error: io::Error| self.output.failed(&error);
        let found = self.file.metadata().map_err(failed)?.len();
        if found != size {
            let text = format!("has {found} bytes, not {size}: another program writes to it");
            return Err(self.output.part_error(&text));
        }
        let mut refused = Vec::new();
        match self.file.set_permissions(Permissions::from_mode(self.mode)) {
            Err(error) if !lacks_modes(&self.lacks) => {
                let (mode, words) = (self.mode, system_words(&error));
                refused.push(format!("mode {mode:03o} ({words})"));
            }
            _ => {}
        }
        if let Some(mtime) = mtime {
            if !sync {
                file::sync_data(&self.file).map_err(failed)?;
            }
            refused.extend(self.set_mtime(mtime));
        }
        if sync && !file::sync(&self.file).map_err(failed)? && !self.has_lack(SYNCS) {
            refused.push(SYNCS.to_string());
            self.lacks_syncs();
        }
        let words = refused.join(" and ");
        let words = || format!("{}: the file system refuses {words}", self.output.shown());
        Ok((!refused.is_empty()).then(words))
    }

    /// Gives the file this time. Returns the words for the user about a refusal.
    fn set_mtime(&self, mtime: Stamp) -> Option<String> {
        let set = file::set_mtime(&self.file, mtime.seconds, mtime.nanoseconds)
            .and_then(|()| self.file.metadata());
        match set {
            Err(error) => Some(format!("{TIMES} ({})", system_words(&error))),
            Ok(found) if Version::of(&found).mtime.agrees_with(mtime) => None,
            Ok(_) => Some("the time of the file on the server".to_string()),
        }
    }

    /// Renames the complete file to the output.
    ///
    /// # Errors
    /// The file cannot be renamed. It stays under its temporary name.
    pub fn put_in_place(mut self, sync: bool) -> Result<()> {
        let output = &self.output;
        output.existing()?; // refuses an output that is not a regular file
        let is_named = output.names(&output.part_name, &self.file);
        if !is_named.map_err(|error| output.failed(&error))? {
            return Err(output.part_error("was replaced by another program"));
        }
        let renamed = output.folder.rename(&output.part_name, &output.name);
        self.keep = true;
        renamed.map_err(|error| {
            let text = format!("{} is complete: rename it yourself", output.shown_part());
            output.failed(&error).advise(text)
        })?;
        output.remove_journal_about_another();
        if sync {
            self.sync_folder()?;
        }
        // The journal goes last: a part file without its journal could not be resumed.
        self.output.remove(&self.output.journal_name, &self.journal);
        Ok(())
    }
}

impl Output {
    /// Removes the journal of another transfer whose part file had the output's name, and is gone
    /// now. That journal must not be taken for one about the output.
    fn remove_journal_about_another(&self) {
        let journal_name = joined(&self.name, names::JOURNAL);
        if !self.name.as_bytes().ends_with(PART.as_bytes()) {
            return;
        }
        let Ok(journal) = self.folder.open_file(&journal_name, Access::Update) else { return };
        if matches!(read_header(&journal), Ok(Some(_))) {
            self.remove(&journal_name, &journal);
        }
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.keep {
            self.output.remove(&self.output.part_name, &self.file);
            // A part file without its journal would count as foreign.
            let _ = self.output.folder.sync(&self.file);
            self.output.remove(&self.output.journal_name, &self.journal);
        }
    }
}

fn lacks_modes(lacks: &[String]) -> bool {
    lacks.iter().any(|lack| lack.starts_with(MODES))
}

/// Whether no file can have such a name here.
fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENAMETOOLONG)
}
