//! The folder that a server's files are confined to: from a name that a stranger sent
//! to an open regular file or folder, or one refusal that tells nothing. What a name's
//! spelling means is here; how it cannot escape is `sys::beneath`'s.

#![forbid(unsafe_code)]

use crate::sys::beneath::{self, Lookup};
use crate::sys::dir::Dir;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Why there is no file.
#[derive(Debug)]
pub enum Refused {
    /// It is not there, not allowed, outside or no regular file: a stranger is told
    /// the same of all. The error is for the owner's log.
    NotServed(io::Error),
    /// This process or the system has no more descriptors or memory; the file may well
    /// be there.
    NoRoom(io::Error),
}

/// A folder beneath which files and folders may be read.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    lookup: Lookup,
}

impl Root {
    /// Confines to the folder at `path`, which stays the same one if it is renamed.
    pub fn open(path: &Path) -> io::Result<Root> {
        Ok(Root { folder: beneath::open_folder(path)?, lookup: Lookup::Best })
    }

    /// Opens the regular file with this name, absolute or relative: both are taken as
    /// beneath the folder. Never blocks, and leaves devices and FIFOs alone.
    ///
    /// # Errors
    /// [`Refused`], which is all that may be told.
    pub fn open_file(&self, name: &[u8]) -> Result<File, Refused> {
        beneath::open_regular(self.folder.as_fd(), relative(name), self.lookup)
            .map_err(Refused::from)
    }

    /// Opens the folder with this name, so that the names in it can be read. `/` is the
    /// folder that all others are beneath.
    ///
    /// # Errors
    /// As of [`Root::open_file`].
    pub fn open_dir(&self, name: &[u8]) -> Result<Dir, Refused> {
        let opened = beneath::open_dir(self.folder.as_fd(), relative_folder(name), self.lookup)?;
        Ok(Dir::from(opened))
    }

    /// What this name leads to. `None` for what is not there, outside, or a link in
    /// circles.
    pub fn look(&self, name: &[u8]) -> Option<Metadata> {
        beneath::look(self.folder.as_fd(), relative_folder(name), self.lookup).ok()
    }
}

/// A name without what makes it absolute.
fn relative(name: &[u8]) -> &[u8] {
    let leading = name.iter().take_while(|&&byte| byte == b'/').count();
    name.get(leading..).unwrap_or_default()
}

