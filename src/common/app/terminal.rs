//! Standard output and standard error. No other file writes to them. Nothing here panics when
//! they are closed or full.
//!
//! Below the permanent lines there may be one live line, which is redrawn. The cursor stays at
//! its start. When the window becomes narrower and the terminal rewraps the line, the cursor is
//! above all of its pieces, so they can be erased.

#![forbid(unsafe_code)]

pub mod prompt;

use crate::codec::columns;
use crate::codec::json::Value;
use crate::sys::sync::lock;
use crate::sys::terminal;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock};

/// The codes that begin and end red text (ECMA-48, SGR).
const RED: (&str, &str) = ("\x1b[31m", "\x1b[0m");

/// The width of a terminal that does not know its width, in columns.
const USUAL_COLUMNS: usize = 80;

static PROGRAM_NAME: OnceLock<String> = OnceLock::new();

/// The sink of lines in place of standard error.
type Sink = Box<dyn Fn(&str) + Send + Sync>;

static SINK: OnceLock<Sink> = OnceLock::new();

static SCREEN: Mutex<Screen> = Mutex::new(Screen { live: 0, json: false, asks: false });

/// The state of standard error.
struct Screen {
    /// Columns of the live line; 0 while there is none.
    live: usize,
    /// Whether each line is a JSON object.
    json: bool,
    /// Whether a question to the user is open: then nothing is drawn.
    asks: bool,
}

/// Remembers the name of this program: `ropewalk-client` if it was started under such a name,
/// else `otherwise`.
pub fn set_program_name(started_as: Option<&OsStr>, otherwise: &str) {
    let name = started_as.and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    PROGRAM_NAME.get_or_init(|| name.unwrap_or(otherwise).to_string());
}

/// The name of this program.
pub fn program_name() -> &'static str {
    PROGRAM_NAME.get().map_or("ropewalk", String::as_str)
}

/// From now on each line on standard error is a JSON object.
pub fn speak_json() {
    lock(&SCREEN).json = true;
}

/// Whether standard error shows colors.
pub fn is_colored() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| io::stderr().is_terminal() && knows_colors(|name| std::env::var_os(name)))
}

/// Whether standard output shows colors.
pub fn output_is_colored() -> bool {
    io::stdout().is_terminal() && knows_colors(|name| std::env::var_os(name))
}

/// Whether this environment has a terminal with colors, and its user wants them (no-color.org).
fn knows_colors(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let unwanted = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let kind = variable("TERM").unwrap_or_default();
    !unwanted && !kind.is_empty() && kind != "dumb"
}

/// Writes an error to standard error: the program's name, a colon and `line`. Name and colon are
/// red if colors are on. The caller escapes what comes from a peer or a file name.
pub fn complain(line: impl Display) {
    say(line, is_colored());
}

/// Redirects the lines of [`complain`] and [`log`] to `sink`, without the program's name and the
/// line's end. Only the first call has an effect.
pub fn divert(sink: impl Fn(&str) + Send + Sync + 'static) {
    SINK.get_or_init(|| Box::new(sink));
}

fn say(line: impl Display, colored: bool) {
    if let Some(sink) = SINK.get() {
        return sink(&line.to_string());
    }
    let mut screen = lock(&SCREEN);
    let line = if screen.json {
        let text = Value::from(line.to_string());
        Value::object([("event", Value::from("message")), ("text", text)]).to_string()
    } else {
        let (on, off) = if colored { RED } else { ("", "") };
        format!("{on}{}:{off} {line}", program_name())
    };
    screen.write_line(&line);
}

/// Writes a line of the log: as an error, but without color.
pub fn log(line: impl Display) {
    say(line, false);
}

/// Writes lines to standard error as they are. They end with a newline.
pub fn explain(lines: &str) {
    drop(hush());
    write(lines);
}

/// Writes a JSON object as a line to standard error.
pub fn print_object(object: &Value) {
    lock(&SCREEN).write_line(&object.to_string());
}

