//! The accepted streams of a transfer. A stream is a stranger until it shows that it belongs to the
//! transfer. Then it joins and is a member. Strangers take no member's place. When too many
//! strangers wait, the admission shuts the stranger that has waited longest.
//!
//! ```text
//!   admit ──► stranger ── joins ──► member ──► gone
//!                └── says nothing or something wrong, or is shut ──► gone
//! ```

#![forbid(unsafe_code)]

use crate::sys::stream::Stream;
use crate::sys::sync::lock;
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::Shutdown;
use std::sync::{Arc, Mutex};

/// The accepted streams of one transfer.
pub struct Admission {
    /// Most members, and most strangers.
    room: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the last stream.
    last: u64,
    members: usize,
    /// The stranger that has waited longest comes first.
    strangers: VecDeque<(u64, Arc<Stream>)>,
    over: bool,
}

/// The place of one stream. Dropping this frees the place.
pub struct Admitted {
    owner: Arc<Admission>,
    number: u64,
    member: Cell<bool>,
}

impl Admission {
    /// An admission for `room` members and as many strangers.
    pub fn new(room: usize) -> Arc<Admission> {
        Arc::new(Admission { room, state: Mutex::default() })
    }

    /// Admits `stream` as a stranger. If there is no place, shuts the stranger that has waited
    /// longest.
    pub fn admit(self: &Arc<Admission>, stream: &Arc<Stream>) -> Admitted {
        let mut state = lock(&self.state);
        while state.strangers.len() >= self.room.max(1) {
            let Some((_, longest)) = state.strangers.pop_front() else { break };
            longest.shut(Shutdown::Both); // that wakes the thread that reads it
        }
        if state.over {
            stream.shut(Shutdown::Both);
        }
        state.last += 1;
        let number = state.last;
        state.strangers.push_back((number, stream.clone()));
        Admitted { owner: self.clone(), number, member: Cell::new(false) }
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        lock(&self.state).members
    }

    /// Whether there is neither a member nor a stranger.
    pub fn is_empty(&self) -> bool {
        let state = lock(&self.state);
        state.members == 0 && state.strangers.is_empty()
    }

    /// Shuts every stranger, now and later. No stream can join any more.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.over = true;
        for (_, stream) in state.strangers.drain(..) {
            stream.shut(Shutdown::Both);
        }
    }
}

impl State {
    /// Removes a stranger. `false` if it is gone already.
    fn leaves(&mut self, number: u64) -> bool {
        let found = self.strangers.iter().position(|(other, _)| *other == number);
        found.and_then(|index| self.strangers.remove(index)).is_some()
    }
}

impl Admitted {
    /// Makes the stranger a member, since it has shown that it belongs to the transfer. `false` if
    /// there is no place for a member, or the stranger was shut meanwhile.
    pub fn join(&self) -> bool {
        let mut state = lock(&self.owner.state);
        let joins = state.leaves(self.number) && state.members < self.owner.room;
        state.members += usize::from(joins);
        self.member.set(joins);
        joins
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut state = lock(&self.owner.state);
        match self.member.get() {
            true => state.members -= 1,
            false => drop(state.leaves(self.number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of a stream.
    fn stream() -> (Arc<Stream>, Stream) {
        let (here, there) = Stream::pair().unwrap();
        (Arc::new(here), there)
    }

    #[test]
    fn strangers_take_no_place_of_a_member() {
        let (admission, (stream, _peer)) = (Admission::new(2), stream());
        let strangers: Vec<Admitted> = (0..3).map(|_| admission.admit(&stream)).collect();
        assert_eq!(admission.members(), 0);
        assert!(strangers[2].join());
        assert_eq!(admission.members(), 1);
        let other = admission.admit(&stream);
        assert!(other.join());
        assert_eq!(admission.members(), 2);
    }

    #[test]
    fn a_stranger_joins_a_full_transfer_only_when_a_member_is_gone() {
        let (admission, (stream, _peer)) = (Admission::new(1), stream());
        let member = admission.admit(&stream);
        assert!(member.join());
        assert!(!admission.admit(&stream).join());
        drop(member);
        assert!(admission.admit(&stream).join());
    }

    #[test]
    fn the_stranger_that_has_waited_longest_is_shut_and_stays_out() {
        let admission = Admission::new(2);
        let all: Vec<(Arc<Stream>, Stream)> = (0..3).map(|_| stream()).collect();
        let strangers: Vec<Admitted> = all.iter().map(|(here, _)| admission.admit(here)).collect();
        assert_eq!(all[0].1.read(&mut [0]).unwrap(), 0);
        assert!(!strangers[0].join());
        assert!(strangers[1].join() && strangers[2].join());
    }

    #[test]
    fn a_stream_that_is_gone_frees_its_place() {
        let (admission, (stream, _peer)) = (Admission::new(2), stream());
        for joins in [true, false, true] {
            assert!(admission.is_empty());
            let admitted = admission.admit(&stream);
            assert!(!admission.is_empty());
            assert!(!joins || admitted.join());
            assert!(!admission.is_empty());
        }
        assert!(admission.is_empty());
    }

    #[test]
    fn the_end_shuts_strangers_and_lets_no_stream_join() {
        let admission = Admission::new(2);
        let ((early, its_peer), (late, other)) = (stream(), stream());
        let early = admission.admit(&early);
        admission.end();
        assert_eq!(its_peer.read(&mut [0]).unwrap(), 0);
        assert!(!early.join());
        let _late = admission.admit(&late);
        assert_eq!(other.read(&mut [0]).unwrap(), 0);
    }
}
