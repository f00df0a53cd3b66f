//! The output file of a client: found once, written under another name (`OUT.part`),
//! and given its own name only when it is whole. At every instant the output is
//! either the old file or the whole new one.

#![forbid(unsafe_code)]

use crate::codec::text::escape_limited;
use crate::error::{Error, ExitCode, Result};
use crate::sys::dir::{Access, Dir};
use crate::sys::{file, process};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How many symbolic links are followed to the output, as in the kernel.
const MAX_LINKS: usize = 40;

/// Most bytes of a name that are shown. Escaped it can be several times as long as any
/// path, and it has to fit into a worker's job and into its reports.
const MAX_SHOWN: usize = 4096;

/// How often the part file may be replaced by others while it is being opened.
const MAX_ATTEMPTS: usize = 10;

/// Permission bits that a replaced file hands on. Set-user-id and its like stay
/// behind: they were given to the old content.
const KEPT_MODE: u32 = 0o777;

/// Where a file is to go.
#[derive(Debug)]
pub struct Output {
    folder: Dir,
    name: OsString,
    part_name: OsString,
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
        let failed = |error: &io::Error| Error::system(&shown, error);
        let target = follow_links(path).map_err(|error| failed(&error))?;
        let is_folder = || failed(&io::Error::from_raw_os_error(libc::EISDIR));
        if target.as_os_str().as_bytes().ends_with(b"/") {
            return Err(is_folder());
        }
        let name = target.file_name().ok_or_else(is_folder)?.to_os_string();
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = Dir::open(parent).map_err(|error| failed(&error))?;
        let mut part_name = name.clone();
        part_name.push(".part");
        let mut output = Output { folder, name, part_name, old_mode: None, shown };
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

    /// Opens and locks `OUT.part`, empty. It is removed again unless it is committed.
    ///
    /// # Errors
    /// When another client holds it, or when something that this user did not put
    /// there has its name.
    pub fn open_part(self) -> Result<PartFile> {
        for _ in 0..MAX_ATTEMPTS {
            let file = self.open_or_create_part()?;
            let locked = file::try_lock(&file).map_err(|error| self.failed(&error))?;
            if !locked {
                return Err(self.part_error("another client is writing it"));
            }
            // Between the open and the lock its former holder may have renamed or
            // removed it; the lock then guards a file that nobody else can find.
            if self.still_named(&file) {
                file.set_len(0).map_err(|error| self.failed(&error))?;
                return Ok(PartFile { output: self, file, committed: false });
            }
        }
        Err(self.part_error("others keep replacing it"))
    }

    fn open_or_create_part(&self) -> Result<File> {
        // What replaces a file is nobody else's to read before it has that file's mode.
        let mode = if self.old_mode.is_some() { 0o600 } else { 0o666 };
        match self.folder.open_file(&self.part_name, Access::Create(mode)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map_err(|error| self.failed(&error)),
        }
        let file = match self.folder.open_file(&self.part_name, Access::Update) {
            Ok(file) => file,
            // Gone again: the caller looks whether it still has its name, and retries.
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(self.part_error("is a symbolic link"));
            }
            Err(error) => return Err(self.part_error(&crate::error::system_words(&error))),
        };
        let found = file.metadata().map_err(|error| self.failed(&error))?;
        if !found.is_file() {
            return Err(self.part_error("is not a regular file"));
        }
        if found.uid() != process::effective_user() {
            return Err(self.part_error("belongs to another user"));
        }
        if found.nlink() > 1 {
            return Err(self.part_error("has a second name"));
        }
        Ok(file)
    }

    fn part_error(&self, what: &str) -> Error {
        Error::new(ExitCode::System, format!("{}.part: {what}", self.shown))
    }

    /// Whether the part file's name still means `file`.
    fn still_named(&self, file: &File) -> bool {
        match (look(&self.folder, &self.part_name), file.metadata()) {
            (Ok(named), Ok(held)) => (named.dev(), named.ino()) == (held.dev(), held.ino()),
            _ => false,
        }
    }
}

/// The file that is being written, under its temporary name, locked.
#[derive(Debug)]
pub struct PartFile {
    output: Output,
    file: File,
    committed: bool,
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

    /// Gives the file the output's name, once its bytes are on the disk.
    pub fn commit(mut self) -> Result<()> {
        let failed = |error: io::Error| self.output.failed(&error);
        if let Some(mode) = self.output.old_mode {
            self.file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        }
        self.file.sync_all().map_err(failed)?;
        self.output.existing()?; // refuses what is not a regular file
        if !self.output.still_named(&self.file) {
            return Err(self.output.part_error("was replaced by somebody else"));
        }
        let Output { folder, name, part_name, .. } = &self.output;
        folder.rename(part_name, name).map_err(failed)?;
        self.committed = true;
        self.output.folder.sync().map_err(|error| self.output.failed(&error))
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.committed && self.output.still_named(&self.file) {
            let _ = self.output.folder.remove_file(&self.output.part_name);
        }
    }
}

