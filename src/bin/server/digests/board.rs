//! The state of all hashes under one lock: who waits for which, how far it may go, when
//! it is given up. Neither blocks nor reads a file.

#![forbid(unsafe_code)]

use super::remembered::Remembered;
use super::turns::Turns;
use super::{Hashed, Hurry, NoDigest};
use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Most hashes that are begun at once, whether they go on or wait.
const MAX_HASHES: usize = 256;

/// How long a hash goes on that nobody waits for: a client whose connection was lost
/// asks again.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// How far a hash may be ahead of the transfers of its file, so that what it reads is
/// still in the page cache when they come to it.
pub(super) const MAX_AHEAD: u64 = 64 << 20;

/// Bytes that a hash goes on before it looks here again.
pub(super) const STRETCH: u64 = 4 << 20;

/// Where those who wait find the outcome.
pub(super) type Slot = Arc<OnceLock<Result<Hashed, NoDigest>>>;

/// What a hash does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on, up to this offset.
    Go(u64),
    /// It waits until something changes, or for so long.
    Wait(Option<Instant>),
    /// It ends.
    Stop(NoDigest),
}

/// One who has come to wait.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) number: u64,
    pub(super) slot: Slot,
    /// Whether the hash is still to be started.
    pub(super) first: bool,
}

/// All hashes and the transfers that they keep close to, by entity tag.
#[derive(Default)]
pub(super) struct Board {
    turns: Turns,
    running: HashMap<String, Running>,
    under_way: HashMap<String, UnderWay>,
    remembered: Remembered,
    stopping: bool,
    last: u64,
}

#[derive(Default)]
struct Running {
    waiting: HashMap<u64, Hurry>,
    /// Dropped at the end, which rings them. Some are of those who have left.
    bells: HashMap<u64, UnixStream>,
    /// Since when nobody has waited.
    left: Option<Instant>,
    slot: Slot,
}

#[derive(Default)]
struct UnderWay {
    transfers: usize,
    /// How far any of them has come.
    furthest: u64,
}

impl Board {
    pub(super) fn new(cores: usize) -> Board {
        Board { turns: Turns::new(cores), ..Board::default() }
    }

    pub(super) fn recall(&mut self, tag: &str) -> Option<Hashed> {
        self.remembered.recall(tag)
    }

    /// Adds one who waits for `tag`.
    pub(super) fn join(
        &mut self,
        tag: &str,
        hurry: Hurry,
        bell: UnixStream,
    ) -> Result<Joined, NoDigest> {
        if self.stopping {
            return Err(NoDigest::Stopping);
        }
        let first = !self.running.contains_key(tag);
        if first && self.running.len() >= MAX_HASHES {
            return Err(NoDigest::Busy);
        }
        self.last += 1;
        let number = self.last;
        let running = self.running.entry(tag.to_string()).or_default();
        running.left = None;
        running.waiting.insert(number, hurry);
        running.bells.insert(number, bell);
        Ok(Joined { number, slot: running.slot.clone(), first })
    }

    /// One of those who wait does not any more; once more makes no difference.
    pub(super) fn leave(&mut self, tag: &str, number: u64, now: Instant) {
        if let Some(running) = self.running.get_mut(tag) {
            let was_waiting = running.waiting.remove(&number).is_some();
            if was_waiting && running.waiting.is_empty() {
                running.left = Some(now);
            }
        }
    }

    /// Nobody listens to this bell.
    pub(super) fn forget_bell(&mut self, tag: &str, number: u64) {
        if let Some(running) = self.running.get_mut(tag) {
            running.bells.remove(&number);
        }
    }

    /// A hash has come to its end.
    pub(super) fn finish(&mut self, tag: &str, outcome: Result<Hashed, NoDigest>) {
        self.turns.release(tag);
        if let Ok(hashed) = &outcome {
            if hashed.unchanged && hashed.settled {
                self.remembered.remember(tag, *hashed);
            }
        }
        if let Some(running) = self.running.remove(tag) {
            let _ = running.slot.set(outcome);
        }
    }

    /// A transfer of the file begins.
    pub(super) fn begin_transfer(&mut self, tag: &str) {
        self.under_way.entry(tag.to_string()).or_default().transfers += 1;
    }

