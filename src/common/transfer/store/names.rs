//! The names that a store gives to files on their way: of a fixed length, made of the final name,
//! in the same folder. They are reserved: never listed, served, uploaded or fetched.

#![forbid(unsafe_code)]

use crate::hash::{Sha256, hex};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What these names begin with.
pub const PREFIX: &str = ".ropewalk-";

/// What a journal's name has behind the name of its file.
pub const JOURNAL: &str = ".journal";

/// Bytes of the SHA-256 of the final name in such a name.
const DIGEST: usize = 16;

/// The name of `name` while it is being written: `.ropewalk-` and 32 hex digits.
pub fn temporary(name: &OsStr) -> OsString {
    let mut digest = Sha256::new();
    digest.update(name.as_bytes());
    format!("{PREFIX}{}", hex(&digest.finish()[..DIGEST])).into()
}

/// The name of the journal of `name` while it is being written.
pub fn journal(name: &OsStr) -> OsString {
    journal_of(&temporary(name))
}

/// The name of the journal of the file with this temporary name.
pub fn journal_of(temporary: &OsStr) -> OsString {
    let mut name = temporary.to_os_string();
    name.push(JOURNAL);
    name
}

/// The two forms of a reserved name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// A file on its way.
    Temporary,
    /// The journal of one.
    Journal,
}

/// Which reserved name `name` is. `None` for every other name, however similar it is.
pub fn reserved(name: &OsStr) -> Option<Reserved> {
    let rest = name.as_bytes().strip_prefix(PREFIX.as_bytes())?;
    let (digits, behind) = rest.split_at_checked(2 * DIGEST)?;
    let are_digits = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    match behind {
        b"" if are_digits => Some(Reserved::Temporary),
        _ if are_digits && behind == JOURNAL.as_bytes() => Some(Reserved::Journal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_is_made_of_the_sha256_of_the_name() {
        // printf abc | sha256sum
        let expected = ".ropewalk-ba7816bf8f01cfea414140de5dae2223";
        assert_eq!(temporary(OsStr::new("abc")), expected);
        assert_eq!(journal(OsStr::new("abc")), format!("{expected}.journal").as_str());
        assert_ne!(temporary(OsStr::new("abC")), expected);
    }

    #[test]
    fn exactly_two_forms_are_reserved() {
        for name in ["a", "", "\u{fffd}", &"x".repeat(255)] {
            assert_eq!(reserved(&temporary(OsStr::new(name))), Some(Reserved::Temporary));
            assert_eq!(reserved(&journal(OsStr::new(name))), Some(Reserved::Journal));
        }
        let digits = "0123456789abcdef0123456789abcdef";
        let others = [
            String::new(),
            ".ropewalk-".to_string(),
            format!(".ropewalk-{}", &digits[1..]),
            format!(".ropewalk-{digits}0"),
            format!(".ropewalk-{}", digits.to_uppercase()),
            format!(".ropewalk-{digits}.part"),
            format!(".ropewalk-{digits}.journal.journal"),
            format!(".ropewalk-{}g", &digits[1..]),
            format!("ropewalk-{digits}"),
            format!("x.ropewalk-{digits}"),
        ];
        for name in others {
            assert_eq!(reserved(OsStr::new(&name)), None, "{name}");
        }
    }
}
