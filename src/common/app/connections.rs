//! The control connections of a server: how many there may be, who has to go when
//! one more comes, and that each ends alone.

#![forbid(unsafe_code)]

use super::origin::origin;
use crate::sys::sync::{lock, wait_for};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// All connections that are open.
pub struct Connections {
    limit: usize,
    state: Mutex<State>,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Entry>,
    last: u64,
    closing: bool,
}

struct Entry {
    stream: Arc<TcpStream>,
    /// Whose it is: not the whole address.
    origin: IpAddr,
    /// Since when it owes a complete request; `None` while one is being served.
    waiting_since: Option<Instant>,
}

/// A connection that was let in. It counts until this is dropped.
pub struct Connection {
    owner: Arc<Connections>,
    number: u64,
    stream: Arc<TcpStream>,
    /// The other end of the socket.
    end: SocketAddr,
    /// The client whose request is served now.
    client: Cell<SocketAddr>,
}

impl Connections {
    /// Room for `limit` connections.
    pub fn new(limit: usize) -> Arc<Connections> {
        let (state, emptied) = (Mutex::default(), Condvar::new());
        Arc::new(Connections { limit, state, emptied })
    }

    /// Lets a connection in. When there is no room, the one that has gone longest
    /// without a complete request goes, of those from the address that holds most (of IPv6
    /// addresses the first half counts); one that is being served stays. Gives the stream
    /// back when all are being served.
    pub fn admit(
        self: &Arc<Connections>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Connection, TcpStream> {
        let mut state = lock(&self.state);
        if state.closing {
            return Err(stream);
        }
        if state.open.len() >= self.limit {
            let Some(victim) = state.victim() else { return Err(stream) };
            if let Some(entry) = state.open.remove(&victim) {
                // Its thread finds the stream at its end, and then nothing to remove.
                let _ = entry.stream.shutdown(Shutdown::Both);
            }
        }
        let stream = Arc::new(stream);
        let waiting_since = Some(Instant::now());
        state.last += 1;
        let number = state.last;
        let origin = origin(peer.ip());
        state.open.insert(number, Entry { stream: stream.clone(), origin, waiting_since });
        let client = Cell::new(peer);
        Ok(Connection { owner: self.clone(), number, stream, end: peer, client })
    }

    /// Lets nobody in any more, ends those that are open, and waits for their threads,
    /// at most for `limit`. Says whether all have gone.
    pub fn close(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.state);
        state.closing = true;
        for entry in state.open.values() {
            let _ = entry.stream.shutdown(Shutdown::Both);
        }
        while !state.open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = wait_for(&self.emptied, state, left);
        }
        true
    }

    fn remove(&self, number: u64) -> Option<Entry> {
        let mut state = lock(&self.state);
        let entry = state.open.remove(&number);
        if state.open.is_empty() {
            self.emptied.notify_all();
        }
        entry
    }

    /// How many connections of one address are served at once: three quarters, rounded
    /// up. What nobody can take from it, a single stranger with slow downloads would.
    fn part(&self) -> usize {
        self.limit - self.limit / 4
    }

    fn begin_serving(&self, number: u64) -> bool {
        let mut state = lock(&self.state);
        let Some(origin) = state.open.get(&number).map(|entry| entry.origin) else {
            return false;
        };
        let served = |entry: &&Entry| entry.waiting_since.is_none() && entry.origin == origin;
        if state.open.values().filter(served).count() >= self.part() {
            return false;
        }
        if let Some(entry) = state.open.get_mut(&number) {
            entry.waiting_since = None;
        }
        true
    }

    fn end_serving(&self, number: u64) {
        if let Some(entry) = lock(&self.state).open.get_mut(&number) {
            entry.waiting_since = Some(Instant::now());
        }
    }
}

impl State {
    /// Who has to go.
    fn victim(&self) -> Option<u64> {
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.open.values() {
            *held.entry(entry.origin).or_default() += 1;
        }
        self.open
            .iter()
            .filter_map(|(number, entry)| Some((entry.waiting_since?, entry.origin, *number)))
            .max_by_key(|(since, origin, number)| {
                (held.get(origin).copied(), since.elapsed(), std::cmp::Reverse(*number))
            })
            .map(|(_, _, number)| number)
    }
}

impl Connection {
    /// The socket.
    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// The other end of the socket.
    pub fn end(&self) -> SocketAddr {
        self.end
    }

