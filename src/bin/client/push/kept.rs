//! How much of a pushed file the server keeps, as far as the client knows. Bytes that were sent
//! count for nothing: the server may not have written them.

#![forbid(unsafe_code)]

use crate::config::{Config, STANDARD_INPUT, Task};
use crate::control::Server;
use ropewalk::codec::amount;
use ropewalk::codec::message::outcome::{Outcome, PushState};
use ropewalk::error::ExitCode;
use ropewalk::sys::sync::lock;
use std::sync::Mutex;

/// What the server has said last.
#[derive(Default)]
pub(crate) struct Kept {
    said: Mutex<Said>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Said {
    /// Nothing, or nothing of a file that can be gone on with.
    #[default]
    Nothing,
    /// The session with this token began with so many bytes. More have come since.
    AtFirst { token: [u8; 16], bytes: u64, size: u64 },
    /// The session has ended, and so many bytes stay.
    AtLast { bytes: u64, size: u64 },
    /// The file has its name.
    InPlace,
}

impl Kept {
    /// A session of a file of `size` bytes begins, with so many that are there.
    pub(super) fn begins(&self, token: [u8; 16], bytes: u64, size: u64) {
        *lock(&self.said) = Said::AtFirst { token, bytes: bytes.min(size), size };
    }

    /// Asks the server once more, for a client that ends early.
    pub(super) fn ask(&self, server: &Server, file: &[u8]) {
        let Said::AtFirst { token, size, .. } = *lock(&self.said) else { return };
        if let Some(PushState::Ended(outcome)) = server.ask_last(file, token) {
            *lock(&self.said) = Said::of(&outcome, size);
        }
    }

    /// What to do after a push that did not come to its end.
    pub(crate) fn advice(&self, config: &Config) -> String {
        let is_pipe =
            matches!(&config.task, Task::Push(path) if path.as_os_str() == STANDARD_INPUT);
        if is_pipe {
            return "standard input cannot be read again, so nothing of it stays there".into();
        }
        lock(&self.said).advice(&config.command)
    }
}

impl Said {
    fn of(outcome: &Outcome, size: u64) -> Said {
        match outcome.code {
            ExitCode::Success => Said::InPlace,
            _ => Said::AtLast { bytes: outcome.kept.min(size), size },
        }
    }

    fn advice(self, command: &str) -> String {
        let goes_on = format!("to continue: {command}");
        match self {
            Said::AtFirst { bytes, size, .. } if bytes > 0 => {
                let percent = amount::percent(bytes, size);
                format!("the server keeps at least {percent}%; {goes_on}")
            }
            Said::Nothing | Said::AtFirst { .. } => goes_on,
            Said::AtLast { bytes, size } => {
                format!("the server keeps {}%; {goes_on}", amount::percent(bytes, size))
            }
            Said::InPlace => "the server has put the file in place".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_claims_only_what_the_server_has_said() {
        let begun = |bytes| Said::AtFirst { token: [7; 16], bytes, size: 200 };
        for (said, words) in [
            (Said::Nothing, "to continue: again"),
            (begun(0), "to continue: again"),
            (begun(30), "the server keeps at least 15%; to continue: again"),
            (Said::AtLast { bytes: 199, size: 200 }, "the server keeps 99%; to continue: again"),
            (Said::AtLast { bytes: 0, size: 200 }, "the server keeps 0%; to continue: again"),
            (Said::InPlace, "the server has put the file in place"),
        ] {
            assert_eq!(said.advice("again"), words);
        }
    }

    #[test]
    fn only_an_outcome_without_an_error_means_that_the_file_is_in_place() {
        for (kept, bytes) in [(9, 9), (u64::MAX, 10)] {
            let failed = Outcome { kept, ..Outcome::failed(ExitCode::Network, "lost") };
            assert!(Said::of(&failed, 10) == Said::AtLast { bytes, size: 10 });
        }
        let complete = Outcome::failed(ExitCode::Success, "complete");
        assert!(Said::of(&complete, 10) == Said::InPlace);
    }
}
