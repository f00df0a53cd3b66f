//! Lays a state into a folder, and checks it with the programs' own code: which of its bytes count
//! as there, and whether that is right.

use crate::disk::{Content, Dress, Kind};
use crate::history::History;
use crate::promise::{OUT, Promise, joined};
use crate::sectors::SECTOR;
use crate::states::State;
use ropewalk::codec::journal::JournalHeader;
use ropewalk::sys::dir::Dir;
use ropewalk::transfer::store::journal::{AUDIT_BUFFER, Journal, Subject};
use ropewalk::transfer::store::output::Output;
use ropewalk::transfer::store::partial::{Start, StartOptions, prepare};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The boot of a journal after a power cut. Only the boot changes in the journal.
pub(crate) const OTHER_BOOT: [u8; 16] = *b"before the power";

/// The first words of a client's own error.
const REFUSED: &str = "the client fails: ";

/// What the states of a history are checked against.
pub(crate) struct Expected<'a> {
    pub(crate) history: &'a History,
    /// The file that the server has now.
    pub(crate) subject: Subject,
    pub(crate) bytes: &'a [u8],
    /// The content of OUT before the first step.
    pub(crate) old: Option<Vec<u8>>,
    /// Where states are laid out.
    pub(crate) folder: PathBuf,
}

/// Writes `state` into the empty `folder`. What is in no folder is left out. With `other_boot`, its
/// journals are of another boot. The files get new inodes, and the journals' headers get the new
/// inodes too.
pub(crate) fn lay(history: &History, state: &State, folder: &Path, other_boot: bool) {
    let mut laid = Vec::new();
    for (name, file) in &state.names {
        let path = folder.join(name);
        // A folder's path comes before those of what is in it.
        if !fs::symlink_metadata(path.parent().unwrap()).is_ok_and(|found| found.is_dir()) {
            continue;
        }
        match &history.files[*file].kind {
            Kind::File => lay_file(&state.files[*file], &path),
            Kind::Folder => fs::create_dir(&path).unwrap(),
            Kind::Link(text) => symlink(OsStr::from_bytes(text), &path).unwrap(),
        }
        laid.push((path, name, *file));
    }
    for (path, name, _) in &laid {
        if let Some(part) = name.strip_suffix(".journal") {
            let inode = state.names.get(part).map(|part| history.files[*part].inode);
            let now = fs::metadata(folder.join(part)).ok().map(|found| found.ino());
            lay_header(path, inode.zip(now), other_boot);
        }
    }
    for (path, _, file) in laid.iter().rev() {
        if let Some(dress) = state.dress.get(*file) {
            lay_dress(path, dress);
        }
    }
}

/// Changes the header of a journal about a part file, whose inode was and is as `part` says.
fn lay_header(journal: &Path, part: Option<(u64, u64)>, other_boot: bool) {
    let Some((_, mut header)) = JournalHeader::parse(&fs::read(journal).unwrap()) else { return };
    header.inode = match part {
        Some((recorded, now)) if recorded == header.inode => now,
        _ => 0,
    };
    if other_boot {
        header.boot = OTHER_BOOT;
    }
    let journal = fs::File::options().write(true).open(journal).unwrap();
    journal.write_all_at(&header.encode(), 0).unwrap();
}

fn lay_dress(path: &Path, dress: &Dress) {
    let is_link = fs::symlink_metadata(path).unwrap().is_symlink();
    if let Some(mode) = dress.mode.filter(|_| !is_link) {
        fs::set_permissions(path, Permissions::from_mode(mode & 0o7777)).unwrap();
    }
    if let Some((seconds, nanoseconds)) = dress.mtime {
        let folder = Dir::open(path.parent().unwrap()).unwrap();
        folder.set_mtime_of(path.file_name().unwrap(), seconds, nanoseconds as u32).unwrap();
    }
}

fn lay_file(content: &Content, path: &Path) {
    let file = fs::File::create_new(path).unwrap();
    file.set_len(content.size).unwrap();
    let mut sectors = content.sectors.iter().peekable();
    let mut run = Vec::new();
    while let Some((number, sector)) = sectors.next() {
        run.extend_from_slice(sector.as_slice());
        if sectors.peek().is_some_and(|(next, _)| *next == number + 1) {
            continue;
        }
        let end = (number + 1) * SECTOR;
        let start = end - run.len() as u64;
        run.truncate((content.size - start) as usize);
        file.write_all_at(&run, start).unwrap();
        run.clear();
    }
}

