//! How long the client waits for a reply: the socket options that notice a dead server, the
//! clock of a held request, and the server's Retry-After.

#![forbid(unsafe_code)]

use ropewalk::codec::http::{ResponseHead, Status};
use ropewalk::sys::random;
use ropewalk::sys::socket::{self, Keepalive};
use std::cell::Cell;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How often the client tells its user what it waits for.
pub(crate) const REMINDER_INTERVAL: Duration = Duration::from_secs(10);

/// Keepalive of the control connection. It ends a wait for a reply from a dead server, or
/// over a path that drops everything.
const KEEPALIVE: Keepalive = Keepalive::probes(6);

/// After so much silence, 120 s, the kernel takes a server for dead. Bytes may stay
/// unacknowledged as long.
pub(super) const DEAD_TIME: Duration = KEEPALIVE.time();

/// Sets the options of a control connection. It works without them too, only worse.
pub(super) fn set_socket_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = socket::detect_dead_peer(stream.as_fd(), KEEPALIVE, DEAD_TIME);
}

/// Measures how long the server holds a request.
pub(crate) struct HoldClock<'a> {
    since: Cell<Option<Instant>>,
    lasted: Cell<Duration>,
    tell: &'a dyn Fn(Option<Instant>),
}

impl<'a> HoldClock<'a> {
    /// A clock that does not run yet. It calls `tell` with the time when the server got the
    /// request, and with `None` when the server does not hold it any more.
    pub(crate) fn new(tell: &'a dyn Fn(Option<Instant>)) -> HoldClock<'a> {
        HoldClock { since: Cell::new(None), lasted: Cell::new(Duration::ZERO), tell }
    }

    /// The request was sent, perhaps once more.
    pub(super) fn start(&self) {
        if self.since.get().is_some() {
            return;
        }
        let now = Instant::now();
        self.since.set(Some(now));
        (self.tell)(Some(now));
    }

    /// The wait is over. The server was `dead` at its end for so long, which does not count.
    pub(super) fn stop(&self, dead: Duration) {
        let Some(since) = self.since.take() else { return };
        self.lasted.set(since.elapsed().saturating_sub(dead));
        (self.tell)(None);
    }

    /// How long the server held the last request.
    pub(crate) fn lasted(&self) -> Duration {
        self.lasted.get()
    }
}

/// After how long a full server wants to be asked again, plus up to half a second by chance:
/// clients that were refused at the same time do not come back at the same time.
pub(super) fn retry_after(head: &ResponseHead) -> Option<Duration> {
    if head.status != Status::SERVICE_UNAVAILABLE.code() {
        return None;
    }
    let field = head.headers.get_only("Retry-After")?;
    let seconds = std::str::from_utf8(field).ok()?.trim().parse::<u32>().ok()?;
    let mut byte = [0];
    let _ = random::fill(&mut byte);
    Some(Duration::from_secs(seconds.into()) + Duration::from_millis(2 * u64::from(byte[0])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_in_which_a_server_was_dead_is_no_hold() {
        let told = Cell::new(0);
        let tell = |_| told.set(told.get() + 1);
        let held = HoldClock::new(&tell);
        held.stop(Duration::ZERO);
        assert_eq!((held.lasted(), told.get()), (Duration::ZERO, 0), "nothing was sent");
        held.start();
        held.start();
        held.stop(DEAD_TIME);
        assert_eq!((held.lasted(), told.get()), (Duration::ZERO, 2));
        held.start();
        while held.lasted().is_zero() {
            held.stop(Duration::ZERO);
        }
    }
}
