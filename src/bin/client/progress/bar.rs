//! The state of a fetch as one line of text: the progress bar for a window of any width, and
//! a sentence for a log.

#![forbid(unsafe_code)]

use super::{Phase, Snapshot};
use ropewalk::app::report::TreeTally;
use ropewalk::codec::amount;
use ropewalk::codec::columns::{cut_middle, width};

/// Between two fields.
const GAP: &str = "  ";

/// Columns of the gauge, `[==>  ]`: the smallest and the widest one.
const LEAST_GAUGE: usize = 7;
const WIDEST_GAUGE: usize = 60;

/// Columns that the gauge gets before the whole name of the file is shown, and before a part
/// of the name is shown.
const GAUGE_BEFORE_NAME: usize = 12;
const GAUGE_BEFORE_PART_OF_NAME: usize = 30;

/// The shortest part of a name that is shown, in columns.
const LEAST_NAME: usize = 12;

/// The rank of the gauge, as in [`Field`].
const GAUGE_RANK: usize = 5;

/// A longer time left, in seconds, is not shown: it would be a guess.
const LONGEST_LEFT: u64 = 100 * 24 * 3600;

/// A field of the line: its rank, of which 0 gets room first, and its forms, the longest
/// first.
type Field = (usize, Vec<String>);

/// The line for a window of `columns`, of a file called `name`. A field that does not fit gets
/// a shorter form or is left out, the least important field first.
pub(super) fn line(now: &Snapshot, name: &str, columns: usize) -> String {
    let mut fields = fields(now);
    let gauge = share(now).map(|_| "#".repeat(LEAST_GAUGE));
    fields.insert(0, (GAUGE_RANK, gauge.into_iter().collect()));
    let mut order: Vec<usize> = (0..fields.len()).collect();
    order.sort_by_key(|index| fields[*index].0);
    let mut chosen: Vec<&str> = vec![""; fields.len()];
    let mut used = 0;
    for index in order {
        let before = if used == 0 { 0 } else { GAP.len() };
        let room = columns.saturating_sub(used + before);
        if let Some(form) = fields[index].1.iter().find(|form| form.len() <= room) {
            chosen[index] = form;
            used += before + form.len();
        }
    }
    let mut left = columns.saturating_sub(used);
    let has_gauge = !chosen[0].is_empty();
    let name = match has_gauge || now.tree.is_some() {
        true => fitting(name, left, has_gauge),
        false => String::new(),
    };
    if !name.is_empty() {
        left -= width(&name).unwrap_or(left) + GAP.len();
    }
    let gauge = match share(now) {
        Some(share) if has_gauge => draw_gauge(share, (LEAST_GAUGE + left).min(WIDEST_GAUGE)),
        _ => String::new(),
    };
    let words = [name.as_str(), &gauge].into_iter().chain(chosen.into_iter().skip(1));
    words.filter(|form| !form.is_empty()).collect::<Vec<&str>>().join(GAP)
}

/// As much of `name` as fits into the `left` columns, beside the smallest gauge where there is one.
/// Empty if that is too little, or if the name has letters of unknown width.
fn fitting(name: &str, left: usize, has_gauge: bool) -> String {
    let beside = |gauge: usize| {
        let more = if has_gauge { gauge - LEAST_GAUGE } else { 0 };
        left.saturating_sub(more + GAP.len())
    };
    match (width(name), beside(GAUGE_BEFORE_PART_OF_NAME)) {
        (None, _) => String::new(),
        (Some(width), _) if width <= beside(GAUGE_BEFORE_NAME) => name.to_string(),
        (Some(_), room) if room >= LEAST_NAME => cut_middle(name, room),
        (Some(_), _) => String::new(),
    }
}

/// The state in one sentence of any length.
pub(super) fn sentence(now: &Snapshot) -> String {
    let fields = fields(now).into_iter().filter_map(|(_, forms)| forms.into_iter().next());
    let fields: Vec<String> = fields.map(|field| field.trim_start().to_string()).collect();
    fields.join(", ")
}

