//! The path of a folder in a tree, and the rules for a name in it. What a peer sends becomes one
//! of these, or is refused.

#![forbid(unsafe_code)]

use crate::transfer::store::names;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Most bytes of a name (NAME_MAX).
const MAX_NAME: usize = 255;

/// Most bytes of a path within a tree.
pub const MAX_PATH: usize = 4095;

/// Most folders below each other within a tree.
pub const MAX_DEPTH: usize = 256;

/// The path of a folder, relative to the tree's own. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FolderPath(Arc<[u8]>);

impl FolderPath {
    /// The tree's own folder.
    pub fn root() -> FolderPath {
        FolderPath(Arc::from([]))
    }

    /// The folder `name` in this one.
    ///
    /// # Errors
    /// `InvalidInput` as for [`check_name`]; `ENAMETOOLONG` for a path of more than [`MAX_PATH`]
    /// bytes or [`MAX_DEPTH`] folders.
    pub fn child(&self, name: &OsStr) -> io::Result<FolderPath> {
        check_name(name)?;
        let path = self.join(name);
        if path.len() > MAX_PATH || self.depth() >= MAX_DEPTH {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        Ok(FolderPath(path.into()))
    }

    /// The path of `name` in this folder, for a person.
    pub fn join(&self, name: &OsStr) -> Vec<u8> {
        match self.is_root() {
            true => name.as_bytes().to_vec(),
            false => [&self.0, &b"/"[..], name.as_bytes()].concat(),
        }
    }

    /// Its bytes; empty for the tree's own folder.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the tree's own folder.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The folders on the way to this one: the tree's own first, this one last.
    pub(super) fn way(&self) -> impl Iterator<Item = FolderPath> {
        let slashes = self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let above = slashes.map(|(at, _)| FolderPath(self.0[..at].into()));
        let this = (!self.is_root()).then(|| self.clone());
        std::iter::once(FolderPath::root()).chain(above).chain(this)
    }

    /// How many folders it is below the tree's own.
    pub fn depth(&self) -> usize {
        match self.is_root() {
            true => 0,
            false => 1 + self.0.iter().filter(|&&byte| byte == b'/').count(),
        }
    }
}

/// Demands that an entry of a tree may have this name: 1 to 255 bytes without a slash and NUL, not
/// `.` or `..`, and not reserved.
///
/// # Errors
/// `InvalidInput`.
pub fn check_name(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    let good = (1..=MAX_NAME).contains(&bytes.len())
        && !bytes.iter().any(|byte| matches!(byte, b'/' | 0))
        && !matches!(bytes, b"." | b"..")
        && names::reserved(name).is_none();
    good.then_some(()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "invalid name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        let reserved = names::temporary(OsStr::new("x"));
        let long = "x".repeat(256);
        let names = ["", ".", "..", "/", "a/b", "../a", "a\0b", &long];
        for name in names.into_iter().map(OsStr::new).chain([&*reserved]) {
            assert!(FolderPath::root().child(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn every_other_byte_may_be_in_a_name() {
        for byte in (1..=255).filter(|byte| *byte != b'/') {
            check_name(OsStr::from_bytes(&[byte, b'x'])).unwrap();
        }
        check_name(OsStr::new(&"x".repeat(255))).unwrap();
        check_name(OsStr::new("...")).unwrap();
    }

    #[test]
    fn paths_end_at_their_limits() {
        let name = "x".repeat(255);
        let mut path = FolderPath::root();
        for _ in 0..15 {
            path = path.child(OsStr::new(&name)).unwrap();
        }
        assert_eq!((path.as_bytes().len(), path.depth()), (15 * 256 - 1, 15));
        path = path.child(OsStr::new(&name)).unwrap();
        assert_eq!(path.as_bytes().len(), MAX_PATH);
        assert!(path.child(OsStr::new("x")).is_err());
        let mut deep = FolderPath::root();
        for _ in 0..MAX_DEPTH {
            deep = deep.child(OsStr::new("d")).unwrap();
        }
        assert_eq!(deep.depth(), MAX_DEPTH);
        assert!(deep.child(OsStr::new("d")).is_err());
    }
}
