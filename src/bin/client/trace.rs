//! `--trace`: gathers what the receiver reports of its streams, and leaves a picture of
//! it in a file. Whatever becomes of the picture, the fetch is not touched by it.

#![forbid(unsafe_code)]

mod chart;
mod lanes;
mod picture;
mod scale;
mod svg;
mod verdict;

pub(crate) use picture::Picture;

use crate::config::Config;
use crate::summary::Summary;
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

/// How long the reader of a pipe may take nothing.
const READER_LIMIT: Duration = Duration::from_secs(10);

/// What is gathered during one fetch.
#[derive(Default)]
pub(crate) struct Gathered {
    trace: Mutex<Trace>,
}

impl Gathered {
    /// Takes what the receiver reports.
    pub(crate) fn add(&self, slice: &Slice) {
        lock(&self.trace).add(slice);
    }

    /// Draws the picture where one was asked for, of a fetch that failed too. That it
    /// cannot be written is worth a warning and no more.
    pub(crate) fn draw(&self, config: &Config, outcome: &Result<Summary>) {
        let Some(path) = &config.trace else { return };
        let file = escape(&config.file);
        let server = escape(config.server.typed.as_bytes());
        let picture = Picture {
            title: format!("{file} from {server}"),
            outcome: match outcome {
                Ok(summary) => summary.to_string(),
                Err(error) => format!("failed: {error}"),
            },
            failed: outcome.is_err(),
            limit: config.rate,
            trace: lock(&self.trace).clone(),
        };
        // Written as it is and not renamed: it may be a pipe, and it is worth nothing.
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

/// Writes `bytes` to `path`, which may be a pipe: without a reader that fails, and a reader
/// that takes nothing is not waited for without end.
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
