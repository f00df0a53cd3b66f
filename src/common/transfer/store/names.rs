//! The names that a store gives to files on their way: of a fixed length, made of the final name,
//! in the same folder. They are reserved: never listed, served, uploaded or fetched.

#![forbid(unsafe_code)]

use crate::hash::{Sha256, push_hex};
use crate::sys::random;
use std::ffi::{OsStr, OsString};
use std::io;
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
    with_digits(&digest.finish()[..DIGEST])
}

/// The name of `name` while one run writes it, and no other: `salt` is the run's.
pub fn of_run(name: &OsStr, salt: &[u8; DIGEST]) -> OsString {
    let mut digest = Sha256::new();
    digest.update(salt);
    digest.update(name.as_bytes());
    with_digits(&digest.finish()[..DIGEST])
}

/// The name of `name` while it becomes a further name of a file. It is not that of [`of_run`]: a
/// file that was fetched for `name` has that one, and takes the place if the link fails.
pub fn of_link(name: &OsStr, salt: &[u8; DIGEST]) -> OsString {
    let mut digest = Sha256::new();
    digest.update(salt);
    digest.update(name.as_bytes());
    digest.update(b"/"); // no name has it
    with_digits(&digest.finish()[..DIGEST])
}

/// Random bytes for [`of_run`] and [`of_link`].
pub fn salt() -> io::Result<[u8; DIGEST]> {
    let mut salt = [0; DIGEST];
    random::fill(&mut salt)?;
    Ok(salt)
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

/// The temporary name of the file with this journal. `None` if it is no journal's name.
pub fn file_of_journal(journal: &OsStr) -> Option<&OsStr> {
    let is_journal = reserved(journal) == Some(Reserved::Journal);
    journal
        .as_bytes()
        .strip_suffix(JOURNAL.as_bytes())
        .filter(|_| is_journal)
        .map(OsStr::from_bytes)
}

/// The temporary name of an upload: no other one has it.
pub fn unique() -> io::Result<OsString> {
    Ok(with_digits(&salt()?))
}

/// The reserved name with the digits of these bytes.
fn with_digits(bytes: &[u8]) -> OsString {
    let mut name = String::with_capacity(PREFIX.len() + 2 * bytes.len());
    name.push_str(PREFIX);
    push_hex(&mut name, bytes);
    name.into()
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

/// What a single file that is on its way has behind its name.
pub const PART: &str = ".part";

/// Whether `name` may be that of a single file on its way, or of its journal.
pub fn is_part(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let name = name.strip_suffix(JOURNAL.as_bytes()).unwrap_or(name);
    name.ends_with(PART.as_bytes())
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
    fn a_unique_name_is_reserved_and_of_no_other_file() {
        let (one, other) = (unique().unwrap(), unique().unwrap());
        assert_eq!(reserved(&one), Some(Reserved::Temporary));
        assert_ne!(one, other);
    }

    #[test]
    fn part_files_and_their_journals_are_known() {
        for (name, expected) in [
            ("a.part", true),
            ("a.part.journal", true),
            (".part", true),
            ("a.part1", false),
            ("a.journal", false),
            ("a.part.x", false),
            ("part", false),
        ] {
            assert_eq!(is_part(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn exactly_two_forms_are_reserved() {
        for name in ["a", "", "\u{fffd}", &"x".repeat(255)] {
            assert_eq!(reserved(&temporary(OsStr::new(name))), Some(Reserved::Temporary));
            assert_eq!(reserved(&journal(OsStr::new(name))), Some(Reserved::Journal));
            let (file, journal) = (temporary(OsStr::new(name)), journal(OsStr::new(name)));
            assert_eq!(file_of_journal(&journal), Some(file.as_os_str()));
            assert_eq!(file_of_journal(&file), None);
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
