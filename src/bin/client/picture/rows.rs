//! A row for each stream: shaded by its rate, with a mark for each fault and each retry.

#![forbid(unsafe_code)]

use super::chart::{Frame, times};
use super::svg::{Anchor, Path, Svg};
use ropewalk::transfer::trace::{Mark, Trace};

/// Shades from the slowest to the fastest.
pub(super) const SHADES: [&str; 6] =
    ["#d3e4f5", "#a9cbec", "#74abdf", "#3f87cb", "#1d62a8", "#0b3f78"];

/// The darkest shade begins at the rate that this share of the cells does not reach. The
/// fastest cell alone may be an outlier.
const BRIGHTEST: f64 = 0.98;

/// The least height of a row with room for its number, in pixels.
const NAMED_HEIGHT: f64 = 9.0;

/// The distance between two numbers where rows are lower, in pixels.
const NAME_DISTANCE: f64 = 24.0;

/// The smallest and the largest mark, in pixels.
const MARK_SIZE: (f64, f64) = (5.0, 9.0);

/// The class of a mark in the SVG, and its words in the legend.
pub(super) fn words_of(mark: Mark) -> (&'static str, &'static str) {
    match mark {
        Mark::Broken => ("broken", "broke"),
        Mark::Stalled => ("stalled", "stalled"),
        Mark::Reopened => ("reopened", "connected again"),
        Mark::Damaged => ("damaged", "damaged block"),
        Mark::Again => ("again", "asked for late blocks of another"),
    }
}

/// Draws the rows of all streams.
pub(super) fn draw(svg: &mut Svg, frame: Frame, trace: &Trace, fastest: f64) {
    if trace.streams() == 0 {
        return;
    }
    let height = frame.height / trace.streams() as f64;
    let named = match height >= NAMED_HEIGHT {
        true => 1,
        false => ((NAME_DISTANCE / height) as usize).next_power_of_two(),
    };
    for stream in 0..trace.streams() {
        let row = Frame { top: frame.top + height * stream as f64, height, ..frame };
        // A gap between two rows where there is room for one.
        svg.begin("row", if height > 4.0 { height - 1.0 } else { height });
        if stream % named == 0 {
            let at = (frame.left - 6.0, row.top + height / 2.0 + 4.0);
            svg.words("number", at, Anchor::End, &stream.to_string());
        }
        shade(svg, row, trace, stream, fastest);
        svg.end();
    }
    // Marks are drawn after all rows: a mark may be higher than its row.
    for stream in 0..trace.streams() {
        let middle = frame.top + height * (stream as f64 + 0.5);
        marks(svg, frame, trace, stream, middle, height.clamp(MARK_SIZE.0, MARK_SIZE.1));
    }
}

/// The rate at which the darkest shade begins, in bytes per second.
pub(super) fn fastest(trace: &Trace) -> f64 {
    let mut rates: Vec<f64> = (0..trace.streams())
        .flat_map(|stream| times(trace).zip(trace.row(stream)))
        .filter(|(_, cell)| cell.bytes > 0)
        .map(|((from, to), cell)| rate(cell.bytes, from, to))
        .collect();
    rates.sort_by(f64::total_cmp);
    let at = (rates.len() as f64 * BRIGHTEST) as usize;
    rates.get(at.min(rates.len().saturating_sub(1))).copied().unwrap_or(1.0)
}

fn rate(bytes: u64, from: u64, to: u64) -> f64 {
    bytes as f64 * 1000.0 / (to - from).max(1) as f64
}

/// Draws the ground where the stream was connected, and the shades of its rate.
fn shade(svg: &mut Svg, row: Frame, trace: &Trace, stream: usize, fastest: f64) {
    let mut ground = Path::default();
    let mut shades = [const { None::<Path> }; SHADES.len()];
    let middle = row.top + row.height / 2.0;
    let mut run: Option<(Option<usize>, u64)> = None;
    let mut flush = |run: Option<(Option<usize>, u64)>, to: u64| {
        let Some((level, from)) = run else { return };
        let (left, right) = (row.x(trace, from), row.x(trace, to));
        let path = match level {
            None => &mut ground,
            Some(level) => shades[level].get_or_insert_default(),
        };
        path.dash((left, middle), right - left);
    };
    for ((from, to), cell) in times(trace).zip(trace.row(stream)) {
        let level = match (cell.bytes, cell.open) {
            (0, false) => None,
            (0, true) => Some(None),
            (bytes, _) => {
                let share = rate(bytes, from, to) / fastest * SHADES.len() as f64;
                Some(Some((share as usize).min(SHADES.len() - 1)))
            }
        };
        if run.map(|(level, _)| level) != level {
            flush(run, from);
            run = level.map(|level| (level, from));
        }
    }
    let end = times(trace).zip(trace.row(stream)).last().map_or(0, |((_, to), _)| to);
    flush(run, end);
    svg.path("idle", &ground);
    for (level, path) in shades.iter().enumerate() {
        if let Some(path) = path {
            svg.path(&format!("s{level}"), path);
        }
    }
}

fn marks(svg: &mut Svg, frame: Frame, trace: &Trace, stream: usize, middle: f64, size: f64) {
    for mark in Mark::ALL {
        let mut path = Path::default();
        for ((from, to), cell) in times(trace).zip(trace.row(stream)) {
            if cell.count(mark) > 0 {
                let x = (frame.x(trace, from) + frame.x(trace, to)) / 2.0;
                symbol(&mut path, mark, (x, middle), size);
            }
        }
        svg.path(words_of(mark).0, &path);
    }
}

/// The shape of a mark around its middle.
pub(super) fn symbol(path: &mut Path, mark: Mark, (x, y): (f64, f64), size: f64) {
    let half = size / 2.0;
    match mark {
        // A cross.
        Mark::Broken => {
            path.move_to(x - half, y - half);
            path.line_to(x + half, y + half);
            path.move_to(x - half, y + half);
            path.line_to(x + half, y - half);
        }
        // A square.
        Mark::Stalled => path.rect((x - half, y - half), (size, size)),
        // A triangle that points to the right.
        Mark::Reopened => {
            path.move_to(x - half, y - half);
            path.line_to(x + half, y);
            path.line_to(x - half, y + half);
            path.close();
        }
        // A diamond.
        Mark::Damaged => {
            path.move_to(x, y - half);
            path.line_to(x + half, y);
            path.line_to(x, y + half);
            path.line_to(x - half, y);
            path.close();
        }
        // A short line.
        Mark::Again => {
            path.move_to(x, y - half);
            path.line_to(x, y + half);
        }
    }
}
