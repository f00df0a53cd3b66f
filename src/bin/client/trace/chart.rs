//! The charts with an axis: what all streams brought together and how many there were,
//! and how far the MD5 was behind.

#![forbid(unsafe_code)]

use super::scale::{short, ticks};
use super::svg::{Anchor, Path, Svg};
use ropewalk::codec::amount::MIB;
use ropewalk::transfer::trace::Trace;

/// The most numbers at an axis.
const TICKS: u32 = 4;

/// How far a word's base is below the middle of its line.
const BASELINE: f64 = 4.0;

/// Between an axis and its numbers.
const GAP: f64 = 6.0;

/// Where a part of the picture is: the same left end and width for all, and time runs
/// along it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) left: f64,
    pub(super) width: f64,
    pub(super) top: f64,
    pub(super) height: f64,
}

impl Place {
    /// Where this time is, in milliseconds.
    pub(super) fn x(&self, trace: &Trace, at: u64) -> f64 {
        self.left + self.width * at.min(trace.end()) as f64 / trace.end().max(1) as f64
    }

    fn y(&self, value: f64, most: f64) -> f64 {
        self.top + self.height * (1.0 - (value / most).clamp(0.0, 1.0))
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// When each stretch begins and ends, in milliseconds.
pub(super) fn times(trace: &Trace) -> impl Iterator<Item = (u64, u64)> {
    let (width, end) = (trace.width(), trace.end());
    (0..trace.columns() as u64).map(move |column| (column * width, ((column + 1) * width).min(end)))
}

/// Bytes a second of all streams in each stretch.
pub(super) fn rates(trace: &Trace) -> Vec<f64> {
    let sum = |column: usize| -> u64 {
        let cells = (0..trace.streams()).filter_map(|stream| trace.lane(stream).get(column));
        cells.map(|cell| cell.bytes).sum()
    };
    times(trace)
        .enumerate()
        .map(|(column, (from, to))| sum(column) as f64 * 1000.0 / (to - from).max(1) as f64)
        .collect()
}

/// How many streams were connected in each stretch.
pub(super) fn open(trace: &Trace) -> Vec<usize> {
    let lanes = || (0..trace.streams()).map(|stream| trace.lane(stream));
    let count =
        |column: usize| lanes().filter(|lane| lane.get(column).is_some_and(|c| c.open)).count();
    (0..trace.columns()).map(count).collect()
}

/// What came in all, with the number of streams beside it.
pub(super) fn total(svg: &mut Svg, place: Place, trace: &Trace) {
    let rates = rates(trace);
    let most = rates.iter().copied().fold(0.0, f64::max).max(1.0);
    axis(svg, place, &ticks(most / MIB, TICKS), most / MIB);
    area(svg, "sum", place, trace, &rates, most);
    let open = open(trace);
    let streams = open.iter().copied().max().unwrap_or(0).max(1) as f64;
    let mut steps = Path::default();
    let mut last = None;
    for ((from, _), count) in times(trace).zip(&open) {
        let (x, y) = (place.x(trace, from), place.y(*count as f64, streams));
        match last {
            None => steps.move_to(x, y),
            Some(before) if before != y => {
                steps.line_to(x, before);
                steps.line_to(x, y);
            }
            Some(_) => {}
        }
        last = Some(y);
    }
    if let Some(y) = last {
        steps.line_to(place.x(trace, trace.end()), y);
    }
    svg.path("open", &steps);
    let right = place.left + place.width + GAP;
    for value in [0.0, streams] {
        let at = (right, place.y(value, streams) + BASELINE);
        svg.words("number count", at, Anchor::Start, &short(value));
    }
    let above = place.top - 2.0 * GAP;
    svg.words("name", (place.left, above), Anchor::Start, "all streams together, MiB/s");
    let at = (place.left + place.width, above);
    svg.words("name count", at, Anchor::End, "streams connected (dashed)");
}

/// How far the MD5 was behind; nothing where none was made.
pub(super) fn follower(svg: &mut Svg, place: Place, trace: &Trace) {
    let behind: Vec<f64> = trace
        .standings()
        .iter()
        .map(|standing| standing.prefix.saturating_sub(standing.hashed.unwrap_or(0)) as f64)
        .collect();
    let most = behind.iter().copied().fold(MIB, f64::max);
    axis(svg, place, &[0.0, most / MIB], most / MIB);
    area(svg, "md5", place, trace, &behind, most);
    let at = (place.left, place.top - GAP);
    svg.words("name", at, Anchor::Start, "bytes not yet in the MD5, MiB");
}

/// Whether an MD5 was made.
pub(super) fn has_follower(trace: &Trace) -> bool {
    trace.standings().iter().any(|standing| standing.hashed.is_some())
}

fn axis(svg: &mut Svg, place: Place, ticks: &[f64], most: f64) {
    for value in ticks {
        let y = place.y(*value, most);
        svg.line("grid", (place.left, y), (place.left + place.width, y));
        let at = (place.left - GAP, y + BASELINE);
        svg.words("number", at, Anchor::End, &short(*value));
    }
}

fn area(svg: &mut Svg, class: &str, place: Place, trace: &Trace, values: &[f64], most: f64) {
    let mut path = Path::default();
    path.move_to(place.left, place.bottom());
    for ((from, to), value) in times(trace).zip(values) {
        let y = place.y(*value, most);
        path.line_to(place.x(trace, from), y);
        path.line_to(place.x(trace, to), y);
    }
    path.line_to(place.x(trace, trace.end()), place.bottom());
    path.close();
    svg.path(class, &path);
}
