//! The digests that were asked for last, by entity tag. A tag stands for bytes that do
//! not change, so nothing here grows stale; it is only put out by newer ones.

#![forbid(unsafe_code)]

use super::Hashed;
use std::collections::VecDeque;

/// How many are kept.
pub(super) const MAX_REMEMBERED: usize = 64;

/// Digests, the one that was used last at the end.
#[derive(Default)]
pub(super) struct Remembered {
    entries: VecDeque<(String, Hashed)>,
}

impl Remembered {
    /// The digest for `tag`, which counts as used now.
    pub(super) fn recall(&mut self, tag: &str) -> Option<Hashed> {
        let place = self.entries.iter().position(|(own, _)| own == tag)?;
        let entry = self.entries.remove(place)?;
        let hashed = entry.1;
        self.entries.push_back(entry);
        Some(hashed)
    }

    /// Keeps a digest; the one that was not used for longest goes for it.
    pub(super) fn remember(&mut self, tag: &str, hashed: Hashed) {
        self.entries.retain(|(own, _)| own != tag);
        if self.entries.len() >= MAX_REMEMBERED {
            self.entries.pop_front();
        }
        self.entries.push_back((tag.to_string(), hashed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(length: u64) -> Hashed {
        Hashed { md5: [0; 16], length, unchanged: true, settled: true }
    }

    #[test]
    fn what_was_used_last_stays() {
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
