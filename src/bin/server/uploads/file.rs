//! An uploaded file on its way: under a temporary name beside its own, until it is whole and on the
//! disk. It is removed unless it gets its name.

#![forbid(unsafe_code)]

use super::space::{Full, Promise, Space};
use ropewalk::sys::beneath::Place;
use ropewalk::sys::dir::{Access, Dir};
use ropewalk::sys::{file, volume};
use ropewalk::transfer::store::names;
use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

/// Bytes that are taken on the disk ahead of those that were written.
const AHEAD: u64 = 1 << 30;

/// The same where the file system cannot take them: free space is looked at as often.
const AHEAD_UNTAKEN: u64 = 64 << 20;

/// With fewer bytes, taking them on the disk first costs more than it brings.
const WORTH_TAKING: u64 = 1 << 20;

/// The system starts to write bytes to the disk when so many have come, so that the last sync does
/// not have to wait for all of them.
const WRITE_BACK: u64 = 8 << 20;

/// The mode of a file on its way.
const PRIVATE_MODE: u32 = 0o600;

/// The mode of a new file, before the umask. A folder may give the file other rights.
const NEW_MODE: u32 = 0o666;

/// The permission bits that a file may have: no set-id bits.
const MODE_BITS: u32 = 0o777;

/// Why a file cannot be written.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// Its file system has too little room: by the rules, or with this error number of the system.
    Full(Option<i32>),
    /// No file can be so long there.
    TooLong,
    /// Another error.
    System(io::Error),
}

impl From<Full> for Unwritten {
    fn from(_: Full) -> Unwritten {
        Unwritten::Full(None)
    }
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Unwritten {
        match error.raw_os_error() {
            cause @ Some(libc::ENOSPC | libc::EDQUOT) => Unwritten::Full(cause),
            Some(libc::EFBIG) => Unwritten::TooLong,
            _ => Unwritten::System(error),
        }
    }
}

/// A file on its way.
pub(crate) struct Incoming<'a> {
    place: Place,
    temporary: OsString,
    file: File,
    /// The mode that a new file gets in this folder.
    new_mode: u32,
    space: &'a Space,
    promise: Promise,
    size: u64,
    /// Bytes that were written.
    written: u64,
    /// Bytes that the file system had room for when that was last looked at.
    secured: u64,
    /// Whether the file system takes bytes on the disk ahead.
    takes: bool,
    /// Where the bytes begin that the system was not told to write yet.
    unstarted: u64,
    /// Whether it has its own name.
    landed: bool,
}