fn fields(now: &Snapshot) -> Vec<Field> {
    let bytes = amount::size(now.bytes);
    let rate = amount::rate(now.rate);
    let moving = now.phase == Phase::Moving;
    vec![
        (0, share(now).map(|share| format!("{share:>3}%")).into_iter().collect()),
        (1, note(now)),
        (
            4,
            match (now.phase, now.size) {
                (Phase::Asking, _) => vec![],
                (_, Some(size)) => vec![format!("{bytes} of {}", amount::size(size)), bytes],
                (_, None) => vec![bytes],
            },
        ),
        (2, if moving { vec![rate] } else { vec![] }),
        (
            3,
            match now.seconds_left.filter(|left| *left < LONGEST_LEFT).map(amount::clock) {
                Some(left) => vec![format!("{left} left"), left],
                None if moving && now.size.is_some() => vec!["-:-- left".into(), "-:--".into()],
                None => vec![],
            },
        ),
        (2, now.tree.iter().map(files).collect()),
        (6, if moving { vec![counted(now.streams, "stream")] } else { vec![] }),
        (
            7,
            match (now.phase, now.resent) {
                (Phase::Asking, _) | (_, 0) => vec![],
                (_, blocks) => vec![resent(blocks)],
            },
        ),
        (8, if moving && now.same > 0 { vec![same(now.same)] } else { vec![] }),
        (9, if moving && now.checked < now.resumed { vec![check(now)] } else { vec![] }),
    ]
}

/// Files that are done, of those that are known.
fn files(tree: &TreeTally) -> String {
    let more = if tree.is_listed { "" } else { "+" };
    format!("{} of {}{more} files", tree.files, tree.files_known)
}

/// The words for a phase without moving bytes.
fn note(now: &Snapshot) -> Vec<String> {
    let owned = |forms: &[&str]| forms.iter().map(ToString::to_string).collect();
    match (now.phase, now.hashed, now.size) {
        (Phase::Asking, ..) => owned(&["waiting for the server", "waiting"]),
        (Phase::Moving, ..) => vec![],
        (Phase::Lost, ..) => owned(&["lost the server, asking again", "lost the server", "lost"]),
        (Phase::Checking, ..) if now.checked < now.resumed => {
            vec![check(now), "checking".into()]
        }
        (Phase::Checking, Some(hashed), Some(size)) if hashed < size => {
            vec![format!("making the MD5: {}", part(hashed, size)), "MD5".into()]
        }
        (Phase::Checking, ..) => owned(&["waiting for the MD5", "MD5"]),
        (Phase::Saving, ..) => owned(&["writing to the disk", "writing"]),
    }
}

/// How many bytes of an earlier run are checked.
fn check(now: &Snapshot) -> String {
    format!("checking resumed bytes: {}", part(now.checked, now.resumed))
}

/// `3.10 of 6.70 GiB`: a common unit is written once.
fn part(part: u64, whole: u64) -> String {
    let (part, whole) = (amount::size(part), amount::size(whole));
    match (part.split_once(' '), whole.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} of {whole}"),
        _ => format!("{part} of {whole}"),
    }
}