    /// The client whose request is served: the other end, unless [`Connection::serves`] says
    /// otherwise.
    pub fn peer(&self) -> SocketAddr {
        self.client.get()
    }

    /// From now on requests count as those of `client`; without one, of the other end. For a
    /// proxy that asks for several clients.
    pub fn serves(&self, client: Option<SocketAddr>) {
        let client = client.unwrap_or(self.end);
        self.client.set(client);
        if let Some(entry) = lock(&self.owner.state).open.get_mut(&self.number) {
            entry.origin = origin(client.ip());
        }
    }

    /// Serves a complete request: while `serve` runs, the connection cannot be chosen
    /// to make room. `None` where that would leave its address more than its part, or
    /// where it had to go already.
    pub fn while_served<T>(&self, serve: impl FnOnce() -> T) -> Option<T> {
        if !self.owner.begin_serving(self.number) {
            return None;
        }
        let answer = serve();
        self.owner.end_serving(self.number);
        Some(answer)
    }

    /// Ends the connection's part in this: it counts no more, and is neither chosen to make
    /// room nor ended with the others. `false` when it was ended before. For one whose
    /// socket somebody else goes on with.
    pub fn leave(&self) -> bool {
        self.owner.remove(self.number).is_some()
    }

    /// Runs `handle` on a thread of its own, which owns this connection. A panic there
    /// ends this connection and nothing else.
    pub fn spawn(self, handle: impl FnOnce(&Connection) + Send + 'static) -> io::Result<()> {
        std::thread::Builder::new()
            .name("connection".into())
            .stack_size(super::SMALL_STACK)
            .spawn(move || handle(&self))?;
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.owner.remove(self.number).is_some() {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    fn connect(address: &str) -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (here, peer) = listener.accept().unwrap();
        // What counts is the address that the connection comes from.
        (here, there, SocketAddr::new(address.parse().unwrap(), peer.port()))
    }

    fn admit(owner: &Arc<Connections>, address: &str) -> (Connection, TcpStream) {
        let (here, there, peer) = connect(address);
        (owner.admit(here, peer).ok().unwrap(), there)
    }

    fn ended(mut stream: &TcpStream) -> bool {
        stream.set_nonblocking(true).unwrap();
        matches!(stream.read(&mut [0]), Ok(0))
    }

    #[test]
    fn the_longest_idle_of_the_greediest_address_goes() {
        let owner = Connections::new(3);
        let (_other, other) = admit(&owner, "127.0.0.2");
        let (_first, first) = admit(&owner, "127.0.0.1");
        let (_second, second) = admit(&owner, "127.0.0.1");
        let (_third, third) = admit(&owner, "127.0.0.3");
        assert_eq!(
            [ended(&other), ended(&first), ended(&second), ended(&third)],
            [false, true, false, false]
        );
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let owner = Connections::new(4);
        let (of_other, other) = admit(&owner, "2001:db8:0:1::1");
        let own = [1, 2, 3, 4].map(|host| admit(&owner, &format!("2001:db8:0:2::{host}")));
        let [(_, first), (second, _), (third, _), (fourth, _)] = &own;
        assert_eq!([ended(&other), ended(first)], [false, true]);
        let (fifth, _fifth) = admit(&owner, "2001:db8:0:2::5");
        assert_eq!(second.while_served(|| ()), None, "it had to go for the fifth");
        drop(of_other);
        let (sixth, _sixth) = admit(&owner, "2001:db8:0:2::6");
        let served = third.while_served(|| {
            fourth.while_served(|| fifth.while_served(|| sixth.while_served(|| ())))
        });
        assert_eq!(served, Some(Some(Some(None))), "three of four places are for one address");
    }

    #[test]
    fn one_that_is_served_never_goes() {
        let owner = Connections::new(2);
        let (served, served_peer) = admit(&owner, "127.0.0.1");
        let (_idle, idle_peer) = admit(&owner, "127.0.0.1");
        let done = served.while_served(|| {
            let (_new, _new_peer) = admit(&owner, "127.0.0.1");
            assert_eq!([ended(&served_peer), ended(&idle_peer)], [false, true]);
        });
        assert!(done.is_some());
    }

    #[test]
    fn when_all_are_served_nobody_is_let_in() {
        let owner = Connections::new(1);
        let (served, peer) = admit(&owner, "127.0.0.1");
        let done = served.while_served(|| {
            let (here, _there, from) = connect("127.0.0.1");
            assert!(owner.admit(here, from).is_err());
        });
        assert!(done.is_some() && !ended(&peer));
    }

    #[test]
    fn one_address_is_served_on_three_of_four_places() {
        let owner = Connections::new(4);
        let own = [(); 4].map(|()| admit(&owner, "127.0.0.1"));
        let [(first, _), (second, _), (third, _), (fourth, _)] = &own;
        let served = first.while_served(|| {
            second.while_served(|| third.while_served(|| fourth.while_served(|| ())))
        });
        assert_eq!(served, Some(Some(Some(None))));
        // One that is served no more has left its place.
        assert_eq!(fourth.while_served(|| ()), Some(()));
        let served = first.while_served(|| {
            second.while_served(|| {
                third.while_served(|| {
                    let (other, _peer) = admit(&owner, "127.0.0.2");
                    other.while_served(|| ())
                })
            })
        });
        assert_eq!(served, Some(Some(Some(Some(())))));
    }

    #[test]
    fn requests_of_a_proxy_count_as_those_of_its_clients() {
        let owner = Connections::new(4);
        let own = [1, 2, 3, 4].map(|client| {
            let (connection, peer) = admit(&owner, "127.0.0.1");
            connection.serves(Some(SocketAddr::from(([192, 0, 2, client], 0))));
            (connection, peer)
        });
        let [(first, _), (second, _), (third, _), (fourth, _)] = &own;
        let served = first.while_served(|| {
            second.while_served(|| third.while_served(|| fourth.while_served(|| fourth.peer())))
        });
        let client = SocketAddr::from(([192, 0, 2, 4], 0));
        assert_eq!(served, Some(Some(Some(Some(client)))));
        fourth.serves(None);
        assert_eq!(fourth.peer(), fourth.end());
    }

    #[test]
    fn one_that_had_to_go_is_not_served() {
        let owner = Connections::new(1);
        let (connection, _peer) = admit(&owner, "127.0.0.1");
        let (_next, _next_peer) = admit(&owner, "127.0.0.1");
        assert_eq!(connection.while_served(|| ()), None);
    }

    #[test]
    fn a_panic_ends_one_connection_and_frees_its_place() {
        let owner = Connections::new(2);
        let (first, first_peer) = admit(&owner, "127.0.0.1");
        let (_second, second_peer) = admit(&owner, "127.0.0.1");
        first.spawn(|_| panic!("as intended by this test")).unwrap();
        first_peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert_eq!((&first_peer).read(&mut [0]).unwrap(), 0);
        assert!(!ended(&second_peer));
        while lock(&owner.state).open.len() > 1 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_that_has_left_counts_no_more_and_is_not_ended() {
        let owner = Connections::new(1);
        let (connection, peer) = admit(&owner, "127.0.0.1");
        let kept = connection.stream().clone();
        assert!(connection.leave());
        let (_next, next_peer) = admit(&owner, "127.0.0.1");
        assert_eq!([ended(&peer), ended(&next_peer)], [false, false]);
        drop(connection);
        assert!(!ended(&peer));
        drop(kept);
        peer.set_nonblocking(false).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert_eq!((&peer).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn one_that_had_to_go_cannot_leave() {
        let owner = Connections::new(1);
        let (connection, _peer) = admit(&owner, "127.0.0.1");
        let (_next, _next_peer) = admit(&owner, "127.0.0.1");
        assert!(!connection.leave());
    }

    #[test]
    fn closing_ends_all_and_waits_for_their_threads() {
        let owner = Connections::new(2);
        let (connection, _peer) = admit(&owner, "127.0.0.1");
        connection
            .spawn(|connection| {
                assert_eq!(connection.stream().as_ref().read(&mut [0]).unwrap(), 0);
            })
            .unwrap();
        assert!(owner.close(Duration::from_secs(60)));
        let (here, _there, from) = connect("127.0.0.1");
        assert!(owner.admit(here, from).is_err());
    }

    #[test]
    fn closing_does_not_wait_for_ever() {
        let owner = Connections::new(1);
        let (_connection, _peer) = admit(&owner, "127.0.0.1");
        assert!(!owner.close(Duration::from_millis(1)));
    }
}
