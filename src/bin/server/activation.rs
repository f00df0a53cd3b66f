//! Socket activation (systemd.socket(5), sd_listen_fds(3)): whoever starts the program may
//! hand it sockets that listen already. Says whether they are meant for this process.

#![forbid(unsafe_code)]

use ropewalk::app::options::number;
use ropewalk::error::{Error, Result};
use ropewalk::sys::inherited;
use std::ffi::{OsStr, OsString};
use std::net::TcpListener;

/// How many sockets are taken at most.
const MAX_SOCKETS: u64 = 64;

/// The process that the sockets are meant for.
const PID: &str = "LISTEN_PID";

/// How many there are.
const COUNT: &str = "LISTEN_FDS";

/// What no other program that is started from here may see.
pub(crate) const VARIABLES: [&str; 3] = [PID, COUNT, "LISTEN_FDNAMES"];

/// The sockets that were handed to this process; none when the variables speak to another
/// one, from which they were inherited.
pub(crate) fn listeners() -> Result<Vec<TcpListener>> {
    let count = count(std::env::var_os(PID), std::env::var_os(COUNT), std::process::id())?;
    let failed = |error| Error::usage(format!("{COUNT}: {error}"));
    inherited::listeners(count).map_err(failed)
}

/// How many sockets were handed to process `own`.
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
    fn sockets_count_only_for_the_process_that_they_are_meant_for() {
        assert_eq!(count_of("17", "2").unwrap(), 2);
        for other in ["1", "018", "17 ", "+17", "", "170"] {
            assert_eq!(count_of(other, "2").unwrap(), 0, "{other}");
        }
        assert_eq!(count(None, Some("2".into()), 17).unwrap(), 0);
        assert_eq!(count(Some("17".into()), None, 17).unwrap(), 0);
    }

    #[test]
    fn a_number_of_sockets_that_cannot_be_is_refused() {
        for bad in ["", "-1", "65", "two"] {
            assert!(count_of("17", bad).is_err(), "{bad}");
        }
        assert!(count_of("1", "two").is_ok(), "not for us, so not looked at");
    }
}
