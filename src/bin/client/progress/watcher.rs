//! Says on standard error how a fetch is doing: a thread that draws, prints a line now
//! and then, or writes objects, until the fetch is over.

#![forbid(unsafe_code)]

use super::{Progress, bar, json};
use crate::config::Config;
use crate::fetch::Summary;
use ropewalk::app::{SMALL_STACK, terminal};
use ropewalk::codec::text::{escape, escape_limited};
use ropewalk::error::{Error, Result};
use ropewalk::sys::sync::{lock, wait_for};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Between two drawings of the bar, two objects, and two plain lines.
const BAR_INTERVAL: Duration = Duration::from_millis(200);
const JSON_INTERVAL: Duration = Duration::from_millis(250);
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Most bytes of the file's name in a plain line.
const SHOWN_NAME: usize = 100;

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

    fn interval(self) -> Option<Duration> {
        match self {
            Style::Bar => Some(BAR_INTERVAL),
            Style::Plain => Some(PLAIN_INTERVAL),
            Style::Json => Some(JSON_INTERVAL),
            Style::None => None,
        }
    }
}

/// The owner of the thread.
pub(crate) struct Watcher {
    style: Style,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

/// Ends the waits of the thread.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Rung {
    #[default]
    No,
    /// There is something to show at once.
    News,
    /// The fetch is over.
    Over,
}

impl Watcher {
    /// Begins to say how `progress` goes, in the style that `config` asks for.
    pub(crate) fn start(config: &Config, progress: &Arc<Progress>) -> Result<Watcher> {
        let style = config.progress;
        if style == Style::Json {
            terminal::speak_json();
            terminal::print_object(&json::start(config));
        }
        let name = escape_limited(&config.file, SHOWN_NAME);
        let spawn = |interval| {
            let progress = progress.clone();
            Builder::new()
                .name("progress".into())
                .stack_size(SMALL_STACK)
                .spawn(move || {
                    while progress.bell.wait(interval) {
                        show(style, &name, &progress);
                    }
                })
                .map_err(|error| Error::system("thread", &error))
        };
        let thread = style.interval().map(spawn).transpose()?;
        Ok(Watcher { style, progress: progress.clone(), thread })
    }

    /// Ends the thread, takes away what it has drawn, and says the outcome where that is
    /// part of the style. Answers whether it is: then nobody says an error again.
    pub(crate) fn end(self, outcome: &Result<Summary>) -> bool {
        self.progress.bell.ring(Rung::Over);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
        drop(terminal::hush());
        if self.style == Style::Json {
            terminal::print_object(&json::end(&self.progress.snapshot(), outcome));
        }
        self.style == Style::Json
    }
}

impl Bell {
    /// There is something that is worth a line of its own.
    pub(super) fn ring_news(&self) {
        self.ring(Rung::News);
    }

    fn ring(&self, how: Rung) {
        let mut rung = lock(&self.rung);
        if *rung != Rung::Over {
            *rung = how;
        }
        self.changed.notify_all();
    }

    /// Waits for `interval`, or for news. `false` when it is over.
    fn wait(&self, interval: Duration) -> bool {
        let deadline = Instant::now() + interval;
        let mut rung = lock(&self.rung);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match *rung {
                Rung::Over => return false,
                Rung::News => {
                    *rung = Rung::No;
                    return true;
                }
                Rung::No if left.is_zero() => return true,
                Rung::No => rung = wait_for(&self.changed, rung, left),
            }
        }
    }
}

fn show(style: Style, name: &str, progress: &Progress) {
    let now = progress.snapshot();
    match style {
        Style::Bar => terminal::draw(|columns| bar::line(&now, name, columns)),
        Style::Plain => terminal::log(format_args!("{name}: {}", bar::sentence(&now))),
        Style::Json => terminal::print_object(&json::progress(&now)),
        Style::None => {}
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

    #[test]
    fn the_end_ends_the_wait() {
        let bell = Arc::new(Bell::default());
        let other = bell.clone();
        let waiting = std::thread::spawn(move || other.wait(Duration::from_secs(1000)));
        bell.ring(Rung::Over);
        assert!(!waiting.join().unwrap());
        bell.ring_news();
        assert!(!bell.wait(Duration::from_secs(1000)), "nothing comes after the end");
    }

    #[test]
    fn news_ends_one_wait_and_only_one() {
        let bell = Bell::default();
        bell.ring_news();
        assert!(bell.wait(Duration::from_secs(1000)));
        assert!(bell.wait(Duration::ZERO));
    }
}
