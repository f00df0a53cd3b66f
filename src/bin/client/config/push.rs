//! The arguments of `--push`: `host:port streams file [ofile]`, with the file here and `ofile` on the
//! server.

#![forbid(unsafe_code)]

use super::Task;
use super::positionals::{self, Positionals};
use crate::destination::{base_name, is_only_a_folder_s};
use ropewalk::app::options::Arguments;
use ropewalk::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Options that a push does not know.
const FOREIGN: [&str; 3] = ["rsh", "remote-server", "trace"];

/// Takes the positional arguments apart.
///
/// # Errors
/// Usage.
pub(super) fn positionals(arguments: &Arguments) -> Result<Positionals<'_>> {
    if let Some(option) = FOREIGN.into_iter().find(|option| arguments.has(option)) {
        return Err(Error::usage(format!("--{option}: cannot be combined with --push yet")));
    }
    let words: Vec<&OsStr> = arguments.positionals().iter().map(OsString::as_os_str).collect();
    match words.as_slice() {
        [server, streams, file, rest @ ..] => {
            positionals::classic(server, streams, file, rest.first().copied())
        }
        _ => {
            let error = Error::usage("--push: needs an address, a number of streams and a file");
            Err(error.advise("the order is: --push host:port streams file [ofile]"))
        }
    }
}

/// The name on the server, and what goes there. A name that only a folder can have means the
/// file's own name in that folder.
///
/// # Errors
/// Usage.
pub(super) fn choose(ofile: Option<&OsStr>, file: Vec<u8>) -> Result<(Vec<u8>, Task)> {
    if file == b"-" {
        let error = Error::usage("file: standard input cannot be pushed yet");
        return Err(error.advise("write it to a file first, and push that"));
    }
    let name = match ofile {
        None => base_name(&file)?.as_bytes().to_vec(),
        Some(ofile) if ofile.is_empty() => return Err(Error::usage("ofile: must not be empty")),
        Some(ofile) if is_only_a_folder_s(ofile) => {
            [ofile.as_bytes(), b"/", base_name(&file)?.as_bytes()].concat()
        }
        Some(ofile) => ofile.as_bytes().to_vec(),
    };
    Ok((name, Task::Push(PathBuf::from(OsString::from_vec(file)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(ofile: Option<&str>, file: &str) -> Option<String> {
        let (name, task) = choose(ofile.map(OsStr::new), file.into()).ok()?;
        assert_eq!(task, Task::Push(file.into()));
        String::from_utf8(name).ok()
    }

    #[test]
    fn the_name_on_the_server_is_ofile_or_the_base_name() {
        for (ofile, file, expected) in [
            (None, "a/b", Some("b")),
            (None, "a/b/", Some("b")),
            (None, ".", None),
            (None, "/", None),
            (Some("x/y"), "a/b", Some("x/y")),
            (Some("x/"), "a/b", Some("x//b")),
            (Some("x/."), "a/b/", Some("x/./b")),
            (Some(".."), "a", Some("../a")),
            (Some("x/"), "..", None),
            (Some(""), "a", None),
            (Some("x"), "-", None),
        ] {
            assert_eq!(name(ofile, file).as_deref(), expected, "{ofile:?} {file}");
        }
    }
}
