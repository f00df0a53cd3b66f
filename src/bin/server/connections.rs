//! The control connections of a server: how many there may be, which of them is dropped for
//! another one, and that each ends alone.
//!
//! They do not stand in the table of transfers. A connection waits for requests most of the
//! time, serves many of them one after the other, and a transfer outlives the connection that
//! asked for it. What counts here is how long a connection owes a request, and how fast its
//! client takes or brings a body.

#![forbid(unsafe_code)]

mod speed;

use crate::origin::origin;
use ropewalk::sys::sync::{lock, wait, wait_until};
use ropewalk::sys::thread;
use speed::{Direction, MEASURE_TIME, Speed};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// All connections that are open.
pub(crate) struct Connections {
    limit: usize,
    registry: Mutex<Registry>,
    /// Notified when the last connection is removed.
    emptied: Condvar,
}

#[derive(Default)]
struct Registry {
    open: HashMap<u64, Entry>,
    last: u64,
    closing: bool,
    /// When the speed of clients was measured last.
    measured: Option<Instant>,
}

struct Entry {
    stream: Arc<TcpStream>,
    /// The address that its limit counts for (`origin.rs`).
    origin: IpAddr,
    /// Since when it owes a complete request; `None` while one is being served.
    waiting_since: Option<Instant>,
    /// The speed of its client, while it is sent a body or sends one.
    speed: Option<Speed>,
}

/// An admitted connection. It counts until this is dropped.
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
        let (registry, emptied) = (Mutex::default(), Condvar::new());
        Arc::new(Connections { limit, registry, emptied })
    }

    /// Admits a connection. When full, the server drops the longest-waiting connection of the
    /// address that holds most (of IPv6 addresses the first half counts). A connection that is
    /// being served stays, unless its client takes a body too slowly.
    ///
    /// # Errors
    /// The stream, when no connection can be dropped for it.
    pub(crate) fn admit(
        self: &Arc<Connections>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Connection, TcpStream> {
        let mut registry = lock(&self.registry);
        if registry.closing {
            return Err(stream);
        }
        if registry.open.len() >= self.limit {
            let victim = registry.longest_waiting().or_else(|| registry.longest_slow(None));
            let Some(victim) = victim else { return Err(stream) };
            registry.end(victim);
        }
        let stream = Arc::new(stream);
        let waiting_since = Some(Instant::now());
        registry.last += 1;
        let number = registry.last;
        let origin = origin(peer.ip());
        let entry = Entry { stream: stream.clone(), origin, waiting_since, speed: None };
        registry.open.insert(number, entry);
        let client = Cell::new(peer);
        Ok(Connection { owner: self.clone(), number, stream, end: peer, client })
    }

    /// Admits no connection any more, ends those that are open, and waits for their threads,
    /// at most for `limit`. Says whether all have ended.
    pub(crate) fn close(&self, limit: Duration) -> bool {
        let mut registry = lock(&self.registry);
        registry.closing = true;
        for entry in registry.open.values() {
            let _ = entry.stream.shutdown(Shutdown::Both);
        }
        let deadline = Instant::now() + limit;
        let registry = wait_until(&self.emptied, registry, deadline, |all| all.open.is_empty());
        registry.open.is_empty()
    }

    /// Waits until no connection is open.
    pub(crate) fn wait_until_empty(&self) {
        let mut registry = lock(&self.registry);
        while !registry.open.is_empty() {
            registry = wait(&self.emptied, registry);
        }
    }

    /// Measures how fast clients take bodies, if that is due. The answer is when it is due
    /// again; `None` while there is room for more connections.
    pub(crate) fn measure(&self) -> Option<Duration> {
        self.measure_at(Instant::now())
    }

    fn measure_at(&self, now: Instant) -> Option<Duration> {
        let mut registry = lock(&self.registry);
        if registry.open.len() < self.most_served() {
            return None;
        }
        if let Some(measured) = registry.measured {
            let left = MEASURE_TIME.saturating_sub(now.saturating_duration_since(measured));
            if !left.is_zero() {
                return Some(left);
            }
        }
        registry.measured = Some(now);
        for entry in registry.open.values_mut() {
            if let Some(speed) = &mut entry.speed {
                speed.measure(&entry.stream, now);
            }
        }
        Some(MEASURE_TIME)
    }

    fn set_speed(&self, number: u64, speed: Option<Speed>) {
        if let Some(entry) = lock(&self.registry).open.get_mut(&number) {
            entry.speed = speed;
        }
    }

    fn remove(&self, number: u64) -> Option<Entry> {
        let mut registry = lock(&self.registry);
        let entry = registry.open.remove(&number);
        if registry.open.is_empty() {
            self.emptied.notify_all();
        }
        entry
    }

    /// How many connections of one address are served at once: three quarters, rounded up.
    /// Else a single client with slow downloads could keep out all others.
    fn most_served(&self) -> usize {
        self.limit - self.limit / 4
    }

    fn begin_serving(&self, number: u64) -> bool {
        let mut registry = lock(&self.registry);
        let Some(origin) = registry.open.get(&number).map(|entry| entry.origin) else {
            return false;
        };
        let served = |entry: &&Entry| entry.waiting_since.is_none() && entry.origin == origin;
        if registry.open.values().filter(served).count() >= self.most_served() {
            let Some(victim) = registry.longest_slow(Some(origin)) else { return false };
            registry.end(victim);
        }
        if let Some(entry) = registry.open.get_mut(&number) {
            entry.waiting_since = None;
        }
        true
    }

    fn end_serving(&self, number: u64) {
        if let Some(entry) = lock(&self.registry).open.get_mut(&number) {
            entry.waiting_since = Some(Instant::now());
        }
    }
}

