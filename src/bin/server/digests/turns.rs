//! Whose turn it is to hash: as many at a time as there are cores, in the order in
//! which they came, and none for long while others wait.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};

/// After so many bytes a hash lets another one on that waits for its turn.
pub(super) const TURN: u64 = 64 << 20;

/// Hashes that have a turn, and those that could go on if they had one.
#[derive(Default)]
pub(super) struct Turns {
    cores: usize,
    /// How many bytes each has hashed in its turn.
    taken: HashMap<String, u64>,
    queue: VecDeque<String>,
    stir: bool,
}

impl Turns {
    pub(super) fn new(cores: usize) -> Turns {
        Turns { cores, ..Turns::default() }
    }

    /// Whether `tag` has a turn, or gets one now; else it queues for one.
    pub(super) fn take(&mut self, tag: &str) -> bool {
        if self.taken.get(tag).is_some_and(|used| *used < TURN || self.queue.is_empty()) {
            return true;
        }
        if self.taken.contains_key(tag) {
            self.release(tag);
        }
        if !self.queue.iter().any(|queued| queued == tag) {
            self.queue.push_back(tag.to_string());
        }
        if self.taken.len() >= self.cores || self.queue.front().is_none_or(|next| next != tag) {
            return false;
        }
        self.queue.pop_front();
        self.taken.insert(tag.to_string(), 0);
        self.stir = true; // there may be a turn for the next one too
        true
    }

    /// The hash of `tag` goes on for so many bytes.
    pub(super) fn spend(&mut self, tag: &str, bytes: u64) {
        if let Some(used) = self.taken.get_mut(tag) {
            *used = used.saturating_add(bytes);
        }
    }

    /// Takes the turn of `tag` from it, or its place in the queue.
    pub(super) fn release(&mut self, tag: &str) {
        let queued = self.queue.len();
        self.queue.retain(|queued| queued != tag);
        let had_turn = self.taken.remove(tag).is_some();
        self.stir |= had_turn || queued != self.queue.len();
    }

    /// Whether those who wait for a turn have to look again; `false` the next time.
    pub(super) fn take_stir(&mut self) -> bool {
        std::mem::take(&mut self.stir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_turns_as_cores() {
        let mut turns = Turns::new(2);
        assert_eq!(["a", "b", "c"].map(|tag| turns.take(tag)), [true, true, false]);
        turns.take_stir();
        turns.release("a");
        assert!(turns.take_stir());
        assert!(turns.take("c"));
    }

    #[test]
    fn a_turn_lasts_while_nobody_else_wants_one() {
        let mut turns = Turns::new(1);
        assert!(turns.take("long"));
        turns.spend("long", 5 * TURN);
        assert!(turns.take("long"));
        assert!(!turns.take("short"));
        assert!(!turns.take("long"));
        assert!(turns.take("short"));
    }

    #[test]
    fn turns_come_in_order() {
        let mut turns = Turns::new(1);
        assert!(turns.take("first"));
        assert_eq!(["second", "third"].map(|tag| turns.take(tag)), [false, false]);
        turns.release("first");
        assert_eq!(["third", "second"].map(|tag| turns.take(tag)), [false, true]);
    }

    #[test]
    fn one_who_leaves_the_queue_holds_nobody_up() {
        let mut turns = Turns::new(1);
        assert!(turns.take("first"));
        assert_eq!(["second", "third"].map(|tag| turns.take(tag)), [false, false]);
        turns.take_stir();
        turns.release("second");
        assert!(turns.take_stir());
        turns.release("first");
        assert!(turns.take("third"));
    }
}
