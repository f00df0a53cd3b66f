//! Files of secrets, `user:password` a line, that only their owner may read: the passwords of a
//! server and the logins of a client.

#![forbid(unsafe_code)]

use crate::codec::text::escape;
use crate::error::{Error, ExitCode, Result};
use crate::sys::file::open_without_blocking;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The longest file, in bytes.
pub const MAX_FILE: usize = 1 << 20;

/// The longest name of a user, and the longest password, in bytes.
pub const MAX_SECRET: usize = 1000;

/// The mode bits that a file must not have: rights of group and others.
const OTHERS: u32 = 0o077;

/// Lines that are not empty, with their numbers from 1 and without their ends.
pub fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let whole = text.split(|&byte| byte == b'\n');
    let bare = whole.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    (1..).zip(bare).filter(|(_, line)| !line.is_empty())
}

/// Splits a line: `user:password`. A password may have colons.
///
/// # Errors
/// The reason, without any text of the line.
pub fn parse_line(line: &[u8]) -> std::result::Result<(&[u8], &[u8]), &'static str> {
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

/// The text of the file of secrets at `path`.
///
/// # Errors
/// The file cannot be read, is no regular file, is longer than [`MAX_FILE`], or others may read
/// or change it. The error shows no text of the file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let name = path.as_os_str().as_bytes();
    let shown = escape(name);
    let failed = |error| Error::system(&shown, &error);
    let file = open_without_blocking(path).map_err(|error| match name.contains(&b':') {
        // The argument may be the secret itself instead of a file's name.
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

/// The error that refuses the file of secrets at `path`.
pub fn refused(path: &Path, reason: &str) -> Error {
    let shown = escape(path.as_os_str().as_bytes());
    Error::new(ExitCode::System, format!("{shown}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_limit_of_the_file_is_exact() {
        let mut text = b"a:b\n".to_vec();
        text.resize(MAX_FILE + 1, b'\n');
        let name = format!("ropewalk-secrets-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, &text[1..]).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(read(&path).is_ok());
        fs::write(&path, &text).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("too long"));
        fs::remove_file(path).unwrap();
    }
}
