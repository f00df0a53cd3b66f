//! The one sentence below the picture: what was the slowest step, or whether more
//! streams would have helped. Nothing where what was gathered does not say.

#![forbid(unsafe_code)]

use super::chart::{open, rates, times};
use ropewalk::codec::amount;
use ropewalk::transfer::trace::Trace;
use std::collections::BTreeMap;
use std::ops::Range;

/// Milliseconds of a stretch that is long enough that chance does not hide the rest.
const LONG: u64 = 1000;

/// Stretches that there have to be, without the first ones and the last one.
const ENOUGH: usize = 10;
const BEGINNING: usize = 2;

/// An MD5 that is this far behind for half of the time holds the transfer up: nothing
/// is asked for when it is at 16 MiB.
const FAR_BEHIND: u64 = 12 << 20;

/// What is this close to the limit was held by it.
const AT_THE_LIMIT: f64 = 0.9;

/// Milliseconds after a change of the number of streams that do not count, since new ones
/// overshoot; and how many have to be left for a number to count.
const OVERSHOOT: u64 = 1500;
const TRIED: u64 = 1000;

/// Streams by themselves rise and fall as chance has it, and the squares of it add up.
/// Where the sum moves by less than this share of that, one gets what another loses;
/// where it moves by more than that share, one thing moves them all.
const FLAT: f64 = 0.35;
const TOGETHER: f64 = 2.5;

/// Where the numbers of streams were several, so many times as much is more.
const MORE: f64 = 1.08;

/// The sentence.
pub(super) fn of(trace: &Trace, limit: Option<u64>) -> Option<String> {
    let mut long = trace.clone();
    while long.width() < LONG {
        long.coarsen();
    }
    if long.columns() < BEGINNING + ENOUGH + 1 {
        return None;
    }
    let window = BEGINNING..long.columns() - 1;
    let behind = long.standings()[window.clone()]
        .iter()
        .filter(|at| at.hashed.is_some_and(|hashed| at.prefix.saturating_sub(hashed) > FAR_BEHIND))
        .count();
    if behind * 2 > window.len() {
        let words = "The MD5 was the slowest step: more streams would not help, \
                     --verify crc32c would.";
        return Some(words.into());
    }
    let mean = mean(&rates(&long)[window.clone()]);
    if limit.is_some_and(|limit| mean > limit as f64 * AT_THE_LIMIT) {
        return Some("The limit of --limit-rate was the slowest step.".into());
    }
    match tried(trace)[..] {
        [.., fewer, more] => Some(compare(fewer, more)),
        _ => by_variance(&long, window),
    }
}

/// So many streams brought so many bytes a second in the mean.
type Tried = (usize, f64);

fn compare((fewer, before): Tried, (more, after): Tried) -> String {
    let (before, after) = (before / amount::MIB, after / amount::MIB);
    let end = match after > before * MORE {
        true => "even more streams might have brought more.",
        false => "more streams do not help here.",
    };
    format!("{fewer} streams brought {before:.0} MiB/s, {more} brought {after:.0}: {end}")
}

/// What each number of streams brought that was there for long enough, from the smallest
/// number to the greatest.
fn tried(trace: &Trace) -> Vec<Tried> {
    let (rates, open) = (rates(trace), open(trace));
    let mut sums = BTreeMap::<usize, (f64, u64)>::new();
    let mut since = 0;
    for (column, (from, to)) in times(trace).enumerate() {
        if column > 0 && open[column] != open[column - 1] {
            since = from;
        }
        if from - since >= OVERSHOOT {
            let (sum, time) = sums.entry(open[column]).or_default();
            let milliseconds = to - from;
            *sum += rates[column] * milliseconds as f64;
            *time += milliseconds;
        }
    }
    sums.retain(|_, (_, time)| *time >= TRIED);
    sums.into_iter().map(|(streams, (sum, time))| (streams, sum / time as f64)).collect()
}

