//! Where the file is to go, from what the user typed: a name, a folder, `-`, or nothing.
//! Looks whether something is a folder; opens and makes nothing.

#![forbid(unsafe_code)]

use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use ropewalk::transfer::output::Output;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What standard output is called in messages.
pub(crate) const STANDARD_OUTPUT: &str = "standard output";

/// Where the user wants the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// In a file.
    File(PathBuf),
    /// On standard output, in order.
    StandardOutput,
}

/// The same, found and fit to be written to.
pub(crate) enum Goal {
    /// An output that a part file becomes.
    File(Output),
    /// Standard output.
    StandardOutput,
}

impl Destination {
    /// Looks whether the file can go there, before anybody is asked for it, and a picture
    /// to `trace`.
    ///
    /// # Errors
    /// Those of [`Output::locate`]; a picture in place of the output, or of what becomes it;
    /// and a terminal gets no file: most are not for the eye, and what a server sends could
    /// tell it to do things.
    pub(crate) fn locate(&self, trace: Option<&Path>) -> Result<Goal> {
        match self {
            Destination::File(path) => {
                let output = Output::locate(path)?;
                match trace.is_some_and(|trace| output.has(trace)) {
                    true => Err(Error::usage("--trace: must not be the output file")),
                    false => Ok(Goal::File(output)),
                }
            }
            Destination::StandardOutput if io::stdout().is_terminal() => Err(Error::usage(
                format!("ofile: {STANDARD_OUTPUT} is a terminal; say where with > or |"),
            )),
            Destination::StandardOutput => Ok(Goal::StandardOutput),
        }
    }
}

/// Standard output for `-`. Else the path of the output: `ofile`; inside it where it is a
/// folder, or is spelled like one; without it in the current folder. There it has the last
/// part of `file`'s name.
///
/// # Errors
/// When a name has to be made of `file`, and its last part cannot be one.
pub(crate) fn choose(ofile: Option<&OsStr>, file: &[u8]) -> Result<Destination> {
    let path = match ofile {
        None => PathBuf::from(base_name(file)?),
        Some(ofile) if ofile.is_empty() => return Err(Error::usage("ofile: must not be empty")),
        Some(ofile) if ofile == "-" => return Ok(Destination::StandardOutput),
        Some(ofile) if is_folder(ofile) => Path::new(ofile).join(base_name(file)?),
        Some(ofile) => PathBuf::from(ofile),
    };
    Ok(Destination::File(path))
}

/// Whether a file cannot have this name because a folder has it, or only a folder could.
fn is_folder(path: &OsStr) -> bool {
    path.as_bytes().ends_with(b"/") || fs::metadata(path).is_ok_and(|found| found.is_dir())
}

/// What follows the last slash in `file`.
fn base_name(file: &[u8]) -> Result<&OsStr> {
    match file.rsplit(|&byte| byte == b'/').next().unwrap_or_default() {
        // A file called `-` would be taken for standard output the next time.
        b"" | b"." | b".." | b"-" => {
            let shown = escape(file);
            Err(Error::usage(format!("ofile: '{shown}' gives the output no name; say one")))
        }
        name => Ok(OsStr::from_bytes(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::error::ExitCode;

    fn chosen(ofile: Option<&str>, file: &str) -> String {
        match choose(ofile.map(OsStr::new), file.as_bytes()).unwrap() {
            Destination::File(path) => path.into_os_string().into_string().unwrap(),
            Destination::StandardOutput => panic!("standard output"),
        }
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
    fn what_is_spelled_like_a_folder_is_one_though_nothing_is_there() {
        assert_eq!(chosen(Some("/no/such/"), "data/backup.tar"), "/no/such/backup.tar");
    }

    #[test]
    fn a_dash_is_standard_output_and_nothing_else_is() {
        let choose = |ofile| choose(Some(OsStr::new(ofile)), b"..").unwrap();
        assert_eq!(choose("-"), Destination::StandardOutput);
        assert_eq!(choose("./-"), Destination::File("./-".into()));
        assert_eq!(choose("--"), Destination::File("--".into()));
    }

    #[test]
    fn any_other_name_is_the_file_s() {
        assert_eq!(chosen(Some("out"), "data/.."), "out");
        assert_eq!(chosen(Some("/no/such"), "data/backup.tar"), "/no/such");
        assert_eq!(chosen(Some("/dev/null"), "data/backup.tar"), "/dev/null");
    }

    #[test]
    fn a_name_that_a_file_cannot_have_is_not_made_up() {
        for file in ["/", "data/", "data//", ".", "..", "data/.", "data/..", "-", "data/-"] {
            for ofile in [None, Some("/")] {
                let error = choose(ofile.map(OsStr::new), file.as_bytes()).unwrap_err();
                assert_eq!(error.code(), ExitCode::Usage, "{file}");
            }
        }
    }

    #[test]
    fn a_name_without_a_letter_is_refused() {
        assert!(choose(Some(OsStr::new("")), b"file").is_err());
    }
}
