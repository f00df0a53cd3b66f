//! Where the file goes: a name, a folder, `-`, a descriptor, or nothing, as the user typed it.

#![forbid(unsafe_code)]

use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::inherited;
use ropewalk::transfer::store::output::Output;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The most symbolic links that lead to a descriptor, as in the kernel.
const MAX_LINKS: usize = 40;

/// The number of standard output.
const STANDARD_OUTPUT: u32 = 1;

/// Where the user wants the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Under a name.
    Named(Names),
    /// To the descriptor with this number, in order; mostly standard output.
    Descriptor(u32),
}

/// The names that OFILE means, which depend on what the server has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The output of a file. `None` if OFILE is a folder and FILE has no name to be used in it.
    pub(crate) file: Option<PathBuf>,
    /// The folder that gets the content of a folder.
    pub(crate) folder: PathBuf,
}

/// A destination that can be written to.
pub(crate) enum OpenDestination {
    /// A name.
    Named(Named),
    /// A descriptor that gets the bytes in order.
    Descriptor(OpenDescriptor),
}

impl OpenDestination {
    /// The output file, where there can be one.
    pub(crate) fn output(&self) -> Option<&Output> {
        match self {
            OpenDestination::Named(Named { file, .. }) => file.as_ref().ok(),
            OpenDestination::Descriptor(_) => None,
        }
    }
}

/// A name to write to.
pub(crate) struct Named {
    /// The output file, which begins as a part file; or why there can be none.
    pub(crate) file: Result<Output>,
    /// The folder that gets the content of a folder.
    pub(crate) folder: PathBuf,
}

/// A descriptor to write to.
pub(crate) struct OpenDescriptor {
    /// A copy of the descriptor.
    pub(crate) descriptor: OwnedFd,
    /// What it is called in messages.
    pub(crate) shown: String,
}

impl Destination {
    /// Checks before the first request that the file can go there, and a picture to `trace`.
    ///
    /// # Errors
    /// Those of [`Output::locate`]; a picture in place of the output or its part file; a
    /// descriptor that cannot be written to. A terminal is refused: the bytes of a server
    /// could control it.
    pub(crate) fn open(&self, trace: Option<&Path>) -> Result<OpenDestination> {
        match self {
            Destination::Named(Names { file, folder }) => {
                let file = match file {
                    Some(path) => Output::locate(path),
                    None => Err(no_name(folder)),
                };
                if file.as_ref().is_ok_and(|output| trace.is_some_and(|trace| output.has(trace))) {
                    return Err(Error::usage("--trace: must not be the output file"));
                }
                match file {
                    // A folder can still get the content of a folder.
                    Err(error) if !folder.is_dir() => Err(error),
                    file => Ok(OpenDestination::Named(Named { file, folder: folder.clone() })),
                }
            }
            Destination::Descriptor(number) => {
                let shown = match *number {
                    STANDARD_OUTPUT => "standard output".to_string(),
                    number => format!("descriptor {number}"),
                };
                let descriptor = inherited::copy_for_writing(*number)
                    .map_err(|error| Error::system(&shown, &error))?;
                if descriptor.is_terminal() {
                    let text = format!("ofile: {shown} is a terminal; redirect with > or |");
                    return Err(Error::usage(text));
                }
                Ok(OpenDestination::Descriptor(OpenDescriptor { descriptor, shown }))
            }
        }
    }
}

/// The destination that `ofile` means:
///
/// - `-` is standard output, and a name that leads to a descriptor is that descriptor.
/// - A folder, or a name that only a folder can have (it ends in a slash, `.` or `..`), gets the
///   last part of `file` as a name in it. If the server has a folder of that name, its content goes
///   into `ofile` itself, unless only a folder can have that name.
/// - Without `ofile` the current folder gets the last part of `file`.
/// - Any other name is the output file.
///
/// # Errors
/// The last part of `file` is needed and is no file name. A name that only a folder can have is
/// not one of a folder.
pub(crate) fn choose(ofile: Option<&OsStr>, file: &[u8]) -> Result<Destination> {
    let named = |path: PathBuf| Names { file: Some(path.clone()), folder: path };
    let names = match ofile {
        None => named(PathBuf::from(base_name(file)?)),
        Some(ofile) if ofile.is_empty() => return Err(Error::usage("ofile: must not be empty")),
        Some(ofile) if ofile == "-" => return Ok(Destination::Descriptor(STANDARD_OUTPUT)),
        Some(ofile) if is_folder(ofile)? => match (base_name(file), is_only_a_folder_s(ofile)) {
            (name, true) => named(Path::new(ofile).join(name?)),
            (name, false) => Names {
                file: name.ok().map(|name| Path::new(ofile).join(name)),
                folder: PathBuf::from(ofile),
            },
        },
        Some(ofile) => match descriptor(Path::new(ofile)) {
            Some(number) => return Ok(Destination::Descriptor(number)),
            None => named(PathBuf::from(ofile)),
        },
    };
    Ok(Destination::Named(names))
}

