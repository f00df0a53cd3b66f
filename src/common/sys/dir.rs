//! An open folder, and lookups of names in it (openat(2) and its family). A rename of the folder
//! does not redirect them.

pub mod place;
mod status;

pub use status::{Kind, Status};

use super::component::Component;
use super::entries::Entries;
use super::file::is_unknown_sync;
use super::{check, retry, volume};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[cfg(target_env = "musl")]
use libc::{fstatat as fstatat64, stat as stat64};
#[cfg(not(target_env = "musl"))]
use libc::{fstatat64, stat64};

/// How a name is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For its metadata only. Opens a symbolic link itself.
    Look,
    /// For reading; it must exist. Symbolic links are refused.
    Read,
    /// For reading and writing; it must exist. Symbolic links are refused.
    Update,
    /// For reading and writing; it must not exist. It gets this mode, less the umask.
    Create(u32),
}

/// An open folder.
#[derive(Debug)]
pub struct Dir {
    descriptor: OwnedFd,
}

impl Dir {
    /// Opens the folder at `path`.
    pub fn open(path: &Path) -> io::Result<Dir> {
        use std::os::unix::fs::OpenOptionsExt;
        let folder = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
        Ok(Dir { descriptor: folder.into() })
    }

    /// Opens the folder at `path` to look up and change names in it. An unreadable folder works
    /// too, but cannot be listed.
    pub fn open_to_change(path: &Path) -> io::Result<Dir> {
        use std::os::unix::fs::OpenOptionsExt;
        match Dir::open(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let flags = libc::O_PATH | libc::O_DIRECTORY;
                let folder = File::options().read(true).custom_flags(flags).open(path)?;
                Ok(Dir { descriptor: folder.into() })
            }
            opened => opened,
        }
    }

    /// Opens `name`, without following a symbolic link and without blocking.
    pub fn open_file(&self, name: &OsStr, access: Access) -> io::Result<File> {
        let (flags, mode) = match access {
            Access::Look => (libc::O_PATH, 0),
            Access::Read => (libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0),
            Access::Update => (libc::O_RDWR | libc::O_NONBLOCK | libc::O_NOCTTY, 0),
            Access::Create(mode) => (libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, mode),
        };
        let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_LARGEFILE;
        let name = component(name)?;
        let descriptor = retry(|| {
            // SAFETY: `name` is a live C string; the folder is open.
            check(unsafe { libc::openat(self.descriptor.as_raw_fd(), name.as_ptr(), flags, mode) })
        })?;
        // SAFETY: openat has just returned this descriptor, and nothing else owns it.
        Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Creates a file without a name, for reading and writing (O_TMPFILE, Linux 3.11). Its mode
    /// is that of a new named file.
    ///
    /// # Errors
    /// Various errors if the kernel or the file system does not support this.
    pub fn create_nameless(&self, mode: u32) -> io::Result<File> {
        let flags = libc::O_RDWR | libc::O_TMPFILE | libc::O_CLOEXEC | libc::O_LARGEFILE;
        let descriptor = retry(|| {
            let folder = self.descriptor.as_raw_fd();
            // SAFETY: the name is a constant C string; the folder is open.
            check(unsafe { libc::openat(folder, c".".as_ptr(), flags, mode) })
        })?;
        // SAFETY: openat has just returned this descriptor, and nothing else owns it.
        Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Restarts [`Dir::entries`] at the first name.
    pub fn rewind(&self) -> io::Result<()> {
        File::from(self.descriptor.try_clone()?).rewind()
    }

    /// The names in this folder, in no order. A second call continues at the end of the first;
    /// see [`Dir::rewind`].
    pub fn entries(&self) -> Entries<'_> {
        Entries::new(self.descriptor.as_fd())
    }

    /// The metadata of the folder itself.
    pub fn metadata(&self) -> io::Result<Metadata> {
        File::from(self.descriptor.try_clone()?).metadata()
    }

    /// Whether this process may read the target of `name`, and search it if it is a folder
    /// (access(2), which checks the real user's rights). Opens nothing.
    pub fn may_read(&self, name: &OsStr, is_folder: bool) -> bool {
        let Ok(name) = component(name) else { return false };
        let mode = if is_folder { libc::R_OK | libc::X_OK } else { libc::R_OK };
        let folder = self.descriptor.as_raw_fd();
        let asked = retry(|| {
            // The oldest call of its kind: some C libraries try a newer one first, and take a
            // container's refusal of it as the answer. SAFETY: `name` is a live C string; the
            // folder is open.
            let asked = unsafe { libc::syscall(libc::SYS_faccessat, folder, name.as_ptr(), mode) };
            check(asked as libc::c_int)
        });
        asked.is_ok()
    }

    /// Whether this process may make and rename names in this folder (access(2), which checks the
    /// real user's rights). Changes nothing.
    pub fn may_change(&self) -> bool {
        let (folder, mode) = (self.descriptor.as_raw_fd(), libc::W_OK | libc::X_OK);
        let asked = retry(|| {
            // SAFETY: the name is a constant C string; the folder is open. By number for the
            // reason that `may_read` has.
            let asked = unsafe { libc::syscall(libc::SYS_faccessat, folder, c".".as_ptr(), mode) };
            check(asked as libc::c_int)
        });
        asked.is_ok()
    }

    /// The device and the inode of `name`. Does not follow a symbolic link. Needs no descriptor.
    pub fn number_of(&self, name: &OsStr) -> io::Result<(u64, u64)> {
        let name = component(name)?;
        // SAFETY: all-zero is a valid stat.
        let mut stat: stat64 = unsafe { std::mem::zeroed() };
        retry(|| {
            let (folder, flags) = (self.descriptor.as_raw_fd(), libc::AT_SYMLINK_NOFOLLOW);
            // SAFETY: `name` is a live C string; `stat` is writable and lives through the call.
            check(unsafe { fstatat64(folder, name.as_ptr(), &mut stat, flags) })
        })?;
        #[allow(clippy::unnecessary_cast)] // narrower on some systems
        Ok((stat.st_dev as u64, stat.st_ino as u64))
    }

    /// Whether rights and attributes allow a rename to replace the file `name`. The test is to
    /// remove it as a folder: the kernel checks the rights before it finds that the file is no
    /// folder.
    pub fn may_replace(&self, name: &OsStr) -> io::Result<()> {
        const REFUSALS: [libc::c_int; 3] = [libc::EPERM, libc::EACCES, libc::EROFS];
        match self.unlink(name, libc::AT_REMOVEDIR) {
            Err(error) if error.raw_os_error().is_some_and(|code| REFUSALS.contains(&code)) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Whether the file `name` is a mount point, which no rename can replace. `false` if the
    /// kernel does not tell (before Linux 3.15, or without /proc).
    pub fn is_mount_point(&self, name: &OsStr) -> bool {
        let Ok(file) = self.open_file(name, Access::Look) else { return false };
        let folder = volume::mount_of(self.descriptor.as_fd());
        folder.is_some() && folder != volume::mount_of(file.as_fd())
    }

    /// Creates the folder `name` with this mode, less the umask, and opens it to change names in
    /// it.
    pub fn make_dir(&self, name: &OsStr, mode: u32) -> io::Result<Dir> {
        let c_name = component(name)?;
        // SAFETY: `c_name` is a live C string; the folder is open.
        check(unsafe {
            libc::mkdirat(self.descriptor.as_raw_fd(), c_name.as_ptr(), mode as libc::mode_t)
        })?;
        // The umask may remove the right to read it.
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        let descriptor = retry(|| {
            // SAFETY: `c_name` is a live C string; the folder is open.
            check(unsafe { libc::openat(self.descriptor.as_raw_fd(), c_name.as_ptr(), flags) })
        })
        .inspect_err(|_| drop(self.remove_dir(name)))?;
        // SAFETY: openat has just returned this descriptor, and nothing else owns it.
        Ok(Dir { descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) } })
    }

    /// Removes the name of a file.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        self.unlink(name, 0)
    }

    /// Removes the empty folder `name`.
    pub fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        self.unlink(name, libc::AT_REMOVEDIR)
    }

    fn unlink(&self, name: &OsStr, flags: libc::c_int) -> io::Result<()> {
        let name = component(name)?;
        // SAFETY: `name` is a live C string; the folder is open.
        check(unsafe { libc::unlinkat(self.descriptor.as_raw_fd(), name.as_ptr(), flags) })?;
        Ok(())
    }

    /// Renames the file `from` to `to` atomically. Replaces a file called `to`.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let (from, to) = (component(from)?, component(to)?);
        let folder = self.descriptor.as_raw_fd();
        // SAFETY: both names are live C strings; the folder is open.
        check(unsafe { libc::renameat(folder, from.as_ptr(), folder, to.as_ptr()) })?;
        Ok(())
    }

    /// Waits until the names in this folder are on the disk; `file` is a file in it. Does nothing
    /// on file systems that cannot sync a folder (fsync(2)).
    pub fn sync(&self, file: &File) -> io::Result<()> {
        match self.sync_names() {
            // The folder was opened only to change names.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => volume::sync(file),
            synced => synced,
        }
    }

    /// As [`Dir::sync`], for a folder that is open for reading.
    pub fn sync_names(&self) -> io::Result<()> {
        // SAFETY: takes a number only and touches no memory of ours.
        match retry(|| check(unsafe { libc::fsync(self.descriptor.as_raw_fd()) })) {
            Err(error) if is_unknown_sync(&error) => Ok(()),
            synced => synced.map(drop),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A folder that the caller has opened.
impl From<File> for Dir {
    fn from(folder: File) -> Dir {
        Dir { descriptor: folder.into() }
    }
}

/// `name` as a system call takes it.
fn component(name: &OsStr) -> io::Result<Component> {
    Component::new(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folder(test: &str) -> (PathBuf, Dir) {
        let path = std::env::temp_dir().join(format!("ropewalk-dir-{}-{test}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let dir = Dir::open(&path).unwrap();
        (path, dir)
    }

    #[test]
    fn a_name_is_created_once() {
        let (path, dir) = folder("create");
        dir.open_file(OsStr::new("a"), Access::Create(0o600)).unwrap();
        let again = dir.open_file(OsStr::new("a"), Access::Create(0o600)).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let (path, dir) = folder("link");
        std::fs::write(path.join("a"), b"x").unwrap();
        std::os::unix::fs::symlink("a", path.join("b")).unwrap();
        let refused = dir.open_file(OsStr::new("b"), Access::Update).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ELOOP));
        let seen = dir.open_file(OsStr::new("b"), Access::Look).unwrap();
        assert!(seen.metadata().unwrap().is_symlink());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_name_with_a_slash_is_no_name() {
        let (path, dir) = folder("slash");
        for name in ["", "a/b", "/etc/passwd"] {
            assert!(dir.open_file(OsStr::new(name), Access::Look).is_err(), "{name:?}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_rename_replaces() {
        let (path, dir) = folder("rename");
        std::fs::write(path.join("old"), b"old").unwrap();
        std::fs::write(path.join("new"), b"new").unwrap();
        dir.may_replace(OsStr::new("old")).unwrap();
        dir.rename(OsStr::new("new"), OsStr::new("old")).unwrap();
        dir.sync(&std::fs::File::open(path.join("old")).unwrap()).unwrap();
        assert_eq!(std::fs::read(path.join("old")).unwrap(), b"new");
        assert!(!path.join("new").exists());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn the_right_to_read_is_known_without_an_open() {
        let (path, dir) = folder("access");
        std::fs::write(path.join("a"), b"x").unwrap();
        std::fs::create_dir(path.join("b")).unwrap();
        assert!(dir.may_read(OsStr::new("a"), false));
        assert!(dir.may_read(OsStr::new("b"), true));
        assert!(!dir.may_read(OsStr::new("c"), false));
        assert!(!dir.may_read(OsStr::new("a"), true), "not even root may look names up in a file");
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn the_right_to_change_names_is_known_without_a_change() {
        let (path, dir) = folder("change");
        assert!(dir.may_change());
        if let Ok(sealed) = Dir::open(Path::new("/proc/self")) {
            assert!(!sealed.may_change(), "not even root may make names there");
        }
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_folder_that_is_opened_to_change_names_can_be_synced() {
        use std::os::unix::fs::OpenOptionsExt;
        let (path, _) = folder("path-only");
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let opened = File::options().read(true).custom_flags(flags).open(&path).unwrap();
        let dir = Dir::from(opened);
        let file = dir.open_file(OsStr::new("a"), Access::Create(0o600)).unwrap();
        dir.rename(OsStr::new("a"), OsStr::new("b")).unwrap();
        dir.sync(&file).unwrap();
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_name_has_the_numbers_of_its_file_and_asking_changes_nothing() {
        use std::os::unix::fs::MetadataExt;
        let (path, dir) = folder("number");
        let file = dir.open_file(OsStr::new("a"), Access::Create(0o600)).unwrap();
        let found = file.metadata().unwrap();
        assert_eq!(dir.number_of(OsStr::new("a")).unwrap(), (found.dev(), found.ino()));
        assert!(dir.number_of(OsStr::new("b")).is_err());
        dir.may_replace(OsStr::new("a")).unwrap();
        assert!(!dir.is_mount_point(OsStr::new("a")));
        assert!(path.join("a").exists());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_folder_is_made_and_removed() {
        let (path, dir) = folder("mkdir");
        let inner = dir.make_dir(OsStr::new("in"), 0o700).unwrap();
        inner.open_file(OsStr::new("f"), Access::Create(0o600)).unwrap();
        assert!(dir.remove_dir(OsStr::new("in")).is_err());
        inner.remove_file(OsStr::new("f")).unwrap();
        dir.remove_dir(OsStr::new("in")).unwrap();
        std::fs::remove_dir_all(path).unwrap();
    }
}
