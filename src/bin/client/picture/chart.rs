//! The charts with an axis: the rate and the number of all streams, the files of a folder, and how
//! far the MD5 was behind.

#![forbid(unsafe_code)]

use super::scale::{short, ticks};
use super::svg::{Anchor, Path, Svg};
use ropewalk::codec::amount::MIB;
use ropewalk::transfer::trace::Trace;

/// The most numbers at an axis.
const TICKS: u32 = 4;

/// How far the baseline of a word is below the middle of its line, in pixels.
const BASELINE: f64 = 4.0;

/// Pixels between an axis and its numbers.
const GAP: f64 = 6.0;

/// The rectangle of a part of the picture, in pixels. Time runs from left to right, at the
/// same position in all parts.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) width: f64,
    pub(super) top: f64,
    pub(super) height: f64,
}

impl Frame {
    /// The pixel of a time `at`, in milliseconds.
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

/// The begin and the end of each column, in milliseconds.
pub(super) fn times(trace: &Trace) -> impl Iterator<Item = (u64, u64)> {
    let (width, end) = (trace.width(), trace.end());
    (0..trace.columns() as u64).map(move |column| (column * width, ((column + 1) * width).min(end)))
}

/// The rate of all streams together in each column, in bytes per second.
pub(super) fn rates(trace: &Trace) -> Vec<f64> {
    let sum = |column: usize| -> u64 {
        let cells = (0..trace.streams()).filter_map(|stream| trace.row(stream).get(column));
        cells.map(|cell| cell.bytes).sum()
    };
    times(trace)
        .enumerate()
        .map(|(column, (from, to))| sum(column) as f64 * 1000.0 / (to - from).max(1) as f64)
        .collect()
}

/// The number of connected streams in each column.
fn open(trace: &Trace) -> Vec<usize> {
    let rows = || (0..trace.streams()).map(|stream| trace.row(stream));
    let count =
        |column: usize| rows().filter(|row| row.get(column).is_some_and(|c| c.open)).count();
    (0..trace.columns()).map(count).collect()
}

/// Draws the rate of all streams together, and their number.
pub(super) fn total(svg: &mut Svg, frame: Frame, trace: &Trace) {
    let rates = rates(trace);
    let most = rates.iter().copied().fold(0.0, f64::max).max(1.0);
    axis(svg, frame, &ticks(most / MIB, TICKS), most / MIB);
    area(svg, "sum", frame, trace, &rates, most);
    let open = open(trace);
    let streams = open.iter().copied().max().unwrap_or(0).max(1) as f64;
    let mut steps = Path::default();
    let mut last = None;
    for ((from, _), count) in times(trace).zip(&open) {
        let (x, y) = (frame.x(trace, from), frame.y(*count as f64, streams));
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
        steps.line_to(frame.x(trace, trace.end()), y);
    }
    svg.path("open", &steps);
    let right = frame.left + frame.width + GAP;
    for value in [0.0, streams] {
        let at = (right, frame.y(value, streams) + BASELINE);
        svg.words("number count", at, Anchor::Start, &short(value));
    }
    let above = frame.top - 2.0 * GAP;
    svg.words("name", (frame.left, above), Anchor::Start, "all streams together, MiB/s");
    let at = (frame.left + frame.width, above);
    svg.words("name count", at, Anchor::End, "streams connected (dashed)");
}

/// Draws how far the MD5 was behind.
pub(super) fn md5(svg: &mut Svg, frame: Frame, trace: &Trace) {
    let behind: Vec<f64> = trace
        .positions()
        .iter()
        .map(|position| position.prefix.saturating_sub(position.hashed.unwrap_or(0)) as f64)
        .collect();
    let most = behind.iter().copied().fold(MIB, f64::max);
    axis(svg, frame, &[0.0, most / MIB], most / MIB);
    area(svg, "md5", frame, trace, &behind, most);
    let at = (frame.left, frame.top - GAP);
    svg.words("name", at, Anchor::Start, "bytes not yet in the MD5, MiB");
}

/// Files of a folder that were done in each column, a second.
fn files_a_second(trace: &Trace) -> Vec<f64> {
    let mut before = 0;
    let done = trace.positions().iter().map(|position| position.files.unwrap_or(0));
    times(trace)
        .zip(done)
        .map(|((from, to), done)| {
            let more = done.saturating_sub(std::mem::replace(&mut before, done));
            more as f64 * 1000.0 / (to - from).max(1) as f64
        })
        .collect()
}

/// Draws how many files of a folder were done a second.
pub(super) fn files(svg: &mut Svg, frame: Frame, trace: &Trace) {
    let rates = files_a_second(trace);
    let most = rates.iter().copied().fold(1.0, f64::max);
    axis(svg, frame, &[0.0, most], most);
    area(svg, "files", frame, trace, &rates, most);
    let at = (frame.left, frame.top - GAP);
    svg.words("name", at, Anchor::Start, "files a second");
}

/// Whether the transfer was one of a folder.
pub(super) fn has_files(trace: &Trace) -> bool {
    trace.positions().iter().any(|position| position.files.is_some())
}

/// Whether the receiver made an MD5.
pub(super) fn has_md5(trace: &Trace) -> bool {
    trace.positions().iter().any(|position| position.hashed.is_some())
}

fn axis(svg: &mut Svg, frame: Frame, ticks: &[f64], most: f64) {
    for value in ticks {
        let y = frame.y(*value, most);
        svg.line("grid", (frame.left, y), (frame.left + frame.width, y));
        let at = (frame.left - GAP, y + BASELINE);
        svg.words("number", at, Anchor::End, &short(*value));
    }
}

fn area(svg: &mut Svg, class: &str, frame: Frame, trace: &Trace, values: &[f64], most: f64) {
    let mut path = Path::default();
    path.move_to(frame.left, frame.bottom());
    for ((from, to), value) in times(trace).zip(values) {
        let y = frame.y(*value, most);
        path.line_to(frame.x(trace, from), y);
        path.line_to(frame.x(trace, to), y);
    }
    path.line_to(frame.x(trace, trace.end()), frame.bottom());
    path.close();
    svg.path(class, &path);
}
