//! One component of a path, as the system calls take it.

#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::ops::Deref;

/// Bytes of a component and its NUL that need no memory of their own.
const SHORT: usize = 64;

/// A name in a folder: not empty, without a slash and NUL. Most names are short, and each system
/// call needs one: these take no memory from the heap.
pub(in crate::sys) enum Component {
    /// With zeros behind it.
    Short([u8; SHORT]),
    Long(CString),
}

impl Component {
    /// The component `name`.
    ///
    /// # Errors
    /// `InvalidInput` for any other name.
    pub(in crate::sys) fn new(name: &[u8]) -> io::Result<Component> {
        if name.is_empty() || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut short = [0; SHORT];
        match short[..SHORT - 1].get_mut(..name.len()) {
            Some(place) => {
                place.copy_from_slice(name);
                Ok(Component::Short(short))
            }
            None => Ok(Component::Long(CString::new(name)?)),
        }
    }
}

impl Deref for Component {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        match self {
            // Its last byte is zero.
            Component::Short(bytes) => CStr::from_bytes_until_nul(bytes).unwrap_or_default(),
            Component::Long(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_of_any_length_is_itself() {
        for length in [1, 2, SHORT - 2, SHORT - 1, SHORT, 255, 300] {
            let name = vec![b'a'; length];
            assert_eq!(Component::new(&name).unwrap().to_bytes(), name);
        }
    }

    #[test]
    fn an_empty_name_a_slash_and_nul_are_refused() {
        for name in [&b""[..], b"/", b"a/b", b"a\0", b"\0"] {
            let error = Component::new(name).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
}
