//! How long a reply is waited for: what a server says about it, and how long it has held a
//! request.

#![forbid(unsafe_code)]

use ropewalk::codec::http::{ResponseHead, Status};
use ropewalk::sys::random;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often a user hears what is waited for.
pub(crate) const REMINDER: Duration = Duration::from_secs(10);

/// Keepalive of the control connection, which ends a wait for a reply: a dead server or a
/// path that drops everything is noticed after [`DEAD_TIME`].
pub(super) const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
pub(super) const KEEPALIVE_COUNT: u8 = 6;

/// How long a server is silent before the kernel takes it for dead: as long as keepalive
/// takes, and as long as bytes may go unacknowledged.
pub(super) const DEAD_TIME: Duration = Duration::from_secs(120);

/// One attempt to have a request answered: how long the server held it.
pub(crate) struct Held<'a> {
    since: Cell<Option<Instant>>,
    lasted: Cell<Duration>,
    tell: &'a dyn Fn(Option<Instant>),
}

impl<'a> Held<'a> {
    /// Nothing is sent yet. `tell` hears since when the server holds the request, and
    /// `None` when it does not any more.
    pub(crate) fn new(tell: &'a dyn Fn(Option<Instant>)) -> Held<'a> {
        Held { since: Cell::new(None), lasted: Cell::new(Duration::ZERO), tell }
    }

    /// The request was sent.
    pub(super) fn begins(&self) {
        let now = Instant::now();
        self.since.set(Some(now));
        (self.tell)(Some(now));
    }

    /// The wait is over. Of one that the kernel gave up, the end was no hold: nobody was
    /// there any more.
    pub(super) fn ends(&self, was_dead: bool) {
        let Some(since) = self.since.take() else { return };
        let dead = if was_dead { DEAD_TIME } else { Duration::ZERO };
        self.lasted.set(since.elapsed().saturating_sub(dead));
        (self.tell)(None);
    }

    /// How long the server held the request that was sent last.
    pub(crate) fn lasted(&self) -> Duration {
        self.lasted.get()
    }
}

/// After how long a server without room wants to be asked again. In between those who
/// were sent away at once spread out.
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
    fn the_keepalive_takes_as_long_as_the_limit_of_unacknowledged_bytes() {
        let probes = KEEPALIVE_INTERVAL * u32::from(KEEPALIVE_COUNT);
        assert_eq!(KEEPALIVE_IDLE + probes, DEAD_TIME);
    }

    #[test]
    fn the_time_in_which_a_server_was_dead_is_no_hold() {
        let told = Cell::new(0);
        let tell = |_| told.set(told.get() + 1);
        let held = Held::new(&tell);
        held.ends(false);
        assert_eq!((held.lasted(), told.get()), (Duration::ZERO, 0), "nothing was sent");
        held.begins();
        held.ends(true);
        assert_eq!((held.lasted(), told.get()), (Duration::ZERO, 2));
        held.begins();
        while held.lasted().is_zero() {
            held.ends(false);
        }
    }
}
