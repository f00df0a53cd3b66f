//! The caption below the picture: the slowest step where the trace shows one, or else plain
//! facts about the streams. No measurement supports a guess from the variance of their rates.

#![forbid(unsafe_code)]

use super::chart::{rates, times};
use ropewalk::codec::amount;
use ropewalk::transfer::trace::{Mark, Trace};

/// The least width of a column, in milliseconds: every stream has shorter gaps.
const LEAST_WIDTH: u64 = 1000;

/// The first columns and the last one do not count. A shorter rest gets no caption.
const FIRST_COLUMNS: usize = 2;
const LEAST_COLUMNS: usize = 5;

/// An MD5 that is so many bytes behind for half of the time is the slowest step: at 16 MiB
/// the receiver asks for no more blocks.
const FAR_BEHIND: u64 = 12 << 20;

/// A mean rate above this share of the limit was held by the limit.
const AT_THE_LIMIT: f64 = 0.9;

/// The marks of what a stream had to do again.
const RETRIES: [Mark; 3] = [Mark::Reopened, Mark::Damaged, Mark::Again];

/// The caption of a transfer that `limit` bytes per second were allowed to.
pub(super) fn of(trace: &Trace, limit: Option<u64>) -> Option<String> {
    let mut trace = trace.clone();
    while trace.width() < LEAST_WIDTH {
        trace.coarsen();
    }
    let window = FIRST_COLUMNS..trace.columns().saturating_sub(1);
    if window.len() < LEAST_COLUMNS {
        return None;
    }
    let behind = trace.positions()[window.clone()]
        .iter()
        .filter(|at| at.hashed.is_some_and(|hashed| at.prefix.saturating_sub(hashed) > FAR_BEHIND))
        .count();
    if behind * 2 > window.len() {
        let words = "The MD5 was the slowest step: more streams would not help, \
                     --verify crc32c would.";
        return Some(words.into());
    }
    let mean = rates(&trace)[window.clone()].iter().sum::<f64>() / window.len() as f64;
    if limit.is_some_and(|limit| mean > limit as f64 * AT_THE_LIMIT) {
        return Some("The limit of --limit-rate was the slowest step.".into());
    }
    facts(&trace)
}

/// How long the streams were idle, how often they retried, and how fast the slowest and the
/// fastest stream were. `None` where no stream was connected.
fn facts(trace: &Trace) -> Option<String> {
    let streams: Vec<Facts> = (0..trace.streams())
        .map(|number| Facts::of(trace, number))
        .filter(|facts| facts.connected > 0)
        .collect();
    let slowest = streams.iter().min_by(|a, b| a.rate().total_cmp(&b.rate()))?;
    let fastest = streams.iter().max_by(|a, b| a.rate().total_cmp(&b.rate()))?;
    let sum = |of: fn(&Facts) -> u64| streams.iter().map(of).sum::<u64>();
    let idle = amount::percent(sum(|facts| facts.idle), sum(|facts| facts.connected));
    let retries = match sum(|facts| facts.retries) {
        1 => "1 retry".to_string(),
        count => format!("{count} retries"),
    };
    let rates = match streams.len() {
        1 => String::new(),
        _ => format!(
            "; the slowest stream, {}, had {}, the fastest {}",
            slowest.number,
            amount::rate(slowest.rate()),
            amount::rate(fastest.rate())
        ),
    };
    Some(format!("Streams were idle for {idle}% of their time, with {retries}{rates}."))
}

/// The life of one stream; times are in milliseconds.
struct Facts {
    number: usize,
    connected: u64,
    /// The part of `connected` in columns without a byte.
    idle: u64,
    bytes: u64,
    retries: u64,
}