/// The same where `/` is the root itself.
fn relative_folder(name: &[u8]) -> &[u8] {
    match relative(name) {
        [] if !name.is_empty() => b".",
        relative => relative,
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Refused::NoRoom(error),
            _ => Refused::NotServed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::path::PathBuf;

    /// Runs `test` with a root that has `file` and `sub/file`, once with each way of
    /// looking up. Beside the root is `secret`.
    fn each(name: &str, test: impl Fn(&Path, &Root)) {
        for lookup in [Lookup::Best, Lookup::Walk] {
            let path = scratch(name);
            let root = Root { lookup, ..Root::open(&path.join("root")).unwrap() };
            test(&path, &root);
            fs::remove_dir_all(path).unwrap();
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let name = format!("ropewalk-confine-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("root/sub")).unwrap();
        fs::write(path.join("secret"), b"outside").unwrap();
        fs::write(path.join("root/file"), b"inside").unwrap();
        fs::write(path.join("root/sub/file"), b"inside").unwrap();
        path
    }

    fn served(root: &Root, name: &[u8]) -> bool {
        match root.open_file(name) {
            Ok(mut file) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                assert_eq!(text, "inside", "{}", name.escape_ascii());
                true
            }
            Err(Refused::NotServed(_)) => false,
            Err(Refused::NoRoom(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn absolute_and_relative_names_are_the_same() {
        each("names", |_, root| {
            for name in ["file", "/file", "///file", "sub/file", "/sub/file", "//sub//./file"] {
                assert!(served(root, name.as_bytes()), "{name}");
            }
        });
    }

    #[test]
    fn nothing_outside_is_served_however_it_is_spelled() {
        each("outside", |path, root| {
            let real = path.join("secret").to_str().unwrap().to_string();
            let names = [
                "../secret",
                "/../secret",
                "//..//secret",
                "sub/../../secret",
                "./.././secret",
                "/sub/.././../secret",
                "%2e%2e/secret",
                "..\\secret",
                "/etc/passwd",
                &real,
            ];
            for name in names {
                assert!(!served(root, name.as_bytes()), "{name}");
            }
        });
    }

    #[test]
    fn names_that_no_file_has_are_not_served() {
        each("none", |_, root| {
            for name in [&b""[..], b"/", b"//", b".", b"..", b"sub", b"file\0", b"\xff", b"file/"] {
                assert!(!served(root, name), "{}", name.escape_ascii());
            }
        });
    }

    #[test]
    fn what_is_not_there_and_what_is_not_allowed_look_alike() {
        each("alike", |_, root| {
            // The error inside is for the owner's log; a stranger is told which kind it is.
            for name in ["none", "../secret", "sub"] {
                let refused = root.open_file(name.as_bytes()).unwrap_err();
                assert!(matches!(refused, Refused::NotServed(_)), "{name}: {refused:?}");
            }
        });
    }

    /// The names in a folder, sorted; `None` for one that is not served.
    fn listed(root: &Root, name: &[u8]) -> Option<Vec<String>> {
        let dir = root.open_dir(name).ok()?;
        let mut names: Vec<_> =
            dir.entries().map(|name| name.unwrap().into_string().unwrap()).collect();
        names.sort();
        Some(names)
    }

    #[test]
    fn folders_are_listed_under_every_spelling_and_none_outside_is() {
        each("folders", |path, root| {
            std::os::unix::fs::symlink("..", path.join("root/sub/up")).unwrap();
            std::os::unix::fs::symlink("../..", path.join("root/sub/out")).unwrap();
            let (top, sub) = (["file", "sub"], ["file", "out", "up"]);
            for name in ["/", "//", ".", "/sub/..", "sub/up", "/sub/up/."] {
                assert_eq!(listed(root, name.as_bytes()).unwrap(), top, "{name}");
            }
            for name in ["sub", "/sub/", "sub/up/sub"] {
                assert_eq!(listed(root, name.as_bytes()).unwrap(), sub, "{name}");
            }
            for name in ["", "..", "/..", "sub/out", "file", "file/", "none", "sub/../..", "\0"] {
                assert_eq!(listed(root, name.as_bytes()), None, "{name:?}");
            }
        });
    }

    #[test]
    fn what_a_name_leads_to_is_seen_only_inside() {
        each("look", |path, root| {
            std::os::unix::fs::symlink("../file", path.join("root/sub/in")).unwrap();
            std::os::unix::fs::symlink("../../secret", path.join("root/sub/out")).unwrap();
            assert!(root.look(b"/sub").unwrap().is_dir());
            assert!(root.look(b"/").unwrap().is_dir() && root.look(b"").is_none());
            assert_eq!(root.look(b"sub/in").unwrap().len(), 6);
            assert!(root.look(b"sub/out").is_none());
            assert!(root.look(b"sub/none").is_none());
        });
    }

    #[test]
    fn a_root_that_is_renamed_stays_the_same_folder() {
        each("renamed", |path, root| {
            fs::rename(path.join("root"), path.join("other")).unwrap();
            fs::create_dir(path.join("root")).unwrap();
            assert!(served(root, b"file"));
        });
    }

    #[test]
    fn a_root_that_is_no_folder_is_refused() {
        assert!(Root::open(Path::new("/dev/null")).is_err());
        assert!(Root::open(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_system_without_room_is_told_from_a_file_that_is_not_served() {
        for (code, has_room) in [
            (libc::EMFILE, false),
            (libc::ENFILE, false),
            (libc::ENOMEM, false),
            (libc::ENOENT, true),
            (libc::EACCES, true),
        ] {
            let refused = Refused::from(io::Error::from_raw_os_error(code));
            assert_eq!(matches!(refused, Refused::NotServed(_)), has_room, "{code}");
        }
    }
}
