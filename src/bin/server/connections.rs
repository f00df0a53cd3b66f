//! The control connections of a server: how many there may be, who has to go when
//! one more comes, and that each ends alone.

#![forbid(unsafe_code)]

mod taking;

use crate::origin::origin;
use ropewalk::app::SMALL_STACK;
use ropewalk::sys::sync::{lock, wait_for};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use taking::{LOOK_TIME, Taking};

/// All connections that are open.
pub(crate) struct Connections {
    limit: usize,
    state: Mutex<State>,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Entry>,
    last: u64,
    closing: bool,
    /// When it was last looked how fast clients take what they are sent.
    looked: Option<Instant>,
}

struct Entry {
    stream: Arc<TcpStream>,
    /// Whose it is: not the whole address.
    origin: IpAddr,
    /// Since when it owes a complete request; `None` while one is being served.
    waiting_since: Option<Instant>,
    /// While it is sent something.
    taking: Option<Taking>,
}

/// A connection that was let in. It counts until this is dropped.
pub(crate) struct Connection {
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
    pub(crate) fn new(limit: usize) -> Arc<Connections> {
        let (state, emptied) = (Mutex::default(), Condvar::new());
        Arc::new(Connections { limit, state, emptied })
    }

    /// Lets a connection in. When there is no room, the one that has gone longest
    /// without a complete request goes, of those from the address that holds most (of IPv6
    /// addresses the first half counts). One that is being served stays, unless it is sent
    /// something and takes it too slowly. Gives the stream back when all
    /// stay.
    pub(crate) fn admit(
        self: &Arc<Connections>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Connection, TcpStream> {
        let mut state = lock(&self.state);
        if state.closing {
            return Err(stream);
        }
        if state.open.len() >= self.limit {
            let victim = state.victim().or_else(|| state.slowest(None));
            let Some(victim) = victim else { return Err(stream) };
            state.end(victim);
        }
        let stream = Arc::new(stream);
        let waiting_since = Some(Instant::now());
        state.last += 1;
        let number = state.last;
        let origin = origin(peer.ip());
        let entry = Entry { stream: stream.clone(), origin, waiting_since, taking: None };
        state.open.insert(number, entry);
        let client = Cell::new(peer);
        Ok(Connection { owner: self.clone(), number, stream, end: peer, client })
    }

    /// Lets nobody in any more, ends those that are open, and waits for their threads,
    /// at most for `limit`. Says whether all have gone.
    pub(crate) fn close(&self, limit: Duration) -> bool {
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

    /// Looks how fast clients take what they are sent, where that is due; answers when it is
    /// the next time, and `None` while there is room enough for everybody.
    pub(crate) fn look(&self) -> Option<Duration> {
        self.look_at(Instant::now())
    }

    fn look_at(&self, now: Instant) -> Option<Duration> {
        let mut state = lock(&self.state);
        if state.open.len() < self.part() {
            return None;
        }
        if let Some(looked) = state.looked {
            let left = LOOK_TIME.saturating_sub(now.saturating_duration_since(looked));
            if !left.is_zero() {
                return Some(left);
            }
        }
        state.looked = Some(now);
        for entry in state.open.values_mut() {
            if let Some(taking) = &mut entry.taking {
                taking.judge(&entry.stream, now);
            }
        }
        Some(LOOK_TIME)
    }

    fn set_taking(&self, number: u64, taking: Option<Taking>) {
        if let Some(entry) = lock(&self.state).open.get_mut(&number) {
            entry.taking = taking;
        }
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
            let Some(victim) = state.slowest(Some(origin)) else { return false };
            state.end(victim);
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
    /// The one that has to go, of those that owe a request.
    fn victim(&self) -> Option<u64> {
        self.longest(|entry| entry.waiting_since)
    }

    /// The one that has to go, of those that are too slow; of this origin alone, if any is
    /// given.
    fn slowest(&self, origin: Option<IpAddr>) -> Option<u64> {
        self.longest(|entry| {
            let counts = origin.is_none_or(|origin| entry.origin == origin);
            entry.taking.as_ref().filter(|_| counts)?.slow_since()
        })
    }

    /// Of those that have been at something `since` then, the one that has been for longest,
    /// of the address that holds most.
    fn longest(&self, since: impl Fn(&Entry) -> Option<Instant>) -> Option<u64> {
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.open.values() {
            *held.entry(entry.origin).or_default() += 1;
        }
        self.open
            .iter()
            .filter_map(|(number, entry)| Some((since(entry)?, entry.origin, *number)))
            .max_by_key(|(since, origin, number)| {
                (held.get(origin).copied(), since.elapsed(), std::cmp::Reverse(*number))
            })
            .map(|(_, _, number)| number)
    }

    /// Ends one. Its thread finds the stream at its end, and then nothing to remove.
    fn end(&mut self, number: u64) {
        if let Some(entry) = self.open.remove(&number) {
            let _ = entry.stream.shutdown(Shutdown::Both);
        }
    }
}

impl Connection {
    /// The socket.
    pub(crate) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// The other end of the socket.
    pub(crate) fn end(&self) -> SocketAddr {
        self.end
    }

    /// The client whose request is served: the other end, unless [`Connection::serves`] says
    /// otherwise.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.client.get()
    }

    /// From now on requests count as those of `client`; without one, of the other end. For a
    /// proxy that asks for several clients.
    pub(crate) fn serves(&self, client: Option<SocketAddr>) {
        let client = client.unwrap_or(self.end);
        self.client.set(client);
        if let Some(entry) = lock(&self.owner.state).open.get_mut(&self.number) {
            entry.origin = origin(client.ip());
        }
    }

    /// Serves a complete request: while `serve` runs, the connection cannot be chosen
    /// to make room. `None` where that would leave its address more than its part, or
    /// where it had to go already.
    pub(crate) fn while_served<T>(&self, serve: impl FnOnce() -> T) -> Option<T> {
        if !self.owner.begin_serving(self.number) {
            return None;
        }
        let answer = serve();
        self.owner.end_serving(self.number);
        Some(answer)
    }

    /// Sends the client something that it may take its time for: while `send` runs, the
    /// connection can be chosen to make room if it takes that too slowly.
    pub(crate) fn while_sending<T>(&self, send: impl FnOnce() -> T) -> T {
        self.owner.set_taking(self.number, Some(Taking::begin(&self.stream)));
        let sent = send();
        self.owner.set_taking(self.number, None);
        sent
    }

    /// Ends the connection's part in this: it counts no more, and is neither chosen to make
    /// room nor ended with the others. `false` when it was ended before. For one whose
    /// socket somebody else goes on with.
    pub(crate) fn leave(&self) -> bool {
        self.owner.remove(self.number).is_some()
    }

    /// Runs `handle` on a thread of its own, which owns this connection. A panic there
    /// ends this connection and nothing else.
    pub(crate) fn spawn(self, handle: impl FnOnce(&Connection) + Send + 'static) -> io::Result<()> {
        std::thread::Builder::new()
            .name("connection".into())
            .stack_size(SMALL_STACK)
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
mod tests;
