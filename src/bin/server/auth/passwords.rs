//! The users of a server and their password keys, read from a file of secrets. Only hashes
//! of the names and keys made from the passwords are kept; neither is shown.

#![forbid(unsafe_code)]

use ropewalk::app::secrets::{self, lines, parse_line};
use ropewalk::codec::digest_auth::{Algorithm, key};
use ropewalk::error::Result;
use ropewalk::hash::{Sha256, same_secretly};
use std::path::Path;

/// The most users. Each request is compared with all of them, so that a known user takes as
/// long as an unknown one.
pub(crate) const MAX_USERS: usize = 1000;

/// A password's keys, one for each algorithm (RFC 7616, section 3.4.2: H(A1)).
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

/// All users that may log in.
pub(crate) struct Passwords {
    realm: Vec<u8>,
    /// The SHA-256 of each name, and the user's keys.
    users: Vec<([u8; 32], Keys)>,
    /// The keys that an unknown user is compared with.
    nobody: Keys,
}

impl Passwords {
    /// Reads the file at `path`. The passwords are valid for `realm` only.
    ///
    /// # Errors
    /// The file is not regular, others may read it, it has no user or too many, it names a
    /// user twice, or a line is not `user:password`. The message never shows a line's text.
    pub(crate) fn read(path: &Path, realm: &[u8]) -> Result<Passwords> {
        let named = |reason: String| secrets::refused(path, &reason);
        Passwords::parse(&secrets::read(path)?, realm).map_err(named)
    }

    /// Reads the text of such a file.
    fn parse(text: &[u8], realm: &[u8]) -> std::result::Result<Passwords, String> {
        let mut users: Vec<([u8; 32], Keys)> = Vec::new();
        for (number, line) in lines(text) {
            let (user, password) =
                parse_line(line).map_err(|reason| format!("line {number}: {reason}"))?;
            let name = digest(user);
            if users.iter().any(|(own, _)| *own == name) {
                return Err(format!("line {number}: this user is on an earlier line too"));
            }
            if users.len() == MAX_USERS {
                return Err(format!("more than {MAX_USERS} users"));
            }
            users.push((name, Keys::new(realm, user, password)));
        }
        if users.is_empty() {
            return Err("no user in the file".into());
        }
        Ok(Passwords { realm: realm.to_vec(), users, nobody: Keys::new(realm, b"", b"") })
    }

    /// The realm of the passwords.
    pub(crate) fn realm(&self) -> &[u8] {
        &self.realm
    }

    /// How many users there are.
    pub(crate) fn count(&self) -> usize {
        self.users.len()
    }

    /// Whether `proves` returns true for the key of this user; false for an unknown user.
    /// `proves` runs in both cases, so that they take the same time.
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

fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(bytes);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::app::secrets::MAX_SECRET;
    use ropewalk::error::ExitCode;
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
    fn an_unknown_user_is_refused_whatever_the_proof() {
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
    fn an_error_shows_the_number_of_a_line_and_not_its_text() {
        for (text, expected) in [
            ("a:b\nsecret", "line 2: no colon in it"),
            ("\n:secret", "line 2: an empty name or password"),
            ("secret:", "line 1: an empty name or password"),
            ("a:sec\tret", "line 1: a control character in it"),
            ("a:b\na:secret", "line 2: this user is on an earlier line too"),
            ("", "no user in the file"),
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
    fn a_file_that_is_not_regular_is_refused() {
        for path in ["/dev/null", "/"] {
            let error = Passwords::read(Path::new(path), b"realm").err().unwrap();
            assert_eq!(error.to_string(), format!("{path}: not a regular file"));
        }
    }
}
