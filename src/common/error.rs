//! The one error type of all four programs, and their exit codes. Prints nothing: a program's
//! `main` prints its error, once.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

/// How a program ends. The numbers are part of the interface: the man pages list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The job is done, whole and verified.
    Success = 0,
    /// A system call failed: a file, a descriptor, memory, disk space.
    System = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The peer could not be reached, or the connection was lost.
    Network = 3,
    /// The server refused the request.
    Refused = 4,
    /// The peer broke the protocol.
    Protocol = 5,
    /// The received bytes differ from the sent bytes.
    Integrity = 6,
    /// The file changed on the server during the transfer.
    Changed = 7,
    /// Some entries of a tree could not be had.
    Incomplete = 8,
    /// Nothing was deleted, since a limit forbids to delete so many entries.
    DeleteRefused = 9,
    /// Ended by SIGHUP.
    HungUp = 129,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl ExitCode {
    /// Every code, in ascending order.
    pub const ALL: [ExitCode; 13] = [
        ExitCode::Success,
        ExitCode::System,
        ExitCode::Usage,
        ExitCode::Network,
        ExitCode::Refused,
        ExitCode::Protocol,
        ExitCode::Integrity,
        ExitCode::Changed,
        ExitCode::Incomplete,
        ExitCode::DeleteRefused,
        ExitCode::HungUp,
        ExitCode::Interrupted,
        ExitCode::Terminated,
    ];

    /// The number that the process exits with.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The meaning in a few words, as the man pages list it.
    pub fn meaning(self) -> &'static str {
        match self {
            ExitCode::Success => "the job was done, whole and verified",
            ExitCode::System => "a system call failed: a file, a descriptor, memory, disk space",
            ExitCode::Usage => "the command line is wrong",
            ExitCode::Network => "the peer could not be reached, or the connection was lost",
            ExitCode::Refused => "the server refused the request, or cannot read the file",
            ExitCode::Protocol => "the peer broke the protocol",
            ExitCode::Integrity => "the MD5 differs, or 100 blocks in a row were damaged",
            ExitCode::Changed => "the file changed on the server while it was being sent",
            ExitCode::Incomplete => "some entries of a folder could not be had; each is named",
            ExitCode::DeleteRefused => "nothing was deleted: more would go than is allowed",
            ExitCode::HungUp => "ended by SIGHUP",
            ExitCode::Interrupted => "ended by SIGINT",
            ExitCode::Terminated => "ended by SIGTERM; for a worker also: its parent has ended",
        }
    }

    /// The code with this number. A worker's report names its code by number.
    pub fn from_number(number: u64) -> Option<ExitCode> {
        ExitCode::ALL.into_iter().find(|code| u64::from(code.number()) == number)
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code.number())
    }
}

/// The result of a call whose error can end a program.
pub type Result<T> = std::result::Result<T, Error>;

/// An error: one line for a person, and the exit code that goes with it.
///
/// The text has no program name and no newline. The code that makes the error escapes what comes
/// from a peer or a file name.
#[derive(Clone, Debug)]
pub struct Error {
    code: ExitCode,
    text: String,
}

impl Error {
    /// An error with its exit code. `text` is one line, without the program's name.
    pub fn new(code: ExitCode, text: impl Into<String>) -> Error {
        Error { code, text: text.into() }
    }

    /// A mistake on the command line.
    pub fn usage(text: impl Into<String>) -> Error {
        Error::new(ExitCode::Usage, text)
    }

    /// A fault of ropewalk itself, as a thread that panicked.
    pub fn internal(text: &str) -> Error {
        Error::new(ExitCode::System, format!("internal error: {text}"))
    }

    /// A peer that broke the protocol.
    pub fn protocol(text: impl Into<String>) -> Error {
        Error::new(ExitCode::Protocol, text)
    }

    /// A failed system call on `what` (a file's name, an address).
    pub fn system(what: impl fmt::Display, cause: &io::Error) -> Error {
        Error::new(ExitCode::System, format!("{what}: {}", system_words(cause)))
    }

    /// A failed call on a connection to `what` (an address).
    pub fn network(what: impl fmt::Display, cause: &io::Error) -> Error {
        Error::new(ExitCode::Network, format!("{what}: {}", system_words(cause)))
    }

    /// The same error, with advice for the user behind a semicolon, on the same line.
    pub fn advise(self, advice: impl fmt::Display) -> Error {
        Error { text: format!("{}; {advice}", self.text), ..self }
    }

    /// The code to exit with.
    pub fn code(&self) -> ExitCode {
        self.code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// An I/O error in the words of the C library (`No space left on device`). Rust's standard
/// library adds the error number; this function removes it.
pub fn system_words(cause: &io::Error) -> String {
    let text = cause.to_string();
    match cause.raw_os_error() {
        Some(number) => {
            let tail = format!(" (os error {number})");
            text.strip_suffix(tail.as_str()).unwrap_or(&text).to_string()
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "needs the C library's words")]
    fn system_errors_read_like_the_c_library_s() {
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(Error::system("out.bin", &full).to_string(), "out.bin: No space left on device");
    }

    #[test]
    fn advice_keeps_the_code_and_follows_the_text() {
        let error = Error::usage("no").advise("see --help");
        assert_eq!((error.code(), error.to_string()), (ExitCode::Usage, "no; see --help".into()));
    }

    #[test]
    fn every_exit_code_is_found_by_its_number() {
        for code in ExitCode::ALL {
            assert_eq!(ExitCode::from_number(u64::from(code.number())), Some(code));
        }
        assert_eq!(ExitCode::from_number(10), None);
    }
}
