//! The sources of a user and a password: a file that the user names, the file of all hosts,
//! and a person.

#![forbid(unsafe_code)]

use ropewalk::app::secrets::{self, lines, parse_line};
use ropewalk::app::terminal;
use ropewalk::codec::text::escape;
use ropewalk::error::Result;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A user and a password. It has no `Debug`, so that no message can show it.
#[derive(Clone)]
pub(super) struct Secret {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

/// Asks a person for a user and a password; the argument tells that the last ones were wrong.
/// `None` without a terminal to ask at, or if the person gives none.
pub(crate) type Ask = Box<dyn Fn(bool) -> Result<Option<(Vec<u8>, Vec<u8>)>> + Send + Sync>;

/// All sources, in the order of the search. Only the first is read before a server asks for a
/// password.
#[derive(Default)]
pub(crate) struct Sources {
    /// The file of `--auth`, with one line `user:password`.
    pub(crate) option: Option<PathBuf>,
    /// The file of `ROPEWALK_AUTH`, with one line `user:password`.
    pub(crate) variable: Option<PathBuf>,
    /// The file of all hosts, with a line `host[:port] user:password` for each server.
    pub(crate) hosts: Option<PathBuf>,
    /// The server's host: a name or an address without brackets.
    pub(crate) host: String,
    /// The server's port.
    pub(crate) port: u16,
    /// Whether to answer a server that knows only MD5.
    pub(crate) md5: bool,
    /// A person.
    pub(crate) ask: Option<Ask>,
}

impl Sources {
    /// Adds the files that `ROPEWALK_AUTH`, `XDG_CONFIG_HOME` and `HOME` name; `variable` reads
    /// them. An empty variable counts as not set, and so does a relative `XDG_CONFIG_HOME`
    /// (XDG Base Directory Specification).
    pub(crate) fn with_environment(
        mut self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Sources {
        let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = path("XDG_CONFIG_HOME").filter(|folder| folder.is_absolute());
        let folder = folder.or_else(|| path("HOME").map(|home| home.join(".config")));
        self.variable = path("ROPEWALK_AUTH");
        self.hosts = folder.map(|folder| folder.join("ropewalk/auth"));
        self
    }

    /// The user and the password, and advice for a refusal.
    ///
    /// # Errors
    /// A named file cannot be used. An unusable file of all hosts is a warning, since the user
    /// has not named it.
    pub(super) fn find(&self) -> Result<Option<(Secret, String)>> {
        if let Some(path) = self.option.as_ref().or(self.variable.as_ref()) {
            let (user, password) = read_login(path)?;
            return Ok(Some((Secret { user, password }, check_line(path))));
        }
        match self.hosts.as_deref().map(|path| (path, self.read_hosts(path))) {
            Some((path, Ok(Some(secret)))) => return Ok(Some((secret, check_line(path)))),
            Some((_, Err(text))) => terminal::log(format_args!("warning: {text}; it is not used")),
            Some((_, Ok(None))) | None => {}
        }
        self.ask(false)
    }

    /// The answer of a person, without advice.
    pub(super) fn ask(&self, again: bool) -> Result<Option<(Secret, String)>> {
        let answer = self.ask.as_ref().map(|ask| ask(again)).transpose()?.flatten();
        let secret = answer.map(|(user, password)| Secret { user, password });
        Ok(secret.map(|secret| (secret, String::new())))
    }

    /// This server's line in the file of all hosts; `None` without a file or a line.
    fn read_hosts(&self, path: &Path) -> std::result::Result<Option<Secret>, String> {
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let shown = escape(path.as_os_str().as_bytes());
        let text = secrets::read(path).map_err(|error| error.to_string())?;
        find_host(&text, &self.host, self.port).map_err(|reason| format!("{shown}: {reason}"))
    }
}

/// The user and the password of a file with one line.
fn read_login(path: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let text = secrets::read(path)?;
    parse_login(&text).map_err(|reason| secrets::refused(path, &reason))
}

fn parse_login(text: &[u8]) -> std::result::Result<(Vec<u8>, Vec<u8>), String> {
    let mut all = lines(text);
    let (Some((number, line)), None) = (all.next(), all.next()) else {
        return Err("it must have exactly one line, user:password".into());
    };
    let (user, password) = parse_line(line).map_err(|reason| format!("line {number}: {reason}"))?;
    Ok((user.to_vec(), password.to_vec()))
}

fn check_line(path: &Path) -> String {
    format!("check the line in {}", escape(path.as_os_str().as_bytes()))
}

/// The first line for this host and port. A line that begins with `#` is a comment.
///
/// # Errors
/// The first invalid line, by its number; never by its text, which holds a password.
fn find_host(text: &[u8], host: &str, port: u16) -> std::result::Result<Option<Secret>, String> {
    for (number, line) in lines(text).filter(|(_, line)| !line.starts_with(b"#")) {
        let bad = |reason: &str| format!("line {number}: {reason}");
        let end = line.iter().position(u8::is_ascii_whitespace);
        let Some(end) = end.filter(|end| *end > 0) else {
            return Err(bad("must be host[:port] user:password"));
        };
        let (address, rest) = line.split_at(end);
        let (user, password) = parse_line(rest.trim_ascii_start()).map_err(bad)?;
        if is_for(address, host, port) {
            return Ok(Some(Secret { user: user.to_vec(), password: password.to_vec() }));
        }
    }
    Ok(None)
}

/// Whether `address` is this host and port. It has one of the forms `host`, `host:port`,
/// `[IPv6]`, `[IPv6]:port`, or is an IPv6 address alone.
fn is_for(address: &[u8], host: &str, port: u16) -> bool {
    let Ok(address) = std::str::from_utf8(address) else { return false };
    let (named, wanted) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((named, rest)) => (named, rest.strip_prefix(':').or(rest.is_empty().then_some(""))),
        None => match address.split_once(':') {
            Some((_, rest)) if rest.contains(':') => (address, Some("")),
            Some((named, rest)) => (named, Some(rest)),
            None => (address, Some("")),
        },
    };
    let same_port = match wanted {
        Some("") => true,
        Some(wanted) => wanted.parse() == Ok(port),
        None => false,
    };
    named.eq_ignore_ascii_case(host) && same_port
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, host: &str, port: u16) -> Option<String> {
        let secret = find_host(text.as_bytes(), host, port).unwrap()?;
        Some(String::from_utf8([secret.user, b" ".to_vec(), secret.password].concat()).unwrap())
    }

