//! The arguments of `--push`: `host:port streams file [ofile]`, with the file here and `ofile` on the
//! server.

#![forbid(unsafe_code)]

use super::Task;
use super::positionals::{self, Positionals, remote};
use crate::destination::{base_name, is_only_a_folder_s};
use ropewalk::app::options::Arguments;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Options that a push does not know.
const FOREIGN: [&str; 1] = ["trace"];

/// Whether the user wants to push: says so, or names a file on another machine last.
pub(super) fn is_meant(arguments: &Arguments) -> bool {
    arguments.has("push")
        || matches!(arguments.positionals(), [_, target] if remote::split(target).is_some())
}

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
        [file, target] if remote::split(target).is_some() => {
            refuse_two_machines(file, target)?;
            remote::target(file, target)
        }
        [host, streams, file, rest @ ..] if arguments.has("rsh") => {
            remote::classic(host, streams, file, rest.first().copied())
        }
        [server, streams, file, rest @ ..] => {
            positionals::classic(server, streams, file, rest.first().copied())
        }
        _ => {
            let error = Error::usage("--push: needs an address, a number of streams and a file");
            Err(error.advise("the order is: --push host:port streams file [ofile]"))
        }
    }
}

/// Bytes go from here, or to here.
fn refuse_two_machines(file: &OsStr, target: &OsStr) -> Result<()> {
    if !positionals::is_elsewhere(file) {
        return Ok(());
    }
    let (file, target) = (escape(file.as_bytes()), escape(target.as_bytes()));
    let text = format!("address: neither '{file}' nor '{target}' is on this machine");
    Err(Error::usage(text).advise(format_args!("./{target} is a file here, and so is ./{file}")))
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
    use ropewalk::app::options::Request;
    use ropewalk::app::programs::CLIENT;

    fn name(ofile: Option<&str>, file: &str) -> Option<String> {
        let (name, task) = choose(ofile.map(OsStr::new), file.into()).ok()?;
        assert_eq!(task, Task::Push(file.into()));
        String::from_utf8(name).ok()
    }

    fn parsed(line: &str) -> Result<(String, Option<String>, String, Option<String>)> {
        let words = line.split(' ').map(OsString::from);
        let Request::Run(arguments) = CLIENT.parse(words)? else { panic!("help") };
        assert!(is_meant(&arguments), "{line}");
        let found = positionals(&arguments)?;
        let text = |word: Option<&OsStr>| word.map(|word| word.to_str().unwrap().to_string());
        assert_eq!(found.is_remote, found.server.port == 0);
        let file = String::from_utf8(found.file).unwrap();
        Ok((found.server.host, text(found.streams), file, text(found.ofile)))
    }

    #[test]
    fn a_host_and_a_path_in_the_last_place_mean_a_push_there() {
        for (line, host, file, ofile) in [
            ("img box:/data/", "box", "img", "/data/"),
            ("a/b ann@box:img", "ann@box", "a/b", "img"),
            ("./x:y box:~/d", "box", "./x:y", "d"),
            ("--push img [::1]:f", "::1", "img", "f"),
            ("-e x img box:f", "box", "img", "f"),
            ("img box:~/", "box", "img", "."),
        ] {
            let expected = (host.into(), None, file.into(), Some(ofile.into()));
            assert_eq!(parsed(line).unwrap(), expected, "{line}");
        }
        let expected = ("box".into(), Some("4".into()), "img".into(), Some("f".into()));
        assert_eq!(parsed("--push -e x box 4 img f").unwrap(), expected);
        for line in ["box:f other:f", "http://box/f other:f", "box:8080/f other:f"] {
            assert!(parsed(line).is_err(), "{line}");
        }
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