/// Empties the folder, or makes it.
pub(crate) fn empty(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
}

impl Expected<'_> {
    /// Checks one state; `Err` says what is wrong. Returns how many bytes count as there, or `None`
    /// if the client refuses to overwrite what it finds. The client may refuse if nothing was
    /// durable and foreign bytes are there, or if nothing was ever synced.
    pub(crate) fn look(&self, state: &State, promise: &Promise) -> Result<Option<u64>, String> {
        let is_new = self.out(state, promise)?;
        empty(&self.folder);
        lay(self.history, state, &self.folder, true);
        let (counted, start) = match self.counted() {
            Err(wrong) if wrong.starts_with(REFUSED) && promise.may_refuse(state.is_dirty) => {
                return Ok(None);
            }
            counted => counted?,
        };
        if !is_new && promise.etag == self.subject.etag {
            for (start_of, end) in &promise.durable {
                let kept = counted.iter().any(|(from, to)| from <= start_of && end <= to);
                if !kept {
                    return Err(format!(
                        "{start_of}..{end} was durable, but {counted:?} counts ({start:?})"
                    ));
                }
            }
        }
        Ok(Some(counted.iter().map(|(start, end)| end - start).sum()))
    }

    /// Checks the programs' own view after a kill, without a power cut: everything that `recorded`
    /// holds counts.
    pub(crate) fn look_within_boot(
        &self,
        state: &State,
        recorded: &[(u64, u64)],
    ) -> Result<(), String> {
        empty(&self.folder);
        lay(self.history, state, &self.folder, false);
        let (counted, start) = self.counted()?;
        if counted != recorded {
            return Err(format!("{recorded:?} was recorded, {counted:?} counts ({start:?})"));
        }
        Ok(())
    }

    /// Whether OUT is the new file. OUT may be the old file, unless more was promised.
    fn out(&self, state: &State, promise: &Promise) -> Result<bool, String> {
        let out = state.names.get(OUT).map(|file| state.files[*file].bytes());
        let is_new = out.as_deref() == Some(self.bytes);
        if is_new || (out == self.old && !promise.is_new) {
            return Ok(is_new);
        }
        let found = match out {
            None => "missing".into(),
            out if out == self.old => "the old one".into(),
            Some(out) => {
                let differs = out.iter().zip(self.bytes).position(|(out, new)| out != new);
                format!("wrong: {} bytes, other ones at {differs:?}", out.len())
            }
        };
        Err(format!(
            "OUT is {found}{}",
            if promise.is_new { ", after it was promised" } else { "" }
        ))
    }

    /// The checked ranges that a client would count as there, in the folder as it is.
    fn counted(&self) -> Result<(Vec<(u64, u64)>, Start), String> {
        let failed = |error: ropewalk::error::Error| format!("{REFUSED}{error}");
        let output = Output::locate(&self.folder.join(OUT)).map_err(failed)?;
        let mut part = output.open_part(false).map_err(failed)?;
        part.keep(true);
        // Waiting for the disk does not change what is there.
        let start_options = StartOptions { restart: false, sync: false, whole: false };
        let size = self.subject.size;
        let start = prepare(&mut part, &self.subject, size, start_options).map_err(failed)?;
        part.keep(true);
        let journal = part.journal().try_clone().unwrap();
        let (_, _, contents) =
            Journal::open(journal).unwrap().ok_or("its journal has no header")?;
        let mut buffer = vec![0; AUDIT_BUFFER];
        for (&from, &(to, recorded)) in &contents {
            if !recorded.holds_in(part.file(), from..to, &mut buffer) {
                return Err(format!("the journal vouches for {from}..{to}, which is not there"));
            }
            let mut found = vec![0; (to - from) as usize];
            part.file().read_exact_at(&mut found, from).unwrap();
            if found != self.bytes[from as usize..to as usize] {
                return Err(format!("wrong bytes count as there at {from}..{to}"));
            }
        }
        Ok((joined(contents.iter().map(|(from, (to, _))| *from..*to)), start))
    }
}
