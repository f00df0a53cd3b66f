//! What a push writes: the place of a file or of a folder, what is there, and the file on its way.

#![forbid(unsafe_code)]

use super::landing::judge;
use super::space::Promise;
use super::{Uploads, landing};
use crate::answer::unavailable;
use crate::transfers::outcomes::Key;
use ropewalk::codec::http::{Headers, Refusal, Status};
use ropewalk::codec::message::push::PushedFile;
use ropewalk::codec::message::version::{Existing, Stamp, Version};
use ropewalk::codec::text::escape_limited;
use ropewalk::sys::beneath::{self, Lookup, Mounts, Place};
use ropewalk::sys::dir::{Dir, Kind, Status as Found};
use ropewalk::sys::file;
use ropewalk::transfer::store::journal::Subject;
use ropewalk::transfer::store::lock::{is_being_written, lock_soon};
use ropewalk::transfer::store::names;
use ropewalk::transfer::store::output::{Output, PartFile};
use ropewalk::transfer::store::partial::{self, Start, StartOptions};
use ropewalk::transfer::timing::Timing;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// The mode of a folder while entries come.
const PRIVATE_MODE: u32 = 0o700;

/// Bytes in which st_blocks counts.
const BLOCK: u64 = 512;

const UNWRITABLE: &str = "the server cannot write the file";

/// The refusal of a second push to one name.
pub(crate) const BUSY: &str = "another upload to this name is under way";

/// Most bytes of a name in messages.
const MAX_SHOWN: usize = 4096;

/// The place of a file or of a folder, and what has the name now.
pub(crate) struct Target {
    place: Place,
    found: Option<Found>,
    /// By it two pushes to one name know each other.
    pub(crate) key: Key,
}

/// A file that is ready to receive bytes.
pub(crate) struct PreparedFile {
    pub(crate) part: PartFile,
    /// Bytes that an earlier push has left.
    pub(crate) resumed: u64,
    /// The room for the rest.
    pub(crate) promise: Promise,
}

/// A folder that is ready to receive entries.
pub(crate) struct PreparedFolder {
    /// The open folder, which is locked; `None` in a dry run where there is none.
    pub(crate) folder: Option<File>,
}

impl Target {
    fn new(place: Place, found: Option<Found>) -> Result<Target, Refusal> {
        let folder = place.folder.status().map_err(|error| unavailable(&error))?;
        let key = (folder.device, folder.inode, place.name.clone());
        Ok(Target { place, found, key })
    }

    /// Whether the file that is there, and that the client may fetch, counts as the pushed one.
    pub(crate) fn is_up_to_date(&self, file: &PushedFile) -> bool {
        let (Some(found), Some(known)) = (&self.found, &file.known) else { return false };
        let mtime = Stamp::of(found);
        let version = Version { size: found.size, mtime, ctime: mtime };
        found.kind == Kind::File
            && self.place.folder.may_read(&self.place.name, false)
            && Existing { size: known.size, mtime: known.mtime }.is_up_to_date(&version)
    }
}

impl Uploads {
    /// The place of a file that is pushed to `path`: the file in it, where that is a folder.
    ///
    /// # Errors
    /// As of a PUT; 409 for what is no file.
    pub(crate) fn file_target(&self, path: &[u8], file: &PushedFile) -> Result<Target, Refusal> {
        let within = |name: &Vec<u8>| self.writable.place(&[path, b"/", name].concat());
        let within = || file.name.as_ref().map(within);
        let place = match self.writable.place(path) {
            Ok(place) => match place.folder.status_of(&place.name) {
                Ok(found) if found.kind == Kind::Folder => within().unwrap_or(Ok(place))?,
                _ => place,
            },
            // The writable folder itself, or a name with a slash at its end.
            Err(refused) => match within() {
                Some(Err(within)) if refused.status == Status::CONFLICT => return Err(within),
                Some(Ok(place)) => place,
                Some(Err(_)) | None => return Err(refused),
            },
        };
        let found = judge(&place, &Headers::new())?;
        if found.as_ref().is_some_and(|found| found.kind == Kind::Link) {
            return Err(Refusal::new(Status::CONFLICT, "a symbolic link has this name"));
        }
        Target::new(place, found)
    }

