//! Names put in place in an open folder: renames that replace nothing, links, and the owner, mode
//! and time of what has no other descriptor. No link is followed.

use super::{Access, Dir, component};
use crate::sys::{check, check_size, number, retry};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, FileTimes, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time as utimensat(2) takes it with 64 bits.
#[repr(C)]
struct Time {
    seconds: i64,
    nanoseconds: i64,
}

/// Leaves a time as it is (UTIME_OMIT of utimensat(2)).
const OMIT: Time = Time { seconds: 0, nanoseconds: (1 << 30) - 2 };

/// Whether a call failed because the kernel or the file system does not have it.
fn is_lacking(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP))
}

impl Dir {
    /// Renames the file or link `from` to `to`, which must not exist. Atomic where the file system
    /// has RENAME_NOREPLACE (Linux 3.15) or hard links.
    ///
    /// # Errors
    /// `AlreadyExists`; other errors of the system.
    pub fn rename_new(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let (c_from, c_to) = (component(from)?, component(to)?);
        let folder = self.descriptor.as_raw_fd();
        // SAFETY: both names are live C strings; the folder is open.
        let renamed = unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                folder,
                c_from.as_ptr(),
                folder,
                c_to.as_ptr(),
                libc::RENAME_NOREPLACE,
            )
        };
        match check(renamed as libc::c_int) {
            Err(error) if is_lacking(&error) => self.rename_new_in_two(from, to),
            renamed => renamed.map(drop),
        }
    }

    /// As [`Dir::rename_new`], with a second name that replaces the first. Without hard links,
    /// another program may put `to` in place between the check and the rename.
    fn rename_new_in_two(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        match self.link(from, self, to) {
            Ok(()) => self.remove_file(from),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            Err(_) => match self.status_of(to) {
                Ok(_) => Err(io::Error::from_raw_os_error(libc::EEXIST)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(from, to),
                Err(error) => Err(error),
            },
        }
    }

    /// Gives the file `from` in this folder the name `to` in the folder `there` as well. `from`
    /// is not followed, `to` must not exist.
    pub fn link(&self, from: &OsStr, there: &Dir, to: &OsStr) -> io::Result<()> {
        let (from, to) = (component(from)?, component(to)?);
        let (folder, there) = (self.descriptor.as_raw_fd(), there.descriptor.as_raw_fd());
        // SAFETY: both names are live C strings; both folders are open.
        check(unsafe { libc::linkat(folder, from.as_ptr(), there, to.as_ptr(), 0) })?;
        Ok(())
    }

    /// Makes the symbolic link `name` with this text; `name` must not exist.
    ///
    /// # Errors
    /// `InvalidInput` for a text with NUL; `NotFound` for an empty one; other errors of the system.
    pub fn make_link(&self, text: &[u8], name: &OsStr) -> io::Result<()> {
        let text = CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let name = component(name)?;
        let folder = self.descriptor.as_raw_fd();
        // SAFETY: text and name are live C strings; the folder is open.
        check(unsafe { libc::symlinkat(text.as_ptr(), folder, name.as_ptr()) })?;
        Ok(())
    }

    /// The text of the symbolic link `name`.
    ///
    /// # Errors
    /// `EINVAL` if `name` is no symbolic link; other errors of the system.
    pub fn link_text(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        let name = component(name)?;
        let mut text = vec![0; libc::PATH_MAX as usize];
        let folder = self.descriptor.as_raw_fd();
        // SAFETY: `name` is a live C string; the folder is open; `text` is writable for the
        // length given.
        let length = check_size(unsafe {
            libc::readlinkat(folder, name.as_ptr(), text.as_mut_ptr().cast(), text.len())
        })?;
        text.truncate(length);
        Ok(text)
    }

    /// Sets the owner and the group of `name`, a symbolic link or a file.
    pub fn set_owner_of(&self, name: &OsStr, user: u32, group: u32) -> io::Result<()> {
        let name = component(name)?;
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        retry(|| {
            let folder = self.descriptor.as_raw_fd();
            // SAFETY: `name` is a live C string; the folder is open.
            check(unsafe { libc::fchownat(folder, name.as_ptr(), user, group, flags) })
        })?;
        Ok(())
    }

    /// Sets the mtime of `name`, a symbolic link or a file, and leaves its atime.
    ///
    /// # Errors
    /// `InvalidInput` for a time that this system cannot express; other errors of the system.
    pub fn set_mtime_of(&self, name: &OsStr, seconds: i64, nanoseconds: u32) -> io::Result<()> {
        let name = component(name)?;
        let times = [OMIT, Time { seconds, nanoseconds: nanoseconds.into() }];
        match self.set_times_64(&name, &times) {
            // A 32-bit kernel before 5.1.
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                self.set_times_old(&name, &times)
            }
            set => set,
        }
    }

    fn set_times_64(&self, name: &CStr, times: &[Time; 2]) -> io::Result<()> {
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        retry(|| {
            // SAFETY: `name` is a live C string; `times` are two live times of the layout that
            // this call takes; the folder is open.
            let set = unsafe {
                libc::syscall(
                    number::UTIMENSAT_TIME64,
                    self.descriptor.as_raw_fd(),
                    name.as_ptr(),
                    times.as_ptr(),
                    flags,
                )
            };
            check(set as libc::c_int)
        })?;
        Ok(())
    }

    fn set_times_old(&self, name: &CStr, times: &[Time; 2]) -> io::Result<()> {
        let mut old: [libc::timespec; 2] = {
            // SAFETY: all-zero is a valid timespec.
            unsafe { std::mem::zeroed() }
        };
        for (old, time) in old.iter_mut().zip(times) {
            #[allow(clippy::useless_conversion)] // narrower on 32-bit systems
            let seconds = time.seconds.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
            old.tv_sec = seconds;
            old.tv_nsec = time.nanoseconds as _;
        }
        let folder = self.descriptor.as_raw_fd();
        let flags = libc::AT_SYMLINK_NOFOLLOW;
        // SAFETY: `name` is a live C string; `old` are two live timespecs; the folder is open.
        check(unsafe { libc::utimensat(folder, name.as_ptr(), old.as_ptr(), flags) })?;
        Ok(())
    }

    /// Sets the mode of this folder, whatever the umask is. Works for a folder that was opened
    /// only to change names as well (fchmodat2(2), or /proc).
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        let folder = self.descriptor.as_raw_fd();
        // SAFETY: takes numbers only and touches no memory of ours.
        let set = retry(|| check(unsafe { libc::fchmod(folder, mode as libc::mode_t) }));
        match set {
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => {}
            set => return set.map(drop),
        }
        let empty = c"".as_ptr();
        // SAFETY: an empty name means the descriptor itself; it is a constant C string.
        let set =
            unsafe { libc::syscall(number::FCHMODAT2, folder, empty, mode, libc::AT_EMPTY_PATH) };
        match check(set as libc::c_int) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                let path = format!("/proc/self/fd/{folder}");
                std::fs::set_permissions(path, Permissions::from_mode(mode))
            }
            set => set.map(drop),
        }
    }

    /// Sets the mode of the file or folder `name`, which this user may be unable to read. A link
    /// is not followed, and has no mode.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn set_mode_of(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        Dir::from(self.open_file(name, Access::Look)?).set_mode(mode)
    }

    /// Sets the mtime of this folder, and leaves its atime. The folder must be open for reading.
    pub fn set_mtime(&self, seconds: i64, nanoseconds: u32) -> io::Result<()> {
        set_mtime(&File::from(self.descriptor.try_clone()?), seconds, nanoseconds)
    }

    /// Sets the owner and the group of this folder. The folder must be open for reading.
    pub fn set_owner(&self, user: u32, group: u32) -> io::Result<()> {
        std::os::unix::fs::fchown(&self.descriptor, Some(user), Some(group))
    }
}

