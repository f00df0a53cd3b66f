//! Whose turn it is to hash: as many at a time as there are cores, in the order in
//! which they came, and none for long while others wait. A hash that nobody waits for has
//! no turn while one is queued that somebody does wait for.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};

/// Whether anybody waits for a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// Somebody does.
    Awaited,
    /// Not any more.
    Abandoned,
}

/// After so many bytes a hash lets another one on that waits for its turn.
pub(super) const TURN: u64 = 64 << 20;

/// Hashes that have a turn, and those that could go on if they had one.
#[derive(Default)]
pub(super) struct Turns {
    cores: usize,
    /// How many bytes each has hashed in its turn.
    taken: HashMap<String, u64>,
    queue: VecDeque<(String, Demand)>,
    stir: bool,
}

impl Turns {
    pub(super) fn new(cores: usize) -> Turns {
        Turns { cores, ..Turns::default() }
    }

    /// Whether `tag` has a turn, or gets one now; else it queues for one.
    pub(super) fn take(&mut self, tag: &str, demand: Demand) -> bool {
        if let Some(used) = self.taken.get(tag).copied() {
            let gives_way = match (self.next(), demand) {
                (None, _) | (Some((_, Demand::Abandoned)), Demand::Awaited) => false,
                (Some((_, Demand::Awaited)), Demand::Abandoned) => true,
                (Some(_), _) => used >= TURN,
            };
            if !gives_way {
                return true;
            }
            self.release(tag);
        }
        match self.queue.iter_mut().find(|(queued, _)| queued == tag) {
            Some((_, known)) => {
                // It may have stood before others who look no more by themselves.
                self.stir |= *known != demand;
                *known = demand;
            }
            None => self.queue.push_back((tag.to_string(), demand)),
        }
        if self.taken.len() >= self.cores || self.next().is_none_or(|(next, _)| next != tag) {
            return false;
        }
        self.queue.retain(|(queued, _)| queued != tag);
        self.taken.insert(tag.to_string(), 0);
        self.stir = true; // there may be a turn for the next one too
        true
    }

    /// Who gets the next turn: the first who is awaited, else the first.
    fn next(&self) -> Option<(&str, Demand)> {
        let awaited = self.queue.iter().find(|(_, demand)| *demand == Demand::Awaited);
        awaited.or(self.queue.front()).map(|(tag, demand)| (tag.as_str(), *demand))
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
        self.queue.retain(|(queued, _)| queued != tag);
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

    fn take(turns: &mut Turns, tag: &str) -> bool {
        turns.take(tag, Demand::Awaited)
    }

    fn take_abandoned(turns: &mut Turns, tag: &str) -> bool {
        turns.take(tag, Demand::Abandoned)
    }

    #[test]
    fn there_are_as_many_turns_as_cores() {
        let mut turns = Turns::new(2);
        assert_eq!(["a", "b", "c"].map(|tag| take(&mut turns, tag)), [true, true, false]);
        turns.take_stir();
        turns.release("a");
        assert!(turns.take_stir());
        assert!(take(&mut turns, "c"));
    }

    #[test]
    fn a_turn_lasts_while_nobody_else_wants_one() {
        let mut turns = Turns::new(1);
        assert!(take(&mut turns, "long"));
        turns.spend("long", 5 * TURN);
        assert!(take(&mut turns, "long"));
        assert!(!take(&mut turns, "short"));
        assert!(!take(&mut turns, "long"));
        assert!(take(&mut turns, "short"));
    }

    #[test]
    fn turns_come_in_order() {
        let mut turns = Turns::new(1);
        assert!(take(&mut turns, "first"));
        assert_eq!(["second", "third"].map(|tag| take(&mut turns, tag)), [false, false]);
        turns.release("first");
        assert_eq!(["third", "second"].map(|tag| take(&mut turns, tag)), [false, true]);
    }

    #[test]
    fn one_who_leaves_the_queue_holds_nobody_up() {
        let mut turns = Turns::new(1);
        assert!(take(&mut turns, "first"));
        assert_eq!(["second", "third"].map(|tag| take(&mut turns, tag)), [false, false]);
        turns.take_stir();
        turns.release("second");
        assert!(turns.take_stir());
        turns.release("first");
        assert!(take(&mut turns, "third"));
    }

    #[test]
    fn one_that_nobody_waits_for_lets_one_that_is_awaited_on_at_once() {
        let mut turns = Turns::new(1);
        assert!(take_abandoned(&mut turns, "left"));
        turns.spend("left", 1);
        assert!(!take(&mut turns, "awaited"));
        assert!(!take_abandoned(&mut turns, "left"));
        assert!(take(&mut turns, "awaited"));
        turns.spend("awaited", 2 * TURN);
        assert!(take(&mut turns, "awaited"));
        assert!(!take_abandoned(&mut turns, "left"));
        turns.release("awaited");
        assert!(take_abandoned(&mut turns, "left"));
    }

    #[test]
    fn one_that_is_awaited_goes_before_those_that_are_not() {
        let mut turns = Turns::new(1);
        assert!(take(&mut turns, "first"));
        assert_eq!(["left", "gone"].map(|tag| take_abandoned(&mut turns, tag)), [false; 2]);
        assert!(!take(&mut turns, "last"));
        turns.release("first");
        assert_eq!(["left", "gone"].map(|tag| take_abandoned(&mut turns, tag)), [false; 2]);
        assert!(take(&mut turns, "last"));
        turns.release("last");
        assert!(take_abandoned(&mut turns, "left"));
    }

    #[test]
    fn one_that_loses_or_finds_somebody_who_waits_keeps_its_place() {
        let mut turns = Turns::new(1);
        assert!(take(&mut turns, "first"));
        assert_eq!(["a", "b"].map(|tag| take(&mut turns, tag)), [false, false]);
        turns.take_stir();
        assert!(!take_abandoned(&mut turns, "a"));
        assert!(turns.take_stir(), "others have come nearer");
        turns.release("first");
        assert!(!take_abandoned(&mut turns, "a"));
        assert!(take(&mut turns, "b"));
        assert!(!take(&mut turns, "a"));
        turns.release("b");
        assert!(take(&mut turns, "a"));
    }
}
