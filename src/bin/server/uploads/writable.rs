//! `--writable`: from a name that a stranger sent to the folder that it may be written in. Every
//! name to write is resolved here, and nowhere else.
//!
//! A name means what it means in a GET: it starts at `--root`, and links on the way are followed
//! while they stay beneath the root. Its last part is not looked up. The folder must be the one of
//! `--writable`, or one that the way goes down to from there.

#![forbid(unsafe_code)]

use crate::answer::unavailable;
use ropewalk::codec::http::{Refusal, Status};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result as Started, system_words};
use ropewalk::sys::beneath::{self, NoPlace, Place};
use ropewalk::transfer::store::names;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where clients may write.
#[derive(Debug)]
pub(crate) enum Writable {
    /// Beneath a folder.
    Beneath(Beneath),
    /// Wherever the system lets this user write: the client has logged in as this user. Names are
    /// those of this machine, and are looked up as those of any program.
    Everywhere,
}

/// The folder beneath which clients may write.
#[derive(Debug)]
pub(crate) struct Beneath {
    /// Where names start.
    root: OwnedFd,
    /// What stands before a name that has no leading slash, without a slash at the start.
    before: Vec<u8>,
    /// The folder. It is open so that no other one gets its numbers.
    _folder: OwnedFd,
    /// The folder's device and inode.
    numbers: (u64, u64),
    /// The folder's path, for people.
    path: PathBuf,
}

impl Writable {
    /// Allows the folder at `path`, which must be `root` or within it. Without a root, names are
    /// those of this machine, and start at the working directory.
    ///
    /// # Errors
    /// It is no folder, or not within the root.
    pub(crate) fn open(root: Option<&Path>, path: &Path) -> Started<Writable> {
        let shown = escape(path.as_os_str().as_bytes());
        let failed = |error: io::Error| {
            Error::usage(format!("--writable {shown}: {}", system_words(&error)))
        };
        let real = fs::canonicalize(path).map_err(failed)?;
        let top = root.map_or_else(|| Ok(PathBuf::from("/")), fs::canonicalize).map_err(failed)?;
        if !real.starts_with(&top) {
            let within = escape(top.as_os_str().as_bytes());
            return Err(Error::usage(format!("--writable {shown}: is not within {within}")));
        }
        let folder = beneath::open_folder(&real).map_err(failed)?;
        let found = File::from(folder.try_clone().map_err(failed)?).metadata().map_err(failed)?;
        let before = match root {
            Some(_) => Vec::new(),
            None => {
                let here = std::env::current_dir().map_err(failed)?;
                [relative(here.as_os_str().as_bytes()), b"/"].concat()
            }
        };
        Ok(Writable::Beneath(Beneath {
            root: beneath::open_folder(&top).map_err(failed)?,
            before,
            _folder: folder,
            numbers: (found.dev(), found.ino()),
            path: real,
        }))
    }

    /// Allows every folder that this user may change.
    pub(crate) fn everywhere() -> Writable {
        Writable::Everywhere
    }

    /// Refuses a file of the server itself that clients could replace.
    ///
    /// # Errors
    /// It is beneath the folder, or will be made there.
    pub(crate) fn check_outside(&self, what: &str, path: &Path) -> Started<()> {
        let Some(own) = self.path() else { return Ok(()) };
        let folder = || fs::canonicalize(path.parent().filter(|own| *own != Path::new(""))?).ok();
        let here = || std::env::current_dir().ok();
        let real = fs::canonicalize(path).ok();
        // The name itself can be replaced too, wherever it leads.
        let named = if path.components().count() > 1 { folder() } else { here() };
        match real.into_iter().chain(named).any(|path| path.starts_with(own)) {
            true => {
                let shown = escape(path.as_os_str().as_bytes());
                let words =
                    format!("{what} {shown}: is within --writable, so clients could replace it");
                Err(Error::usage(words))
            }
            false => Ok(()),
        }
    }