/// Whether only a folder can have this name: it ends in a slash, `.` or `..`.
pub(crate) fn is_only_a_folder_s(path: &OsStr) -> bool {
    matches!(last_part(path.as_bytes()), b"" | b"." | b"..")
}

/// What follows the last slash.
fn last_part(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The error for a file without a name that could be used in `folder`.
fn no_name(folder: &Path) -> Error {
    let shown = escape(folder.as_os_str().as_bytes());
    Error::usage(format!("ofile: {shown} is a folder, and the file's name cannot be used in it"))
}

/// Whether `path` is a folder.
///
/// # Errors
/// It is none, but its spelling leaves it no choice.
fn is_folder(path: &OsStr) -> Result<bool> {
    let last = last_part(path.as_bytes());
    // The slash and the dot let the system refuse what is not a folder.
    match (fs::metadata(path), last) {
        (Err(error), b"" | b"." | b"..") => {
            let shown = escape(path.as_bytes());
            Err(match error.kind() {
                io::ErrorKind::NotFound => {
                    let text = format!("{shown}: there is no such folder");
                    Error::new(ExitCode::System, text).advise("make it first")
                }
                _ => Error::system(&shown, &error),
            })
        }
        (found, _) => Ok(found.is_ok_and(|found| found.is_dir())),
    }
}

/// The descriptor of this process that `path` leads to: `/dev/stdout`, `/dev/fd/63`, or a
/// link to such a name. The file behind it must not be replaced.
fn descriptor(path: &Path) -> Option<u32> {
    let own = fs::canonicalize("/proc/self").ok()?;
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let target = fs::read_link(&path).ok()?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = fs::canonicalize(parent.unwrap_or(Path::new("."))).ok()?;
        let own = folder.strip_prefix(&own).ok().filter(|within| within.ends_with("fd"));
        if own.is_some() {
            return path.file_name()?.to_str()?.parse().ok();
        }
        path = folder.join(target);
    }
    None
}

