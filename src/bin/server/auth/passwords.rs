//! The users of a server and what proves their passwords, from a file of secrets. Keeps for
//! each user what stands for the password, and never shows one.

#![forbid(unsafe_code)]

use ropewalk::app::secrets::{self, lines, parse_line};
use ropewalk::codec::digest_auth::{Algorithm, key};
use ropewalk::error::Result;
use ropewalk::hash::{Sha256, same_secretly};
use std::path::Path;

/// The most users. All are looked at for each request, so that it takes as long for
/// one who is there as for one who is not.
pub(crate) const MAX_USERS: usize = 1000;

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
pub(crate) struct Passwords {
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
    pub(crate) fn read(path: &Path, realm: &[u8]) -> Result<Passwords> {
        let named = |reason: String| secrets::refused(path, &reason);
        Passwords::parse(&secrets::read(path)?, realm).map_err(named)
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
    pub(crate) fn realm(&self) -> &[u8] {
        &self.realm
    }

    /// How many users there are.
    pub(crate) fn count(&self) -> usize {
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
}