    #[test]
    fn a_line_is_for_its_host_and_its_port_only() {
        let text =
            "# box:80 no:no\nbox:80 ann:a b:c\n\nbox bob:x\n[::1]:80 eve:y\n2001:db8::1 fay:z\n";
        assert_eq!(found(text, "box", 80), Some("ann a b:c".into()));
        assert_eq!(found(text, "BOX", 8080), Some("bob x".into()));
        assert_eq!(found(text, "::1", 80), Some("eve y".into()));
        assert_eq!(found(text, "::1", 81), None);
        assert_eq!(found(text, "2001:db8::1", 7), Some("fay z".into()));
        for other in ["box.example", "bo", "", "[::1]"] {
            assert_eq!(found(text, other, 80), None, "{other}");
        }
    }

    #[test]
    fn an_invalid_line_is_named_by_its_number_alone() {
        for (text, reason) in [
            ("box", "line 1: must be host[:port] user:password"),
            ("a b:c\n ann:sesame", "line 2: must be host[:port] user:password"),
            ("ann:sesame", "line 1: must be host[:port] user:password"),
            ("box sesame", "line 1: no colon in it"),
            ("box :sesame", "line 1: an empty name or password"),
        ] {
            let found = find_host(text.as_bytes(), "other", 1).err();
            assert_eq!(found.as_deref(), Some(reason), "{text}");
        }
        assert!(find_host(b"box]:80 a:b\n[box:80 a:b\n[::1]x a:b", "::1", 80).unwrap().is_none());
    }

    #[test]
    fn the_file_of_all_hosts_is_where_the_environment_says() {
        let sources = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> =
                set.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let get = move |wanted: &str| {
                set.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.into())
            };
            let sources = Sources::default().with_environment(get);
            let text = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
            (text(sources.variable), text(sources.hosts))
        };
        let home = ("HOME", "/home/ann");
        assert_eq!(sources(&[home]), (None, Some("/home/ann/.config/ropewalk/auth".into())));
        assert_eq!(sources(&[home, ("XDG_CONFIG_HOME", "/x")]).1, Some("/x/ropewalk/auth".into()));
        for unset in ["", "x/y"] {
            let found = sources(&[home, ("XDG_CONFIG_HOME", unset)]).1;
            assert_eq!(found, Some("/home/ann/.config/ropewalk/auth".into()));
        }
        assert_eq!(sources(&[("ROPEWALK_AUTH", "f")]), (Some("f".into()), None));
        assert_eq!(sources(&[("ROPEWALK_AUTH", ""), ("HOME", "")]), (None, None));
    }

    #[test]
    fn a_client_s_file_has_one_line() {
        assert_eq!(parse_login(b"ann:x:y\n").unwrap(), (b"ann".to_vec(), b"x:y".to_vec()));
        assert!(parse_login(b"").is_err());
        assert!(parse_login(b"ann:x\nbob:y\n").is_err());
    }
}
