//! The one error type of all four programs, and their exit codes. Prints nothing:
//! the program's `main` does that, once.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

/// How a program ends. The numbers are part of the interface: the man pages list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The job was done, whole and verified.
    Success = 0,
    /// The system said no: a file, a descriptor, memory, space.
    System = 1,
    /// The command line asks for something that cannot be.
    Usage = 2,
    /// The peer could not be reached, or the connection was lost.
    Network = 3,
    /// The server refused the request.
    Refused = 4,
    /// The peer said something that its protocol does not allow.
    Protocol = 5,
    /// The bytes that came are not the bytes that were sent.
    Integrity = 6,
    /// The file changed on the server while it was being sent.
    Changed = 7,
    /// Ended by SIGHUP.
    HungUp = 129,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl ExitCode {
    /// Every code, in the order of their numbers.
    pub const ALL: [ExitCode; 11] = [
        ExitCode::Success,
        ExitCode::System,
        ExitCode::Usage,
        ExitCode::Network,
        ExitCode::Refused,
        ExitCode::Protocol,
        ExitCode::Integrity,
        ExitCode::Changed,
        ExitCode::HungUp,
        ExitCode::Interrupted,
        ExitCode::Terminated,
    ];

    /// The number that the program hands to its parent.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// What it tells, in a few words: man pages list it so.
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
            ExitCode::HungUp => "ended by SIGHUP",
            ExitCode::Interrupted => "ended by SIGINT",
            ExitCode::Terminated => "ended by SIGTERM; for a worker also: its parent has ended",
        }
    }

    /// The code with this number: a worker reports its own to its parent so.
    pub fn from_number(number: u64) -> Option<ExitCode> {
        ExitCode::ALL.into_iter().find(|code| u64::from(code.number()) == number)
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code.number())
    }
}

/// A result of anything that can end a program.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something failed: a line for a person and the code that goes with it.
///
/// The text carries no program name and no newline; whatever in it came from a
/// peer or from a file name has been escaped by whoever made the error.
#[derive(Debug)]
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

    /// A peer that broke the protocol.
    pub fn protocol(text: impl Into<String>) -> Error {
        Error::new(ExitCode::Protocol, text)
    }

    /// A failed system call on `what` (a file's name, an address).
    pub fn system(what: impl fmt::Display, cause: &io::Error) -> Error {
        Error::new(ExitCode::System, format!("{what}: {}", system_words(cause)))
    }

    /// A failed call on a connection to `what`.
    pub fn network(what: impl fmt::Display, cause: &io::Error) -> Error {
        Error::new(ExitCode::Network, format!("{what}: {}", system_words(cause)))
    }

    /// The same error with what a person may do about it behind a semicolon. `advice` is
    /// part of the one line.
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

/// An I/O error in the C library's own words (`No space left on device`), without
/// the number that Rust's standard library puts behind them.
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
        assert_eq!(ExitCode::from_number(8), None);
    }
}
