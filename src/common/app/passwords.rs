//! Files with secrets in them, `user:password` a line: who may come in, and as whom a
//! client asks. Keeps for each user what stands for the password, and never shows one.

#![forbid(unsafe_code)]

use crate::codec::digest_auth::{Algorithm, key};
use crate::codec::text::escape;
use crate::error::{Error, ExitCode, Result};
use crate::hash::{Sha256, same_secretly};
use crate::sys::file::open_without_blocking;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The longest file, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// The most users. All are looked at for each request, so that it takes as long for
/// one who is there as for one who is not.
pub const MAX_USERS: usize = 1000;

/// The longest name of a user, and the longest password, in bytes.
pub const MAX_SECRET: usize = 1000;

/// What a file's mode must not have: the group's and everybody's rights.
const OTHERS: u32 = 0o077;

/// What stands for a password.
#[derive(Clone)]
struct Keys {
    sha256: String,
    md5: String,
}

impl Keys {
    fn new(realm: &[u8], user: &[u8], password: &[u8]) -> Keys {
        Keys {
            sha256: key(Algorithm::Sha256, user, realm, password),
            md5: key(Algorithm::Md5, user, realm, password),
        }
    }

    fn of(&self, algorithm: Algorithm) -> &str {
        match algorithm {
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Md5 => &self.md5,
        }
    }
}

/// Everybody who may come in.
pub struct Passwords {
    realm: Vec<u8>,
    /// Digests of the names, all of one length, with the keys.
    users: Vec<([u8; 32], Keys)>,
    /// Compared with for a user who is not there.
    nobody: Keys,
}

impl Passwords {
    /// Reads the file at `path`. The passwords are good for `realm` only.
    ///
    /// # Errors
    /// One line for a person, that names the line and never its text: no regular file;
    /// one that others may read; a limit; a line that is not `user:password`; a user
    /// who comes twice; nobody at all.
    pub fn read(path: &Path, realm: &[u8]) -> Result<Passwords> {
        let named = |reason: String| refused(path, &reason);
        Passwords::parse(&read_secret(path)?, realm).map_err(named)
    }

    /// Takes the text of such a file.
    fn parse(text: &[u8], realm: &[u8]) -> std::result::Result<Passwords, String> {
        let mut users: Vec<([u8; 32], Keys)> = Vec::new();
        for (number, line) in lines(text) {
            let (user, password) =
                parse_line(line).map_err(|reason| format!("line {number}: {reason}"))?;
            let name = digest(user);
            if users.iter().any(|(own, _)| *own == name) {
                return Err(format!("line {number}: an earlier line has this user"));
            }
            if users.len() == MAX_USERS {
                return Err(format!("more than {MAX_USERS} users"));
            }
            users.push((name, Keys::new(realm, user, password)));
        }
        if users.is_empty() {
            return Err("it has no user".into());
        }
        Ok(Passwords { realm: realm.to_vec(), users, nobody: Keys::new(realm, b"", b"") })
    }

    /// What the passwords are for.
    pub fn realm(&self) -> &[u8] {
        &self.realm
    }

    /// How many users there are.
    pub fn count(&self) -> usize {
        self.users.len()
    }

    /// Runs `proves` with the key of this user and says whether it did; with some other
    /// key, and `false`, if there is no such user. It takes as long either way.
    pub(super) fn check(
        &self,
        user: &[u8],
        algorithm: Algorithm,
        proves: impl FnOnce(&str) -> bool,
    ) -> bool {
        let name = digest(user);
        let (mut known, mut keys) = (false, &self.nobody);
        for (own, own_keys) in &self.users {
            let same = same_secretly(own, &name);
            known |= same;
            keys = if same { own_keys } else { keys };
        }
        proves(keys.of(algorithm)) & known
    }
}

/// The one user of a client's file, and the password.
pub(super) fn read_login(path: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let text = read_secret(path)?;
    parse_login(&text).map_err(|reason| refused(path, &reason))
}

fn parse_login(text: &[u8]) -> std::result::Result<(Vec<u8>, Vec<u8>), String> {
    let mut all = lines(text);
    let (Some((number, line)), None) = (all.next(), all.next()) else {
        return Err("it must have exactly one line, user:password".into());
    };
    let (user, password) = parse_line(line).map_err(|reason| format!("line {number}: {reason}"))?;
    Ok((user.to_vec(), password.to_vec()))
}

/// Lines that are not empty, with their numbers from 1 and without their ends.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let whole = text.split(|&byte| byte == b'\n');
    let bare = whole.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    (1..).zip(bare).filter(|(_, line)| !line.is_empty())
}

/// `user:password`; a password may have colons.
pub(super) fn parse_line(line: &[u8]) -> std::result::Result<(&[u8], &[u8]), &'static str> {
    let mut parts = line.splitn(2, |&byte| byte == b':');
    let (Some(user), Some(password)) = (parts.next(), parts.next()) else {
        return Err("no colon in it");
    };
    if user.is_empty() || password.is_empty() {
        return Err("an empty name or password");
    }
    if user.len() > MAX_SECRET || password.len() > MAX_SECRET {
        return Err("the name or the password is too long");
    }
    if line.iter().any(u8::is_ascii_control) {
        return Err("a control character in it");
    }
    Ok((user, password))
}

