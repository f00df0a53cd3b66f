//! The positional arguments: `host:port streams file [ofile]`; or a URL, or `[user@]host:path`, in
//! place of the first three. A pure function of the words.

#![forbid(unsafe_code)]

pub(super) mod remote;

use super::Address;
use ropewalk::codec::percent::{self, PercentError};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The port of a URL that has none (RFC 9110, section 4.2.1).
const HTTP_PORT: &str = "80";

const ORDER: &str = "the order is: host:port streams file [ofile]";

/// The positional arguments, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Positionals<'a> {
    pub(super) server: Address,
    /// The number of streams; `None` with a URL, where an option sets it.
    pub(super) streams: Option<&'a OsStr>,
    /// The file as the server names it. Empty if the argument is empty.
    pub(super) file: Vec<u8>,
    pub(super) ofile: Option<Cow<'a, OsStr>>,
    /// Whether another program reaches the server, such as ssh.
    pub(super) is_remote: bool,
}

/// Parses one to four arguments; `has_rsh` tells that another program reaches the server. Three or
/// more are the form of the classic client. One or two with a slash in the first are a URL and
/// `ofile`.
///
/// # Errors
/// Usage. The text never shows an argument with an `@`, which may hold a password.
pub(super) fn parse(words: &[OsString], has_rsh: bool) -> Result<Positionals<'_>> {
    let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
    let parsed = match words.as_slice() {
        [place] if remote::split(place).is_some() => remote::whole(place, None),
        [place, ofile] if remote::split(place).is_some() => remote::whole(place, Some(ofile)),
        [host, streams, file, rest @ ..] if has_rsh => {
            remote::classic(host, streams, file, rest.first().copied())
        }
        [place, ..] if has_rsh => return Err(remote::no_file(place)),
        [link] if has(link, b'/') => url(link, None),
        [link, ofile] if has(link, b'/') => url(link, Some(ofile)),
        [server, streams, file, rest @ ..] => classic(server, streams, file, rest.first().copied()),
        [server, ..] => Err(no_file(server)),
        [] => Err(Error::usage("address: is missing (see --help)")),
    };
    parsed.map_err(|error| {
        // Another argument is an address, or one after the second is a number.
        let swapped = words.iter().skip(1).any(|word| Address::parse(word).is_ok())
            || words.get(1).is_some_and(|word| !is_stream_count(word))
                && words.iter().skip(2).any(|word| is_stream_count(word));
        if swapped { error.advise(ORDER) } else { error }
    })
}

/// `host:port streams file [ofile]`.
pub(super) fn classic<'a>(
    server: &'a OsStr,
    streams: &'a OsStr,
    file: &'a OsStr,
    ofile: Option<&'a OsStr>,
) -> Result<Positionals<'a>> {
    if has(server, b'@') {
        return Err(user_in_address());
    }
    if has(server, b'/') {
        let shown = escape(server.as_bytes());
        return Err(Error::usage(format!(
            "address: '{shown}' has a slash; it must be host:port before streams and file, \
             which a URL replaces"
        )));
    }
    let server = Address::parse(server)?;
    check_stream_count(streams)?;
    let (file, ofile) = (file.as_bytes().to_vec(), ofile.map(Cow::Borrowed));
    Ok(Positionals { server, streams: Some(streams), file, ofile, is_remote: false })
}

/// `http://host[:port]/path`, or `host:port/path`. It ignores a query and a fragment, as the
/// server does.
fn url<'a>(link: &OsStr, ofile: Option<&'a OsStr>) -> Result<Positionals<'a>> {
    let (server, file) = place(link)?;
    let ofile = ofile.map(Cow::Borrowed);
    Ok(Positionals { server, streams: None, file, ofile, is_remote: false })
}

/// The same for a push of `file` to there.
pub(super) fn target<'a>(file: &OsStr, link: &OsStr) -> Result<Positionals<'a>> {
    let (server, path) = place(link)?;
    let ofile = Some(Cow::Owned(OsString::from_vec(path)));
    let file = file.as_bytes().to_vec();
    Ok(Positionals { server, streams: None, file, ofile, is_remote: false })
}

