//! `--progress`: in which form the client says how a fetch is doing, and how often.

#![forbid(unsafe_code)]

use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Between two drawings of the bar, two objects, and two plain lines.
const BAR_INTERVAL: Duration = Duration::from_millis(200);
const JSON_INTERVAL: Duration = Duration::from_millis(250);
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// In which form it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// One line that is drawn again and again.
    Bar,
    /// A line now and then.
    Plain,
    /// A JSON object a line.
    Json,
    /// Not at all.
    None,
}

impl Style {
    /// The style that `word` asks for; without one a quiet client says nothing, and
    /// another one looks whether standard error is a terminal.
    pub(crate) fn parse(word: Option<&OsStr>, quiet: bool) -> Result<Style> {
        match word.map(OsStr::as_bytes) {
            None if quiet => Ok(Style::None),
            None | Some(b"auto") if std::io::stderr().is_terminal() => Ok(Style::Bar),
            None | Some(b"auto" | b"plain") => Ok(Style::Plain),
            Some(b"bar") => Ok(Style::Bar),
            Some(b"json") => Ok(Style::Json),
            Some(b"none") => Ok(Style::None),
            Some(other) => {
                let shown = escape(other);
                let text =
                    format!("--progress: must be auto, bar, plain, json or none, not '{shown}'");
                Err(Error::usage(text))
            }
        }
    }

    /// How long it is between two of them.
    pub(super) fn interval(self) -> Option<Duration> {
        match self {
            Style::Bar => Some(BAR_INTERVAL),
            Style::Plain => Some(PLAIN_INTERVAL),
            Style::Json => Some(JSON_INTERVAL),
            Style::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(word: &str) -> Option<Style> {
        Style::parse(Some(OsStr::new(word)), true).ok()
    }

    #[test]
    fn every_style_has_its_word() {
        for (word, style) in [
            ("bar", Style::Bar),
            ("plain", Style::Plain),
            ("json", Style::Json),
            ("none", Style::None),
        ] {
            assert_eq!(parse(word), Some(style));
        }
        assert!(matches!(parse("auto"), Some(Style::Bar | Style::Plain)));
        assert_eq!((parse(""), parse("BAR")), (None, None));
    }

    #[test]
    fn a_quiet_client_says_nothing_unless_it_is_asked_to() {
        assert_eq!(Style::parse(None, true).ok(), Some(Style::None));
        assert_ne!(Style::parse(None, false).ok(), Some(Style::None));
        assert_eq!(parse("plain"), Some(Style::Plain));
    }

    #[test]
    fn the_bar_is_drawn_four_to_ten_times_a_second_objects_come_twice_and_lines_every_ten() {
        assert!((100..=250).contains(&BAR_INTERVAL.as_millis()));
        assert!(JSON_INTERVAL.as_millis() <= 500);
        assert_eq!(PLAIN_INTERVAL.as_secs(), 10);
    }
}
