//! How fast a client takes a body, as the kernel counts it, and how fast it has to.

#![forbid(unsafe_code)]

use ropewalk::sys::outgoing;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes per second that a client has to take. The connection of a slower client may be
/// dropped for another one.
const LOWEST_RATE: u64 = 1024;

/// How often clients are measured, while there is little room left.
pub(super) const MEASURE_TIME: Duration = Duration::from_secs(10);

/// A client is not judged by a shorter time.
const SHORTEST: Duration = Duration::from_secs(5);

/// With fewer unacknowledged bytes a client is not slow: a slow server has just sent them.
const OWED: u64 = 4096;

/// How fast the client of one connection takes a body.
pub(super) struct Speed {
    /// The last measurement, or the beginning.
    since: Instant,
    /// Bytes that the client had acknowledged then.
    acknowledged: u64,
    /// Since when the client has been too slow.
    slow_since: Option<Instant>,
}

impl Speed {
    /// The client begins to take a body now.
    pub(super) fn begin(stream: &TcpStream) -> Speed {
        let acknowledged = outgoing::acknowledged(stream.as_fd()).unwrap_or(0);
        Speed { since: Instant::now(), acknowledged, slow_since: None }
    }

    /// Since when the client has been too slow, as of the last measurement.
    pub(super) fn slow_since(&self) -> Option<Instant> {
        self.slow_since
    }

    /// Measures the time up to `now`. A kernel before Linux 4.1 does not count acknowledged
    /// bytes, and then no client is slow. Nor is a client slow that the server has nothing
    /// ready for.
    pub(super) fn measure(&mut self, stream: &TcpStream, now: Instant) {
        let time = now.saturating_duration_since(self.since);
        let Some(all) = outgoing::acknowledged(stream.as_fd()).filter(|_| time >= SHORTEST) else {
            return;
        };
        let taken = all.saturating_sub(self.acknowledged);
        let is_owed = outgoing::unacknowledged(stream.as_fd()).is_ok_and(|left| left >= OWED);
        let is_slow = is_owed && taken < LOWEST_RATE.saturating_mul(time.as_secs());
        self.slow_since = if is_slow { self.slow_since.or(Some(now)) } else { None };
        (self.since, self.acknowledged) = (now, all);
    }
}