impl Facts {
    fn of(trace: &Trace, number: usize) -> Facts {
        let mut facts = Facts { number, connected: 0, idle: 0, bytes: 0, retries: 0 };
        for ((from, to), cell) in times(trace).zip(trace.row(number)) {
            let connected = if cell.open || cell.bytes > 0 { to - from } else { 0 };
            facts.connected += connected;
            facts.idle += if cell.bytes == 0 { connected } else { 0 };
            facts.bytes += cell.bytes;
            facts.retries += RETRIES.iter().map(|mark| u64::from(cell.count(*mark))).sum::<u64>();
        }
        facts
    }

    /// Bytes per second while it was connected.
    fn rate(&self) -> f64 {
        self.bytes as f64 * 1000.0 / self.connected.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::transfer::trace::{Cell, Position, Slice};

    /// 60 s of streams, in columns of 1.6 s. `cell` has what stream and second brought; the MD5 is so far `behind`.
    fn trace(streams: u8, cell: impl Fn(u8, u64) -> Cell, behind: Option<u64>) -> Trace {
        let mut trace = Trace::default();
        for second in 0..60u64 {
            let prefix = second << 20;
            let hashed = behind.map(|behind| prefix.saturating_sub(behind));
            trace.add(&Slice {
                at: (second + 1) * 1000,
                position: Position { prefix, hashed, files: None },
                cells: (0..streams).map(|stream| (stream, cell(stream, second))).collect(),
            });
        }
        trace
    }

    fn steady(bytes: u64) -> Cell {
        Cell { bytes, open: true, ..Cell::default() }
    }

    #[test]
    fn an_md5_that_is_far_behind_is_the_slowest_step() {
        let caption = |behind| of(&trace(4, |_, _| steady(1), Some(behind)), None).unwrap();
        assert!(caption(16 << 20).starts_with("The MD5 was the slowest step"));
        assert!(!caption(1 << 20).contains("MD5"));
    }

    #[test]
    fn a_limit_that_was_reached_is_the_slowest_step() {
        let trace = trace(4, |_, _| steady(1_000_000), None);
        assert!(of(&trace, Some(4_000_000)).unwrap().contains("--limit-rate"));
        assert!(!of(&trace, Some(8_000_000)).unwrap().contains("limit"));
    }

    #[test]
    fn otherwise_the_caption_has_idle_time_retries_and_the_slowest_stream() {
        let cell = |stream, second| {
            let mut cell = steady(if second >= 48 { 0 } else { 1u64 << (20 + stream) });
            if (stream, second) == (1, 9) {
                [Mark::Broken, Mark::Reopened, Mark::Damaged]
                    .into_iter()
                    .for_each(|mark| cell.mark(mark));
            }
            cell
        };
        assert_eq!(
            of(&trace(3, cell, None), None).unwrap(),
            "Streams were idle for 20% of their time, with 2 retries; \
             the slowest stream, 0, had 819 KiB/s, the fastest 3.20 MiB/s."
        );
    }

    #[test]
    fn one_stream_is_not_compared_with_itself() {
        assert_eq!(
            of(&trace(1, |_, _| steady(1), None), None).unwrap(),
            "Streams were idle for 0% of their time, with 0 retries."
        );
    }

    #[test]
    fn time_without_a_connection_does_not_count() {
        let late = |stream, second| match stream {
            1 if second < 32 => Cell::default(),
            _ => steady(1 << 20),
        };
        let caption = of(&trace(2, late, None), None).unwrap();
        assert!(
            caption.contains("idle for 0%") && caption.contains("had 1.00 MiB/s, the fastest 1.00")
        );
    }

    #[test]
    fn a_short_transfer_and_one_without_streams_get_no_caption() {
        let mut trace = Trace::default();
        assert_eq!(of(&trace, None), None);
        trace.add(&Slice { at: 3000, cells: vec![(0, steady(1))], ..Slice::default() });
        assert_eq!(of(&trace, None), None, "short");
        let mut empty = Trace::default();
        empty.add(&Slice { at: 60_000, ..Slice::default() });
        assert_eq!(of(&empty, None), None, "no streams");
    }
}