fn look(folder: &Dir, name: &OsStr) -> io::Result<Metadata> {
    folder.open_file(name, Access::Look)?.metadata()
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
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, symlink};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Scratch {
            let name = format!("ropewalk-out-{}-{test}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Scratch(path)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write(path: &Path, text: &[u8]) -> Result<()> {
        let part = Output::locate(path)?.open_part()?;
        part.file().write_all_at(text, 0).unwrap();
        part.commit()
    }

    #[test]
    fn a_new_file_appears_whole_and_alone() {
        let scratch = Scratch::new("new");
        write(&scratch.0.join("out"), b"new").unwrap();
        assert_eq!(scratch.names(), ["out"]);
        assert_eq!(fs::read(scratch.0.join("out")).unwrap(), b"new");
    }

    #[test]
    fn what_is_not_committed_leaves_the_old_file() {
        let scratch = Scratch::new("old");
        let path = scratch.0.join("out");
        fs::write(&path, b"old").unwrap();
        let part = Output::locate(&path).unwrap().open_part().unwrap();
        part.file().write_all_at(b"new", 0).unwrap();
        assert_eq!(scratch.names(), ["out", "out.part"]);
        drop(part);
        assert_eq!(scratch.names(), ["out"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_without_set_user_id() {
        let scratch = Scratch::new("mode");
        let path = scratch.0.join("out");
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4751)).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o751);
    }

    #[test]
    fn the_target_of_a_link_is_replaced_and_the_link_stays() {
        let scratch = Scratch::new("link");
        fs::create_dir(scratch.0.join("sub")).unwrap();
        symlink("second", scratch.0.join("first")).unwrap();
        symlink("sub/real", scratch.0.join("second")).unwrap();
        write(&scratch.0.join("first"), b"new").unwrap();
        assert_eq!(fs::read(scratch.0.join("sub/real")).unwrap(), b"new");
        assert_eq!(scratch.names(), ["first", "second", "sub"]);
    }

    #[test]
    fn links_in_a_circle_are_refused() {
        let scratch = Scratch::new("circle");
        symlink("a", scratch.0.join("b")).unwrap();
        symlink("b", scratch.0.join("a")).unwrap();
        let error = write(&scratch.0.join("a"), b"").unwrap_err();
        assert!(error.to_string().ends_with("Too many levels of symbolic links"), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let scratch = Scratch::new("kind");
        for path in [
            scratch.0.as_path(),
            Path::new("/dev/null"),
            Path::new("/dev/full"),
            &scratch.0.join(".."),
            &scratch.0.join("missing/"),
        ] {
            assert!(Output::locate(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_second_writer_is_refused() {
        let scratch = Scratch::new("lock");
        let path = scratch.0.join("out");
        let _first = Output::locate(&path).unwrap().open_part().unwrap();
        let error = Output::locate(&path).unwrap().open_part().unwrap_err();
        assert!(error.to_string().contains("another client is writing it"), "{error}");
    }

    #[test]
    fn a_part_file_that_was_left_is_used_again_from_nothing() {
        let scratch = Scratch::new("stale");
        fs::write(scratch.0.join("out.part"), b"stale bytes").unwrap();
        write(&scratch.0.join("out"), b"new").unwrap();
        assert_eq!(fs::read(scratch.0.join("out")).unwrap(), b"new");
    }

    #[test]
    fn a_part_file_that_is_a_trap_is_refused() {
        let scratch = Scratch::new("trap");
        fs::write(scratch.0.join("victim"), b"victim").unwrap();
        symlink("victim", scratch.0.join("a.part")).unwrap();
        fs::hard_link(scratch.0.join("victim"), scratch.0.join("b.part")).unwrap();
        fs::create_dir(scratch.0.join("c.part")).unwrap();
        for name in ["a", "b", "c"] {
            assert!(write(&scratch.0.join(name), b"new").is_err(), "{name}");
        }
        assert_eq!(fs::read(scratch.0.join("victim")).unwrap(), b"victim");
    }

    #[test]
    fn an_output_that_became_a_folder_is_not_renamed_over() {
        let scratch = Scratch::new("became");
        let part = Output::locate(&scratch.0.join("out")).unwrap().open_part().unwrap();
        fs::create_dir(scratch.0.join("out")).unwrap();
        assert!(part.commit().is_err());
        assert_eq!(scratch.names(), ["out"]);
    }
}
