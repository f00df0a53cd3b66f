//! The arguments of `--push`: `host:port streams file [ofile]`, with the file here and `ofile` on the
//! server; or a URL and the file, in either order; or the file and `[user@]host:path`.

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

/// FILE for standard input.
pub(crate) const STANDARD_INPUT: &str = "-";

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
    let has_rsh = arguments.has("rsh");
    let words: Vec<&OsStr> = arguments.positionals().iter().map(OsString::as_os_str).collect();
    match words.as_slice() {
        [file, link] if !has_rsh && positionals::has_scheme(link) => {
            positionals::target(file, link)
        }
        [file, target] if remote::split(target).is_some() => {
            refuse_two_machines(file, target)?;
            remote::target(file, target)
        }
        [host, streams, file, rest @ ..] if has_rsh => {
            remote::classic(host, streams, file, rest.first().copied())
        }
        [link, file] if !has_rsh && link.as_bytes().contains(&b'/') => {
            positionals::target(file, link)
        }
        [server, streams, file, rest @ ..] => {
            positionals::classic(server, streams, file, rest.first().copied())
        }
        _ => {
            let error = Error::usage("--push: needs an address, a number of streams and a file");
            Err(error.advise(
                "the order is: --push host:port streams file [ofile], or --push http://host/ofile file",
            ))
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
    if file == STANDARD_INPUT.as_bytes() && ofile.is_none_or(is_only_a_folder_s) {
        let error =
            Error::usage("ofile: must be the name of a file, since standard input has none");
        return Err(error.advise("./- is the file of that name"));
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
        Ok((found.server.host, text(found.streams), file, text(found.ofile.as_deref())))
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
            ("img ann@box:", "ann@box", "img", "."),
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

    fn parsed_url(line: &str) -> Result<(String, String, String)> {
        let words = line.split(' ').map(OsString::from);
        let Request::Run(arguments) = CLIENT.parse(words)? else { panic!("help") };
        let found = positionals(&arguments)?;
        assert_eq!(found.streams, None);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let ofile = found.ofile.as_deref().map(OsStrExt::as_bytes).unwrap_or_default();
        Ok((found.server.typed, text(&found.file), text(ofile)))
    }

    #[test]
    fn a_url_names_the_server_and_the_name_there() {
        for (line, server, file, ofile) in [
            ("--push http://box:8080/in/x img", "box:8080", "img", "/in/x"),
            ("--push img http://box/in/", "box:80", "img", "/in/"),
            ("--push a/b http://box/a%20b?x#y", "box:80", "a/b", "/a b"),
            ("--push box:8080/in/x a/b", "box:8080", "a/b", "/in/x"),
            ("--push - http://[::1]:8080/x", "[::1]:8080", "-", "/x"),
        ] {
            let expected = (server.into(), file.into(), ofile.into());
            assert_eq!(parsed_url(line).unwrap(), expected, "{line}");
        }
        for line in [
            "--push http://box img",
            "--push https://box/x img",
            "--push http://box/x",
            "--push a/b c",
            "--push http://ann:sesame@box/x img",
        ] {
            let error = parsed_url(line).unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{error}");
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
            (Some("x"), "-", Some("x")),
            (None, "-", None),
            (Some("x/"), "-", None),
            (Some("x"), "./-", Some("x")),
        ] {
            assert_eq!(name(ofile, file).as_deref(), expected, "{ofile:?} {file}");
        }
    }
}
