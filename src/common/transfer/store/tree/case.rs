//! Whether a folder takes two names for one that differ by case only.

#![forbid(unsafe_code)]

use super::{FolderPath, Tree};
use crate::sys::dir::Kind;
use crate::transfer::store::names;
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Most names of a folder that are looked at.
const MOST: usize = 64;

/// What the case of names means in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// Names that differ by case are two names.
    #[default]
    Counts,
    /// They are one name.
    Ignored,
    /// The folder is empty: nobody can tell.
    Unknown,
}

impl Case {
    /// The form of `name` that all names have in common which are one name.
    pub fn key(self, name: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Case::Ignored => Cow::Owned(String::from_utf8_lossy(name).to_lowercase().into_bytes()),
            Case::Counts | Case::Unknown => Cow::Borrowed(name),
        }
    }
}

impl Tree {
    /// What case means in a folder: looks for one of its names in the other case.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn case_of(&self, path: &FolderPath) -> io::Result<Case> {
        let folder = self.folder(path)?;
        let listing = match folder.to_list() {
            Ok(listing) => listing,
            // What may not be listed is another user's.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Case::Counts);
            }
            Err(error) => return Err(error),
        };
        let mut case = Case::Unknown;
        for name in listing.entries().take(MOST) {
            let name = name?;
            if names::reserved(&name).is_none() {
                case = Case::Counts;
            }
            let Some(other) = in_other_case(&name) else { continue };
            let Ok(found) = folder.dir.status_of(&name) else { continue };
            // A file may have a second name of its own.
            if found.kind == Kind::Folder || found.links == 1 {
                let number = |found: &crate::sys::dir::Status| (found.device, found.inode);
                let other = folder.dir.status_of(&other);
                let is_same = other.is_ok_and(|other| number(&other) == number(&found));
                return Ok(if is_same { Case::Ignored } else { Case::Counts });
            }
        }
        Ok(case)
    }
}

/// The name with small letters for capital ones, and the other way round. `None` without letters.
fn in_other_case(name: &OsStr) -> Option<OsString> {
    let swap = |byte: &u8| match byte.is_ascii_lowercase() {
        true => byte.to_ascii_uppercase(),
        false => byte.to_ascii_lowercase(),
    };
    let has_letters = name.as_bytes().iter().any(u8::is_ascii_alphabetic);
    has_letters.then(|| OsString::from_vec(name.as_bytes().iter().map(swap).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_another_case_if_it_has_a_letter() {
        assert_eq!(in_other_case(OsStr::new("aB.1")), Some("Ab.1".into()));
        assert_eq!(in_other_case(OsStr::new("12.3")), None);
    }

    #[test]
    fn names_that_are_one_have_one_key() {
        assert_eq!(Case::Ignored.key("ÄB".as_bytes()), Case::Ignored.key("äb".as_bytes()));
        for case in [Case::Counts, Case::Unknown] {
            assert_eq!(&*case.key(b"Ab\xff"), b"Ab\xff");
        }
    }
}