/// Writes `bytes` to standard error, as they are: used if standard output carries the file.
pub fn print_beside(bytes: &[u8]) -> io::Result<()> {
    drop(hush());
    io::stderr().lock().write_all(bytes)
}

/// Writes `bytes` to standard output and flushes it.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    drop(hush());
    let mut output = io::stdout().lock();
    output.write_all(bytes)?;
    output.flush()
}

/// Draws the live line that `layout` makes for this many columns, in place of the last one. A
/// program in the background of its terminal draws nothing.
pub fn draw(layout: impl FnOnce(usize) -> String) {
    let mut screen = lock(&SCREEN);
    if screen.asks || terminal::is_in_background(io::stderr().as_fd()) {
        screen.live = 0; // the cursor is not on the live line any more
        return;
    }
    // The last column stays free: some terminals begin a new line after it.
    let room = columns() - 1;
    let line = layout(room);
    let drawn = redraw(screen.live, &line, room);
    screen.live = width(&line);
    write(&drawn);
}

/// Erases the live line. While the answer lives, other threads wait before they draw or write.
pub fn hush() -> Hush {
    let mut screen = lock(&SCREEN);
    write(&screen.wiped());
    Hush { _screen: screen }
}

/// Holds standard error.
pub struct Hush {
    _screen: MutexGuard<'static, Screen>,
}

impl Screen {
    /// Writes one line in place of the live one, which the next draw restores. It is one write:
    /// lines of several threads and programs do not mix.
    fn write_line(&mut self, line: &str) {
        let wiped = self.wiped();
        write(&format!("{wiped}{line}\n"));
    }

    /// The bytes that erase the live line.
    fn wiped(&mut self) -> String {
        match std::mem::take(&mut self.live) {
            0 => String::new(),
            live => redraw(live, "", columns() - 1),
        }
    }
}

/// The bytes that replace a line of `live` columns by `line`, in a window of `room` columns.
/// Spaces cover the rest of a longer line, which works on any terminal. If the window has become
/// too narrow for the old line, its pieces are erased (ECMA-48, ED).
fn redraw(live: usize, line: &str, room: usize) -> String {
    if live > room {
        return format!("\r\x1b[J{line}\r");
    }
    let rest = live.saturating_sub(width(line));
    format!("\r{line}{:rest$}\r", "")
}

/// Columns of a line. A letter of unknown width counts as one.
fn width(line: &str) -> usize {
    columns::width(line).unwrap_or_else(|| line.chars().count())
}

/// Columns of the window of standard error.
pub fn columns() -> usize {
    columns_of(io::stderr().as_fd())
}

/// Columns of the window of standard output.
pub fn output_columns() -> usize {
    columns_of(io::stdout().as_fd())
}

fn columns_of(output: BorrowedFd<'_>) -> usize {
    match terminal::columns(output) {
        Ok(0) | Err(_) => USUAL_COLUMNS,
        Ok(columns) => columns.into(),
    }
}

/// Errors are ignored: there is no place left to report them.
fn write(text: &str) {
    if !text.is_empty() {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_line_covers_a_longer_one() {
        assert_eq!(redraw(0, "abc", 39), "\rabc\r");
        assert_eq!(redraw(5, "abc", 39), "\rabc  \r");
        assert_eq!(redraw(5, "", 39), "\r     \r");
        assert_eq!(redraw(5, "\u{6f22}", 39), "\r\u{6f22}   \r");
    }

    #[test]
    fn colors_are_for_terminals_that_have_them_and_users_who_want_them() {
        let colored = |term: &str, no_color: Option<&str>| {
            knows_colors(|name| match name {
                "TERM" => Some(term.into()),
                _ => no_color.map(Into::into),
            })
        };
        assert!(colored("xterm", None) && colored("linux", Some("")));
        assert!(!colored("dumb", None) && !colored("", None) && !colored("xterm", Some("1")));
        assert!(!knows_colors(|_| None));
    }

    #[test]
    fn a_rewrapped_line_is_erased() {
        assert_eq!(redraw(40, "abc", 39), "\r\x1b[Jabc\r");
    }
}
