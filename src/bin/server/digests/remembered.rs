//! The digests that clients asked for last, by the key of the file's identity. A changed
//! file has another key, so no entry becomes wrong; only newer entries push it out.

#![forbid(unsafe_code)]

use super::Hashed;
use std::collections::VecDeque;

/// The most digests that are kept.
pub(super) const MAX_REMEMBERED: usize = 64;

/// Digests, the most recently used one last.
#[derive(Default)]
pub(super) struct Remembered {
    entries: VecDeque<(String, Hashed)>,
}

impl Remembered {
    /// The digest of `key`, which counts as used now.
    pub(super) fn recall(&mut self, key: &str) -> Option<Hashed> {
        let position = self.entries.iter().position(|(own, _)| own == key)?;
        let entry = self.entries.remove(position)?;
        let hashed = entry.1;
        self.entries.push_back(entry);
        Some(hashed)
    }

    /// Keeps a digest, in place of the least recently used one if there are too many.
    pub(super) fn remember(&mut self, key: &str, hashed: Hashed) {
        self.entries.retain(|(own, _)| own != key);
        if self.entries.len() >= MAX_REMEMBERED {
            self.entries.pop_front();
        }
        self.entries.push_back((key.to_string(), hashed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(length: u64) -> Hashed {
        Hashed { md5: [0; 16], length, unchanged: true, settled: true }
    }

    #[test]
    fn the_least_recently_used_digest_is_forgotten() {
        let mut remembered = Remembered::default();
        for number in 0..MAX_REMEMBERED as u64 {
            remembered.remember(&number.to_string(), hashed(number));
        }
        assert_eq!(remembered.recall("0"), Some(hashed(0)));
        remembered.remember("more", hashed(1));
        assert_eq!(remembered.recall("0"), Some(hashed(0)));
        assert_eq!(remembered.recall("1"), None);
        assert_eq!(remembered.recall("2"), Some(hashed(2)));
        assert_eq!(remembered.entries.len(), MAX_REMEMBERED);
    }
}
