//! The picture of a transfer, from top to bottom: title and outcome, the rate of all streams,
//! a row for each stream, the files of a folder, the MD5, the time axis, the legend and the caption. A pure function
//! of the trace.

#![forbid(unsafe_code)]

use super::caption;
use super::chart::{self, Frame};
use super::rows::{self, SHADES};
use super::scale::{short, time, time_ticks};
use super::svg::{Anchor, Path, Svg};
use ropewalk::codec::amount;
use ropewalk::transfer::trace::{Mark, Trace};

/// Pixels of the whole width, and of the margins.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 48.0;

/// Heights of the parts in pixels, from top to bottom, and of the gap between two. A row has
/// the smallest and the largest height.
const HEAD: f64 = 112.0;
const TOTAL: f64 = 140.0;
const ALL_ROWS: f64 = 560.0;
const ROW: (f64, f64) = (2.5, 16.0);
const LANE: f64 = 44.0;
const BETWEEN: f64 = 34.0;
const FOOT: f64 = 112.0;

/// The most columns of the picture. More than [`MANY`] streams get fewer columns, which limits
/// the size of the file.
const COLUMNS: usize = 240;
const COLUMNS_OF_MANY: usize = 120;
const MANY: usize = 64;

/// The most numbers at the time axis.
const TIMES: u32 = 10;

/// Columns of characters that fit into a line of the title, and of other text.
const TITLE_ROOM: usize = 80;
const LINE_ROOM: usize = 130;

const GROUND: &str = "#ffffff";
const STYLE: &str = "text{font-family:sans-serif;font-size:11px;fill:#333}\
    .title{font-size:17px;font-weight:bold;fill:#111}.said{font-size:12px}\
    .failed{font-size:12px;fill:#b3261e}.name{font-weight:bold}.number{fill:#555}\
    .count{fill:#9a4d00}.caption{font-size:13px;font-weight:bold;fill:#111}\
    .grid{stroke:#d9d9d9;stroke-width:1}.sum{fill:#3f87cb}.md5{fill:#8a63b8}.files{fill:#5a9e6f}\
    .open{fill:none;stroke:#c76a10;stroke-width:1.5;stroke-dasharray:5 3}\
    .idle{fill:#f4ead8;stroke:#f4ead8}rect{stroke-width:0}.broken{fill:none;stroke:#d0211c;stroke-width:2}\
    .stalled{fill:#d0211c}.reopened{fill:#1e8a3c;stroke:#fff;stroke-width:.5}\
    .damaged{fill:#f5b400;stroke:#5c4300;stroke-width:.7}\
    .again{fill:none;stroke:#c0378f;stroke-width:1.5}";

/// The contents of a picture.
pub(crate) struct Picture {
    /// The file and the server, escaped.
    pub(crate) title: String,
    /// The summary or the error.
    pub(crate) outcome: String,
    /// Whether the outcome is an error.
    pub(crate) failed: bool,
    /// The rate limit, in bytes per second.
    pub(crate) limit: Option<u64>,
    /// The trace of the transfer.
    pub(crate) trace: Trace,
}

impl Picture {
    /// The picture as SVG.
    pub(crate) fn to_svg(&self) -> String {
        let mut trace = self.trace.clone();
        let most = if trace.streams() > MANY { COLUMNS_OF_MANY } else { COLUMNS };
        while trace.columns() > most {
            trace.coarsen();
        }
        let trace = &trace;
        let fastest = rows::fastest(trace);
        let streams = trace.streams() as f64;
        let part = |top, height| Frame { left: LEFT, width: WIDTH - LEFT - RIGHT, top, height };
        let total = part(HEAD, TOTAL);
        let height = (ALL_ROWS / streams.max(1.0)).clamp(ROW.0, ROW.1) * streams;
        let all = part(total.bottom() + BETWEEN, height);
        let below = |above: Frame| part(above.bottom() + BETWEEN, LANE);
        let files = chart::has_files(trace).then(|| below(all));
        let last = files.unwrap_or(all);
        let md5 = chart::has_md5(trace).then(|| below(last));
        let bottom = md5.unwrap_or(last).bottom();

        let mut svg = Svg::new(WIDTH, bottom + FOOT, &style(), GROUND);
        svg.title(&format!("Trace of {}: {}", self.title, self.outcome));
        let class = if self.failed { "failed" } else { "said" };
        let words = |svg: &mut Svg, class, y, words: &str| {
            svg.words(class, (LEFT, y), Anchor::Start, words);
        };
        words(&mut svg, "title", 30.0, &cut(&self.title, TITLE_ROOM));
        let (first, second) = wrap(&self.outcome, LINE_ROOM);
        words(&mut svg, class, 50.0, first);
        words(&mut svg, class, 66.0, &cut(second, LINE_ROOM));
        time_axis(&mut svg, trace, total, bottom);
        chart::total(&mut svg, total, trace);
        words(&mut svg, "name", all.top - 6.0, "each stream, by its number");
        rows::draw(&mut svg, all, trace, fastest);
        if let Some(files) = files {
            chart::files(&mut svg, files, trace);
        }
        if let Some(md5) = md5 {
            chart::md5(&mut svg, md5, trace);
        }
        legend(&mut svg, trace, bottom + 44.0, fastest);
        let caption = caption::of(&self.trace, self.limit);
        words(&mut svg, "caption", bottom + 94.0, &caption.unwrap_or_default());
        svg.finish()
    }
}