impl Registry {
    /// The connection that has owed a request for longest, of the address that holds most.
    fn longest_waiting(&self) -> Option<u64> {
        self.longest(|entry| entry.waiting_since)
    }

    /// The connection whose client has been too slow for longest, of the address that holds
    /// most; only of this origin, if there is one.
    fn longest_slow(&self, origin: Option<IpAddr>) -> Option<u64> {
        self.longest(|entry| {
            let counts = origin.is_none_or(|origin| entry.origin == origin);
            entry.speed.as_ref().filter(|_| counts)?.slow_since()
        })
    }

    /// The connection with the earliest `since`, of the address that holds most.
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

    /// Ends a connection. Its thread reads the end of the stream, and finds nothing to remove.
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

    /// The client whose request is served: the other end, or the client that
    /// [`Connection::serves`] was told.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.client.get()
    }

    /// From now on requests count as those of `client`; for `None`, of the other end. A proxy
    /// asks for several clients on one connection.
    pub(crate) fn serves(&self, client: Option<SocketAddr>) {
        let client = client.unwrap_or(self.end);
        self.client.set(client);
        if let Some(entry) = lock(&self.owner.registry).open.get_mut(&self.number) {
            entry.origin = origin(client.ip());
        }
    }

    /// Serves a complete request. While `serve` runs, the connection is not dropped for
    /// another one. `None` where its address has too many requests served already, or where
    /// the connection was dropped.
    pub(crate) fn while_served<T>(&self, serve: impl FnOnce() -> T) -> Option<T> {
        if !self.owner.begin_serving(self.number) {
            return None;
        }
        let answer = serve();
        self.owner.end_serving(self.number);
        Some(answer)
    }

    /// Sends a body. While `send` runs, the connection may be dropped for another one if its
    /// client is too slow.
    pub(crate) fn while_sending<T>(&self, send: impl FnOnce() -> T) -> T {
        self.while_measured(Direction::Out, send)
    }

    /// Receives a body. While `receive` runs, the connection may be dropped for another one if its
    /// client is too slow.
    pub(crate) fn while_receiving<T>(&self, receive: impl FnOnce() -> T) -> T {
        self.while_measured(Direction::In, receive)
    }

    fn while_measured<T>(&self, direction: Direction, act: impl FnOnce() -> T) -> T {
        self.owner.set_speed(self.number, Some(Speed::begin(&self.stream, direction)));
        let done = act();
        self.owner.set_speed(self.number, None);
        done
    }

    /// Takes the connection out of the registry: it counts no more, and nothing here ends it.
    /// For a stream that is handed to a sender. `false` when it was dropped before.
    pub(crate) fn leave(&self) -> bool {
        self.owner.remove(self.number).is_some()
    }

    /// Runs `handle` on a thread of its own, which owns this connection. A panic there
    /// ends this connection and nothing else.
    pub(crate) fn spawn(self, handle: impl FnOnce(&Connection) + Send + 'static) -> io::Result<()> {
        thread::spawn("connection", move || handle(&self))?;
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