fn share(now: &Snapshot) -> Option<u64> {
    now.size.map(|size| amount::percent(now.bytes, size).min(100))
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn resent(blocks: u64) -> String {
    format!("{blocks} re-sent")
}

fn same(bytes: u64) -> String {
    format!("{} the same", amount::size(bytes))
}

/// `[=====>    ]` in so many columns, at least three.
fn draw_gauge(share: u64, columns: usize) -> String {
    let inside = columns - 2;
    let full = inside * share as usize / 100;
    let (bar, head) = match full {
        0 => (0, ""),
        _ if full == inside => (full, ""),
        _ => (full - 1, ">"),
    };
    let rest = inside - bar - head.len();
    format!("[{:=<bar$}{head}{:rest$}]", "", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn moving() -> Snapshot {
        Snapshot {
            time: Duration::from_secs(5),
            phase: Phase::Moving,
            bytes: 450 << 20,
            size: Some(1 << 30),
            rate: 93e6,
            seconds_left: Some(12),
            streams: 4,
            resent: 2,
            resumed: 0,
            checked: 0,
            same: 0,
            hashed: Some(1 << 20),
            tree: None,
        }
    }

    const NAMES: [&str; 5] = [
        "",
        "f",
        "a \\\\ name of some length, with \\x1b in it",
        "\u{6f22}\u{5b57}/of/some/length/\u{6f22}\u{5b57}\u{6f22}\u{5b57}\u{6f22}\u{5b57}.txt",
        "\u{5d0}\u{1f600}",
    ];

    /// The line in a window of so many columns. The last column stays free.
    fn in_window(now: &Snapshot, columns: usize) -> String {
        line(now, "", columns - 1)
    }

    #[test]
    fn the_narrowest_window_shows_nothing() {
        assert_eq!(in_window(&moving(), 1), "");
        assert_eq!(in_window(&moving(), 4), "");
        assert_eq!(in_window(&moving(), 5), " 43%");
    }

    #[test]
    fn forty_columns_have_what_matters_most() {
        assert_eq!(in_window(&moving(), 40), " 43%  450 MiB  88.7 MiB/s  0:12 left");
    }

    #[test]
    fn eighty_columns_have_everything() {
        assert_eq!(
            in_window(&moving(), 80),
            "[=>   ]   43%  450 MiB of 1.00 GiB  88.7 MiB/s  0:12 left  4 streams  2 re-sent"
        );
        let usual = Snapshot { resent: 0, ..moving() };
        assert_eq!(
            in_window(&usual, 80),
            "[=====>          ]   43%  450 MiB of 1.00 GiB  88.7 MiB/s  0:12 left  4 streams"
        );
    }

    #[test]
    fn the_name_is_shown_where_there_is_room_and_in_part_where_there_is_some() {
        let now = Snapshot { resent: 0, ..moving() };
        assert!(line(&now, "a.iso", 85).starts_with("a.iso  [==="), "{}", line(&now, "a.iso", 85));
        let long = "abcdefghij".repeat(5);
        assert!(line(&now, &long, 79).starts_with("[==="));
        let part = line(&now, &long, 110);
        assert!(part.starts_with("abcd") && part.contains("..."), "{part}");
        assert!(part.contains("ghij  [==="), "{part}");
        assert!(line(&now, &long, 200).starts_with(&format!("{long}  [===")));
    }

    #[test]
    fn a_folder_shows_the_file_that_is_moving_before_its_size_is_known() {
        let tree = TreeTally { files: 12, files_known: 40, ..TreeTally::default() };
        let (size, seconds_left, resent) = (None, None, 0);
        let now = Snapshot { tree: Some(tree), size, seconds_left, resent, ..moving() };
        let figures = "450 MiB  88.7 MiB/s  12 of 40+ files  4 streams";
        assert_eq!(line(&now, "photos/a.jpg", 79), format!("photos/a.jpg  {figures}"));
        let path = "photos/2026/november/at the sea/image-0001.jpg";
        assert_eq!(line(&now, path, 79), format!("photos/20...sea/image-0001.jpg  {figures}"));
        assert_eq!(line(&now, path, figures.len() + 10), figures);
        assert_eq!(line(&now, "\u{6f22}\u{5b57}", 79), format!("\u{6f22}\u{5b57}  {figures}"));
        let listed = Snapshot { size: Some(1 << 30), ..now };
        assert!(line(&listed, "a.jpg", 110).starts_with("a.jpg  [=="));
    }

    #[test]
    fn two_hundred_columns_have_a_gauge_too() {
        let line = in_window(&moving(), 200);
        let gauge = format!("[{}>{}]", "=".repeat(23), " ".repeat(34));
        assert!(line.starts_with(&format!("{gauge}   43%  450 MiB of")), "{line}");
        let half = Snapshot { bytes: 1 << 29, ..moving() };
        assert!(in_window(&half, 200).contains(&format!("{}>{}]", "=".repeat(28), " ".repeat(29))));
    }

    #[test]
    fn no_line_is_wider_than_its_window() {
        let large = Snapshot {
            bytes: u64::MAX - 1,
            size: Some(u64::MAX),
            rate: 1e18,
            seconds_left: Some(u64::MAX),
            streams: 255,
            resent: u64::MAX,
            resumed: u64::MAX,
            same: u64::MAX,
            hashed: Some(u64::MAX - 1),
            ..moving()
        };
        let unknown = Snapshot { size: None, seconds_left: None, ..moving() };
        let folder = Snapshot { tree: Some(TreeTally::default()), ..unknown };
        for now in [moving(), large, unknown, folder] {
            for phase in [Phase::Asking, Phase::Moving, Phase::Lost, Phase::Checking, Phase::Saving]
            {
                for columns in 0..250 {
                    for name in NAMES {
                        let line = line(&Snapshot { phase, ..now }, name, columns);
                        let is_within = width(&line).is_some_and(|width| width <= columns);
                        assert!(is_within, "{columns}: {line}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_wait_shows_its_reason() {
        let at = |phase| in_window(&Snapshot { phase, seconds_left: None, ..moving() }, 60);
        assert!(at(Phase::Lost).contains("lost the server, asking again"));
        assert!(at(Phase::Saving).contains("writing to the disk"));
        let asking = Snapshot { phase: Phase::Asking, size: None, seconds_left: None, ..moving() };
        assert_eq!(in_window(&asking, 80), "waiting for the server");
    }

    #[test]
    fn a_check_shows_how_far_it_is() {
        let gib = |gib: u64| gib << 30;
        let all = Snapshot { bytes: gib(8), size: Some(gib(8)), seconds_left: None, ..moving() };
        let checking = Snapshot { phase: Phase::Checking, ..all };
        let there = Snapshot { resumed: gib(6), checked: gib(3), ..checking };
        let line = in_window(&there, 60);
        assert!(line.starts_with("100%  checking resumed bytes: 3.00 of 6.00 GiB"), "{line}");
        let begun = Snapshot { checked: 500 << 20, ..there };
        assert!(in_window(&begun, 60).contains("bytes: 500 MiB of 6.00 GiB"));
        let hashing = Snapshot { hashed: Some(gib(2)), ..checking };
        assert!(in_window(&hashing, 60).contains("making the MD5: 2.00 of 8.00 GiB"));
        let hashed = Snapshot { hashed: Some(gib(8)), ..checking };
        assert!(in_window(&hashed, 60).contains("waiting for the MD5"));
        let unknown = Snapshot { hashed: None, ..checking };
        assert!(in_window(&unknown, 60).contains("waiting for the MD5"));
        let line = sentence(&Snapshot { phase: Phase::Moving, ..there });
        assert!(line.ends_with("re-sent, checking resumed bytes: 3.00 of 6.00 GiB"), "{line}");
    }

    #[test]
    fn an_unknown_size_shows_no_share_and_no_time_left() {
        let now = Snapshot { size: None, seconds_left: None, streams: 1, resent: 0, ..moving() };
        assert_eq!(in_window(&now, 80), "450 MiB  88.7 MiB/s  1 stream");
    }

    #[test]
    fn a_sentence_has_everything() {
        let expected = "43%, 450 MiB of 1.00 GiB, 88.7 MiB/s, 0:12 left, 4 streams, 2 re-sent";
        assert_eq!(sentence(&moving()), expected);
    }

    #[test]
    fn bytes_that_were_the_same_are_shown() {
        let now = Snapshot { same: 400 << 20, resent: 0, ..moving() };
        assert!(sentence(&now).ends_with("4 streams, 400 MiB the same"), "{}", sentence(&now));
    }

    #[test]
    fn the_gauge_is_empty_at_the_start_and_full_at_the_end() {
        assert_eq!(draw_gauge(0, 12), "[          ]");
        assert_eq!(draw_gauge(10, 12), "[>         ]");
        assert_eq!(draw_gauge(99, 12), "[========> ]");
        assert_eq!(draw_gauge(100, 12), "[==========]");
    }
}
