//! Names within a tree: bytes of any kind, as the file system has them.

#![forbid(unsafe_code)]

/// Longest name of one entry of a folder, in bytes (NAME_MAX).
pub const MAX_COMPONENT: usize = 255;

/// Longest name of an entry from the top of its tree, in bytes (PATH_MAX without its NUL).
pub const MAX_NAME: usize = 4095;

/// Whether `name` can be the name of an entry in its folder. It cannot lead anywhere else.
pub fn is_component(name: &[u8]) -> bool {
    (1..=MAX_COMPONENT).contains(&name.len())
        && name != b"."
        && name != b".."
        && !name.contains(&b'/')
        && !name.contains(&0)
}

/// Whether `name` is the name of an entry below the top of its tree: components with single
/// slashes between them.
pub fn is_name(name: &[u8]) -> bool {
    name.len() <= MAX_NAME && name.split(|byte| *byte == b'/').all(is_component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_any_bytes_that_stay_in_their_folder() {
        for good in [&b"a"[..], b" ", b"...", b".a", b"\xff\n\\", &[b'x'; MAX_COMPONENT]] {
            assert!(is_component(good) && is_name(good), "{good:?}");
        }
        for bad in [&b""[..], b".", b"..", b"/", b"a/", b"a\0", &[b'x'; MAX_COMPONENT + 1]] {
            assert!(!is_component(bad) && !is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_components_with_single_slashes_between_them() {
        assert!(is_name(b"a/b") && !is_component(b"a/b"));
        for bad in [&b"/a"[..], b"a/", b"a//b", b"a/./b", b"../a", b"a/..", b"a/b\0"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_name_has_a_longest_length() {
        let longest = [&b"a/".repeat(MAX_NAME / 2)[..], b"a"].concat();
        assert_eq!(longest.len(), MAX_NAME);
        assert!(is_name(&longest) && !is_name(&[&longest[..], b"a"].concat()));
    }
}
