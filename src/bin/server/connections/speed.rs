//! How fast a client takes or brings a body, as the kernel counts it, and how fast it has to.

#![forbid(unsafe_code)]

use ropewalk::sys::{incoming, outgoing};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes per second that a client has to take or to bring. The connection of a slower client may be
/// dropped for another one.
const LOWEST_RATE: u64 = 1024;

/// How often clients are measured, while there is little room left.
pub(super) const MEASURE_TIME: Duration = Duration::from_secs(10);

/// A client is not judged by a shorter time.
const SHORTEST: Duration = Duration::from_secs(5);

/// With fewer unacknowledged bytes a client is not slow: a slow server has just sent them.
const OWED: u64 = 4096;

/// Where a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// To the client.
    Out,
    /// From the client.
    In,
}

impl Direction {
    /// Bytes that have moved. `None` if the kernel does not tell.
    fn count(self, stream: &TcpStream) -> Option<u64> {
        match self {
            Direction::Out => outgoing::acknowledged(stream.as_fd()),
            Direction::In => incoming::received(stream.as_fd()),
        }
    }

    /// Whether it is the client's turn to move bytes.
    fn is_clients_turn(self, stream: &TcpStream) -> bool {
        match self {
            Direction::Out => {
                outgoing::unacknowledged(stream.as_fd()).is_ok_and(|left| left >= OWED)
            }
            Direction::In => incoming::unread(stream.as_fd()).is_ok_and(|left| left == 0),
        }
    }
}

/// How fast the client of one connection takes or brings a body.
pub(super) struct Speed {
    direction: Direction,
    /// The last measurement, or the beginning.
    since: Instant,
    /// Bytes that had moved then.
    moved: u64,
    /// Since when the client has been too slow.
    slow_since: Option<Instant>,
}

impl Speed {
    /// A body begins to move now.
    pub(super) fn begin(stream: &TcpStream, direction: Direction) -> Speed {
        let moved = direction.count(stream).unwrap_or(0);
        Speed { direction, since: Instant::now(), moved, slow_since: None }
    }

    /// Since when the client has been too slow, as of the last measurement.
    pub(super) fn slow_since(&self) -> Option<Instant> {
        self.slow_since
    }

    /// Measures the time up to `now`. A kernel before Linux 4.1 does not count the bytes, and then
    /// no client is slow. Nor is a client slow that waits for the server.
    pub(super) fn measure(&mut self, stream: &TcpStream, now: Instant) {
        let time = now.saturating_duration_since(self.since);
        let Some(all) = self.direction.count(stream).filter(|_| time >= SHORTEST) else {
            return;
        };
        let moved = all.saturating_sub(self.moved);
        let is_slow = self.direction.is_clients_turn(stream)
            && moved < LOWEST_RATE.saturating_mul(time.as_secs());
        self.slow_since = if is_slow { self.slow_since.or(Some(now)) } else { None };
        (self.since, self.moved) = (now, all);
    }
}
