//! The options about uploads as validated values.

#![forbid(unsafe_code)]

use ropewalk::app::options::Arguments;
use ropewalk::error::{Error, Result};
use std::path::PathBuf;

/// Percent of a file system that uploads leave free, unless the user says otherwise.
const DEFAULT_KEEP_FREE: u64 = 5;

/// The options that make no sense where nothing may be written.
const OTHERS: [&str; 6] =
    ["writable-by-anyone", "max-upload", "max-files", "keep-free", "allow-delete", "allow-owner"];

/// What the user allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The folder beneath which clients may write. `None` for wherever names lead.
    pub(crate) folder: Option<PathBuf>,
    /// Whether that needs no password.
    pub(crate) by_anyone: bool,
    /// The most bytes of a file.
    pub(crate) max_size: u64,
    /// The most entries of a folder.
    pub(crate) max_files: u64,
    /// Percent of the file system that stay free.
    pub(crate) keep_free: u64,
    /// Whether a push of a folder may delete.
    pub(crate) allow_delete: bool,
    /// Whether a push of a folder may set owners and set-id bits.
    pub(crate) allow_owner: bool,
    /// Whether modes and links are those of the client, for one that has the rights of this user
    /// anyway.
    pub(crate) is_exact: bool,
}

impl Rules {
    /// Validates the command line. `None` without `--writable`.
    ///
    /// # Errors
    /// A wrong value, or options that need or exclude each other.
    pub(crate) fn from_arguments(arguments: &Arguments) -> Result<Option<Rules>> {
        if arguments.has("stdio") {
            return Rules::beside_stdio(arguments);
        }
        if arguments.has("push") {
            return Err(Error::usage("--push: needs --stdio"));
        }
        let Some(folder) = arguments.value("writable") else {
            return match OTHERS.into_iter().find(|name| arguments.has(name)) {
                Some(name) => Err(Error::usage(format!("--{name}: needs --writable"))),
                None => Ok(None),
            };
        };
        let by_anyone = arguments.has("writable-by-anyone");
        match (by_anyone, arguments.has("auth")) {
            (false, false) => {
                let error = Error::usage("--writable: needs --auth, so that few may write");
                return Err(error.advise("or say --writable-by-anyone"));
            }
            (true, true) => {
                return Err(Error::usage("--writable-by-anyone and --auth: exclude each other"));
            }
            _ => {}
        }
        let rules = Rules {
            folder: Some(PathBuf::from(folder)),
            by_anyone,
            keep_free: DEFAULT_KEEP_FREE,
            allow_delete: arguments.has("allow-delete"),
            allow_owner: arguments.has("allow-owner"),
            is_exact: false,
            ..Rules::of_this_user()
        };
        rules.limited(arguments).map(Some)
    }

    /// With `--stdio` the client has logged in as this user. `None` without `--push`.
    fn beside_stdio(arguments: &Arguments) -> Result<Option<Rules>> {
        if !arguments.has("push") {
            let given = ["writable"].into_iter().chain(OTHERS).find(|name| arguments.has(name));
            return match given {
                Some(name) => Err(Error::usage(format!("--{name}: needs --push beside --stdio"))),
                None => Ok(None),
            };
        }
        if arguments.has("writable-by-anyone") {
            let text = "--writable-by-anyone: cannot be combined with --stdio";
            return Err(Error::usage(text));
        }
        let folder = arguments.value("writable").or_else(|| arguments.value("root"));
        let rules = Rules { folder: folder.map(PathBuf::from), ..Rules::of_this_user() };
        rules.limited(arguments).map(Some)
    }

    /// Everything that the system lets this user do.
    fn of_this_user() -> Rules {
        Rules {
            folder: None,
            by_anyone: false,
            max_size: u64::MAX,
            max_files: u64::MAX,
            keep_free: 0,
            allow_delete: true,
            allow_owner: true,
            is_exact: true,
        }
    }

    /// With the limits of the command line.
    fn limited(self, arguments: &Arguments) -> Result<Rules> {
        Ok(Rules {
            max_size: arguments.size("max-upload")?.unwrap_or(self.max_size),
            max_files: arguments
                .number("max-files", 1..=i64::MAX as u64)?
                .unwrap_or(self.max_files),
            keep_free: arguments.number("keep-free", 0..=100)?.unwrap_or(self.keep_free),
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::app::options::Request;
    use ropewalk::app::programs::SERVER;

    fn rules(line: &str) -> Result<Option<Rules>> {
        match SERVER.parse(line.split_whitespace().map(Into::into))? {
            Request::Run(arguments) => Rules::from_arguments(&arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_may_be_written_unless_the_user_says_so() {
        assert_eq!(rules("--auth users 0").unwrap(), None);
    }

    #[test]
    fn writing_needs_a_password_or_the_word_that_it_needs_none() {
        let folder = Some(PathBuf::from("in"));
        let defaults = Rules {
            folder,
            by_anyone: false,
            max_size: u64::MAX,
            max_files: u64::MAX,
            keep_free: 5,
            allow_delete: false,
            allow_owner: false,
            is_exact: false,
        };
        assert_eq!(rules("--writable in --auth users 0").unwrap(), Some(defaults));
        assert!(rules("--writable in --writable-by-anyone 0").unwrap().unwrap().by_anyone);
        for line in ["--writable in 0", "--writable in --writable-by-anyone --auth users 0"] {
            assert!(rules(line).is_err(), "{line}");
        }
    }

    #[test]
    fn limits_have_units_and_bounds() {
        let with = |options: &str| rules(&format!("--writable in --auth users {options} 0"));
        let limits = |options| with(options).map(|rules| rules.map(|r| (r.max_size, r.keep_free)));
        assert_eq!(limits("--max-upload 3G").unwrap(), Some((3 << 30, 5)));
        assert_eq!(limits("--max-upload 2000G --keep-free 0").unwrap(), Some((2000 << 30, 0)));
        for options in ["--max-upload 0", "--max-upload x", "--keep-free 101", "--keep-free -1"] {
            assert!(limits(options).is_err(), "{options}");
        }
    }

    #[test]
    fn beside_stdio_a_push_may_do_what_this_user_may_within_the_limits_of_the_command_line() {
        assert_eq!(rules("--stdio").unwrap(), None);
        assert_eq!(rules("--stdio --push").unwrap(), Some(Rules::of_this_user()));
        let folder = |line| rules(line).unwrap().unwrap().folder;
        assert_eq!(folder("--stdio --push --root r"), Some("r".into()));
        assert_eq!(folder("--stdio --push --root r --writable r/in"), Some("r/in".into()));
        let limited = rules("--stdio --push --max-upload 1G --keep-free 9").unwrap().unwrap();
        assert_eq!((limited.max_size, limited.keep_free, limited.is_exact), (1 << 30, 9, true));
        for line in ["--stdio --writable in", "--push 0", "--stdio --push --writable-by-anyone"] {
            assert!(rules(line).is_err(), "{line}");
        }
    }

    #[test]
    fn limits_on_uploads_need_uploads() {
        for option in [
            "--max-upload 1G",
            "--max-files 9",
            "--keep-free 9",
            "--allow-delete",
            "--allow-owner",
            "--writable-by-anyone",
        ] {
            let error = rules(&format!("{option} --auth users 0")).unwrap_err().to_string();
            assert!(error.ends_with(": needs --writable"), "{error}");
        }
    }
}
