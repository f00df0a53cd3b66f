//! Why a child brought no connection to a server, in words, and what to do about it.

#![forbid(unsafe_code)]

use super::child::Ending;
use crate::config::rsh::Rsh;
use ropewalk::codec::text::escape_limited;
use ropewalk::error::{Error, ExitCode};
use ropewalk::sys::process::Ended;

/// The most bytes of foreign words that a message shows.
const SHOWN: usize = 200;

/// The exit code of a shell that does not find a program, and of ssh that cannot connect.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
const SSH_FAILED: i32 = 255;

/// The error, and whether a login failed.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) is_login: bool,
}

/// The error for a child that ended so. `noise` is the first line of what came in place of a
/// reply. With `with_line` the message has the last line of standard error, which was not shown.
pub(super) fn explain(
    rsh: &Rsh,
    shown: &str,
    with_line: bool,
    ending: &Ending,
    noise: Option<&[u8]>,
) -> Failure {
    let (program, server) = (rsh.program(), rsh.server());
    let line = ending.line.as_deref().filter(|_| with_line);
    let line = line.map(|line| format!(": {}", escape_limited(line, SHOWN))).unwrap_or_default();
    let error = |code, what: String| Error::new(code, format!("{shown}: {what}{line}"));
    let is_login = ending.is_login && rsh.is_ssh();
    let error = match (ending.ended, noise) {
        (Some(Ended::Exited(NOT_FOUND | NOT_EXECUTABLE)), _) => {
            let what = format!("{server} cannot be run there");
            let bring = match rsh.is_ssh() {
                true => format!("scp static/server static/sender static/receiver {shown}:"),
                false => "copy static/server, static/sender and static/receiver there".into(),
            };
            error(ExitCode::Refused, what).advise(format_args!(
                "to bring it there: make static, {bring}, and say --remote-server ./server"
            ))
        }
        (_, Some(noise)) => {
            let noise = escape_limited(noise.trim_ascii(), SHOWN);
            let what = format!("'{noise}' came in place of a reply of {server}");
            error(ExitCode::Protocol, what).advise(
                "a start-up file of the shell there must print nothing when it has no terminal",
            )
        }
        (Some(Ended::Exited(SSH_FAILED)), None) if rsh.is_ssh() => {
            let code = if is_login { ExitCode::Refused } else { ExitCode::Network };
            error(code, "ssh could not connect".into())
        }
        (Some(Ended::Exited(code)), None) => {
            let what = format!("{program} ended with exit code {code} before {server} replied");
            error(ExitCode::Network, what)
        }
        (Some(Ended::Killed(signal)), None) => {
            error(ExitCode::Network, format!("{program} was stopped by signal {signal}"))
        }
        (None, None) => error(ExitCode::Network, format!("{program} closed without a reply")),
    };
    Failure { error, is_login }
}