impl<'a> Incoming<'a> {
    /// Makes the file for `size` bytes that are to become `place`.
    ///
    /// # Errors
    /// Too little room; a file cannot be so long; the system refuses the file.
    pub(crate) fn create(
        place: Place,
        size: u64,
        space: &'a Space,
    ) -> Result<Incoming<'a>, Unwritten> {
        let temporary = names::unique()?;
        let file = place.folder.open_file(&temporary, Access::Create(NEW_MODE))?;
        let remove = || place.folder.remove_file(&temporary);
        let prepared = || -> Result<_, Unwritten> {
            let new_mode = file.metadata()?.mode() & MODE_BITS;
            // Neither is there on every file system.
            let _ = file.set_permissions(Permissions::from_mode(PRIVATE_MODE));
            let _ = file::try_lock(&file);
            if !file::can_be_as_long(&file, size) {
                return Err(Unwritten::TooLong);
            }
            Ok((new_mode, space.promise(&file, size)?))
        };
        let (new_mode, promise) = prepared().inspect_err(|_| drop(remove()))?;
        let takes = size >= WORTH_TAKING && !volume::is_in_memory(&file);
        Ok(Incoming {
            place,
            temporary,
            file,
            new_mode,
            space,
            promise,
            size,
            written: 0,
            secured: 0,
            takes,
            unstarted: 0,
            landed: false,
        })
    }

    /// The place that it is to become.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes that were written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes the next bytes, which stay within the size.
    ///
    /// # Errors
    /// Too little room; those of the system.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Unwritten> {
        let end = self.written + bytes.len() as u64;
        while self.secured < end {
            self.secure_more()?;
        }
        self.file.write_all_at(bytes, self.written)?;
        self.written = end;
        if !self.takes {
            self.promise.keep(bytes.len() as u64);
        }
        if end - self.unstarted >= WRITE_BACK {
            file::start_write_back(&self.file, self.unstarted, end - self.unstarted);
            self.unstarted = end;
        }
        Ok(())
    }

    /// Looks whether there is still room for the bytes that come next, and takes it if the file
    /// system can.
    fn secure_more(&mut self) -> Result<(), Unwritten> {
        let ahead = if self.takes { AHEAD } else { AHEAD_UNTAKEN };
        let step = (self.size - self.secured).min(ahead);
        self.space.check(&self.file, step)?;
        if self.takes {
            match file::preallocate_behind(&self.file, self.secured + step).map_err(Into::into) {
                Ok(()) => self.promise.keep(step),
                Err(Unwritten::System(_)) => {
                    // Not supported here. The step was bounded for a file system that takes it.
                    self.takes = false;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.secured += step;
        Ok(())
    }

    /// Gives the whole file its mode, that of the file which it replaces or that of a new one, and
    /// waits until it is on the disk.
    ///
    /// # Errors
    /// It cannot be written to the disk.
    pub(crate) fn complete(&self, old_mode: Option<u32>) -> Result<(), Unwritten> {
        let mode = old_mode.map_or(self.new_mode, |mode| mode & MODE_BITS);
        // A file system without modes gives every file the same one.
        let _ = self.file.set_permissions(Permissions::from_mode(mode));
        file::sync(&self.file)?;
        Ok(())
    }

    /// Gives it its name. Replaces a file or a link that has the name, unless it must be `new`.
    ///
    /// # Errors
    /// `AlreadyExists` for a name that must be new; those of rename(2).
    pub(crate) fn land(&mut self, new: bool) -> io::Result<()> {
        let Place { folder, name } = &self.place;
        match new {
            true => folder.rename_new(&self.temporary, name)?,
            false => folder.rename(&self.temporary, name)?,
        }
        self.landed = true;
        Ok(())
    }

    /// Waits until the name is on the disk.
    pub(crate) fn sync_name(&self) -> io::Result<()> {
        self.folder().sync(&self.file)
    }

    fn folder(&self) -> &Dir {
        &self.place.folder
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        if !self.landed {
            let _ = self.folder().remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    struct World {
        path: PathBuf,
        space: Space,
    }

    impl World {
        fn new(test: &str) -> World {
            let name = format!("ropewalk-incoming-{}-{test}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            World { path, space: Space::new(0) }
        }

        fn create(&self, size: u64) -> Result<Incoming<'_>, Unwritten> {
            let folder = Dir::open(&self.path).unwrap();
            Incoming::create(Place { folder, name: "file".into() }, size, &self.space)
        }

        fn names(&self) -> Vec<OsString> {
            let mut names: Vec<_> =
                fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    #[test]
    fn it_gets_its_name_when_it_is_whole() {
        let world = World::new("whole");
        let mut incoming = world.create(5).unwrap();
        incoming.write(b"123").unwrap();
        let [temporary] = &world.names()[..] else { panic!("{:?}", world.names()) };
        assert_eq!(names::reserved(temporary), Some(names::Reserved::Temporary));
        let mode = fs::metadata(world.path.join(temporary)).unwrap().mode();
        assert_eq!(mode & 0o7777, PRIVATE_MODE);
        incoming.write(b"45").unwrap();
        incoming.complete(Some(0o6754)).unwrap();
        incoming.land(false).unwrap();
        incoming.sync_name().unwrap();
        drop(incoming);
        assert_eq!(world.names(), ["file"]);
        assert_eq!(fs::read(world.path.join("file")).unwrap(), b"12345");
        assert_eq!(fs::metadata(world.path.join("file")).unwrap().mode() & 0o7777, 0o754);
    }

    #[test]
    fn a_new_file_has_the_mode_of_any_new_file() {
        let world = World::new("mode");
        fs::write(world.path.join("other"), b"").unwrap();
        let incoming = world.create(0).unwrap();
        incoming.complete(None).unwrap();
        let expected = fs::metadata(world.path.join("other")).unwrap().mode();
        assert_eq!(incoming.file().metadata().unwrap().mode(), expected);
    }

    #[test]
    fn one_that_does_not_land_leaves_nothing() {
        let world = World::new("dropped");
        let mut incoming = world.create(1).unwrap();
        incoming.write(b"1").unwrap();
        drop(incoming);
        assert!(world.names().is_empty());
        for size in [1 << 63, u64::MAX] {
            assert!(matches!(world.create(size), Err(Unwritten::TooLong)), "{size}");
            assert!(world.names().is_empty(), "{size}");
        }
    }

    #[test]
    fn two_of_one_name_are_each_whole_and_the_last_one_stays() {
        let world = World::new("two");
        let (mut one, mut two) = (world.create(3).unwrap(), world.create(3).unwrap());
        one.write(b"one").unwrap();
        two.write(b"two").unwrap();
        one.land(false).unwrap();
        assert_eq!(fs::read(world.path.join("file")).unwrap(), b"one");
        let refused = two.land(true).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        two.land(false).unwrap();
        assert_eq!(fs::read(world.path.join("file")).unwrap(), b"two");
    }

    #[test]
    fn bytes_are_taken_on_the_disk_ahead_and_no_more_than_announced() {
        let world = World::new("ahead");
        let size = 3 * WORTH_TAKING;
        let mut incoming = world.create(size).unwrap();
        incoming.write(b"1").unwrap();
        let found = incoming.file().metadata().unwrap();
        assert_eq!(found.len(), 1, "the length is that of the bytes that came");
        if incoming.takes {
            assert!((size..size + (1 << 20)).contains(&(found.blocks() * 512)), "{found:?}");
        }
    }

    #[test]
    fn a_full_file_system_is_told_from_other_errors() {
        let unwritten = |code| Unwritten::from(io::Error::from_raw_os_error(code));
        assert!(matches!(unwritten(libc::ENOSPC), Unwritten::Full(Some(libc::ENOSPC))));
        assert!(matches!(unwritten(libc::EDQUOT), Unwritten::Full(Some(libc::EDQUOT))));
        assert!(matches!(Unwritten::from(Full), Unwritten::Full(None)));
        assert!(matches!(unwritten(libc::EFBIG), Unwritten::TooLong));
        assert!(matches!(unwritten(libc::EIO), Unwritten::System(_)));
    }
}