fn style() -> String {
    let shades = SHADES.iter().enumerate();
    let shades: String =
        shades.map(|(level, color)| format!(".s{level}{{fill:{color};stroke:{color}}}")).collect();
    format!("{STYLE}{shades}")
}

/// Vertical lines through all parts, with their times below.
fn time_axis(svg: &mut Svg, trace: &Trace, frame: Frame, bottom: f64) {
    for seconds in time_ticks(trace.end() as f64 / 1000.0, TIMES) {
        let x = frame.x(trace, (seconds * 1000.0) as u64);
        svg.line("grid", (x, frame.top), (x, bottom + 4.0));
        svg.words("number", (x, bottom + 18.0), Anchor::Middle, &time(seconds));
    }
}

/// The meaning of the shades and the marks, and the number of each mark.
fn legend(svg: &mut Svg, trace: &Trace, y: f64, fastest: f64) {
    const SAMPLE: (f64, f64) = (18.0, 10.0);
    let mut x = LEFT;
    svg.rect("idle", (x, y - 9.0), SAMPLE);
    svg.words("said", (x + 23.0, y), Anchor::Start, "connected, no data");
    x += 190.0;
    for level in 0..SHADES.len() {
        svg.rect(&format!("s{level}"), (x, y - 9.0), SAMPLE);
        x += SAMPLE.0;
    }
    let rate = format!("up to {} MiB/s and more on one stream", short(fastest / amount::MIB));
    svg.words("said", (x + 6.0, y), Anchor::Start, &rate);
    x = LEFT;
    for mark in Mark::ALL {
        let (class, meaning) = rows::words_of(mark);
        let count = (0..trace.streams()).flat_map(|stream| trace.row(stream));
        let count: u64 = count.map(|cell| u64::from(cell.count(mark))).sum();
        let mut path = Path::default();
        rows::symbol(&mut path, mark, (x + 5.0, y + 19.0), 9.0);
        svg.path(class, &path);
        let words = format!("{meaning} ({count})");
        svg.words("said", (x + 15.0, y + 23.0), Anchor::Start, &words);
        x += 40.0 + 6.4 * words.len() as f64;
    }
}

/// The first character that may take two columns: Hangul, and then all of CJK.
const WIDE: char = '\u{1100}';

/// The byte offset of the first character that does not fit into `room` columns.
fn overflow(words: &str, room: usize) -> Option<usize> {
    let mut taken = 0;
    let mut characters = words.char_indices();
    let first = characters.find(|(_, character)| {
        taken += if *character < WIDE { 1 } else { 2 };
        taken > room
    });
    first.map(|(offset, _)| offset)
}

/// `words` in two lines. The first has at most `room` columns.
fn wrap(words: &str, room: usize) -> (&str, &str) {
    let Some(end) = overflow(words, room) else { return (words, "") };
    words[..end].rsplit_once(' ').map_or((&words[..end], &words[end..]), |(first, _)| {
        (first, words[first.len()..].trim_start())
    })
}

/// `words`, cut to `room` columns.
fn cut(words: &str, room: usize) -> String {
    match overflow(words, room) {
        Some(end) => format!("{}...", &words[..end]),
        None => words.to_string(),
    }
}

#[cfg(test)]
mod tests;
