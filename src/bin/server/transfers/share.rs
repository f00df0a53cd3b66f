//! `--limit-rate`: the rate of each transfer and download. Decides, and tells no worker.
//!
//! The limit is divided evenly. A row that has moved nothing for a while keeps an eighth of
//! an even share, and the others divide the rest. It gets its whole share back as soon as it
//! moves. The rates together never exceed the limit.

#![forbid(unsafe_code)]

use super::row::{Row, Rows};
use ropewalk::transfer::queue::rate::MIN_BURST;
use std::time::{Duration, Instant};

/// How long a row that moves nothing keeps its whole share.
const SILENT_TIME: Duration = Duration::from_secs(5);

/// It keeps the share for as long as these bytes take at an even share, too. With a small
/// share the limit itself may be why nothing has moved.
const SILENT_BYTES: u64 = 4 * MIN_BURST;

/// A silent row gets an even share divided by this. Measured with a limit of 2 MiB/s, for 16
/// MiB beside 31 silent sessions: 256 s for 1, 15.4 s for 2, 9.0 s for 8, 8.0 s for 64. A row
/// that was silent had its next 128 KiB within 0.4 s for 2 as for 64.
const SILENT_PART: u64 = 8;

/// How the limit is divided at one moment, in bytes per second.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Of each row that moves something.
    pub(super) moving: u64,
    /// Of each silent row.
    silent: u64,
    /// A row that has moved nothing for longer is silent.
    patience: Duration,
}

impl Shares {
    /// Divides `limit` bytes per second among these rows and `more` that move.
    pub(super) fn new(rows: &Rows, limit: u64, more: usize, now: Instant) -> Shares {
        let sharers = || rows.values().filter(|row| row.has_share());
        let all = sharers().count() + more;
        let even = even(limit, all as u64);
        let patience = SILENT_TIME.max(Duration::from_secs(SILENT_BYTES.div_ceil(even)));
        let silent = sharers().filter(|row| row.silence(now) > patience).count();
        let (moving, silent) = divide(limit, all as u64, silent as u64);
        Shares { moving, silent, patience }
    }

    /// The rate of this row; `None` for a row that moves no bytes.
    pub(super) fn of(&self, row: &Row, now: Instant) -> Option<u64> {
        let is_silent = row.silence(now) > self.patience;
        row.has_share().then_some(if is_silent { self.silent } else { self.moving })
    }
}

/// An even share, of 1 byte per second at least.
fn even(limit: u64, all: u64) -> u64 {
    (limit / all.max(1)).max(1)
}

/// The share of each that moves, and of each that is silent. Where all are silent, any of
/// them may be the next to move, so each gets an even share.
fn divide(limit: u64, all: u64, silent: u64) -> (u64, u64) {
    let even = even(limit, all);
    match all.saturating_sub(silent) {
        0 => (even, even),
        moving => {
            let part = (even / SILENT_PART).max(1);
            let rest = limit.saturating_sub(silent.saturating_mul(part));
            ((rest / moving).max(1), part)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{Sort, row, rows};
    use super::*;

    #[test]
    fn the_limit_is_divided() {
        // limit, all, silent; each that moves, each that is silent
        for (limit, all, silent, expected) in [
            (900, 0, 0, (900, 900)),
            (900, 1, 0, (900, 112)),
            (900, 2, 0, (450, 56)),
            (1_600_000, 2, 1, (1_500_000, 100_000)),
            (800, 1, 1, (800, 800)),
            (800, 4, 4, (200, 200)),
            (10, 99, 98, (1, 1)),
            (u64::MAX, 1, 0, (u64::MAX, u64::MAX / 8)),
        ] {
            assert_eq!(divide(limit, all, silent), expected, "{limit} {all} {silent}");
        }
    }

    #[test]
    fn the_shares_are_never_more_than_the_limit_and_never_nothing() {
        let limit = 16 << 10;
        for all in 1..=300 {
            for silent in 0..=all {
                let (moving, part) = divide(limit, all, silent);
                let sum = moving * (all - silent) + part * silent;
                assert!(sum <= limit && moving >= part && part > 0, "{all} {silent}");
            }
        }
    }

    #[test]
    fn only_rows_that_move_bytes_have_a_share() {
        let now = Instant::now();
        let sorts = [
            Sort::Preparing,
            Sort::Classic,
            Sort::Session,
            Sort::Evicted,
            Sort::Download,
            Sort::Ended,
        ];
        let rows = rows(sorts.map(|sort| row(sort, 1, now)));
        let shares = Shares::new(&rows, 900, 0, now);
        let rates: Vec<_> = rows.values().map(|row| shares.of(row, now)).collect();
        assert_eq!(rates, [None, Some(300), Some(300), None, Some(300), None]);
        assert_eq!(Shares::new(&rows, 900, 1, now).moving, 225);
    }

    #[test]
    fn a_row_is_silent_after_5_s_or_after_the_time_of_16_kib() {
        let start = Instant::now();
        let rows = rows([Sort::Session, Sort::Download].map(|sort| row(sort, 1, start)));
        for (limit, seconds) in [(1_600_000, 5), (2 << 10, 16)] {
            let silent = |seconds| {
                let now = start + Duration::from_secs(seconds);
                let shares = Shares::new(&rows, limit, 0, now);
                rows.values().filter(|row| row.silence(now) > shares.patience).count()
            };
            assert_eq!((silent(seconds), silent(seconds + 1)), (0, 2), "{limit}");
        }
    }
}
