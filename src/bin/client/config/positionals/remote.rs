//! A server that another program reaches: `[user@]host:path [ofile]`, or with `--rsh` also
//! `host streams file [ofile]`.

#![forbid(unsafe_code)]

use super::super::Address;
use super::{Positionals, check_stream_count, split_scheme};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Splits `[user@]host:path`. `None` for everything else: a slash comes before the colon, a port
/// follows the colon, or the part behind the colon has what may be a password.
pub(in super::super) fn split(word: &OsStr) -> Option<(&[u8], &[u8])> {
    let bytes = word.as_bytes();
    if split_scheme(bytes).0.is_some() {
        return None;
    }
    let at = match bytes.iter().position(|byte| *byte == b'@') {
        // The user has neither a colon nor a slash.
        Some(at) if !bytes[..at].iter().any(|byte| b":/".contains(byte)) => at + 1,
        _ => 0,
    };
    let colon = match bytes[at..].starts_with(b"[") {
        true => at + bytes[at..].windows(2).position(|pair| pair == b"]:")? + 1,
        false => bytes.iter().position(|byte| b":/".contains(byte))?,
    };
    if bytes[colon] != b':' {
        return None;
    }
    let (host, path) = (&bytes[..colon], &bytes[colon + 1..]);
    let start = path.split(|byte| b"/?#".contains(byte)).next().unwrap_or_default();
    let is_port = !start.is_empty() && start.iter().all(u8::is_ascii_digit);
    // scp knows the home folder of a user by an empty path.
    let is_other = (path.is_empty() && at == 0) || path.starts_with(b":") || start.contains(&b'@');
    (host.len() > at && !is_port && !is_other).then_some((host, path))
}

/// `[user@]host:path`.
pub(super) fn whole<'a>(place: &OsStr, ofile: Option<&'a OsStr>) -> Result<Positionals<'a>> {
    let (host, path) = split(place).ok_or_else(|| no_file(place))?;
    // Without a leading slash a path begins at home.
    let path = path.strip_prefix(b"~/").unwrap_or(path);
    if path.is_empty() {
        let text = format!("address: '{}' names no file and no folder", escape(place.as_bytes()));
        return Err(Error::usage(text));
    }
    let (server, file) = (address(host)?, path.to_vec());
    let ofile = ofile.map(Cow::Borrowed);
    Ok(Positionals { server, streams: None, file, ofile, is_remote: true })
}

/// `file [user@]host:path`: a push. The path is then the output file.
pub(in super::super) fn target<'a>(file: &OsStr, target: &'a OsStr) -> Result<Positionals<'a>> {
    let (host, path) = split(target).ok_or_else(|| no_file(target))?;
    let path = match path.strip_prefix(b"~/").unwrap_or(path) {
        b"" => b".",
        path => path,
    };
    let (server, file) = (address(host)?, file.as_bytes().to_vec());
    let ofile = Some(Cow::Borrowed(OsStr::from_bytes(path)));
    Ok(Positionals { server, streams: None, file, ofile, is_remote: true })
}

/// `host streams file [ofile]`.
pub(in super::super) fn classic<'a>(
    host: &OsStr,
    streams: &'a OsStr,
    file: &OsStr,
    ofile: Option<&'a OsStr>,
) -> Result<Positionals<'a>> {
    let server = address(host.as_bytes())?;
    check_stream_count(streams)?;
    let (streams, file) = (Some(streams), file.as_bytes().to_vec());
    let ofile = ofile.map(Cow::Borrowed);
    Ok(Positionals { server, streams, file, ofile, is_remote: true })
}

/// The error for words without a file.
pub(super) fn no_file(place: &OsStr) -> Error {
    let shown = escape(place.as_bytes());
    Error::usage(format!("file: is missing; write {shown}:path, or {shown} streams file"))
}

/// The host as the other program takes it. One that begins with a dash would be an option.
fn address(host: &[u8]) -> Result<Address> {
    let shown = escape(host);
    let bad = |why: &str| Err(Error::usage(format!("address: '{shown}' {why}")));
    let text = String::from_utf8_lossy(host);
    if text.as_bytes() != host || host.iter().any(u8::is_ascii_control) {
        return bad("is not text");
    }
    if host.is_empty() {
        return bad("has no host");
    }
    if host.starts_with(b"-") {
        return bad("begins with a dash, which COMMAND would take for an option");
    }
    if host.windows(3).any(|window| window == b"://") {
        return bad("is a URL; with --rsh it must be host:path, or host before streams and file");
    }
    let (user, name) = match text.rsplit_once('@') {
        Some((user, name)) => (format!("{user}@"), name),
        None => (String::new(), &*text),
    };
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = format!("{user}{}", inner.unwrap_or(name));
    Ok(Address { typed: text.to_string(), host, port: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn found(line: &str, has_rsh: bool) -> Result<(String, Option<String>, String, bool)> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let found = super::super::parse(&words, has_rsh)?;
        let streams = found.streams.map(|streams| streams.to_str().unwrap().to_string());
        let file = String::from_utf8(found.file).unwrap();
        Ok((found.server.host, streams, file, found.is_remote))
    }

    #[test]
    fn a_path_behind_a_host_and_a_colon_is_reached_by_another_program() {
        for (line, host, path) in [
            ("box:/data/img", "box", "/data/img"),
            ("box:img out", "box", "img"),
            ("ann@box:a/b:c", "ann@box", "a/b:c"),
            ("box:~/img", "box", "img"),
            ("box:80x", "box", "80x"),
            ("[::1]:/f", "::1", "/f"),
            ("ann@[::1]:f", "ann@::1", "f"),
        ] {
            let expected = (host.into(), None, path.into(), true);
            assert_eq!(found(line, false).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_no_host() {
        let text = found("ann:sesame@box/f", false).unwrap_err().to_string();
        assert!(text.contains("--auth FILE") && !text.contains("sesame"), "{text}");
    }

    #[test]
    fn a_port_behind_the_colon_is_the_port_of_a_server() {
        for line in ["box:8080/f", "http://box/f", "[::1]:80/f", "box:80 4 f"] {
            assert!(!found(line, false).unwrap().3, "{line}");
        }
        for line in ["./box:f", "a/b:c", "::1:f", "box:", ":f", "@:f", "ann@:f"] {
            assert!(split(line.as_ref()).is_none(), "{line}");
        }
    }

    #[test]
    fn with_a_command_the_address_is_a_host() {
        let expected = ("web".into(), Some("4".into()), "/f".into(), true);
        assert_eq!(found("web 4 /f", true).unwrap(), expected);
        assert_eq!(found("web:/f o", true).unwrap(), ("web".into(), None, "/f".into(), true));
        for line in ["web", "web /f", "web four f", "-oProxyCommand=x 4 f", "http://web 4 f"] {
            assert!(found(line, true).is_err(), "{line}");
        }
    }

    #[test]
    fn a_host_that_begins_with_a_dash_is_refused() {
        let text = |line| found(line, false).unwrap_err().to_string();
        assert!(text("-x:f").contains("begins with a dash"));
    }
}
