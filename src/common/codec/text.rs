//! Bytes of a peer or a file name, made safe for a terminal and for a log of one line an entry.
//! Only people read the result; no program parses it.

#![forbid(unsafe_code)]

/// The mark for the rest of a text that was cut.
const CUT: &str = "...";

/// The bytes as one line of printable text. Printable UTF-8 is kept, a backslash becomes `\\`,
/// and other bytes become `\xNN`. So two different texts never look the same. Other bytes are:
/// control characters (C0, DEL, C1), line and paragraph separators (U+2028, U+2029), characters
/// that change the direction of writing (U+202A to U+202E, U+2066 to U+2069), and invalid UTF-8.
pub fn escape(bytes: &[u8]) -> String {
    escape_limited(bytes, usize::MAX)
}

/// A text that a peer has escaped, as one line of printable text: what should have been escaped is
/// escaped, and backslashes stay as they are.
pub fn escape_rest(text: &str) -> String {
    escape(text.as_bytes()).replace("\\\\", "\\")
}

/// Like [`escape`], but at most `max` bytes long, cut between two characters with `...` for the
/// rest (and fewer dots if `max` is under 3). Time and memory are bounded by `max`.
pub fn escape_limited(bytes: &[u8], max: usize) -> String {
    let mut out = Limited { text: String::new(), cut: 0, max };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let encoded = c.encode_utf8(&mut buffer);
            let fits = match c {
                '\\' => out.push("\\\\"),
                c if is_unsafe(c) => out.push(&hex(encoded.as_bytes())),
                _ => out.push(encoded),
            };
            if !fits {
                return out.finish();
            }
        }
        if !chunk.invalid().iter().all(|&byte| out.push(&hex(&[byte]))) {
            return out.finish();
        }
    }
    out.text
}

/// Whether a character is unsafe on a terminal or in a log.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Every byte as `\xNN`.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// A text that grows up to a limit.
struct Limited {
    text: String,
    /// The length of the text that leaves room for [`CUT`].
    cut: usize,
    max: usize,
}

impl Limited {
    /// Adds a piece whole; `false` if it does not fit.
    fn push(&mut self, piece: &str) -> bool {
        if self.text.len() + CUT.len() <= self.max {
            self.cut = self.text.len();
        }
        if piece.len() > self.max - self.text.len() {
            return false;
        }
        self.text.push_str(piece);
        true
    }

    /// The cut text, after a piece did not fit.
    fn finish(mut self) -> String {
        self.text.truncate(self.cut);
        let room = self.max - self.cut;
        self.text.push_str(CUT.get(..room).unwrap_or(CUT));
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_text_is_kept() {
        let text = "file name-1_é漢\u{1f600}'\"?#%.bin";
        assert_eq!(escape(text.as_bytes()), text);
    }

    #[test]
    fn a_backslash_is_doubled() {
        assert_eq!(escape(b"a\\x41"), "a\\\\x41");
    }

    #[test]
    fn an_escaped_text_stays_as_it_is() {
        for bytes in [&b"a\\b\xff\x1b[2J"[..], "caf\u{e9}\u{202e}".as_bytes()] {
            assert_eq!(escape_rest(&escape(bytes)), escape(bytes));
        }
        assert_eq!(escape_rest("a\u{1b}[2J\\x1b"), "a\\x1b[2J\\x1b");
    }

    #[test]
    fn control_characters_are_written_in_hex() {
        assert_eq!(escape(b"\x1b[2J\r\n\t\0\x7f"), "\\x1b[2J\\x0d\\x0a\\x09\\x00\\x7f");
        assert_eq!(
            escape("\u{80}\u{9b}\u{9f}\u{a0}".as_bytes()),
            "\\xc2\\x80\\xc2\\x9b\\xc2\\x9f\u{a0}"
        );
    }

    #[test]
    fn separators_and_changes_of_direction_are_written_in_hex() {
        assert_eq!(escape("\u{2028}\u{2029}".as_bytes()), "\\xe2\\x80\\xa8\\xe2\\x80\\xa9");
        for c in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
            assert!(escape(c.to_string().as_bytes()).is_ascii());
        }
    }

    #[test]
    fn invalid_utf_8_is_written_in_hex() {
        assert_eq!(
            escape(b"a\xff\xc3(\xed\xa0\x80\xe2\x82"),
            "a\\xff\\xc3(\\xed\\xa0\\x80\\xe2\\x82"
        );
    }

    #[test]
    fn the_limit_is_exact() {
        assert_eq!(escape_limited(b"abcdef", 6), "abcdef");
        assert_eq!(escape_limited(b"abcdefg", 6), "abc...");
    }

    #[test]
    fn no_character_is_cut_in_its_middle() {
        assert_eq!(escape_limited("aéé".as_bytes(), 4), "a...");
        assert_eq!(escape_limited("ééé".as_bytes(), 4), "...");
        assert_eq!(escape_limited(b"ab\nab", 7), "ab...");
        assert_eq!(escape_limited(b"a\xff\xff", 8), "a\\xff...");
    }

    #[test]
    fn a_limit_below_the_dots_is_kept() {
        for max in 0..8 {
            assert!(escape_limited("\u{1f600}\n\\long".as_bytes(), max).len() <= max);
        }
        assert_eq!(escape_limited(b"abc", 2), "..");
    }
}