/// Sets the mtime of an open file, and leaves its atime. `nanoseconds` are under a billion.
///
/// # Errors
/// `InvalidInput` for a time that this system cannot express; other errors of the system.
pub fn set_mtime(file: &File, seconds: i64, nanoseconds: u32) -> io::Result<()> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let whole = match seconds < 0 {
        true => UNIX_EPOCH.checked_sub(whole),
        false => UNIX_EPOCH.checked_add(whole),
    };
    let later = |time: SystemTime| time.checked_add(Duration::from_nanos(nanoseconds.into()));
    let time = whole.and_then(later).ok_or(io::ErrorKind::InvalidInput)?;
    file.set_times(FileTimes::new().set_modified(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::dir::Kind;
    use std::fs;
    use std::path::PathBuf;

    struct Place {
        path: PathBuf,
        dir: Dir,
    }

    impl Place {
        fn new(test: &str) -> Place {
            let name = format!("ropewalk-place-{}-{test}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            let dir = Dir::open(&path).unwrap();
            Place { path, dir }
        }

        fn file(&self, name: &str, text: &str) {
            fs::write(self.path.join(name), text).unwrap();
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.path.join(name)).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    fn name(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    #[test]
    fn a_rename_to_a_new_name_replaces_nothing() {
        let place = Place::new("new");
        for (way, rename) in [Dir::rename_new, Dir::rename_new_in_two].into_iter().enumerate() {
            place.file("from", "new");
            let to = format!("to{way}");
            rename(&place.dir, name("from"), name(&to)).unwrap();
            assert!(!place.path.join("from").exists());
            place.file("from", "newer");
            let refused = rename(&place.dir, name("from"), name(&to)).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!((place.read(&to).as_str(), place.read("from").as_str()), ("new", "newer"));
        }
    }

    #[test]
    fn a_link_has_its_text_and_is_not_followed() {
        let place = Place::new("link");
        place.file("target", "x");
        place.dir.make_link(b"target", name("link")).unwrap();
        assert_eq!(place.dir.link_text(name("link")).unwrap(), b"target");
        assert!(place.dir.make_link(b"a\0b", name("other")).is_err());
        assert!(place.dir.link_text(name("target")).is_err());
        let before = place.dir.status_of(name("target")).unwrap();
        place.dir.set_mtime_of(name("link"), -5, 7).unwrap();
        let link = place.dir.status_of(name("link")).unwrap();
        assert_eq!((link.kind, link.mtime, link.mtime_nanoseconds), (Kind::Link, -5, 7));
        place.dir.set_owner_of(name("link"), link.user, link.group).unwrap();
        assert_eq!(place.dir.status_of(name("target")).unwrap().mtime, before.mtime);
        place.dir.link(name("link"), &place.dir, name("second")).unwrap();
        assert_eq!(place.dir.status_of(name("second")).unwrap().kind, Kind::Link);
    }

    #[test]
    fn a_link_has_a_time_where_the_kernel_has_only_the_old_call() {
        let place = Place::new("old-call");
        place.dir.make_link(b"x", name("link")).unwrap();
        let times = [OMIT, Time { seconds: 1_000_000_000, nanoseconds: 123_456_789 }];
        place.dir.set_times_old(c"link", &times).unwrap();
        let found = place.dir.status_of(name("link")).unwrap();
        assert_eq!((found.mtime, found.mtime_nanoseconds), (1_000_000_000, 123_456_789));
    }

    #[test]
    fn an_mtime_is_set_to_the_nanosecond() {
        let place = Place::new("mtime");
        let file = place.dir.open_file(name("file"), Access::Create(0o600)).unwrap();
        for (seconds, nanoseconds) in [(-2_000_000_000, 1), (-1, 999_999_999), (0, 0), (1 << 33, 5)]
        {
            set_mtime(&file, seconds, nanoseconds).unwrap();
            let found = place.dir.status_of(name("file")).unwrap();
            assert_eq!((found.mtime, found.mtime_nanoseconds), (seconds, nanoseconds));
        }
        assert!(set_mtime(&file, i64::MIN, 0).is_err() || cfg!(target_pointer_width = "64"));
    }

    #[test]
    fn a_folder_that_is_open_only_to_change_names_gets_a_mode() {
        use std::os::unix::fs::OpenOptionsExt;
        let place = Place::new("mode");
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let opened = File::options().read(true).custom_flags(flags).open(&place.path).unwrap();
        Dir::from(opened).set_mode(0o1751).unwrap();
        assert_eq!(place.dir.status().unwrap().mode, 0o1751);
        place.dir.set_mode(0o700).unwrap();
        place.dir.set_mtime(12, 34).unwrap();
        let found = place.dir.status().unwrap();
        assert_eq!((found.mode, found.mtime, found.mtime_nanoseconds), (0o700, 12, 34));
        place.dir.set_owner(found.user, found.group).unwrap();
    }
}
