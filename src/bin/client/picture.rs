//! `--trace`: collects the worker's reports about its streams, and draws a picture of them
//! into a file. A failure to draw never fails the transfer.

#![forbid(unsafe_code)]

mod caption;
mod chart;
mod layout;
mod rows;
mod scale;
mod svg;

use crate::config::{Config, Task};
use crate::summary::Summary;
use layout::Picture;
use ropewalk::app::terminal;
use ropewalk::codec::text::escape;
use ropewalk::error::{Result, system_words};
use ropewalk::sys::sync::lock;
use ropewalk::sys::{file, poll};
use ropewalk::transfer::trace::{Slice, Trace};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// How long the reader of a pipe may read nothing.
const READER_LIMIT: Duration = Duration::from_secs(10);

/// Collects the trace of one fetch or push.
#[derive(Default)]
pub(crate) struct Collector {
    trace: Mutex<Trace>,
}

impl Collector {
    /// Adds a report of the worker.
    pub(crate) fn add(&self, slice: &Slice) {
        lock(&self.trace).add(slice);
    }

    /// Draws the picture if the user wants one, of a failed transfer too. A failure to write it is
    /// only a warning.
    pub(crate) fn draw(&self, config: &Config, outcome: &Result<Summary>) {
        let Some(path) = &config.trace else { return };
        let file = escape(&config.file);
        let server = escape(config.server.typed.as_bytes());
        let picture = Picture {
            title: match config.task {
                Task::Fetch(_) => format!("{file} from {server}"),
                Task::Push(_) => format!("{file} to {server}"),
            },
            outcome: match outcome {
                Ok(summary) => summary.to_string(),
                Err(error) => format!("failed: {error}"),
            },
            failed: outcome.is_err(),
            limit: config.rate,
            trace: lock(&self.trace).clone(),
        };
        // No temporary name: the file may be a pipe, and half a picture does no harm.
        if let Err(error) = write(path, picture.to_svg().as_bytes()) {
            let shown = escape(path.as_os_str().as_bytes());
            let words = match error.raw_os_error() {
                Some(libc::ENXIO) => "no program reads this pipe".to_string(),
                _ => system_words(&error),
            };
            terminal::complain(format_args!("warning: no picture: {shown}: {words}"));
        }
    }
}

/// Writes `bytes` to `path`, which may be a pipe.
///
/// # Errors
/// The pipe has no reader (`ENXIO`), its reader reads nothing for [`READER_LIMIT`]
/// (`ETIMEDOUT`), or the system cannot write.
fn write(path: &Path, mut bytes: &[u8]) -> io::Result<()> {
    let mut output = file::create_without_blocking(path)?;
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !poll::writable_within(output.as_fd(), READER_LIMIT)? {
                    return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