/// The text of a file that nobody else may read.
pub(super) fn read_secret(path: &Path) -> Result<Vec<u8>> {
    let name = path.as_os_str().as_bytes();
    let shown = escape(name);
    let failed = |error| Error::system(&shown, &error);
    let file = open_without_blocking(path).map_err(|error| match name.contains(&b':') {
        // The secret itself, perhaps, and not the file's name.
        true => Error::usage("--auth: takes the name of a file with user:password in it"),
        false => failed(error),
    })?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(refused(path, "not a regular file"));
    }
    if found.mode() & OTHERS != 0 {
        return Err(refused(path, "others may read or change it; chmod 600 makes it private"));
    }
    let mut text = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() > MAX_FILE {
        return Err(refused(path, "the file is too long"));
    }
    Ok(text)
}

fn refused(path: &Path, reason: &str) -> Error {
    let shown = escape(path.as_os_str().as_bytes());
    Error::new(ExitCode::System, format!("{shown}: {reason}"))
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn parse(text: impl AsRef<[u8]>) -> std::result::Result<Passwords, String> {
        Passwords::parse(text.as_ref(), b"realm")
    }

    fn reason(text: impl AsRef<[u8]>) -> String {
        parse(text).err().unwrap()
    }

    fn knows(passwords: &Passwords, user: &[u8], password: &[u8]) -> bool {
        let right = key(Algorithm::Sha256, user, b"realm", password);
        passwords.check(user, Algorithm::Sha256, |key| key == right)
    }

    fn scratch(name: &str, text: &[u8], mode: u32) -> PathBuf {
        let name = format!("ropewalk-passwords-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_line_is_a_user_and_a_password() {
        let passwords = parse(b"ann:secret\n\nbob:a:b:\r\n\xff\xfe:\xc3\xa9").unwrap();
        assert_eq!(passwords.count(), 3);
        assert!(knows(&passwords, b"ann", b"secret"));
        assert!(knows(&passwords, b"bob", b"a:b:"));
        assert!(knows(&passwords, b"\xff\xfe", b"\xc3\xa9"));
        assert!(!knows(&passwords, b"ann", b"Secret"));
    }

    #[test]
    fn who_is_not_there_is_not_let_in_by_any_proof() {
        let passwords = parse("ann:secret").unwrap();
        assert!(!passwords.check(b"eve", Algorithm::Sha256, |_| true));
        assert!(!knows(&passwords, b"", b""));
    }

    #[test]
    fn each_algorithm_has_a_key_of_its_own() {
        let passwords = parse("ann:secret").unwrap();
        let right = key(Algorithm::Md5, b"ann", b"realm", b"secret");
        assert!(passwords.check(b"ann", Algorithm::Md5, |key| key == right));
        assert!(!passwords.check(b"ann", Algorithm::Sha256, |key| key == right));
    }

    #[test]
    fn broken_lines_are_named_by_their_number_alone() {
        for (text, expected) in [
            ("a:b\nsecret", "line 2: no colon in it"),
            ("\n:secret", "line 2: an empty name or password"),
            ("secret:", "line 1: an empty name or password"),
            ("a:sec\tret", "line 1: a control character in it"),
            ("a:b\na:secret", "line 2: an earlier line has this user"),
            ("", "it has no user"),
        ] {
            assert_eq!(reason(text), expected);
        }
    }

    #[test]
    fn the_limit_of_a_name_and_a_password_is_exact() {
        let line =
            |user: usize, password: usize| format!("{}:{}", "u".repeat(user), "p".repeat(password));
        assert!(parse(line(MAX_SECRET, MAX_SECRET)).is_ok());
        assert!(parse(line(MAX_SECRET + 1, 1)).is_err());
        assert!(parse(line(1, MAX_SECRET + 1)).is_err());
    }

    #[test]
    fn the_limit_of_users_is_exact() {
        let users = |count: usize| -> String { (0..count).map(|n| format!("u{n}:p\n")).collect() };
        assert_eq!(parse(users(MAX_USERS)).unwrap().count(), MAX_USERS);
        assert!(parse(users(MAX_USERS + 1)).is_err());
    }

    #[test]
    fn the_limit_of_the_file_is_exact() {
        let mut text = b"a:b\n".to_vec();
        text.resize(MAX_FILE + 1, b'\n');
        let path = scratch("long", &text[1..], 0o600);
        assert!(read_secret(&path).is_ok());
        fs::write(&path, &text).unwrap();
        assert!(read_secret(&path).unwrap_err().to_string().contains("too long"));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let path = scratch("mode", b"ann:secret", 0o600);
        assert_eq!(Passwords::read(&path, b"realm").unwrap().count(), 1);
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = Passwords::read(&path, b"realm").err().unwrap().to_string();
            assert!(error.contains("others may read"), "{mode:o} {error}");
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_secret_in_place_of_a_file_s_name_is_not_shown() {
        for name in ["ann:sesame", "/no/such/ann:sesame"] {
            let error = Passwords::read(Path::new(name), b"realm").err().unwrap();
            assert_eq!(error.code(), ExitCode::Usage);
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        for path in ["/dev/null", "/"] {
            let error = Passwords::read(Path::new(path), b"realm").err().unwrap();
            assert_eq!(error.to_string(), format!("{path}: not a regular file"));
        }
    }

    #[test]
    fn a_client_s_file_has_one_line() {
        assert_eq!(parse_login(b"ann:x:y\n").unwrap(), (b"ann".to_vec(), b"x:y".to_vec()));
        assert!(parse_login(b"").is_err());
        assert!(parse_login(b"ann:x\nbob:y\n").is_err());
    }
}