    /// One of its transfers has come to `offset`.
    pub(super) fn reached(&mut self, tag: &str, offset: u64) {
        if let Some(under_way) = self.under_way.get_mut(tag) {
            under_way.furthest = under_way.furthest.max(offset);
        }
    }

    /// One of its transfers has ended.
    pub(super) fn end_transfer(&mut self, tag: &str) {
        if let Some(under_way) = self.under_way.get_mut(tag) {
            under_way.transfers -= 1;
            if under_way.transfers == 0 {
                self.under_way.remove(tag);
            }
        }
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether those who wait have to look again; `false` the next time.
    pub(super) fn take_stir(&mut self) -> bool {
        self.turns.take_stir()
    }

    /// What the hash of `tag` does, which has come to `offset`.
    pub(super) fn step(&mut self, tag: &str, offset: u64, now: Instant) -> Step {
        if self.stopping {
            return Step::Stop(NoDigest::Stopping);
        }
        let Some(running) = self.running.get(tag) else { return Step::Stop(NoDigest::Abandoned) };
        let deadline = running.left.map(|left| left + GRACE);
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Step::Stop(NoDigest::Abandoned);
        }
        let limit = self.limit(tag, running);
        if offset >= limit {
            // Nobody else is to wait for this one's transfer.
            self.turns.release(tag);
            return Step::Wait(deadline);
        }
        if !self.turns.take(tag) {
            return Step::Wait(deadline);
        }
        let end = limit.min(offset.saturating_add(STRETCH));
        self.turns.spend(tag, end - offset);
        Step::Go(end)
    }

    /// How far a hash may go. It keeps close to the transfers of its file only while
    /// everybody who waits can be taken for one of their clients.
    fn limit(&self, tag: &str, running: &Running) -> u64 {
        let in_hurry = running.waiting.values().any(|hurry| *hurry == Hurry::BeforeTransfer);
        match self.under_way.get(tag) {
            Some(under_way) if !in_hurry && running.waiting.len() <= under_way.transfers => {
                under_way.furthest.saturating_add(MAX_AHEAD)
            }
            _ => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(settled: bool) -> Hashed {
        Hashed { md5: [1; 16], length: 5, unchanged: true, settled }
    }

    fn join(board: &mut Board, tag: &str, hurry: Hurry) -> (Joined, UnixStream) {
        let (bell, ringer) = UnixStream::pair().unwrap();
        (board.join(tag, hurry, ringer).unwrap(), bell)
    }

    fn joined(board: &mut Board, tag: &str) -> (Joined, UnixStream) {
        join(board, tag, Hurry::WithTransfer)
    }

    #[test]
    fn the_second_who_comes_joins_the_first() {
        let mut board = Board::new(1);
        let (first, _bell) = joined(&mut board, "a");
        let (second, _bell) = joined(&mut board, "a");
        assert_eq!([first.first, second.first], [true, false]);
        board.finish("a", Ok(hashed(true)));
        assert_eq!(first.slot.get(), Some(&Ok(hashed(true))));
        assert_eq!(second.slot.get(), first.slot.get());
    }

    #[test]
    fn only_what_would_show_a_change_is_remembered() {
        let mut board = Board::new(1);
        let changed = Hashed { unchanged: false, ..hashed(true) };
        for (outcome, kept) in [(hashed(true), true), (hashed(false), false), (changed, false)] {
            let tag = format!("{outcome:?}");
            let (_joined, _bell) = joined(&mut board, &tag);
            board.finish(&tag, Ok(outcome));
            assert_eq!(board.recall(&tag).is_some(), kept, "{outcome:?}");
        }
    }

    #[test]
    fn a_hash_goes_on_for_a_minute_without_anyone() {
        let mut board = Board::new(1);
        let (one, _bell) = joined(&mut board, "a");
        let left = Instant::now();
        board.leave("a", one.number, left);
        board.leave("a", one.number, left + GRACE);
        assert_eq!(board.step("a", 0, left + GRACE / 2), Step::Go(STRETCH));
        assert_eq!(board.step("a", 0, left + GRACE), Step::Stop(NoDigest::Abandoned));
    }

    #[test]
    fn one_who_comes_back_in_that_minute_joins() {
        let mut board = Board::new(1);
        let (one, _bell) = joined(&mut board, "a");
        let left = Instant::now();
        board.leave("a", one.number, left);
        assert!(!joined(&mut board, "a").0.first);
        assert_eq!(board.step("a", 0, left + 2 * GRACE), Step::Go(STRETCH));
    }

    #[test]
    fn a_hash_stays_close_to_the_furthest_transfer() {
        let (mut board, now) = (Board::new(1), Instant::now());
        let (_one, _bell) = joined(&mut board, "a");
        let (_two, _bell) = joined(&mut board, "a");
        board.begin_transfer("a");
        board.begin_transfer("a");
        assert_eq!(board.step("a", MAX_AHEAD - 1, now), Step::Go(MAX_AHEAD));
        assert_eq!(board.step("a", MAX_AHEAD, now), Step::Wait(None));
        board.reached("a", 10);
        board.reached("a", 5);
        assert_eq!(board.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + 10));
    }

    #[test]
    fn the_end_of_the_transfers_lets_a_hash_run() {
        let (mut board, now) = (Board::new(1), Instant::now());
        let (_one, _bell) = joined(&mut board, "a");
        board.begin_transfer("a");
        assert_eq!(board.step("a", MAX_AHEAD, now), Step::Wait(None));
        board.end_transfer("a");
        assert_eq!(board.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + STRETCH));
    }

