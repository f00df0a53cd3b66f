//! A set of byte offsets, kept as ranges that neither touch nor overlap.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of offsets. It takes memory for each range, and not for each offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Each range: its start, and its end.
    ranges: BTreeMap<u64, u64>,
    total: u64,
}

impl RangeSet {
    /// The empty set.
    pub fn new() -> RangeSet {
        RangeSet::default()
    }

    /// How many offsets are in the set.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many ranges there are.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Whether no offset is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    /// The first range.
    pub fn first(&self) -> Option<Range<u64>> {
        self.iter().next()
    }

    /// Adds every offset of `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // Ranges that touch or overlap the new range become part of it.
        while let Some((&other_start, &other_end)) = self.ranges.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.ranges.remove(&other_start);
            self.total -= other_end - other_start;
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.total += end - start;
        self.ranges.insert(start, end);
    }

    /// Removes every offset of `range`.
    pub fn remove(&mut self, range: Range<u64>) {
        for covered in self.within(range) {
            // `covered` lies in exactly one range.
            let Some((&start, &end)) = self.ranges.range(..=covered.start).next_back() else {
                continue;
            };
            self.ranges.remove(&start);
            if start < covered.start {
                self.ranges.insert(start, covered.start);
            }
            if covered.end < end {
                self.ranges.insert(covered.end, end);
            }
            self.total -= covered.end - covered.start;
        }
    }

    /// The parts of `range` that are in the set, in order.
    pub fn within(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let before = self.ranges.range(..range.start).next_back();
        before
            .into_iter()
            .chain(self.ranges.range(range.clone()))
            .map(|(&start, &end)| start.max(range.start)..end.min(range.end))
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// The parts of `range` that are not in the set, in order.
    pub fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        for covered in self.within(range.clone()) {
            gaps.push(at..covered.start);
            at = covered.end;
        }
        gaps.push(at..range.end);
        gaps.retain(|gap| !gap.is_empty());
        gaps
    }

    /// The start of the first range that starts at `offset` or behind it.
    pub fn next_start(&self, offset: u64) -> Option<u64> {
        self.ranges.range(offset..).next().map(|(&start, _)| start)
    }

    /// The end of the range that `offset` is in; `offset` itself where it is in none.
    pub fn run_end(&self, offset: u64) -> u64 {
        match self.ranges.range(..=offset).next_back() {
            Some((_, &end)) => end.max(offset),
            None => offset,
        }
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list that has one range in it
mod tests {
    use super::*;
    use crate::testing::Random;

    fn ranges(set: &RangeSet) -> Vec<Range<u64>> {
        set.iter().collect()
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut set = RangeSet::new();
        set.insert(10..20);
        set.insert(30..40);
        set.insert(20..30);
        assert_eq!(ranges(&set), [10..40]);
    }

    #[test]
    fn a_range_replaces_the_ranges_inside_it() {
        let mut set = RangeSet::new();
        for start in [2, 5, 8] {
            set.insert(start..start + 1);
        }
        set.insert(0..10);
        assert_eq!((ranges(&set), set.count(), set.total()), (vec![0..10], 1, 10));
    }

    #[test]
    fn a_removed_middle_leaves_both_sides() {
        let mut set = RangeSet::new();
        set.insert(0..10);
        set.remove(3..5);
        assert_eq!((ranges(&set), set.total()), (vec![0..3, 5..10], 8));
    }

    #[test]
    fn a_removed_end_leaves_no_empty_range() {
        let mut set = RangeSet::new();
        set.insert(0..10);
        set.remove(0..3);
        assert_eq!(ranges(&set), [3..10]);
        set.remove(8..10);
        assert_eq!(ranges(&set), [3..8]);
        set.remove(3..8);
        assert!(ranges(&set).is_empty());
    }

    #[test]
    fn a_set_is_empty_until_an_offset_is_in_it() {
        let mut set = RangeSet::new();
        assert!(set.is_empty() && set.first().is_none());
        set.insert(5..5);
        assert!(set.is_empty());
        set.insert(7..9);
        set.insert(3..4);
        assert!(!set.is_empty());
        assert_eq!(set.first(), Some(3..4));
    }

    #[test]
    fn the_next_range_starts_at_the_offset_or_behind_it() {
        let mut set = RangeSet::new();
        set.insert(3..5);
        set.insert(7..9);
        let starts = [0, 3, 4, 7, 8].map(|offset| set.next_start(offset));
        assert_eq!(starts, [Some(3), Some(3), Some(7), Some(7), None]);
    }

    #[test]
    fn gaps_are_the_missing_parts() {
        let mut set = RangeSet::new();
        set.insert(2..4);
        set.insert(6..8);
        assert_eq!(set.gaps(0..10), [0..2, 4..6, 8..10]);
        assert_eq!(set.gaps(3..7), [4..6]);
        assert!(set.gaps(2..4).is_empty());
    }

    #[test]
    fn a_run_ends_at_its_first_gap() {
        let mut set = RangeSet::new();
        assert_eq!(set.run_end(0), 0);
        set.insert(0..5);
        set.insert(7..9);
        assert_eq!([set.run_end(0), set.run_end(5), set.run_end(6), set.run_end(7)], [5, 5, 6, 9]);
    }

    #[test]
    fn every_sequence_agrees_with_a_set_of_offsets() {
        let mut random = Random::new();
        let mut below = |limit: u64| random.below(limit as usize) as u64;
        for _ in 0..if cfg!(miri) { 20 } else { 2000 } {
            let mut set = RangeSet::new();
            let mut plain = [false; 64];
            for _ in 0..12 {
                let start = below(64);
                let range = start..start + below(65 - start);
                let keep = below(3) > 0;
                let covered = range.start as usize..range.end as usize;
                plain[covered].fill(keep);
                if keep { set.insert(range) } else { set.remove(range) }
            }
            let offsets: Vec<u64> = set.iter().flatten().collect();
            let expected: Vec<u64> = (0..64).filter(|&o| plain[o as usize]).collect();
            assert_eq!(offsets, expected);
            assert_eq!(set.total(), expected.len() as u64);
            let gaps: Vec<u64> = set.gaps(0..64).into_iter().flatten().collect();
            assert_eq!(gaps, (0..64).filter(|&o| !plain[o as usize]).collect::<Vec<_>>());
            let mut ends = set.iter().map(|r| r.end).zip(set.iter().skip(1).map(|r| r.start));
            assert!(ends.all(|(end, start)| end < start), "ranges touch");
        }
    }
}
