//! A limit on the bytes per second of everything that the server sends: each transfer
//! and each download gets the same share, and another one whenever one comes or goes. One
//! that moves nothing gets only a small part of its share until it moves something again.

#![forbid(unsafe_code)]

use ropewalk::app::job;
use ropewalk::codec::message::rate::NewRate;
use ropewalk::sys::sync::lock;
use ropewalk::transfer::rate::{MIN_BURST, Rate};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long one that moves nothing keeps its whole share.
const QUIET_TIME: Duration = Duration::from_secs(5);

/// And it keeps that for as long as these bytes take with it: with a small one it may be
/// the limit itself that nothing has got through yet.
const QUIET_BYTES: u64 = 4 * MIN_BURST;

/// What one that moves nothing is left of its share: one in so many. Not nothing, so that
/// it is heard of when it moves again.
const QUIET_PART: u64 = 8;

/// How often it is looked at who has become quiet, at most.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// Those who share the limit.
pub(crate) struct Shares {
    /// In bytes per second.
    limit: Option<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    holders: HashMap<u64, Holder>,
    looked: Option<Instant>,
}

struct Holder {
    outlet: Outlet,
    moved: u64,
    /// Since when it has moved no more.
    since: Instant,
    /// As it was found when one looked last.
    quiet: bool,
    /// The share that it was told.
    told: Option<u64>,
}

enum Outlet {
    /// A worker, told over its lifeline.
    Sender(UnixStream),
    /// A connection of this process.
    Download(Arc<Rate>),
}

/// A share. It is given back when this is dropped.
pub(crate) struct Share {
    owner: Arc<Shares>,
    number: u64,
}

/// The share of a download.
pub(crate) struct DownloadShare {
    share: Share,
    rate: Arc<Rate>,
    moved: Cell<u64>,
}

impl Shares {
    /// At most `limit` bytes per second; without one everything here does nothing.
    pub(crate) fn new(limit: Option<u64>) -> Arc<Shares> {
        Arc::new(Shares { limit, state: Mutex::default() })
    }

    /// What one more would get now, to begin with.
    pub(crate) fn next(&self) -> Option<u64> {
        let limit = self.limit?;
        let state = lock(&self.state);
        let quiet = state.holders.values().filter(|holder| holder.quiet).count();
        Some(Parts::of(limit, state.holders.len() + 1, quiet).whole)
    }

    /// Has a sender share, from its lifeline on.
    pub(crate) fn add_sender(
        self: &Arc<Shares>,
        lifeline: &UnixStream,
    ) -> io::Result<Option<Share>> {
        if self.limit.is_none() {
            return Ok(None);
        }
        let lifeline = lifeline.try_clone()?;
        // A sender that was stopped reads nothing, and must not hold up this process.
        lifeline.set_nonblocking(true)?;
        Ok(Some(self.add(Outlet::Sender(lifeline), Instant::now())))
    }

    /// Has a download share.
    pub(crate) fn add_download(self: &Arc<Shares>) -> Option<DownloadShare> {
        let rate = Arc::new(Rate::new(self.next()?));
        let share = self.add(Outlet::Download(rate.clone()), Instant::now());
        Some(DownloadShare { share, rate, moved: Cell::new(0) })
    }

    fn add(self: &Arc<Shares>, outlet: Outlet, now: Instant) -> Share {
        let mut state = lock(&self.state);
        state.last += 1;
        let number = state.last;
        let holder = Holder { outlet, moved: 0, since: now, quiet: false, told: None };
        state.holders.insert(number, holder);
        self.divide(&mut state, now);
        Share { owner: self.clone(), number }
    }

