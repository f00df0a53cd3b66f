//! How a sink of the classic protocol connects a stream, and the error of a lost stream.

#![forbid(unsafe_code)]

use crate::error::{Error, ExitCode, Result};
use crate::sys::connect::{advise_zone, connect_any};
use crate::sys::stream::Stream;
use crate::transfer::timing::Timing;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

/// Connects to the first address that answers. Tries again for a while if all refuse.
pub(super) fn connect(addresses: &[SocketAddr], timing: &Timing) -> Result<(Stream, SocketAddr)> {
    let begun = Instant::now();
    loop {
        match connect_any(addresses, timing.connect) {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && begun.elapsed() < timing.refused =>
            {
                thread::sleep(timing.refused_pause);
            }
            done => {
                let shown = addresses.first().map(ToString::to_string).unwrap_or_default();
                let failed = |cause| advise_zone(Error::network(shown, &cause), &cause, addresses);
                return done.map(|(stream, address)| (stream.into(), address)).map_err(failed);
            }
        }
    }
}

/// The error of a transfer that has lost stream `number`.
pub(super) fn lost(number: u8, error: &io::Error, timing: &Timing) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => Error::new(
            ExitCode::Network,
            format!("stream {number}: no data came for {} s", timing.classic_stall.as_secs()),
        ),
        _ => Error::network(format!("stream {number}"), error),
    }
}
