//! The columns that a text takes on a terminal.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

/// The mark in place of what is cut out.
const CUT: &str = "...";

/// Letters of one column that are no ASCII: Latin, Greek and Cyrillic, without combining marks.
const NARROW: [RangeInclusive<char>; 3] =
    ['\u{a1}'..='\u{ac}', '\u{ae}'..='\u{2ff}', '\u{370}'..='\u{482}'];

/// Letters of two columns: of Chinese, Japanese and Korean.
const WIDE: [RangeInclusive<char>; 5] = [
    '\u{2e80}'..='\u{2fd5}',
    '\u{3041}'..='\u{3096}',
    '\u{30a0}'..='\u{a4cf}',
    '\u{ac00}'..='\u{d7a3}',
    '\u{ff01}'..='\u{ff60}',
];

/// Columns of a text; `None` if one of its letters has an unknown width.
pub fn width(text: &str) -> Option<usize> {
    text.chars().map(width_of).sum()
}

fn width_of(letter: char) -> Option<usize> {
    let is_in = |all: &[RangeInclusive<char>]| all.iter().any(|some| some.contains(&letter));
    match letter {
        ' '..='~' => Some(1),
        _ if is_in(&NARROW) => Some(1),
        _ if is_in(&WIDE) => Some(2),
        _ => None,
    }
}

/// The text in at most `room` columns: cut in the middle, since the end of a path says most. Empty
/// if a letter has an unknown width.
pub fn cut_middle(text: &str, room: usize) -> String {
    match width(text) {
        None => return String::new(),
        Some(width) if width <= room => return text.to_string(),
        Some(_) => {}
    }
    let Some(left) = room.checked_sub(CUT.len()) else { return String::new() };
    let start = &text[..fitting(text.chars(), left / 3)];
    let end = fitting(text.chars().rev(), left - left / 3);
    format!("{start}{CUT}{}", &text[text.len() - end..])
}

/// Bytes of the first letters that fit into so many columns.
fn fitting(letters: impl Iterator<Item = char>, room: usize) -> usize {
    let (mut bytes, mut used) = (0, 0);
    for letter in letters {
        used += width_of(letter).unwrap_or(room + 1);
        if used > room {
            break;
        }
        bytes += letter.len_utf8();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_take_one_column_or_two() {
        assert_eq!(width("a b~"), Some(4));
        assert_eq!(width("\u{fc}\u{3b1}\u{416}"), Some(3));
        assert_eq!(width("\u{6f22}\u{5b57}\u{ac00}\u{3042}"), Some(8));
        for unknown in ["\u{1b}", "a\u{301}", "\u{5d0}", "\u{1f600}", "\u{fdfd}", "\u{200d}"] {
            assert_eq!(width(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn a_long_text_keeps_its_start_and_more_of_its_end() {
        assert_eq!(cut_middle("abcdefghij", 10), "abcdefghij");
        assert_eq!(cut_middle("abcdefghijk", 10), "ab...ghijk");
        assert_eq!(
            cut_middle("\u{6f22}\u{6f22}\u{6f22}\u{5b57}\u{5b57}", 9),
            "\u{6f22}...\u{5b57}\u{5b57}"
        );
        assert_eq!(cut_middle("a\u{301}", 9), "");
    }

    #[test]
    fn no_text_is_wider_than_its_room() {
        for text in ["some/long/path/of/a/file.iso", "\u{6f22}\u{5b57}/a\u{6f22}b/\u{ac00}.txt"] {
            for room in 0..40 {
                let cut = cut_middle(text, room);
                assert!(width(&cut).is_some_and(|width| width <= room), "{room}: {cut}");
            }
        }
    }
}
