//! The places of transfers: how many there may be, in all and for one address, and which
//! session gives up its place where one more comes at a limit.

#![forbid(unsafe_code)]

use crate::origin::origin;
use ropewalk::codec::http::{Refusal, Status};
use ropewalk::sys::sync::{lock, wait_for};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// All places.
pub(crate) struct Places {
    limit: usize,
    /// Of them for one address; an IPv6 network is one.
    limit_per_address: usize,
    /// How long a session may move nothing and still have its place.
    patience: Duration,
    state: Mutex<State>,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    taken: HashMap<u64, Holder>,
    last: u64,
    /// Transfers that have not ended yet, those that had to give up their places too.
    unfinished: usize,
    stopping: bool,
}

/// One that has a place.
struct Holder {
    origin: IpAddr,
    claim: Claim,
}

/// How firmly a place is held.
enum Claim {
    /// By one whose client could not go on if it ended. It does not last without moving
    /// anything: a digest is being made, or classic streams stall.
    Firm,
    /// By a session, which may be silent for ever. Its client can have another one.
    Session { sender: Arc<UnixStream>, moved: u64, since: Instant },
}

/// A place, until this is dropped.
pub(crate) struct Place {
    owner: Arc<Places>,
    number: u64,
    /// Whether another one had to go for it.
    made: bool,
}

impl Places {
    /// Places for `limit` transfers. A session that moves nothing for `patience` may have
    /// to give up its own.
    pub(crate) fn new(limit: usize, limit_per_address: usize, patience: Duration) -> Arc<Places> {
        let (state, emptied) = (Mutex::default(), Condvar::new());
        Arc::new(Places { limit, limit_per_address, patience, state, emptied })
    }

    /// A place for a transfer to `address`. At a limit the session goes that has moved
    /// nothing for longest, if that is too long; of the same address, where it is that
    /// address's limit. Its sender need not have ended when this returns.
    pub(crate) fn take(
        self: &Arc<Places>,
        address: IpAddr,
        now: Instant,
    ) -> Result<Place, Refusal> {
        let origin = origin(address);
        let mut state = lock(&self.state);
        let own = state.taken.values().filter(|holder| holder.origin == origin).count();
        let (at_limit, of, words) = if own >= self.limit_per_address {
            (true, Some(origin), "too many transfers for your address")
        } else {
            (state.taken.len() >= self.limit, None, "too many transfers")
        };
        if state.stopping || (at_limit && !state.make_room(of, self.patience, now)) {
            return Err(Refusal::new(Status::SERVICE_UNAVAILABLE, words));
        }
        state.last += 1;
        state.unfinished += 1;
        let number = state.last;
        state.taken.insert(number, Holder { origin, claim: Claim::Firm });
        Ok(Place { owner: self.clone(), number, made: at_limit })
    }

    /// Gives out no more places.
    pub(crate) fn stop(&self) {
        lock(&self.state).stopping = true;
    }

    /// Waits until every transfer has ended, at most for `limit`.
    pub(crate) fn wait_until_empty(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.state);
        while state.unfinished > 0 && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            state = wait_for(&self.emptied, state, left);
        }
    }
}

impl State {
    /// Ends the session that has moved nothing for longest. `false` where none has moved
    /// nothing for so long.
    fn make_room(&mut self, of: Option<IpAddr>, patience: Duration, now: Instant) -> bool {
        let quiet = |(number, holder): (&u64, &Holder)| match &holder.claim {
            Claim::Session { since, .. } if of.is_none_or(|of| of == holder.origin) => {
                Some((now.saturating_duration_since(*since), Reverse(*number)))
            }
            _ => None,
        };
        let longest = self.taken.iter().filter_map(quiet).max();
        let Some((_, Reverse(number))) = longest.filter(|(time, _)| *time > patience) else {
            return false;
        };
        if let Some(Holder { claim: Claim::Session { sender, .. }, .. }) =
            self.taken.remove(&number)
        {
            // Its parent is gone, as far as it can see.
            let _ = sender.shutdown(Shutdown::Both);
        }
        true
    }
}

impl Place {
    /// From now on a session has it, whose sender has this lifeline.
    pub(crate) fn is_session(&self, sender: Arc<UnixStream>, now: Instant) {
        if let Some(holder) = lock(&self.owner.state).taken.get_mut(&self.number) {
            holder.claim = Claim::Session { sender, moved: 0, since: now };
        }
    }

    /// So much has been moved by now.
    pub(crate) fn reached(&self, all: u64, now: Instant) {
        let mut state = lock(&self.owner.state);
        let holder = state.taken.get_mut(&self.number);
        if let Some(Claim::Session { moved, since, .. }) = holder.map(|holder| &mut holder.claim) {
            if *moved != all {
                (*moved, *since) = (all, now);
            }
        }
    }

    /// Whether its transfer had to go.
    pub(crate) fn was_given_up(&self) -> bool {
        !lock(&self.owner.state).taken.contains_key(&self.number)
    }