    #[test]
    fn one_who_has_no_transfer_is_not_held_back_by_another_s() {
        let (mut board, now) = (Board::new(1), Instant::now());
        let (_one, _bell) = joined(&mut board, "a");
        board.begin_transfer("a");
        assert_eq!(board.step("a", MAX_AHEAD, now), Step::Wait(None));
        let (two, _bell) = joined(&mut board, "a");
        assert_eq!(board.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + STRETCH));
        board.leave("a", two.number, now);
        assert_eq!(board.step("a", MAX_AHEAD, now), Step::Wait(None));
    }

    #[test]
    fn one_who_waits_for_the_hash_alone_is_not_held_back() {
        let (mut board, now) = (Board::new(1), Instant::now());
        board.begin_transfer("a");
        let (_one, _bell) = join(&mut board, "a", Hurry::BeforeTransfer);
        assert_eq!(board.step("a", MAX_AHEAD, now), Step::Go(MAX_AHEAD + STRETCH));
    }

    #[test]
    fn the_end_of_a_hash_lets_the_next_one_on() {
        let (mut board, now) = (Board::new(1), Instant::now());
        let _bells = ["a", "b"].map(|tag| joined(&mut board, tag));
        assert_eq!(board.step("a", 0, now), Step::Go(STRETCH));
        assert_eq!(board.step("b", 0, now), Step::Wait(None));
        board.finish("a", Ok(hashed(true)));
        assert!(board.take_stir());
        assert_eq!(board.step("b", 0, now), Step::Go(STRETCH));
    }

    #[test]
    fn a_hash_that_waits_for_a_transfer_takes_nobody_s_turn() {
        let (mut board, now) = (Board::new(1), Instant::now());
        let _bells = ["paced", "free"].map(|tag| joined(&mut board, tag));
        board.begin_transfer("paced");
        assert_eq!(board.step("paced", 0, now), Step::Go(STRETCH));
        assert_eq!(board.step("paced", MAX_AHEAD, now), Step::Wait(None));
        assert_eq!(board.step("free", 0, now), Step::Go(STRETCH));
    }

    #[test]
    fn one_hash_too_many_is_refused() {
        let mut board = Board::new(1);
        let bells: Vec<_> = (0..MAX_HASHES).map(|n| joined(&mut board, &n.to_string())).collect();
        let (_bell, ringer) = UnixStream::pair().unwrap();
        let refused = board.join("more", Hurry::WithTransfer, ringer).unwrap_err();
        assert_eq!(refused, NoDigest::Busy);
        assert!(!joined(&mut board, "0").0.first);
        drop(bells);
    }
}
