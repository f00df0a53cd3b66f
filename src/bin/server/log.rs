//! The server's log: the file of its lines, their time stamps, and a limit on the lines
//! that strangers can cause.

#![forbid(unsafe_code)]

use crate::answer::now;
use crate::config::Volume;
use ropewalk::app::terminal;
use ropewalk::codec::date;
use ropewalk::codec::http::{Refusal, Status};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result, system_words};
use ropewalk::sys::sync::lock;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The variable in which systemd names the journal's socket (systemd.exec(5)).
const JOURNAL: &str = "JOURNAL_STREAM";

/// The mode of a log file that the server makes. The log shows addresses and file names,
/// so it is not for everybody.
const MODE: u32 = 0o640;

/// The most lines about refused requests at once.
const BURST: u32 = 100;

/// The time after which one more line may be written, up to [`BURST`].
const REFILL: Duration = Duration::from_millis(100);

/// The most bytes of a file's name in a line about a refused request.
const MAX_NAME: usize = 512;

/// The log of a running server.
pub(crate) struct Log {
    /// `None` for standard error.
    file: Option<Arc<LogFile>>,
    volume: Volume,
    budget: Mutex<Budget>,
}

/// A log file.
struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl Log {
    /// Sends all lines of this program to the file at `path`, or leaves them on standard
    /// error. They get time stamps, unless the journal makes its own.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn begin(path: Option<&Path>, volume: Volume) -> Result<Log> {
        let file = match path {
            Some(path) => {
                let file = Mutex::new(open(path).map_err(|error| failed(path, &error))?);
                Some(Arc::new(LogFile { path: path.to_path_buf(), file }))
            }
            None => None,
        };
        let (log_file, stamped) = (file.clone(), file.is_some() || !is_journal());
        terminal::divert(move |line| {
            let line = if stamped { format!("{} {line}\n", stamp()) } else { format!("{line}\n") };
            // The server goes on without a log that cannot be written.
            let _ = match &log_file {
                Some(log) => lock(&log.file).write_all(line.as_bytes()),
                None => io::stderr().write_all(line.as_bytes()),
            };
        });
        Ok(Log { file, volume, budget: Mutex::new(Budget::new(Instant::now())) })
    }

    /// Opens the file at the log's path again, after the old file was renamed. If that fails,
    /// the old file stays in use.
    pub(crate) fn reopen(&self) {
        let Some(log) = &self.file else { return };
        match open(&log.path) {
            Ok(file) => *lock(&log.file) = file,
            Err(error) => {
                terminal::complain(format_args!(
                    "{}; the old log stays",
                    failed(&log.path, &error)
                ));
            }
        }
    }

    /// Logs a refused request. `asked` has its method and file name, if they could be read.
    /// The line also shows the cause, which the answer does not.
    pub(crate) fn refused(
        &self,
        peer: SocketAddr,
        asked: Option<(&str, &[u8])>,
        refusal: &Refusal,
    ) {
        // With a cause from the system, a status of 500 and above is the server's own error.
        let is_error = refusal.status.code() >= Status::INTERNAL_SERVER_ERROR.code()
            && refusal.cause().is_some();
        if self.volume == Volume::Quiet && !is_error {
            return;
        }
        let Some(left_out) = lock(&self.budget).admit(Instant::now()) else { return };
        if left_out > 0 {
            terminal::log(format_args!("{left_out} more requests refused: too many for the log"));
        }
        let mut line = peer.to_string();
        if let Some((method, name)) = asked {
            let name = escape(name.get(..MAX_NAME).unwrap_or(name));
            let _ = write!(line, " {method} {name}");
        }
        let _ = write!(line, " refused: {refusal}");
        // "No such file" would only repeat the refusal.
        let cause = refusal.cause().filter(|cause| cause.kind() != io::ErrorKind::NotFound);
        if let Some(cause) = cause {
            let _ = write!(line, " ({})", system_words(&cause));
        }
        terminal::log(line);
    }
}

/// Opens the log at `path` without blocking. A pipe without a reader is an error. A full
/// pipe loses whole lines, since it takes a short line in one piece or not at all (pipe(7)).
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    File::options().append(true).create(true).mode(MODE).custom_flags(flags).open(path)
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::system(format!("--log {}", escape(path.as_os_str().as_bytes())), error)
}

/// The time now in UTC (RFC 3339); a dash on a machine without a clock.
fn stamp() -> String {
    now().map_or_else(|| "-".to_string(), date::format_rfc3339)
}

/// Whether standard error is systemd's journal, which adds the time to each line.
fn is_journal() -> bool {
    let named = std::env::var(JOURNAL).unwrap_or_default();
    let own = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    own.and_then(|file| file.metadata()).is_ok_and(|own| names(&named, &own))
}

/// Whether `named`, the text `device:inode`, names `file`.
fn names(named: &str, file: &Metadata) -> bool {
    named == format!("{}:{}", file.dev(), file.ino())
}

/// The lines that may be written now. Their number grows with time, up to [`BURST`].
struct Budget {
    left: u32,
    refilled: Instant,
    left_out: u64,
}

impl Budget {
    fn new(now: Instant) -> Budget {
        Budget { left: BURST, refilled: now, left_out: 0 }
    }

    /// `None` if no line may be written at `now`; else how many were left out before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.refilled);
        let refill =
            u32::try_from(passed.as_nanos() / REFILL.as_nanos()).unwrap_or(BURST).min(BURST);
        if refill > 0 {
            self.left = (self.left + refill).min(BURST);
            self.refilled = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_cut_and_counted() {
        let begun = Instant::now();
        let mut budget = Budget::new(begun);
        let written = (0..1000).filter(|_| budget.admit(begun).is_some()).count();
        assert_eq!(written, BURST as usize);
        assert_eq!(budget.admit(begun + REFILL), Some(1000 - u64::from(BURST)));
        assert_eq!(budget.admit(begun + REFILL), None);
    }

    #[test]
    fn a_quiet_time_allows_no_more_than_a_burst() {
        let begun = Instant::now();
        let mut budget = Budget::new(begun);
        let later = begun + Duration::from_secs(3600);
        let written = (0..1000).filter(|_| budget.admit(later).is_some()).count();
        assert_eq!(written, BURST as usize);
    }

    #[test]
    fn the_journal_is_recognised_by_device_and_inode() {
        let file = File::open("/dev/null").unwrap().metadata().unwrap();
        assert!(names(&format!("{}:{}", file.dev(), file.ino()), &file));
        for other in ["", "8:1", ":", &format!("{}:0", file.dev())] {
            assert!(!names(other, &file), "{other}");
        }
    }
}