/// What the rise and fall of the streams and of their sum says, where there were as many
/// nearly all the time.
fn by_variance(trace: &Trace, window: Range<usize>) -> Option<String> {
    let open = &open(trace)[window.clone()];
    let usual = open.iter().filter(|count| **count == trace.streams()).count();
    if trace.streams() < 2 || usual * 10 < open.len() * 9 {
        return None;
    }
    let width = trace.width() as f64 / 1000.0;
    let each: f64 = (0..trace.streams())
        .map(|stream| {
            let cell = |column: usize| trace.lane(stream).get(column).map_or(0, |cell| cell.bytes);
            let rates: Vec<f64> =
                window.clone().map(|column| cell(column) as f64 / width).collect();
            variance(&rates)
        })
        .sum();
    let words = match variance(&rates(trace)[window]) / each.max(f64::MIN_POSITIVE) {
        ratio if ratio < FLAT => {
            "One stream gained what another lost: together they filled the path, so more \
             streams would not help."
        }
        ratio if ratio > TOGETHER => {
            "The rates of all streams rose and fell together: they share the slowest step."
        }
        _ => "The rate of each stream rose and fell by itself: more streams may bring more.",
    };
    Some(words.into())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::transfer::trace::{Cell, Slice, Standing};

    /// 60 s of streams of which each brings what `bytes` says in each second.
    fn trace(streams: u8, bytes: impl Fn(u8, u64) -> u64, behind: Option<u64>) -> Trace {
        let mut trace = Trace::default();
        for second in 0..60 {
            let cell =
                |stream| Cell { bytes: bytes(stream, second), open: true, ..Cell::default() };
            let prefix = second << 20;
            let hashed = behind.map(|behind| prefix.saturating_sub(behind));
            trace.add(&Slice {
                at: (second + 1) * 1000,
                standing: Standing { prefix, hashed },
                cells: (0..streams).map(|stream| (stream, cell(stream))).collect(),
            });
        }
        trace
    }

    fn noise(stream: u8, second: u64) -> u64 {
        let seed = u64::from(stream) << 32 | second;
        (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 500_000
    }

    #[track_caller]
    fn says(trace: &Trace, limit: Option<u64>, words: &str) {
        let said = of(trace, limit).unwrap();
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn streams_that_move_by_themselves_leave_room_for_more() {
        says(
            &trace(8, |stream, second| 1_000_000 + noise(stream, second), None),
            None,
            "by itself",
        );
    }

    #[test]
    fn a_flat_sum_of_streams_that_move_is_full() {
        let share = |stream: u8, second| match stream % 2 {
            0 => 1_000_000 + noise(stream, second),
            _ => 1_500_000 - noise(stream - 1, second),
        };
        says(&trace(8, share, None), None, "would not help");
    }

    #[test]
    fn streams_that_move_together_share_something() {
        says(&trace(8, |_, second| 1_000_000 + noise(0, second), None), None, "share");
    }

    #[test]
    fn an_md5_that_is_far_behind_is_the_slowest_step() {
        let streams = |behind| trace(4, noise, Some(behind));
        says(&streams(16 << 20), None, "The MD5 was");
        assert!(!of(&streams(1 << 20), None).unwrap().contains("MD5"));
    }

    #[test]
    fn a_limit_that_was_reached_is_the_slowest_step() {
        let trace = trace(4, |_, _| 1_000_000, None);
        says(&trace, Some(4_000_000), "--limit-rate");
        assert!(!of(&trace, Some(8_000_000)).unwrap().contains("limit"));
    }

    #[test]
    fn numbers_of_streams_that_were_tried_are_compared() {
        let grown = |gain: u64| {
            let mut trace = trace(4, |_, _| 1_000_000, None);
            let cell = Cell { bytes: gain * 100_000, open: true, ..Cell::default() };
            for second in 61..100 {
                let cells = (0..8).map(|stream| (stream, cell)).collect();
                trace.add(&Slice { at: second * 1000, cells, ..Slice::default() });
            }
            trace
        };
        says(&grown(10), None, "4 streams brought 4 MiB/s, 8 brought 8: even more streams might");
        says(&grown(5), None, "8 brought 4: more streams do not help");
    }

    #[test]
    fn of_a_short_transfer_nothing_is_said() {
        let mut trace = Trace::default();
        assert_eq!(of(&trace, None), None);
        trace.add(&Slice { at: 5000, ..Slice::default() });
        assert_eq!(of(&trace, None), None);
    }
}