/// The last part of `file`, which may be a folder's name with slashes at its end.
pub(crate) fn base_name(file: &[u8]) -> Result<&OsStr> {
    let length = file.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    match last_part(&file[..length]) {
        // The next command would take a file called `-` for standard output.
        b"" | b"." | b".." | b"-" => {
            let shown = escape(file);
            Err(Error::usage(format!("ofile: cannot derive a name from '{shown}'; give OFILE")))
        }
        name => Ok(OsStr::from_bytes(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(ofile: Option<&str>, file: &str) -> String {
        match choose(ofile.map(OsStr::new), file.as_bytes()).unwrap() {
            Destination::Named(names) => {
                names.file.unwrap().into_os_string().into_string().unwrap()
            }
            Destination::Descriptor(number) => panic!("{number}"),
        }
    }

    fn named(path: &str) -> Destination {
        Destination::Named(Names { file: Some(path.into()), folder: path.into() })
    }

    #[test]
    fn the_content_of_a_folder_goes_into_a_folder_that_is_named() {
        let folder =
            |ofile: Option<&str>, file: &str| match choose(ofile.map(OsStr::new), file.as_bytes())
                .unwrap()
            {
                Destination::Named(names) => names.folder.into_os_string().into_string().unwrap(),
                Destination::Descriptor(number) => panic!("{number}"),
            };
        assert_eq!(folder(None, "srv/photos/"), "photos");
        assert_eq!(folder(Some("/proc/self"), "srv/photos"), "/proc/self");
        assert_eq!(folder(Some("/proc/self"), "/"), "/proc/self");
        assert_eq!(folder(Some("/proc/self/"), "srv/photos/"), "/proc/self/photos");
        assert_eq!(folder(Some("."), "srv/photos"), "./photos");
        assert_eq!(folder(Some("new"), "srv/photos"), "new");
    }

    #[test]
    fn without_a_name_the_file_goes_here_under_its_own() {
        assert_eq!(chosen(None, "backup.tar"), "backup.tar");
        assert_eq!(chosen(None, "/srv/data/backup.tar"), "backup.tar");
        assert_eq!(chosen(None, "/srv/..data"), "..data");
    }

    #[test]
    fn a_folder_means_the_same_name_in_it() {
        assert_eq!(chosen(Some("/"), "data/backup.tar"), "/backup.tar");
        assert_eq!(chosen(Some("."), "data/backup.tar"), "./backup.tar");
        assert_eq!(chosen(Some("/proc/self"), "backup.tar"), "/proc/self/backup.tar");
    }

    #[test]
    fn the_folder_above_means_the_same_name_in_it() {
        assert_eq!(chosen(Some(".."), "data/backup.tar"), "../backup.tar");
        assert_eq!(chosen(Some("/proc/self/.."), "backup.tar"), "/proc/self/../backup.tar");
        assert_eq!(chosen(Some("/proc/self/."), "backup.tar"), "/proc/self/./backup.tar");
    }

    #[test]
    fn a_name_that_only_a_folder_can_have_is_refused_where_no_folder_is() {
        for (ofile, words) in [
            ("/no/such/", "/no/such/: there is no such folder; make it first"),
            ("/no/such/.", "/no/such/.: there is no such folder; make it first"),
            ("/no/such/..", "/no/such/..: there is no such folder; make it first"),
            ("/proc/self/status/", "/proc/self/status/: Not a directory"),
        ] {
            let error = choose(Some(OsStr::new(ofile)), b"backup.tar").unwrap_err();
            assert_eq!(error.code(), ExitCode::System);
            assert_eq!(error.to_string(), words);
        }
    }

    #[test]
    fn a_dash_is_standard_output_and_nothing_else_is() {
        let choose = |ofile| choose(Some(OsStr::new(ofile)), b"..").unwrap();
        assert_eq!(choose("-"), Destination::Descriptor(1));
        assert_eq!(choose("./-"), named("./-"));
        assert_eq!(choose("--"), named("--"));
    }

    #[test]
    fn names_of_descriptors_are_descriptors() {
        let file = fs::File::open("/proc/self/status").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file) as u32;
        let link = std::env::temp_dir().join(format!("ropewalk-{}-fd", std::process::id()));
        std::os::unix::fs::symlink(format!("/dev/fd/{number}"), &link).unwrap();
        let link_name = link.to_str().unwrap();
        for (name, expected) in [
            ("/dev/stdout", 1),
            ("/dev/stderr", 2),
            ("/proc/self/fd/1", 1),
            ("/proc/thread-self/fd/2", 2),
            (&format!("/dev/fd/{number}"), number),
            (link_name, number),
        ] {
            let chosen = choose(Some(OsStr::new(name)), b"f").unwrap();
            assert_eq!(chosen, Destination::Descriptor(expected), "{name}");
        }
        fs::remove_file(&link).unwrap();
        for other in ["/dev/fd/1048576", "/proc/self/exe", link_name, "/proc/1/fd/no"] {
            let chosen = choose(Some(OsStr::new(other)), b"f").unwrap();
            assert_eq!(chosen, named(other), "{other}");
        }
    }

    #[test]
    fn any_other_name_is_the_file_s() {
        assert_eq!(chosen(Some("out"), "data/.."), "out");
        assert_eq!(chosen(Some("/no/such"), "data/backup.tar"), "/no/such");
        assert_eq!(chosen(Some("/dev/null"), "data/backup.tar"), "/dev/null");
    }

    #[test]
    fn a_name_that_no_file_can_have_is_refused() {
        for file in ["/", "//", ".", "..", "data/.", "data/..", "-", "data/-"] {
            for ofile in [None, Some("/")] {
                let error = choose(ofile.map(OsStr::new), file.as_bytes()).unwrap_err();
                assert_eq!(error.code(), ExitCode::Usage, "{file}");
            }
        }
    }

    #[test]
    fn an_empty_name_is_refused() {
        assert!(choose(Some(OsStr::new("")), b"file").is_err());
    }
}
