//! A program in a terminal: what it writes there, and what a person then sees.

use crate::support::harness::LIMIT;
use crate::support::system::{echoes, open_terminal, resize, signal};
use ropewalk::sys::poll;
use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// A program whose outputs are a terminal. Dropping it kills the program.
pub(crate) struct Pty {
    child: Child,
    terminal: File,
    /// Everything that the program has written.
    pub(crate) written: Written,
}

/// What was written to a terminal. Debug shows only the end: a bar of some seconds fills pages.
#[derive(Default)]
pub(crate) struct Written(String);

impl Deref for Written {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Debug for Written {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&tail(self))
    }
}

/// The last characters of a text, quoted, and how many bytes are left out before them.
pub(crate) fn tail(text: &str) -> String {
    const SHOWN: usize = 400;
    match text.char_indices().rev().nth(SHOWN - 1) {
        Some((start, _)) if start > 0 => format!("({start} bytes, then) {:?}", &text[start..]),
        _ => format!("{text:?}"),
    }
}

impl Pty {
    /// Starts `command` in a window of `columns` columns.
    pub(crate) fn start(mut command: Command, columns: u16) -> Pty {
        let (terminal, inside) = open_terminal(columns);
        // The terminal knows no colors, unless a test says otherwise.
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "dumb");
        }
        command.stdout(inside.try_clone().unwrap()).stderr(inside);
        let child = command.spawn().unwrap();
        Pty { child, terminal, written: Written::default() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, number: i32) {
        signal(self.pid(), number);
    }

    /// The terminal, which stays when the program has ended.
    pub(crate) fn terminal(&self) -> File {
        self.terminal.try_clone().unwrap()
    }

    /// Types `text`.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    /// Whether the terminal shows what is typed.
    pub(crate) fn shows_what_is_typed(&self) -> bool {
        echoes(&self.terminal)
    }

    pub(crate) fn resize(&self, columns: u16) {
        resize(&self.terminal, columns);
    }

    /// Reads once, for at most `limit`. `false` if there was nothing, or nothing can come any more.
    fn read(&mut self, limit: Duration) -> bool {
        let mut buffer = [0; 4096];
        if poll::readable(&[self.terminal.as_fd()], Some(limit)).unwrap() == [false] {
            return false;
        }
        match self.terminal.read(&mut buffer) {
            Ok(count) => {
                self.written.0.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
                count > 0
            }
            Err(_) => false, // no process has the terminal open any more
        }
    }

    /// Reads until `is_there` accepts everything that was written after the first `from` bytes.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, from: usize, is_there: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !is_there(&self.written[from..]) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(self.read(left), "it never came: {}", tail(&self.written[from..]));
        }
    }

    /// Reads what was written so far.
    pub(crate) fn catch_up(&mut self) {
        while self.read(Duration::ZERO) {}
    }

    /// Waits for the end of the program and of its workers.
    pub(crate) fn finish(mut self) -> (ExitStatus, Written) {
        while self.read(LIMIT) {}
        (self.child.wait().unwrap(), std::mem::take(&mut self.written))
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The lines that a window of `columns` columns shows after all this was written. They lack
/// trailing spaces and trailing empty lines.
pub(crate) fn seen(written: &str, columns: usize) -> Vec<String> {
    let mut rows: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("\x1b[J") {
            rows.truncate(row + 1);
            rows[row].truncate(column);
            rest = behind;
            continue;
        }
        assert_ne!(c, '\x1b', "an unknown sequence: {rest:?}");
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            _ => {
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                rows.resize(rows.len().max(row + 1), Vec::new());
                let line = &mut rows[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    let mut lines: Vec<String> =
        rows.into_iter().map(|line| String::from_iter(line).trim_end().to_string()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[test]
fn debug_prints_the_end_of_what_was_written() {
    let (short, long) = (Written("a\rb".into()), Written("\r 50%  €".repeat(2000) + "end"));
    assert_eq!(format!("{short:?}"), "\"a\\rb\"");
    let printed = format!("{long:?}");
    assert!(printed.len() < 1000, "{} bytes", printed.len());
    assert!(printed.starts_with('(') && printed.ends_with("end\""), "{printed}");
}