    /// The folder's path on this machine, if there is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Writable::Beneath(beneath) => Some(&beneath.path),
            Writable::Everywhere => None,
        }
    }

    /// The place that a client may write to under this name.
    ///
    /// # Errors
    /// 403 for a name that is not beneath the folder, the same for all of them; 409 and 400 for a
    /// way that ends beneath it; 503 where the system has no room.
    pub(crate) fn place(&self, name: &[u8]) -> Result<Place, Refusal> {
        let place = match self {
            Writable::Beneath(beneath) => beneath.place(name),
            Writable::Everywhere => anywhere(name),
        };
        let place = place.map_err(refusal)?;
        if is_reserved(&place.name) {
            let words = "the server needs names like this one for files on their way";
            return Err(Refusal::new(Status::FORBIDDEN, words));
        }
        Ok(place)
    }

    /// Whether this process may make files in the folder that a client names so.
    pub(crate) fn takes_files_in(&self, folder: &[u8]) -> bool {
        let any = [folder, b"/x"].concat();
        self.place(&any).is_ok_and(|place| place.folder.may_change())
    }
}

impl Beneath {
    fn place(&self, name: &[u8]) -> Result<Place, NoPlace> {
        let full = match name.first() {
            Some(b'/') | None => relative(name).to_vec(),
            Some(_) => [&self.before, name].concat(),
        };
        beneath::find_place(self.root.as_fd(), &full, self.numbers)
    }
}

/// The place that a name of this machine means.
fn anywhere(name: &[u8]) -> Result<Place, NoPlace> {
    let start = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (folder, last) = name.split_at(start);
    if matches!(last, b"" | b"." | b"..") {
        return Err(NoPlace::Folder);
    }
    let folder =
        if folder.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(folder)) };
    let opened = beneath::open_to_change(folder).map_err(NoPlace::Within)?;
    Ok(Place { folder: opened, name: OsStr::from_bytes(last).to_os_string() })
}

/// A name without what makes it absolute.
fn relative(name: &[u8]) -> &[u8] {
    let leading = name.iter().take_while(|&&byte| byte == b'/').count();
    name.get(leading..).unwrap_or_default()
}

/// Whether a transfer into this folder may use this name for a file on its way, or for its journal.
fn is_reserved(name: &OsStr) -> bool {
    names::reserved(name).is_some() || names::is_part(name)
}

