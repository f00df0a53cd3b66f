//! The value of `--progress`: how the client shows progress, and how often.

#![forbid(unsafe_code)]

use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The time between two drawings of the bar, two JSON objects, and two plain lines.
const BAR_INTERVAL: Duration = Duration::from_millis(200);
const JSON_INTERVAL: Duration = Duration::from_millis(250);
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// One line that is redrawn.
    Bar,
    /// A line of log every few seconds.
    Plain,
    /// JSON objects, one per line.
    Json,
    /// Not at all.
    None,
}

impl Style {
    /// The style of `word`. Without a word a quiet client shows nothing, and any other client
    /// draws a bar if standard error is a terminal, or else plain lines.
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

    /// The time between two updates; `None` without updates.
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
    fn a_quiet_client_shows_progress_only_if_asked_to() {
        assert_eq!(Style::parse(None, true).ok(), Some(Style::None));
        assert_ne!(Style::parse(None, false).ok(), Some(Style::None));
        assert_eq!(parse("plain"), Some(Style::Plain));
    }

    #[test]
    fn the_bar_moves_smoothly_and_plain_lines_are_rare() {
        assert!((100..=250).contains(&BAR_INTERVAL.as_millis()));
        assert!(JSON_INTERVAL.as_millis() <= 500);
        assert_eq!(PLAIN_INTERVAL.as_secs(), 10);
    }
}
