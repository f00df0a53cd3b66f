//! Says on standard error how a fetch is doing: a thread that draws, prints a line now
//! and then, or writes objects, until the fetch is over.

#![forbid(unsafe_code)]

use super::style::Style;
use super::{Progress, bar, json};
use crate::config::Config;
use crate::summary::Summary;
use ropewalk::app::{SMALL_STACK, terminal};
use ropewalk::codec::text::escape_limited;
use ropewalk::error::{Error, Result};
use ropewalk::sys::sync::{lock, wait_for};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Most bytes of the file's name in a plain line.
const SHOWN_NAME: usize = 100;

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
