//! Standard output and standard error. Nothing else in the project writes to them,
//! and nothing here panics when they are closed or full.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

static PROGRAM_NAME: OnceLock<String> = OnceLock::new();

/// Remembers the name that this program was started under: `ropewalk-client` where it
/// was installed so, else `otherwise`.
pub fn set_program_name(started_as: Option<&OsStr>, otherwise: &str) {
    let name = started_as.and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    PROGRAM_NAME.get_or_init(|| name.unwrap_or(otherwise).to_string());
}

/// Writes a line to standard error, with the program's name and a colon before it.
/// What a peer or a file name put into `line` has been escaped before.
pub fn complain(line: impl Display) {
    let name = PROGRAM_NAME.get().map_or("ropewalk", String::as_str);
    // One write, so that the lines of several threads and programs do not mix. If
    // nobody can read it, there is nobody to tell.
    let _ = io::stderr().lock().write_all(format!("{name}: {line}\n").as_bytes());
}

/// Writes a line of the log: the same place and form as an error.
pub fn log(line: impl Display) {
    complain(line);
}

/// Writes `bytes` to standard error, as they are: for what would go to standard output,
/// where that has something else in it.
pub fn print_beside(bytes: &[u8]) -> io::Result<()> {
    io::stderr().lock().write_all(bytes)
}

/// Writes `bytes` to standard output and flushes it.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(bytes)?;
    output.flush()
}
