//! How fast a client takes what it is sent, as the kernel counts it, and how fast it has to.

#![forbid(unsafe_code)]

use ropewalk::sys::outgoing;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes per second that a client has to take of what it is sent. A slower one makes room
/// for another one.
const LOWEST_RATE: u64 = 1024;

/// How often that is looked at, while there is little room left; and the shortest time that
/// is judged.
pub(super) const LOOK_TIME: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_secs(5);

/// Bytes under way to a client of which it can be said that it does not take them: what a
/// slow server has just sent is less.
const OWED: u64 = 4096;

/// How fast a client takes what it is sent.
pub(super) struct Taking {
    /// When it was last looked at, or when it began.
    since: Instant,
    /// Bytes that it had acknowledged then.
    acknowledged: u64,
    /// Since when it has been too slow.
    slow_since: Option<Instant>,
}

impl Taking {
    /// One that begins to take something now.
    pub(super) fn begin(stream: &TcpStream) -> Taking {
        let acknowledged = outgoing::acknowledged(stream.as_fd()).unwrap_or(0);
        Taking { since: Instant::now(), acknowledged, slow_since: None }
    }

    /// Since when it has been too slow, as far as that was looked at.
    pub(super) fn slow_since(&self) -> Option<Instant> {
        self.slow_since
    }

    /// Judges the time up to `now`. What a kernel before Linux 4.1 does not tell makes
    /// nobody slow. Nor is the client slow where the server has nothing ready for it.
    pub(super) fn judge(&mut self, stream: &TcpStream, now: Instant) {
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
