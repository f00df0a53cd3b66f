//! Tests of the picture as text: it is well-formed and complete.

#![forbid(unsafe_code)]

use super::*;
use ropewalk::transfer::trace::{Cell, Position, Slice};

fn picture(streams: u8, seconds: u64) -> Picture {
    let mut trace = Trace::default();
    for second in 1..=seconds {
        let mut cell = Cell { bytes: second * 1000, open: true, ..Cell::default() };
        if second == 2 {
            Mark::ALL.into_iter().for_each(|mark| cell.mark(mark));
        }
        trace.add(&Slice {
            at: second * 1000,
            position: Position {
                prefix: second << 20,
                hashed: Some(second << 19),
                files: Some(second * 100),
            },
            cells: (0..streams).map(|stream| (stream, cell)).collect(),
        });
    }
    let (title, outcome) = ("a <b> & \"c\" from d".into(), "done".into());
    Picture { title, outcome, failed: false, limit: None, trace }
}

/// The opening tags of all elements. Checks that every element is closed, in order.
fn elements(svg: &str) -> Vec<String> {
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("every tag ends");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name.to_string()));
        } else {
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap().to_string());
            }
            seen.push(tag.to_string());
        }
    }
    assert_eq!(open, Vec::<String>::new());
    seen
}

fn count(svg: &str, element: &str) -> usize {
    elements(svg).iter().filter(|tag| tag.starts_with(element)).count()
}

#[test]
fn every_stream_has_a_row() {
    for streams in [1, 4, 64, 255] {
        assert_eq!(count(&picture(streams, 5).to_svg(), "g class=\"row\" "), streams.into());
    }
}

#[test]
fn every_mark_is_drawn_and_counted() {
    let svg = picture(3, 5).to_svg();
    for mark in Mark::ALL {
        let (class, words) = rows::words_of(mark);
        // One for each row, and one in the legend.
        assert_eq!(count(&svg, &format!("path class=\"{class}\"")), 4, "{class}");
        assert!(svg.contains(&format!("{words} (3)")), "{words}");
    }
}

#[test]
fn an_empty_transfer_has_a_picture_too() {
    let picture = Picture { trace: Trace::default(), failed: true, ..picture(1, 1) };
    let svg = picture.to_svg();
    assert_eq!(count(&svg, "svg"), 1);
    assert_eq!(count(&svg, "g class=\"row\" "), 0);
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn without_an_md5_there_is_no_chart_for_it() {
    let mut picture = picture(2, 5);
    assert_eq!(count(&picture.to_svg(), "path class=\"md5\""), 1);
    picture.trace = Trace::default();
    picture.trace.add(&Slice { at: 100, ..Slice::default() });
    assert_eq!(count(&picture.to_svg(), "path class=\"md5\""), 0);
}

#[test]
fn a_folder_has_a_chart_of_its_files_and_a_file_has_none() {
    let mut picture = picture(2, 5);
    let svg = picture.to_svg();
    assert_eq!(count(&svg, "path class=\"files\""), 1);
    assert!(svg.contains(">files a second</text>"));
    // 100 files came in each second.
    assert!(svg.contains(">100</text>"), "{svg}");
    picture.trace = Trace::default();
    picture.trace.add(&Slice { at: 100, ..Slice::default() });
    let svg = picture.to_svg();
    assert!(count(&svg, "path class=\"files\"") == 0 && !svg.contains("files a second"), "{svg}");
}

#[test]
fn a_long_outcome_takes_two_lines_and_no_more() {
    assert_eq!(wrap("one two three", 13), ("one two three", ""));
    assert_eq!(wrap("one two three", 8), ("one two", "three"));
    assert_eq!(wrap("\u{e9}\u{e9}\u{e9}", 2), ("\u{e9}\u{e9}", "\u{e9}"));
    let outcome = "word ".repeat(200);
    let svg = Picture { outcome, ..picture(1, 1) }.to_svg();
    assert_eq!(count(&svg, "text class=\"said\" x=\"64\" y=\"66\""), 1);
    assert!(svg.contains("...</text>"));
}

#[test]
fn a_wide_character_takes_two_columns() {
    assert_eq!(cut("\u{e9}\u{10ff}ab", 4), "\u{e9}\u{10ff}ab");
    assert_eq!(cut("\u{6f22}\u{5b57}", 4), "\u{6f22}\u{5b57}");
    assert_eq!(cut("\u{6f22}\u{5b57}", 3), "\u{6f22}...");
    assert_eq!(wrap("\u{1100}\u{ac00} b", 5), ("\u{1100}\u{ac00}", "b"));
    let title = "\u{6f22}".repeat(100);
    let svg = Picture { title, ..picture(1, 1) }.to_svg();
    assert!(svg.contains(&format!(">{}...</text>", "\u{6f22}".repeat(TITLE_ROOM / 2))));
}

#[test]
fn what_names_say_is_no_markup() {
    let svg = picture(1, 1).to_svg();
    assert!(svg.contains(">a &lt;b&gt; &amp; &quot;c&quot; from d</text>"), "{svg}");
}

#[test]
fn the_picture_of_a_long_wide_transfer_is_no_larger_than_a_photograph() {
    let svg = picture(255, 36_000).to_svg();
    assert!(svg.len() < 1 << 20, "{} bytes", svg.len());
}