fn refusal(why: NoPlace) -> Refusal {
    let forbidden = || Refusal::new(Status::FORBIDDEN, "nothing may be written there");
    let (error, is_within) = match why {
        NoPlace::Folder => return Refusal::new(Status::CONFLICT, "this is the name of a folder"),
        NoPlace::Within(error) => (error, true),
        NoPlace::Outside(error) => (error, false),
    };
    let refused = match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => return unavailable(&error),
        Some(libc::ENOENT | libc::ENOTDIR) if is_within => {
            let words = "the folder of this name does not exist, and an upload makes no folders";
            Refusal::new(Status::CONFLICT, words)
        }
        Some(libc::ENAMETOOLONG) if is_within => {
            Refusal::new(Status::BAD_REQUEST, "the name is too long")
        }
        _ => forbidden(),
    };
    refused.because(error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static FOLDERS: AtomicUsize = AtomicUsize::new(0);

    /// A root with a writable folder `in`.
    struct World(PathBuf);

    impl World {
        fn new() -> World {
            let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
            let name = format!("ropewalk-writable-{}-{number}", std::process::id());
            let path = fs::canonicalize(std::env::temp_dir()).unwrap().join(name);
            fs::create_dir_all(path.join("root/in/deep")).unwrap();
            World(path)
        }

        fn open(&self, folder: &str) -> Started<Writable> {
            Writable::open(Some(&self.0.join("root")), &self.0.join(folder))
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_folder_must_be_within_the_root() {
        let world = World::new();
        symlink("../..", world.0.join("root/in/out")).unwrap();
        symlink("root/in", world.0.join("link")).unwrap();
        fs::write(world.0.join("root/file"), b"x").unwrap();
        for folder in ["root", "root/in", "root/in/deep/..", "link"] {
            assert!(world.open(folder).is_ok(), "{folder}");
        }
        for folder in ["", "root/..", "root/in/out", "none", "root/none", "root/file"] {
            let error = world.open(folder).map(drop).unwrap_err();
            assert_eq!(error.code(), ropewalk::error::ExitCode::Usage, "{folder}");
        }
    }

    #[test]
    fn files_of_the_server_are_not_within_the_folder() {
        let world = World::new();
        let writable = world.open("root/in").unwrap();
        fs::write(world.0.join("root/in/users"), b"x").unwrap();
        fs::write(world.0.join("root/users"), b"x").unwrap();
        symlink("in/users", world.0.join("root/link")).unwrap();
        symlink("../users", world.0.join("root/in/link")).unwrap();
        for (path, good) in [
            ("root/users", true),
            ("root/none", true),
            ("none/none", true),
            ("root/in/users", false),
            ("root/in/none", false),
            ("root/in/deep/../none", false),
            ("root/link", false),
            ("root/in/link", false),
        ] {
            let checked = writable.check_outside("--auth", &world.0.join(path));
            assert_eq!(checked.is_ok(), good, "{path}");
        }
        let here = Writable::open(None, Path::new(".")).unwrap();
        assert!(here.check_outside("--log", Path::new("new.log")).is_err());
        assert!(writable.check_outside("--log", Path::new("new.log")).is_ok());
    }

    #[test]
    fn absolute_and_relative_names_are_the_same() {
        let world = World::new();
        let writable = world.open("root/in").unwrap();
        for name in ["/in/new", "in/new", "//in//new", "/in/deep/../new"] {
            assert_eq!(writable.place(name.as_bytes()).unwrap().name, "new", "{name}");
        }
    }

    #[test]
    fn without_a_root_names_are_those_of_this_machine() {
        let world = World::new();
        let folder = world.0.join("root/in");
        let writable = Writable::open(None, &folder).unwrap();
        assert_eq!(writable.path(), Some(folder.as_path()));
        let name = folder.join("new");
        assert_eq!(writable.place(name.as_os_str().as_bytes()).unwrap().name, "new");
        // A name without a slash starts at the working directory, which is not writable here.
        let relative = name.strip_prefix("/").unwrap();
        for name in [relative.as_os_str().as_bytes(), b"new", b"/new", b"/etc/new"] {
            assert_eq!(writable.place(name).unwrap_err().status, Status::FORBIDDEN);
        }
        let here = Writable::open(None, Path::new(".")).unwrap();
        assert_eq!(here.place(b"new").unwrap().name, "new");
        assert_eq!(here.place(b"../new").unwrap_err().status, Status::FORBIDDEN);
    }

    #[test]
    fn everywhere_names_are_looked_up_as_those_of_any_program() {
        let world = World::new();
        let writable = Writable::everywhere();
        symlink(world.0.join("root/in"), world.0.join("absolute")).unwrap();
        for name in ["root/in/new", "absolute/new", "root/in/../in//new"] {
            let name = world.0.join(name);
            assert_eq!(writable.place(name.as_os_str().as_bytes()).unwrap().name, "new");
        }
        let here = writable.place(b"new").unwrap().folder.status().unwrap();
        assert_eq!(here.inode, fs::metadata(".").unwrap().ino());
        for (name, expected) in
            [("none/new", 409), ("root/in/", 409), ("root/..", 409), ("root/in/x.part", 403)]
        {
            let name = world.0.join(name);
            let refused = writable.place(name.as_os_str().as_bytes()).unwrap_err();
            assert_eq!(refused.status.code(), expected, "{name:?}");
        }
        assert!(writable.check_outside("--log", Path::new("new.log")).is_ok());
    }

    #[test]
    fn each_refusal_says_what_is_wrong_beneath_the_folder_and_nothing_outside() {
        let world = World::new();
        fs::write(world.0.join("root/in/file"), b"x").unwrap();
        let writable = world.open("root/in").unwrap();
        let code = |name: &[u8]| writable.place(name).unwrap_err().status.code();
        for (name, expected) in [
            ("/in/none/new", 409),
            ("/in/file/new", 409),
            ("/in/", 409),
            ("/in/deep/.", 409),
            ("/in", 403),
            ("/none/new", 403),
            ("/in/../new", 403),
            ("", 403),
            ("/", 403),
            ("/in/.ropewalk-0123456789abcdef0123456789abcdef", 403),
            ("/in/.ropewalk-0123456789abcdef0123456789abcdef.journal", 403),
            ("/in/x.part", 403),
            ("/in/x.part.journal", 403),
        ] {
            assert_eq!(code(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(code(&[b"/in/", &[b'x'; 256][..], b"/new"].concat()), 400);
        let words = |name: &[u8]| writable.place(name).unwrap_err().reason;
        assert_eq!(words(b"/none/new"), words(b"/in/../../root/new"));
    }

    #[test]
    fn a_folder_takes_files_if_it_is_beneath_and_may_be_changed() {
        let world = World::new();
        let writable = world.open("root/in").unwrap();
        for (folder, expected) in
            [("/in/", true), ("/in/deep", true), ("/", false), ("/in/none/", false)]
        {
            assert_eq!(writable.takes_files_in(folder.as_bytes()), expected, "{folder}");
        }
    }
}
