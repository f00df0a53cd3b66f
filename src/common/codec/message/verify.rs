//! How a receiver checks the bytes: the word in a job and on the command line.

#![forbid(unsafe_code)]

use super::fields::Fields;
use crate::error::Result;

/// How a receiver checks the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// The MD5 of the whole file, and the CRC32C of each block. Of a folder, the MD5 of each file
    /// that is longer than a block.
    Md5,
    /// The CRC32C of each block.
    Crc32c,
    /// Not at all.
    None,
}

impl Verify {
    /// All of them.
    pub const ALL: [Verify; 3] = [Verify::Md5, Verify::Crc32c, Verify::None];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Verify::Md5 => "md5",
            Verify::Crc32c => "crc32c",
            Verify::None => "none",
        }
    }

    /// The one that `fields` have under the key `verify`.
    ///
    /// # Errors
    /// The key is missing, or its word is none.
    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Verify> {
        Verify::from_word(fields.text("verify")?).ok_or_else(|| fields.invalid("verify"))
    }

    /// The one with this word.
    pub fn from_word(word: &str) -> Option<Verify> {
        Verify::ALL.into_iter().find(|verify| verify.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_word_of_its_own() {
        assert_eq!(Verify::ALL.map(Verify::word), ["md5", "crc32c", "none"]);
        for verify in Verify::ALL {
            assert_eq!(Verify::from_word(verify.word()), Some(verify));
        }
        assert_eq!(Verify::from_word("MD5"), None);
    }
}
