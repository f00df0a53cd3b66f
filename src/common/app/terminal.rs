//! Standard output and standard error. Nothing else in the project writes to them,
//! and nothing here panics when they are closed or full.
//!
//! Below the lines that stay there may be one live line, which is drawn again and again.
//! The cursor waits at its start: when the window becomes narrower, a terminal that breaks
//! the line anew leaves the cursor above all of its pieces, so that they can be erased.

#![forbid(unsafe_code)]

use crate::codec::json::Value;
use crate::sys::sync::lock;
use crate::sys::terminal;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock};

/// Columns of a terminal that does not know how many it has.
const USUAL_COLUMNS: usize = 80;

static PROGRAM_NAME: OnceLock<String> = OnceLock::new();

/// Where lines go in place of standard error.
type Sink = Box<dyn Fn(&str) + Send + Sync>;

static SINK: OnceLock<Sink> = OnceLock::new();

static SCREEN: Mutex<Screen> = Mutex::new(Screen { live: 0, json: false });

/// What is on standard error now.
struct Screen {
    /// Columns of the live line; 0 while there is none.
    live: usize,
    /// Whether each line is to be a JSON object.
    json: bool,
}

/// Remembers the name that this program was started under: `ropewalk-client` where it
/// was installed so, else `otherwise`.
pub fn set_program_name(started_as: Option<&OsStr>, otherwise: &str) {
    let name = started_as.and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    PROGRAM_NAME.get_or_init(|| name.unwrap_or(otherwise).to_string());
}

/// From now on each line on standard error is a JSON object.
pub fn speak_json() {
    lock(&SCREEN).json = true;
}

/// From now on `sink` gets each line of [`complain`] and [`log`], without the program's name
/// and without the line's end. The first sink of a program stays.
pub fn divert(sink: impl Fn(&str) + Send + Sync + 'static) {
    SINK.get_or_init(|| Box::new(sink));
}

/// Writes a line to standard error, with the program's name and a colon before it.
/// What a peer or a file name put into `line` has been escaped before.
pub fn complain(line: impl Display) {
    if let Some(sink) = SINK.get() {
        return sink(&line.to_string());
    }
    let mut screen = lock(&SCREEN);
    let line = if screen.json {
        let text = Value::from(line.to_string());
        Value::object([("event", Value::from("message")), ("text", text)]).to_string()
    } else {
        let name = PROGRAM_NAME.get().map_or("ropewalk", String::as_str);
        format!("{name}: {line}")
    };
    screen.write_line(&line);
}

/// Writes a line of the log: the same place and form as an error.
pub fn log(line: impl Display) {
    complain(line);
}

/// Writes a JSON object as a line to standard error.
pub fn print_object(object: &Value) {
    lock(&SCREEN).write_line(&object.to_string());
}

/// Writes `bytes` to standard error, as they are: for what would go to standard output,
/// where that has something else in it.
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

/// Draws the live line that `layout` makes for so many columns, in place of the last one.
/// Where standard error is a terminal, a program in its background draws nothing.
pub fn draw(layout: impl FnOnce(usize) -> String) {
    let mut screen = lock(&SCREEN);
    if terminal::is_in_background(io::stderr().as_fd()) {
        screen.live = 0; // what is there now is somebody else's
        return;
    }
    // The last column stays free: after it some terminals begin a new line.
    let room = columns() - 1;
    let line = layout(room);
    let drawn = redraw(screen.live, &line, room);
    screen.live = line.chars().count();
    write(&drawn);
}

/// Takes the live line away. While the answer lives nothing is drawn and nothing is said:
/// what does either waits.
pub fn hush() -> Hush {
    let mut screen = lock(&SCREEN);
    write(&screen.wiped());
    Hush { _screen: screen }
}

/// Keeps standard error as it is.
pub struct Hush {
    _screen: MutexGuard<'static, Screen>,
}

impl Screen {
    /// Writes one line above the live one, which comes back when it is drawn next. One
    /// write, so that the lines of several threads and programs do not mix.
    fn write_line(&mut self, line: &str) {
        let wiped = self.wiped();
        write(&format!("{wiped}{line}\n"));
    }

    /// What takes the live line away.
    fn wiped(&mut self) -> String {
        match std::mem::take(&mut self.live) {
            0 => String::new(),
            live => redraw(live, "", columns() - 1),
        }
    }
}

/// What puts `line`, which fits into `room` columns, where a line of `live` columns was.
/// Spaces cover what was longer, as any terminal understands; only where the window has
/// become too narrow for the old line its pieces have to be erased (ECMA-48, ED).
fn redraw(live: usize, line: &str, room: usize) -> String {
    if live > room {
        return format!("\r\x1b[J{line}\r");
    }
    let rest = live.saturating_sub(line.chars().count());
    format!("\r{line}{:rest$}\r", "")
}

fn columns() -> usize {
    match terminal::columns(io::stderr().as_fd()) {
        Ok(0) | Err(_) => USUAL_COLUMNS,
        Ok(columns) => columns.into(),
    }
}

/// If nobody can read it, there is nobody to tell.
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
    }

    #[test]
    fn a_line_that_the_window_has_broken_is_erased() {
        assert_eq!(redraw(40, "abc", 39), "\r\x1b[Jabc\r");
    }
}
