//! The thread that shows on standard error how a fetch is doing: as a bar, as lines, or as
//! JSON objects.

#![forbid(unsafe_code)]

use super::style::Style;
use super::{Progress, bar, json};
use crate::config::Config;
use crate::summary::Summary;
use ropewalk::app::terminal;
use ropewalk::codec::text::escape_limited;
use ropewalk::error::{Error, Result};
use ropewalk::sys::sync::{lock, wait_until};
use ropewalk::sys::thread;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The most bytes of the file's name in a plain line.
const SHOWN_NAME: usize = 100;

/// Owns the thread.
pub(crate) struct Display {
    style: Style,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

/// Ends the waits of the thread.
#[derive(Default)]
pub(super) struct Wakeup {
    reason: Mutex<Reason>,
    changed: Condvar,
}

/// Why the thread has to wake up.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Reason {
    #[default]
    None,
    /// The state has changed so much that it is shown at once.
    News,
    /// The fetch is over.
    Over,
}

impl Display {
    /// Begins to show `progress` in the style of `config`.
    pub(crate) fn start(config: &Config, progress: &Arc<Progress>) -> Result<Display> {
        let style = config.progress;
        if style == Style::Json {
            terminal::speak_json();
            terminal::print_object(&json::start(config));
        }
        let name = escape_limited(&config.file, SHOWN_NAME);
        let spawn = |interval| {
            let progress = progress.clone();
            let show_all = move || {
                while progress.wakeup.wait(interval) {
                    show(style, &name, &progress);
                }
            };
            thread::spawn("progress", show_all).map_err(|error| Error::system("thread", &error))
        };
        let thread = style.interval().map(spawn).transpose()?;
        Ok(Display { style, progress: progress.clone(), thread })
    }

    /// Ends the thread and removes its last drawing. Returns whether the style has shown the
    /// outcome, so that nothing else prints an error.
    pub(crate) fn end(self, outcome: &Result<Summary>) -> bool {
        self.progress.wakeup.wake(Reason::Over);
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

impl Wakeup {
    /// Shows the state at once.
    pub(super) fn show_now(&self) {
        self.wake(Reason::News);
    }

    fn wake(&self, why: Reason) {
        let mut reason = lock(&self.reason);
        if *reason != Reason::Over {
            *reason = why;
        }
        self.changed.notify_all();
    }

    /// Waits for `interval`, or for news. `false` when the fetch is over.
    fn wait(&self, interval: Duration) -> bool {
        let reason = lock(&self.reason);
        let mut reason = wait_until(&self.changed, reason, Instant::now() + interval, |reason| {
            *reason != Reason::None
        });
        if *reason == Reason::News {
            *reason = Reason::None;
        }
        *reason != Reason::Over
    }
}

fn show(style: Style, name: &str, progress: &Progress) {
    let now = progress.snapshot();
    match style {
        Style::Bar => {
            let moving = progress.moving();
            let name = moving.as_deref().unwrap_or(name);
            terminal::draw(|columns| bar::line(&now, name, columns));
        }
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
        let wakeup = Arc::new(Wakeup::default());
        let other = wakeup.clone();
        let waiting = std::thread::spawn(move || other.wait(Duration::from_secs(1000)));
        wakeup.wake(Reason::Over);
        assert!(!waiting.join().unwrap());
        wakeup.show_now();
        assert!(!wakeup.wait(Duration::from_secs(1000)), "nothing comes after the end");
    }

    #[test]
    fn news_ends_one_wait_and_only_one() {
        let wakeup = Wakeup::default();
        wakeup.show_now();
        assert!(wakeup.wait(Duration::from_secs(1000)));
        assert!(wakeup.wait(Duration::ZERO));
    }
}
