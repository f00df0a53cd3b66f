//! A folder of a tree, found beneath the tree's own folder without following any link, and what
//! a source reads in it: names, facts, texts of links, files. File systems that only show the
//! kernel (proc, sysfs, cgroup) are never entered, whatever is beneath them.

use super::super::component::Component;
use super::super::dir::{Dir, Status};
use super::super::volume;
use super::{Lookup, MAX_NAME, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, by_kernel, lacks_call, walk};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// How a folder is opened: to look names up in it, which takes only the right to search it.
const SEARCH: libc::c_int = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;

/// An open folder of a tree.
#[derive(Debug)]
pub struct Folder {
    descriptor: File,
}

impl Folder {
    /// Opens the folder `name` beneath `root`; an empty name is the root itself. With `only`,
    /// no folder on another file system than this device is entered.
    ///
    /// # Errors
    /// `EXDEV` for a folder that is not entered; `ENOTDIR` or `ELOOP` where a component is a link
    /// or no folder; `InvalidInput` for a name with NUL, an empty component, `.` or `..`;
    /// `ENAMETOOLONG`; other errors of the system.
    pub fn enter(
        root: BorrowedFd<'_>,
        name: &[u8],
        only: Option<u64>,
        lookup: Lookup,
    ) -> io::Result<Folder> {
        if name.len() > MAX_NAME {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        if name.is_empty() {
            return Folder::open(root, c".");
        }
        let components: Vec<_> = name.split(|&byte| byte == b'/').collect();
        if components.iter().any(|part| matches!(*part, b"" | b"." | b"..")) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if lookup != Lookup::Walk {
            let rules = RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
            match by_kernel(root, &c_string(name)?, SEARCH, rules) {
                Err(error) if must_walk(&error) => {}
                Err(error) => return Err(error),
                Ok(descriptor) => {
                    // A file system may have several devices without a mount.
                    if only.is_some() && Some(Status::of(&descriptor)?.device) != only {
                        return Err(not_entered());
                    }
                    return Ok(Folder { descriptor });
                }
            }
        }
        Folder::walk(root, &components, only)
    }

    /// Enters one component after the other.
    fn walk(root: BorrowedFd<'_>, names: &[&[u8]], only: Option<u64>) -> io::Result<Folder> {
        let mut here = Folder::open(root, c".")?;
        let mut device = here.status()?.device;
        for name in names {
            let next = Folder::open(here.descriptor.as_fd(), &c_string(name)?)?;
            let found = next.status()?.device;
            let is_other = only.is_some_and(|only| only != found);
            if is_other || (found != device && volume::shows_kernel(&next.descriptor)) {
                return Err(not_entered());
            }
            (here, device) = (next, found);
        }
        Ok(here)
    }

    fn open(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Folder> {
        Ok(Folder { descriptor: walk::openat(folder, name, SEARCH)? })
    }

    /// The facts of the folder itself.
    pub fn status(&self) -> io::Result<Status> {
        Status::of(&self.descriptor)
    }

    /// The facts of `name` in it; of a link itself.
    pub fn status_of(&self, name: &[u8]) -> io::Result<Status> {
        Status::at(self.descriptor.as_fd(), &Component::new(name)?)
    }

    /// Whether `name` in it keeps its inode number over a new mount.
    pub fn keeps_inodes_of(&self, name: &[u8]) -> io::Result<bool> {
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let found = walk::openat(self.descriptor.as_fd(), &Component::new(name)?, flags)?;
        Ok(volume::keeps_inodes(&found))
    }

    /// The text of the link `name`.
    ///
    /// # Errors
    /// `EINVAL` for anything but a link; `ENAMETOOLONG` for a text of 4096 bytes and more.
    pub fn link_text(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        walk::read_link(self.descriptor.as_fd(), &Component::new(name)?)
    }

    /// Opens the file `name` for reading. Follows no link and never blocks. The caller looks at the
    /// type before, so that no device is opened, and at the descriptor before it uses what it read.
    pub fn open_file(&self, name: &[u8]) -> io::Result<File> {
        let flags = super::READ | libc::O_NOFOLLOW | libc::O_LARGEFILE;
        walk::openat(self.descriptor.as_fd(), &Component::new(name)?, flags)
    }

    /// Opens the folder once more, to list it.
    pub fn list(&self) -> io::Result<Dir> {
        walk::openat(self.descriptor.as_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY)
            .map(Dir::from)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Whether the kernel's lookup has to be done step by step instead: it met a mount, which may be
/// entered or not, or it lacks the call.
fn must_walk(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EXDEV) || lacks_call(error)
}

/// The error for a folder on a file system that is not entered.
fn not_entered() -> io::Error {
    io::Error::from_raw_os_error(libc::EXDEV)
}

fn c_string(name: &[u8]) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, Ordering};

    const WAYS: [Lookup; 2] = [Lookup::Best, Lookup::Walk];

    struct Place {
        path: PathBuf,
        root: OwnedFd,
    }

    impl Place {
        fn new(test: &str) -> Place {
            let name = format!("ropewalk-folder-{}-{test}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(path.join("root/sub/deep")).unwrap();
            fs::create_dir(path.join("outside")).unwrap();
            fs::write(path.join("root/sub/deep/file"), b"deep").unwrap();
            fs::write(path.join("outside/file"), b"outside").unwrap();
            let root = super::super::open_folder(&path.join("root")).unwrap();
            Place { path, root }
        }

        fn enter(&self, name: &[u8], lookup: Lookup) -> io::Result<Folder> {
            Folder::enter(self.root.as_fd(), name, None, lookup)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    fn number<T>(result: io::Result<T>) -> Option<i32> {
        result.err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn a_folder_is_entered_and_its_files_are_read() {
        let place = Place::new("enter");
        for way in WAYS {
            let folder = place.enter(b"sub/deep", way).unwrap();
            let mut text = String::new();
            folder.open_file(b"file").unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "deep");
            assert_eq!(folder.list().unwrap().entries().count(), 1);
            assert_eq!(folder.status_of(b"file").unwrap().size, 4);
            let root = place.enter(b"", way).unwrap().status().unwrap();
            assert_eq!(root, Status::of(&place.root).unwrap());
        }
    }

    #[test]
    fn no_link_is_followed_wherever_it_leads() {
        let place = Place::new("links");
        symlink("sub", place.path.join("root/inside")).unwrap();
        symlink("../outside", place.path.join("root/out")).unwrap();
        symlink("/", place.path.join("root/sub/top")).unwrap();
        let is_refusal = |code| matches!(code, Some(libc::ELOOP | libc::ENOTDIR));
        for way in WAYS {
            for name in ["inside", "inside/deep", "out", "sub/top", "sub/top/etc"] {
                assert!(is_refusal(number(place.enter(name.as_bytes(), way))), "{name} {way:?}");
            }
        }
        let folder = place.enter(b"", Lookup::Best).unwrap();
        assert_eq!(number(folder.open_file(b"out")), Some(libc::ELOOP));
        assert_eq!(folder.link_text(b"out").unwrap(), b"../outside");
        assert_eq!(number(folder.link_text(b"sub")), Some(libc::EINVAL));
    }

    #[test]
    fn no_name_leads_out() {
        let place = Place::new("names");
        let folder = place.enter(b"sub", Lookup::Best).unwrap();
        for way in WAYS {
            for name in ["..", "sub/..", "sub/../..", "/etc", "sub//deep", "sub/", "./sub", "a\0"] {
                let refused = place.enter(name.as_bytes(), way).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{name} {way:?}");
            }
            assert_eq!(number(place.enter(b"none", way)), Some(libc::ENOENT));
            assert_eq!(number(place.enter(b"sub/deep/file", way)), Some(libc::ENOTDIR));
            assert_eq!(number(place.enter(&[b'a'; 4096], way)), Some(libc::ENAMETOOLONG));
        }
        for name in ["../sub", "deep/file", ""] {
            assert!(folder.open_file(name.as_bytes()).is_err(), "{name}");
            assert!(folder.status_of(name.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn the_kernel_s_own_file_systems_are_not_entered_and_others_only_when_allowed() {
        let root = super::super::open_folder(Path::new("/")).unwrap();
        let device = Status::of(&root).unwrap().device;
        for way in WAYS {
            for name in ["proc", "proc/self", "proc/sys/fs", "sys", "sys/fs/cgroup"] {
                if Path::new("/").join(name).exists() {
                    let entered = Folder::enter(root.as_fd(), name.as_bytes(), None, way);
                    assert_eq!(number(entered), Some(libc::EXDEV), "{name} {way:?}");
                }
            }
            let other = Status::of(File::open("/dev/shm").unwrap()).unwrap().device != device;
            if other {
                Folder::enter(root.as_fd(), b"dev/shm", None, way).unwrap();
                let entered = Folder::enter(root.as_fd(), b"dev/shm", Some(device), way);
                assert_eq!(number(entered), Some(libc::EXDEV));
            }
        }
    }

    #[test]
    fn a_name_may_be_as_long_as_the_kernel_takes_and_as_deep() {
        let place = Place::new("long");
        let mut name = Vec::new();
        let mut here = place.enter(b"", Lookup::Best).unwrap();
        let dir = |folder: &Folder, part: &[u8]| {
            use std::os::unix::ffi::OsStrExt;
            let dir = Dir::from(folder.descriptor.try_clone().unwrap());
            dir.make_dir(std::ffi::OsStr::from_bytes(part), 0o700).unwrap();
        };
        for level in 0..256 {
            let part = vec![b'n'; if level == 0 { 15 } else { 15 + usize::from(level > 128) }];
            dir(&here, &part);
            here = Folder::open(here.as_fd(), &c_string(&part).unwrap()).unwrap();
            name.extend_from_slice(if level == 0 { b"" } else { b"/" });
            name.extend_from_slice(&part);
            if name.len() > MAX_NAME - 20 {
                break;
            }
        }
        assert!(name.len() > 4000);
        for way in WAYS {
            let found = place.enter(&name, way).unwrap().status().unwrap();
            assert_eq!(found.inode, here.status().unwrap().inode);
        }
    }

    #[test]
    fn a_folder_that_is_swapped_for_a_link_all_the_time_never_leads_out() {
        let place = Place::new("swap");
        let root = place.path.join("root");
        fs::create_dir(root.join("real")).unwrap();
        symlink(place.path.join("outside"), root.join("false")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    fs::rename(root.join("real"), root.join("name")).unwrap();
                    fs::rename(root.join("name"), root.join("real")).unwrap();
                    fs::rename(root.join("false"), root.join("name")).unwrap();
                    fs::rename(root.join("name"), root.join("false")).unwrap();
                }
            });
            for round in 0..4000 {
                let way = WAYS[round % 2];
                if let Ok(folder) = place.enter(b"name", way) {
                    assert!(folder.status_of(b"file").is_err(), "{way:?}");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