    /// Nothing else that it needs is to be had: has a session go that holds such a thing
    /// for too long, unless one had to go for this already.
    pub(crate) fn make_room(&self, now: Instant) {
        if !self.made {
            lock(&self.owner.state).make_room(None, self.owner.patience, now);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.owner.state);
        state.taken.remove(&self.number);
        state.unfinished -= 1;
        drop(state);
        self.owner.emptied.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const PATIENCE: Duration = Duration::from_secs(30);
    const TICK: Duration = Duration::from_millis(1);

    fn take(places: &Arc<Places>, address: &str, now: Instant) -> Result<Place, &'static str> {
        places.take(address.parse().unwrap(), now).map_err(|refused| refused.reason)
    }

    /// A session that began at `now`, and its sender's end of the lifeline.
    fn session(places: &Arc<Places>, address: &str, now: Instant) -> (Place, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        let place = take(places, address, now).unwrap();
        place.is_session(Arc::new(here), now);
        (place, there)
    }

    fn ended(mut sender: &UnixStream) -> bool {
        sender.set_nonblocking(true).unwrap();
        matches!(sender.read(&mut [0]), Ok(0))
    }

    #[test]
    fn the_session_that_has_moved_nothing_for_longest_makes_room() {
        let (places, start) = (Places::new(2, 9, PATIENCE), Instant::now());
        let (first, first_sender) = session(&places, "192.0.2.1", start);
        let (second, second_sender) = session(&places, "192.0.2.2", start);
        first.reached(1, start + TICK);
        first.reached(1, start + 3 * TICK); // that is no more than before
        second.reached(1, start + 2 * TICK);
        let third = take(&places, "192.0.2.3", start + PATIENCE + 2 * TICK);
        assert!(third.is_ok());
        assert_eq!([&first_sender, &second_sender].map(ended), [true, false]);
        assert_eq!([&first, &second].map(Place::was_given_up), [true, false]);
        // What it says later changes nothing, nor does its end.
        first.reached(2, start + PATIENCE);
        drop(first);
        let late = start + PATIENCE + 2 * TICK;
        assert_eq!(take(&places, "192.0.2.3", late).err(), Some("too many transfers"));
    }

    #[test]
    fn one_that_has_moved_something_lately_stays() {
        let (places, start) = (Places::new(1, 9, PATIENCE), Instant::now());
        let (_first, sender) = session(&places, "192.0.2.1", start);
        let refused = take(&places, "192.0.2.1", start + PATIENCE);
        assert_eq!(refused.err(), Some("too many transfers"));
        assert!(!ended(&sender));
    }

    #[test]
    fn at_the_limit_of_an_address_only_its_own_sessions_make_room() {
        let (places, start) = (Places::new(9, 1, PATIENCE), Instant::now());
        let late = start + PATIENCE + 2 * TICK;
        let (_other, other) = session(&places, "192.0.2.2", start);
        let (own, sender) = session(&places, "192.0.2.1", start + 3 * TICK);
        let refused = take(&places, "192.0.2.1", late);
        assert_eq!(refused.err(), Some("too many transfers for your address"));
        let third = take(&places, "192.0.2.1", late + 2 * TICK);
        assert!(third.is_ok());
        assert_eq!([&other, &sender].map(ended), [false, true]);
        assert!(own.was_given_up());
    }

    #[test]
    fn an_ipv6_network_has_the_places_of_one_address() {
        let (places, now) = (Places::new(9, 2, PATIENCE), Instant::now());
        let own = ["2001:db8:0:1::1", "2001:db8:0:1::2"].map(|own| take(&places, own, now));
        let refused = take(&places, "2001:db8:0:1::3", now);
        assert_eq!(refused.err(), Some("too many transfers for your address"));
        assert!(take(&places, "2001:db8:0:2::1", now).is_ok());
        drop(own);
        assert!(take(&places, "2001:db8:0:1::3", now).is_ok());
    }

    #[test]
    fn what_is_no_session_never_makes_room() {
        let (places, start) = (Places::new(1, 9, PATIENCE), Instant::now());
        let classic = take(&places, "192.0.2.1", start).unwrap();
        classic.reached(0, start);
        assert!(take(&places, "192.0.2.1", start + 9 * PATIENCE).is_err());
        assert!(!classic.was_given_up());
    }

    #[test]
    fn for_one_transfer_one_session_goes_at_most() {
        let (places, start) = (Places::new(2, 9, PATIENCE), Instant::now());
        let late = start + 2 * PATIENCE;
        let (_first, first) = session(&places, "192.0.2.1", start);
        let (_second, second) = session(&places, "192.0.2.1", start);
        let third = take(&places, "192.0.2.1", late).unwrap();
        third.make_room(late);
        assert_eq!([&first, &second].map(ended), [true, false]);
        let more = Places::new(9, 9, PATIENCE);
        let (_first, first) = session(&more, "192.0.2.1", start);
        take(&more, "192.0.2.1", late).unwrap().make_room(late);
        assert!(ended(&first));
    }

    #[test]
    fn the_end_waits_for_those_that_had_to_go_too() {
        let (places, start) = (Places::new(1, 9, PATIENCE), Instant::now());
        let (first, _sender) = session(&places, "192.0.2.1", start);
        drop(take(&places, "192.0.2.1", start + 2 * PATIENCE));
        places.stop();
        assert!(take(&places, "192.0.2.1", start).is_err());
        assert_eq!(lock(&places.state).unfinished, 1);
        drop(first);
        places.wait_until_empty(Duration::from_secs(1000));
    }
}