/// The server and the path of a URL.
fn place(link: &OsStr) -> Result<(Address, Vec<u8>)> {
    let bytes = link.as_bytes();
    let (scheme, rest) = split_scheme(bytes);
    match scheme.map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"http") => {}
        Some(b"https") => {
            let text = "address: https is not possible, since ropewalk does not encrypt; \
                        use http://, or host:path for ssh";
            return Err(Error::usage(text));
        }
        Some(other) => {
            let text = format!("address: {}:// is not possible, only http:// is", escape(other));
            return Err(Error::usage(text));
        }
    }
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains(&b'@') {
        return Err(user_in_address());
    }
    let server = authority_address(authority, scheme.is_some())?;
    let path = path.split(|byte| b"?#".contains(byte)).next().unwrap_or_default();
    let file = percent::decode(path).map_err(|error| {
        let text = format!("address: the path of '{}' has {error}", escape(bytes));
        match error {
            PercentError::BadEscape => Error::usage(text).advise("%25 stands for a percent sign"),
            PercentError::Nul => Error::usage(text),
        }
    })?;
    if file.is_empty() {
        let text = format!("address: '{}' names no file and no folder", escape(bytes));
        return Err(Error::usage(text));
    }
    Ok((server, file))
}

/// Whether a word is a URL for sure: it has a scheme.
pub(super) fn has_scheme(word: &OsStr) -> bool {
    split_scheme(word.as_bytes()).0.is_some()
}

/// The scheme before `://`, if there is one, and the rest (RFC 3986, section 3.1).
fn split_scheme(link: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let end = link.iter().position(|byte| !is_scheme(byte)).unwrap_or(link.len());
    let (scheme, rest) = link.split_at(end);
    match rest.strip_prefix(b"://") {
        Some(rest) if !scheme.is_empty() => (Some(scheme), rest),
        _ => (None, link),
    }
}

/// `host[:port]`. The port may be missing only with a scheme, which has a default port.
fn authority_address(authority: &[u8], has_scheme: bool) -> Result<Address> {
    let text = String::from_utf8_lossy(authority);
    // A URL encodes the percent sign before a zone (RFC 6874).
    let text = if has_scheme { text.replace("%25", "%") } else { text.into_owned() };
    let behind_host = text.rfind(']').map_or(0, |bracket| bracket + 1);
    let port = text[behind_host..].rfind(':').map(|colon| &text[behind_host + colon + 1..]);
    let address = match port {
        None if has_scheme => format!("{text}:{HTTP_PORT}"),
        Some("") if has_scheme => format!("{text}{HTTP_PORT}"),
        None | Some("") if !text.is_empty() => {
            let host = escape(text.trim_end_matches(':').as_bytes());
            let text = format!("address: '{host}' has no port; write {host}:8080/path");
            return Err(Error::usage(text));
        }
        _ => text.clone(),
    };
    Address::parse(OsStr::new(&address))
}

fn user_in_address() -> Error {
    let text = "address: must have no user and no password, which others could see";
    Error::usage(text).advise("--auth FILE names a file with the line user:password")
}

/// The error for one or two arguments without a path in the first.
fn no_file(server: &OsStr) -> Error {
    if has(server, b'@') {
        return user_in_address();
    }
    match Address::parse(server) {
        Ok(_) => {
            let shown = escape(server.as_bytes());
            let text = format!("file: is missing; write {shown}/path, or {shown} streams file");
            Error::usage(text)
        }
        Err(error) => error,
    }
}

fn check_stream_count(streams: &OsStr) -> Result<()> {
    if is_stream_count(streams) {
        return Ok(());
    }
    let shown = escape(streams.as_bytes());
    Err(Error::usage(format!(
        "streams: must be a whole number from 1 to 255 or auto, not '{shown}'"
    )))
}

/// Whether a word names a file on another machine.
pub(super) fn is_elsewhere(word: &OsStr) -> bool {
    remote::split(word).is_some()
        || split_scheme(word.as_bytes()).0.is_some()
        || has(word, b'/') && url(word, None).is_ok()
}

fn is_stream_count(word: &OsStr) -> bool {
    let digits = word.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    word == "auto"
        || digits.and_then(|text| text.parse().ok()).is_some_and(|n| (1..=255).contains(&n))
}