    /// The place of a folder that is pushed to `path`.
    ///
    /// # Errors
    /// As of a PUT; 409 for what is no folder.
    pub(crate) fn folder_target(&self, path: &[u8]) -> Result<Target, Refusal> {
        let trimmed = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let place = self.writable.place(&path[..trimmed])?;
        let found = match place.folder.status_of(&place.name) {
            Ok(found) if found.kind == Kind::Folder => Some(found),
            Ok(_) => {
                let words = "something that is no folder has this name";
                return Err(Refusal::new(Status::CONFLICT, words));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(landing::refusal(error.into())),
        };
        Target::new(place, found)
    }

    /// Refuses a file of so many bytes, if that is more than the server takes.
    pub(crate) fn check_size(&self, size: u64) -> Result<(), Refusal> {
        match size > self.rules.max_size {
            false => Ok(()),
            true => {
                let words = "the file is larger than this server takes";
                Err(Refusal::new(Status::CONTENT_TOO_LARGE, words))
            }
        }
    }

    /// Opens the part file of a push to `path`, in which an earlier push may have left bytes.
    ///
    /// # Errors
    /// 403 where the system refuses it, 409 where somebody else writes the file, 507 without room.
    pub(crate) fn prepare_file(
        &self,
        target: Target,
        path: &[u8],
        pushed: &PushedFile,
        sync: bool,
    ) -> Result<PreparedFile, Refusal> {
        let Place { folder, name } = target.place;
        self.leftovers.visit(&folder);
        if !folder.may_change() {
            return Err(landing::refusal(io::Error::from_raw_os_error(libc::EACCES).into()));
        }
        let temporary = names::temporary(&name);
        let again = folder.as_fd().try_clone_to_owned().map_err(|error| unavailable(&error))?;
        let output = Output::at(folder, name, escape_limited(path, MAX_SHOWN)).map_err(|_| {
            Refusal::new(Status::FORBIDDEN, "the file that has this name cannot be replaced")
        })?;
        let mut part = output.open_part(true).map_err(|_| {
            match is_being_written(&Dir::from(File::from(again)), &temporary) {
                true => Refusal::new(Status::CONFLICT, BUSY),
                false => Refusal::new(Status::INTERNAL_SERVER_ERROR, UNWRITABLE),
            }
        })?;
        let too_long = || Refusal::new(Status::CONTENT_TOO_LARGE, "no file can be so large there");
        // Of a pipe nothing is known: what comes has to have room.
        let (size, stored) = pushed.known.map_or((0, 0), |known| (known.size, known.stored));
        if !file::can_be_as_long(part.file(), size) {
            return Err(too_long());
        }
        let taken = part.file().metadata().map_or(0, |found| found.blocks().saturating_mul(BLOCK));
        // From here on the part file stays after an error, if an earlier push has left it.
        part.keep(taken > 0);
        let rest = size.min(stored).saturating_sub(taken);
        let promise =
            self.space.promise(part.file(), rest).map_err(|full| landing::refusal(full.into()))?;
        let options = StartOptions { restart: pushed.restart, sync, whole: pushed.whole };
        let (name, etag) = (path.to_vec(), pushed.tag.clone());
        let subject = Subject { name, etag, size };
        // What a stranger announces is not taken on the disk before it comes.
        let start = partial::prepare(&mut part, &subject, 0, options)
            .map_err(|_| Refusal::new(Status::INTERNAL_SERVER_ERROR, UNWRITABLE))?;
        let resumed = if let Start::Resumed(bytes) = start { bytes } else { 0 };
        part.keep(true);
        Ok(PreparedFile { part, resumed, promise })
    }

    /// Opens the folder of a push, and makes it if it is missing.
    ///
    /// # Errors
    /// 403 where the system refuses it, 409 where somebody else writes it, 507 without room.
    pub(crate) fn prepare_folder(
        &self,
        target: Target,
        is_dry: bool,
    ) -> Result<PreparedFolder, Refusal> {
        let Target { place: Place { folder, name }, found, .. } = target;
        let refused = |error: io::Error| landing::refusal(error.into());
        // A push gives folders their modes: it must not open one that is closed to the server.
        if found.is_some() && !folder.may_read(&name, true) {
            return Err(refused(io::Error::from_raw_os_error(libc::EACCES)));
        }
        if found.is_none() {
            if is_dry {
                return Ok(PreparedFolder { folder: None });
            }
            folder.make_dir(&name, PRIVATE_MODE).map_err(refused)?;
        }
        let opened =
            beneath::open_plain_dir(folder.as_fd(), name.as_bytes(), Mounts::Enter, Lookup::Best);
        let opened = opened.map_err(refused)?;
        if let Ok(false) = lock_soon(&opened, &Timing::default()) {
            return Err(Refusal::new(Status::CONFLICT, BUSY));
        }
        let room = self.space.check_beside_promises(&opened);
        room.map_err(|full| landing::refusal(full.into()))?;
        Ok(PreparedFolder { folder: Some(opened) })
    }
}
