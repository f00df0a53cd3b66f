//! How a receiver checks the bytes: the word in a job and on the command line.

#![forbid(unsafe_code)]

/// How a receiver checks the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// The MD5 of the whole file, and the CRC32C of each block.
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