fn has(word: &OsStr, byte: u8) -> bool {
    word.as_bytes().contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[track_caller]
    fn parsed(line: &str) -> (String, Option<String>, String, Option<String>) {
        let words = words(line);
        let found = parse(&words, false).unwrap_or_else(|error| panic!("{line}: {error}"));
        let text = |word: Option<&OsStr>| word.map(|word| word.to_str().unwrap().to_string());
        let file = String::from_utf8(found.file).unwrap();
        (found.server.typed, text(found.streams), file, text(found.ofile.as_deref()))
    }

    fn refused(line: &str) -> String {
        parse(&words(line), false).unwrap_err().to_string()
    }

    #[test]
    fn three_and_four_words_are_the_classic_form() {
        let streams = Some("4".to_string());
        let file = "a/b%20c?d".to_string();
        assert_eq!(parsed("h:1 4 a/b%20c?d"), ("h:1".into(), streams.clone(), file.clone(), None));
        let expected = ("h:1".into(), streams, file, Some("out".into()));
        assert_eq!(parsed("h:1 4 a/b%20c?d out"), expected);
        assert_eq!(parsed("[::1]:1 auto f").1, Some("auto".into()));
    }

    #[test]
    fn a_url_names_server_and_file() {
        for (link, server, file) in [
            ("http://box:8080/srv/file.iso", "box:8080", "/srv/file.iso"),
            ("HTTP://box/file", "box:80", "/file"),
            ("http://box:/file", "box:80", "/file"),
            ("http://192.0.2.1/f", "192.0.2.1:80", "/f"),
            ("http://[::1]/f", "[::1]:80", "/f"),
            ("http://[::1]:8080/f", "[::1]:8080", "/f"),
            ("http://[fe80::1%25eth0]:8080/f", "[fe80::1%eth0]:8080", "/f"),
            ("http://box/a%20b/%c3%a9%2525?sort=size#top", "box:80", "/a b/\u{e9}%25"),
            ("http://box/f#a?b", "box:80", "/f"),
            ("http://box/4://x", "box:80", "/4://x"),
            ("box:8080/srv/a%20b", "box:8080", "/srv/a b"),
            ("[::1]:8080/f", "[::1]:8080", "/f"),
            ("box:8080/http://x", "box:8080", "/http://x"),
        ] {
            assert_eq!(parsed(link), (server.into(), None, file.into(), None), "{link}");
            let both = format!("{link} o/");
            assert_eq!(parsed(&both).3, Some("o/".into()), "{link}");
        }
    }

    #[test]
    fn an_invalid_url_is_refused_with_what_to_do() {
        for (link, words) in [
            ("https://box/f", "https is not possible, since ropewalk does not encrypt"),
            ("ftp://box/f", "ftp:// is not possible, only http:// is"),
            ("http:///f", "has no host"),
            ("http://box:99999/f", "from 1 to 65535"),
            ("http://box:x/f", "from 1 to 65535"),
            ("http://[::1/f", "lacks a bracket"),
            ("http://::1:80/f", "not in brackets"),
            ("http://box", "address: 'http://box' names no file"),
            ("http://box?f", "address: 'http://box?f' names no file"),
            ("http://box/a%2", "two hexadecimal digits; %25 stands for"),
            ("http://box/a%00", "a NUL byte"),
            ("box/f", "address: 'box' has no port; write box:8080/path"),
        ] {
            let text = refused(link);
            assert!(text.starts_with("address: ") && text.contains(words), "{link}: {text}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_shown() {
        for line in [
            "http://ann:sesame@box/f",
            "http://ann:sesame@box:80/f out",
            "ann:sesame@box:80/f",
            "ann:sesame@box:80 4 f",
            "http://ann:sesame@box:80 4 f o",
            "ann:sesame@box:80 4",
            "ann:sesame@box:80",
        ] {
            let text = refused(line);
            assert!(text.contains("--auth FILE") && !text.contains("sesame"), "{text}");
        }
    }

    #[test]
    fn words_in_another_order_get_the_right_order() {
        for line in ["4 h:1 f", "f h:1 4", "f h:1", "/srv/f h:1 o", "h:1 f 4 o", "4 f h:1 o"] {
            let text = refused(line);
            assert!(text.ends_with(ORDER), "{line}: {text}");
        }
        for line in ["h:1 f g", "h:0 4 f", "h 4 f"] {
            let text = refused(line);
            assert!(!text.contains(ORDER), "{line}: {text}");
        }
    }

    #[test]
    fn words_without_a_file_get_both_ways_to_name_it() {
        for line in ["h:1", "h:1 4", "h:1 out"] {
            assert_eq!(refused(line), "file: is missing; write h:1/path, or h:1 streams file");
        }
    }

    #[test]
    fn a_url_beside_streams_and_file_is_refused() {
        for line in ["http://h:1 4 f", "http://h:1/f 4 f o", "h:1/f 4 f"] {
            assert!(refused(line).contains("which a URL replaces"), "{line}");
        }
    }
}
