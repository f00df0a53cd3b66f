//! Socket activation (systemd.socket(5), sd_listen_fds(3)): sockets that listen already, and
//! that the program was started with.

#![forbid(unsafe_code)]

use ropewalk::app::options::number;
use ropewalk::error::{Error, Result};
use ropewalk::sys::inherited;
use std::ffi::{OsStr, OsString};
use std::net::TcpListener;

/// The most sockets that are taken.
const MAX_SOCKETS: u64 = 64;

/// The variable with the process that the sockets are for.
const PID: &str = "LISTEN_PID";

/// The variable with their number.
const COUNT: &str = "LISTEN_FDS";

/// The variables that no worker may see.
pub(crate) const VARIABLES: [&str; 3] = [PID, COUNT, "LISTEN_FDNAMES"];

/// The sockets that are for this process. There are none when the variables are for another
/// process, from which they were inherited.
///
/// # Errors
/// The number is invalid, or a descriptor is not a listening TCP socket.
pub(crate) fn listeners() -> Result<Vec<TcpListener>> {
    let count = count(std::env::var_os(PID), std::env::var_os(COUNT), std::process::id())?;
    let failed = |error| Error::usage(format!("{COUNT}: {error}"));
    inherited::listeners(count).map_err(failed)
}

/// How many sockets are for process `own`.
fn count(pid: Option<OsString>, count: Option<OsString>, own: u32) -> Result<u8> {
    let ours = pid.is_some_and(|pid| pid == OsStr::new(&own.to_string()));
    match count {
        Some(count) if ours => Ok(number(COUNT, &count, 0..=MAX_SOCKETS)? as u8),
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_of(pid: &str, sockets: &str) -> Result<u8> {
        count(Some(pid.into()), Some(sockets.into()), 17)
    }

    #[test]
    fn sockets_count_only_for_the_process_that_they_are_for() {
        assert_eq!(count_of("17", "2").unwrap(), 2);
        for other in ["1", "018", "17 ", "+17", "", "170"] {
            assert_eq!(count_of(other, "2").unwrap(), 0, "{other}");
        }
        assert_eq!(count(None, Some("2".into()), 17).unwrap(), 0);
        assert_eq!(count(Some("17".into()), None, 17).unwrap(), 0);
    }

    #[test]
    fn an_invalid_number_of_sockets_is_refused() {
        for bad in ["", "-1", "65", "two"] {
            assert!(count_of("17", bad).is_err(), "{bad}");
        }
        assert!(count_of("1", "two").is_ok(), "not for us, so not looked at");
    }
}
