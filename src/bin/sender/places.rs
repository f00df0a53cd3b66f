//! Who is inside: whoever comes is a stranger, and becomes a member by showing that it
//! belongs to the transfer. Strangers take no place of a member, and when too many of
//! them wait, the one that has waited longest is shown out.
//!
//! ```text
//!   let in ──► stranger ── shows that it belongs here ──► member ──► gone
//!                 └── says nothing, or something wrong; shown out ──► gone
//! ```

#![forbid(unsafe_code)]

use ropewalk::sys::sync::lock;
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

/// The places of one transfer.
pub(crate) struct Places {
    /// Of members, and as many of strangers.
    room: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    members: usize,
    /// Who has waited longest comes first.
    strangers: VecDeque<(u64, Arc<TcpStream>)>,
}

/// The place of one who is inside, until it is dropped.
pub(crate) struct Place {
    owner: Arc<Places>,
    number: u64,
    member: Cell<bool>,
}

impl Places {
    /// Room for so many members, and for as many strangers.
    pub(crate) fn new(room: usize) -> Arc<Places> {
        Arc::new(Places { room, state: Mutex::default() })
    }

    /// Lets a stranger in. Another one may have to go for it.
    pub(crate) fn let_in(self: &Arc<Places>, stream: &Arc<TcpStream>) -> Place {
        let mut state = lock(&self.state);
        while state.strangers.len() >= self.room.max(1) {
            let Some((_, longest)) = state.strangers.pop_front() else { break };
            let _ = longest.shutdown(Shutdown::Both); // its thread waits for it, and hears of that
        }
        state.last += 1;
        let number = state.last;
        state.strangers.push_back((number, stream.clone()));
        Place { owner: self.clone(), number, member: Cell::new(false) }
    }

    /// How many members there are.
    pub(crate) fn members(&self) -> usize {
        lock(&self.state).members
    }

    /// Whether nobody is inside.
    pub(crate) fn are_empty(&self) -> bool {
        let state = lock(&self.state);
        state.members == 0 && state.strangers.is_empty()
    }
}

impl State {
    /// Takes a stranger out of those who wait; `false` for one that is not there any more.
    fn leaves(&mut self, number: u64) -> bool {
        let found = self.strangers.iter().position(|(other, _)| *other == number);
        found.and_then(|index| self.strangers.remove(index)).is_some()
    }
}

impl Place {
    /// The stranger has shown that it belongs here. `false` where there is no room for
    /// another member, or it was shown out meanwhile.
    pub(crate) fn join(&self) -> bool {
        let mut state = lock(&self.owner.state);
        let joins = state.leaves(self.number) && state.members < self.owner.room;
        state.members += usize::from(joins);
        self.member.set(joins);
        joins
    }
}

impl Drop for Place {
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
    use std::io::Read;
    use std::net::TcpListener;

    /// Both ends of a connection.
    fn connection() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(listener.accept().unwrap().0), there)
    }

    #[test]
    fn strangers_take_no_place_of_a_member() {
        let (places, (stream, _peer)) = (Places::new(2), connection());
        let strangers: Vec<Place> = (0..3).map(|_| places.let_in(&stream)).collect();
        assert_eq!(places.members(), 0);
        assert!(strangers[2].join());
        assert_eq!(places.members(), 1);
        let other = places.let_in(&stream);
        assert!(other.join());
        assert_eq!(places.members(), 2);
    }

    #[test]
    fn a_member_too_many_does_not_join_until_another_has_gone() {
        let (places, (stream, _peer)) = (Places::new(1), connection());
        let member = places.let_in(&stream);
        assert!(member.join());
        assert!(!places.let_in(&stream).join());
        drop(member);
        assert!(places.let_in(&stream).join());
    }

    #[test]
    fn the_stranger_that_has_waited_longest_is_shown_out_and_stays_out() {
        let places = Places::new(2);
        let mut all: Vec<(Arc<TcpStream>, TcpStream)> = (0..3).map(|_| connection()).collect();
        let strangers: Vec<Place> = all.iter().map(|(here, _)| places.let_in(here)).collect();
        assert_eq!(all[0].1.read(&mut [0]).unwrap(), 0);
        assert!(!strangers[0].join());
        assert!(strangers[1].join() && strangers[2].join());
    }

    #[test]
    fn everybody_who_goes_leaves_a_place() {
        let (places, (stream, _peer)) = (Places::new(2), connection());
        for joins in [true, false, true] {
            assert!(places.are_empty());
            let place = places.let_in(&stream);
            assert!(!places.are_empty());
            assert!(!joins || place.join());
            assert!(!places.are_empty());
        }
        assert!(places.are_empty());
    }
}
