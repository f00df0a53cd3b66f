//! How many streams a source keeps open that dials them: as many as the sink has last said, where
//! the sink finds the number.

#![forbid(unsafe_code)]

use crate::sys::sync::lock;
use std::sync::Mutex;

/// The last wish.
pub(super) struct Wishes {
    /// Whether the sink finds the number.
    grows: bool,
    last: Mutex<Wish>,
}

struct Wish {
    /// The number of the session, and that of the wish in it: streams carry wishes past each other.
    turn: (u64, u64),
    streams: u8,
}

impl Wishes {
    /// Before the first wish, so many streams are wanted: those that the sink begins with. Without
    /// `first`, every stream of the session is wanted, whatever the sink says.
    pub(super) fn new(first: Option<u8>) -> Wishes {
        let last = Wish { turn: (0, 0), streams: first.unwrap_or(u8::MAX) };
        Wishes { grows: first.is_some(), last: Mutex::new(last) }
    }

    /// How many streams are wanted; more than a session may have, perhaps.
    pub(super) fn streams(&self) -> u8 {
        lock(&self.last).streams
    }

    /// The sink of session `generation` wants so many streams.
    pub(super) fn hear(&self, generation: u64, turn: u64, wanted: u8) {
        let mut last = lock(&self.last);
        if self.grows && (generation, turn) > last.turn {
            *last = Wish { turn: (generation, turn), streams: wanted };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_wish_of_the_latest_session_counts() {
        let wishes = Wishes::new(Some(3));
        assert_eq!(wishes.streams(), 3);
        for (generation, turn, wanted, expected) in
            [(0, 2, 16, 16), (0, 1, 4, 16), (0, 3, 8, 8), (1, 1, 5, 5), (0, 9, 99, 5), (1, 1, 7, 5)]
        {
            wishes.hear(generation, turn, wanted);
            assert_eq!(wishes.streams(), expected, "{generation} {turn}");
        }
    }

    #[test]
    fn a_number_that_the_user_has_given_stays() {
        let wishes = Wishes::new(None);
        wishes.hear(0, 1, 1);
        assert_eq!(wishes.streams(), u8::MAX);
    }
}