    /// Looks who is quiet, and tells everybody whose share is another one now.
    fn divide(&self, state: &mut State, now: Instant) {
        let Some(limit) = self.limit else { return };
        let all = state.holders.len();
        let even = Parts::of(limit, all, 0).whole;
        let patience = QUIET_TIME.max(Duration::from_secs(QUIET_BYTES.div_ceil(even)));
        for holder in state.holders.values_mut() {
            holder.quiet = now.saturating_duration_since(holder.since) > patience;
        }
        let quiet = state.holders.values().filter(|holder| holder.quiet).count();
        let parts = Parts::of(limit, all, quiet);
        for holder in state.holders.values_mut() {
            holder.tell(if holder.quiet { parts.small } else { parts.whole });
        }
        state.looked = Some(now);
    }
}

impl Holder {
    fn tell(&mut self, share: u64) {
        if self.told == Some(share) {
            return;
        }
        self.told = match &self.outlet {
            // One that has ended has no use for it; one that does not listen now is told later.
            Outlet::Sender(lifeline) => {
                let word = NewRate { rate: share }.to_json();
                job::say(lifeline, &word).is_ok().then_some(share)
            }
            Outlet::Download(rate) => {
                rate.change(share);
                Some(share)
            }
        };
    }
}

/// How the limit is divided.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    /// For each that moves something.
    whole: u64,
    /// For each that does not.
    small: u64,
}

impl Parts {
    /// Among `all`, of whom so many are quiet. Where all are, each may be the next to move.
    fn of(limit: u64, all: usize, quiet: usize) -> Parts {
        let (all, quiet) = (all as u64, quiet as u64);
        let even = (limit / all.max(1)).max(1);
        let Some(moving @ 1..) = all.checked_sub(quiet) else {
            return Parts { whole: even, small: even };
        };
        let small = (even / QUIET_PART).max(1);
        let left = limit.saturating_sub(quiet.saturating_mul(small));
        Parts { whole: (left / moving).max(1), small }
    }
}

impl Share {
    /// Its holder has moved so much by now.
    pub(crate) fn reached(&self, all: u64, now: Instant) {
        let mut state = lock(&self.owner.state);
        let Some(holder) = state.holders.get_mut(&self.number) else { return };
        let mut woke = false;
        if holder.moved != all {
            (holder.moved, holder.since, woke) = (all, now, holder.quiet);
        }
        let due = state.looked.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_TIME);
        if woke || due {
            self.owner.divide(&mut state, now);
        }
    }
}

impl DownloadShare {
    /// How many of `wanted` bytes to take at once, so that they flow.
    pub(crate) fn piece(&self, wanted: u64) -> u64 {
        self.rate.piece(wanted)
    }

