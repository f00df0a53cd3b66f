//! The server's log: where its lines go, their time stamps, and a bound on the lines that
//! strangers can cause.

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

/// The mode of a log file that the server makes: others may have no business with peers
/// and names.
const MODE: u32 = 0o640;

/// Lines about refused requests: so many at once, and one more each so often.
const BURST: u32 = 100;
const REFILL: Duration = Duration::from_millis(100);

/// Characters of a name in a line about a refused request.
const MAX_NAME: usize = 512;

/// The log of a server that runs.
pub(crate) struct Log {
    place: Option<Arc<Place>>,
    volume: Volume,
    budget: Mutex<Budget>,
}

/// A log file.
struct Place {
    path: PathBuf,
    file: Mutex<File>,
}

impl Log {
    /// Sends all lines of this program to the file at `path`, or leaves them on standard
    /// error; with time stamps, unless the journal makes its own.
    pub(crate) fn begin(path: Option<&Path>, volume: Volume) -> Result<Log> {
        let place = match path {
            Some(path) => {
                let file = Mutex::new(open(path).map_err(|error| failed(path, &error))?);
                Some(Arc::new(Place { path: path.to_path_buf(), file }))
            }
            None => None,
        };
        let (file, stamped) = (place.clone(), place.is_some() || !is_journal());
        terminal::divert(move |line| {
            let line = if stamped { format!("{} {line}\n", stamp()) } else { format!("{line}\n") };
            // A log that cannot be written ends nothing: there is nobody to tell.
            let _ = match &file {
                Some(place) => lock(&place.file).write_all(line.as_bytes()),
                None => io::stderr().write_all(line.as_bytes()),
            };
        });
        Ok(Log { place, volume, budget: Mutex::new(Budget::new(Instant::now())) })
    }

    /// Opens the file at the log's path anew, for a log that was moved away. Where that
    /// fails, the old file stays in use.
    pub(crate) fn reopen(&self) {
        let Some(place) = &self.place else { return };
        match open(&place.path) {
            Ok(file) => *lock(&place.file) = file,
            Err(error) => {
                terminal::complain(format_args!(
                    "{}; the old log stays",
                    failed(&place.path, &error)
                ));
            }
        }
    }

    /// Logs a refused request. `asked` is its method and name, where they were understood.
    /// The line says the cause, which the peer does not hear.
    pub(crate) fn refused(
        &self,
        peer: SocketAddr,
        asked: Option<(&str, &[u8])>,
        refusal: &Refusal,
    ) {
        // What the system refused the server is an error of the server's own.
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
        // That a file is not there says no more than the refusal itself.
        let cause = refusal.cause().filter(|cause| cause.kind() != io::ErrorKind::NotFound);
        if let Some(cause) = cause {
            let _ = write!(line, " ({})", system_words(&cause));
        }
        terminal::log(line);
    }
}

/// Opens the log at `path` without blocking: a pipe without a reader is an error, and one
/// that is full loses lines. Whole ones: a pipe takes a short line in one piece or not at
/// all (pipe(7)).
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    File::options().append(true).create(true).mode(MODE).custom_flags(flags).open(path)
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::system(format!("--log {}", escape(path.as_os_str().as_bytes())), error)
}

/// The time now (RFC 3339), in UTC; a dash on a machine without a clock.
fn stamp() -> String {
    now().map_or_else(|| "-".to_string(), date::format_rfc3339)
}

/// Whether standard error is the journal, which stamps each line itself.
fn is_journal() -> bool {
    let named = std::env::var(JOURNAL).unwrap_or_default();
    let own = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    own.and_then(|file| file.metadata()).is_ok_and(|own| names(&named, &own))
}

/// Whether `named`, a device and an inode with a colon between them, is `file`.
fn names(named: &str, file: &Metadata) -> bool {
    named == format!("{}:{}", file.dev(), file.ino())
}

/// How many lines may still be written: refilled with time, up to [`BURST`].
struct Budget {
    left: u32,
    refilled: Instant,
    left_out: u64,
}

impl Budget {
    fn new(now: Instant) -> Budget {
        Budget { left: BURST, refilled: now, left_out: 0 }
    }

    /// Whether a line may be written at `now`; if so, how many were left out before it.
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
    fn a_quiet_time_refills_no_more_than_a_burst() {
        let begun = Instant::now();
        let mut budget = Budget::new(begun);
        let later = begun + Duration::from_secs(3600);
        let written = (0..1000).filter(|_| budget.admit(later).is_some()).count();
        assert_eq!(written, BURST as usize);
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let file = File::open("/dev/null").unwrap().metadata().unwrap();
        assert!(names(&format!("{}:{}", file.dev(), file.ino()), &file));
        for other in ["", "8:1", ":", &format!("{}:0", file.dev())] {
            assert!(!names(other, &file), "{other}");
        }
    }
}