    /// Waits until these bytes may go.
    pub(crate) fn take(&self, bytes: u64) {
        self.rate.take(bytes);
        self.moved.set(self.moved.get().wrapping_add(bytes));
        self.share.reached(self.moved.get(), Instant::now());
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = lock(&self.owner.state);
        state.holders.remove(&self.number);
        self.owner.divide(&mut state, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::codec::json;
    use std::io::{BufRead, BufReader};

    const LATER: Duration = Duration::from_secs(60);

    fn told(lifeline: &mut BufReader<UnixStream>) -> u64 {
        let mut line = String::new();
        lifeline.get_ref().set_read_timeout(Some(LATER)).unwrap();
        lifeline.read_line(&mut line).unwrap();
        NewRate::from_json(&json::parse(line.as_bytes()).unwrap()).unwrap().rate
    }

    #[test]
    fn each_gets_the_same_and_more_when_one_goes() {
        let shares = Shares::new(Some(900));
        assert_eq!(shares.next(), Some(900));
        let (here, there) = UnixStream::pair().unwrap();
        let mut there = BufReader::new(there);
        let first = shares.add_sender(&here).unwrap().unwrap();
        assert_eq!(told(&mut there), 900);
        let second = shares.add_download().unwrap();
        assert_eq!(told(&mut there), 450);
        assert_eq!(shares.next(), Some(300));
        drop(second);
        assert_eq!(told(&mut there), 900);
        drop(first);
        assert_eq!(shares.next(), Some(900));
    }

    #[test]
    fn a_sender_that_does_not_listen_holds_up_nobody() {
        let shares = Shares::new(Some(900));
        let (here, _there) = UnixStream::pair().unwrap();
        let _first = shares.add_sender(&here).unwrap().unwrap();
        (0..5000).for_each(|_| drop(shares.add_download()));
    }

    #[test]
    fn without_a_limit_nobody_has_a_share() {
        let shares = Shares::new(None);
        assert_eq!(shares.next(), None);
        assert!(shares.add_download().is_none());
    }

    /// A sender's share that was taken at `now`, and where it hears of it.
    fn sender(shares: &Arc<Shares>, now: Instant) -> (Share, BufReader<UnixStream>) {
        let (here, there) = UnixStream::pair().unwrap();
        (shares.add(Outlet::Sender(here), now), BufReader::new(there))
    }

    #[test]
    fn one_that_moves_nothing_leaves_most_of_its_share_to_the_others() {
        let (shares, start) = (Shares::new(Some(1_600_000)), Instant::now());
        let (_silent, mut silent_hears) = sender(&shares, start);
        let (active, mut active_hears) = sender(&shares, start);
        assert_eq!([told(&mut silent_hears), told(&mut silent_hears)], [1_600_000, 800_000]);
        assert_eq!(told(&mut active_hears), 800_000);
        active.reached(1, start + QUIET_TIME);
        active.reached(2, start + QUIET_TIME + LOOK_TIME);
        assert_eq!([told(&mut silent_hears), told(&mut active_hears)], [100_000, 1_500_000]);
        assert_eq!(shares.next(), Some(Parts::of(1_600_000, 3, 1).whole));
    }

    #[test]
    fn one_that_moves_again_gets_its_share_back_at_once() {
        let (shares, start) = (Shares::new(Some(1_600_000)), Instant::now());
        let (silent, mut hears) = sender(&shares, start);
        let (active, _active_hears) = sender(&shares, start);
        active.reached(1, start + LATER);
        assert_eq!([(); 3].map(|()| told(&mut hears)), [1_600_000, 800_000, 100_000]);
        silent.reached(1, start + LATER);
        assert_eq!(told(&mut hears), 800_000);
    }

    #[test]
    fn a_download_that_takes_nothing_is_quiet_too() {
        let (shares, start) = (Shares::new(Some(1_600_000)), Instant::now());
        let _silent = shares.add_download().unwrap();
        let (active, mut hears) = sender(&shares, start);
        active.reached(1, start + LATER);
        assert_eq!([told(&mut hears), told(&mut hears)], [800_000, 1_500_000]);
    }

    #[test]
    fn where_the_limit_itself_is_slow_nobody_is_quiet() {
        let (shares, start) = (Shares::new(Some(QUIET_BYTES / 8)), Instant::now());
        let (_silent, _silent_hears) = sender(&shares, start);
        let (active, _active_hears) = sender(&shares, start);
        let quiet = || lock(&shares.state).holders.values().filter(|holder| holder.quiet).count();
        active.reached(1, start + Duration::from_secs(16));
        assert_eq!(quiet(), 0);
        active.reached(2, start + Duration::from_secs(18));
        assert_eq!(quiet(), 1);
    }

    #[test]
    fn the_parts_are_never_more_than_the_limit_and_never_nothing() {
        for (all, quiet) in [(1, 0), (1, 1), (2, 1), (256, 255), (256, 1), (256, 256), (7, 3)] {
            let Parts { whole, small } = Parts::of(16 << 10, all, quiet);
            let sum = whole * (all - quiet) as u64 + small * quiet as u64;
            assert!(sum <= 16 << 10 && whole >= small && small > 0, "{all} {quiet}");
        }
        assert_eq!(Parts::of(10, 99, 98), Parts { whole: 1, small: 1 });
        assert_eq!(Parts::of(800, 1, 1), Parts { whole: 800, small: 800 });
    }
}
