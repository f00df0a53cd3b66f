//! The session that streams belong to, and how it is found to be lost: then the parent
//! asks the server for another one, and the streams go on with that.

#![forbid(unsafe_code)]

use super::route::Route;
use super::session::Session;
use ropewalk::app::resolve::connect_unless;
use ropewalk::codec::wire::{Hello, Request};
use ropewalk::sys::sync::{lock, wait_for};
use ropewalk::sys::{random, socket};
use ropewalk::transfer::session::Token;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Refusals in a row, with no stream open, after which a session is lost: nobody
/// listens there any more.
const MAX_REFUSALS: u32 = 2;

/// Time without an open stream that brings anything, after which a session is lost.
const LOSS_TIME: Duration = Duration::from_secs(5);

/// And after this long even if streams are open: their kernel may accept them while
/// nobody answers.
const DEAF_TIME: Duration = Duration::from_secs(30);

/// How long it may take to tell a sender that it is not needed.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// How long a stream without a session waits before it looks whether all is over.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// The session of all streams.
pub(crate) struct Sessions {
    state: Mutex<State>,
    changed: Condvar,
    /// Comes to its end when all is over, for those who are connecting.
    bell: UnixStream,
    ringer: UnixStream,
}

struct State {
    session: Session,
    route: Route,
    /// Counts sessions, so that the failures of an old one are not held against a new.
    generation: u64,
    /// Streams that are connected.
    open: HashMap<usize, Open>,
    refusals: u32,
    quiet_since: Instant,
    /// The session is of no use, and the parent was or will be told.
    lost: Option<String>,
    told: bool,
    over: bool,
}

/// A stream that is connected.
struct Open {
    stream: TcpStream,
    /// Whether its hello has gone out.
    greeted: bool,
}

impl Sessions {
    /// Begins with this session; with `single_port` without trying its data port.
    pub(crate) fn new(session: Session, single_port: bool) -> io::Result<Sessions> {
        let state = State {
            session,
            route: Route::new(single_port),
            generation: 0,
            open: HashMap::new(),
            refusals: 0,
            quiet_since: Instant::now(),
            lost: None,
            told: false,
            over: false,
        };
        let (bell, ringer) = UnixStream::pair()?;
        Ok(Sessions { state: Mutex::new(state), changed: Condvar::new(), bell, ringer })
    }

    /// Connects a stream of this session, to the control port where the data port cannot be
    /// reached, and not when all is over.
    pub(crate) fn connect(&self, generation: u64, session: &Session) -> io::Result<TcpStream> {
        loop {
            let route = lock(&self.state).route.clone();
            let (address, limit) = route.target(session);
            let connected = connect_unless(address, limit, self.bell.as_fd());
            let mut state = lock(&self.state);
            let current = state.generation == generation && !state.over;
            match connected {
                Ok(stream) => {
                    if current {
                        state.route.connected();
                    }
                    return Ok(stream);
                }
                // Another port, now or because another stream has found out.
                Err(error)
                    if current && (state.route.failed(session, &error) || state.route != route) => {
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes on with another session.
    pub(crate) fn renew(&self, session: Session) {
        let mut state = lock(&self.state);
        state.session = session;
        state.route.renewed();
        state.generation += 1;
        state.refusals = 0;
        state.quiet_since = Instant::now();
        state.lost = None;
        state.told = false;
        self.changed.notify_all();
    }

    /// The session to use, with its generation; waits for one that is not lost. `None`
    /// when all is over.
    pub(crate) fn current(&self) -> Option<(u64, Session)> {
        let mut state = lock(&self.state);
        loop {
            match (state.over, &state.lost) {
                (true, _) => return None,
                (false, None) => return Some((state.generation, state.session)),
                (false, Some(_)) => state = wait_for(&self.changed, state, LOOK_TIME),
            }
        }
    }

    /// Waits for half of `delay` to all of it, or until there is another session or all
    /// is over. `false` when all is over.
    pub(crate) fn pause(&self, delay: Duration) -> bool {
        let deadline = Instant::now() + jitter(delay);
        let mut state = lock(&self.state);
        let generation = state.generation;
        while !state.over && state.generation == generation {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = wait_for(&self.changed, state, left);
        }
        !state.over
    }

    /// Stream `number` is connected. `false` when all is over meanwhile.
    pub(crate) fn opened(&self, number: usize, stream: &TcpStream) -> io::Result<bool> {
        let clone = stream.try_clone()?;
        let mut state = lock(&self.state);
        if !state.over {
            state.open.insert(number, Open { stream: clone, greeted: false });
        }
        Ok(!state.over)
    }

    /// Stream `number` has sent its hello.
    pub(crate) fn greeted(&self, number: usize) {
        if let Some(open) = lock(&self.state).open.get_mut(&number) {
            open.greeted = true;
        }
    }

    /// Bytes come: the session is not lost, however long it takes until they are a block.
    pub(crate) fn flows(&self) {
        lock(&self.state).quiet_since = Instant::now();
    }

    /// What the session wants to be shown.
    pub(crate) fn token(&self) -> Token {
        lock(&self.state).session.token
    }

    /// Whether the port that streams go to is known to be the session's, or is the last one.
    pub(crate) fn port_is_trusted(&self) -> bool {
        lock(&self.state).route.is_trusted()
    }

    /// Whether something good has come from the data port.
    pub(crate) fn data_port_is_good(&self) -> bool {
        lock(&self.state).route == Route::Data
    }

    /// A stream has brought something good.
    pub(crate) fn is_good(&self, generation: u64) {
        let mut state = lock(&self.state);
        if state.generation == generation {
            state.route.is_good();
            state.refusals = 0;
            state.quiet_since = Instant::now();
        }
    }

    /// Stream `number` is not needed any more: it is closed.
    pub(crate) fn closed(&self, number: usize) {
        lock(&self.state).open.remove(&number);
    }

    /// The shortest round trip of the streams that are open.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let state = lock(&self.state);
        let round_trips = state.open.values().map(|open| socket::round_trip(open.stream.as_fd()));
        round_trips.flatten().min()
    }

    /// How many streams there may be now.
    pub(crate) fn threads(&self) -> u8 {
        lock(&self.state).session.threads
    }

    /// Whether streams went to the control port.
    pub(crate) fn single_port(&self) -> bool {
        matches!(lock(&self.state).route, Route::Control(_))
    }

    /// Until now there was no room for anything that a stream could have brought: that
    /// nothing came is not held against the session.
    pub(crate) fn excuse(&self) {
        lock(&self.state).quiet_since = Instant::now();
    }

    /// Stream `number` is not connected any more, or could not be. `NotFound` is the
    /// server's word that the session is over.
    pub(crate) fn failed(&self, number: usize, generation: u64, error: &io::Error) {
        let mut state = lock(&self.state);
        state.open.remove(&number);
        if state.generation != generation || state.lost.is_some() {
            return;
        }
        let session = state.session;
        if state.route.failed(&session, error) {
            state.quiet_since = Instant::now();
            return;
        }
        let over = error.kind() == io::ErrorKind::NotFound;
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        state.refusals += u32::from(refused);
        let quiet = state.quiet_since.elapsed();
        let gone = state.open.is_empty() && (state.refusals >= MAX_REFUSALS || quiet > LOSS_TIME);
        if over || gone || quiet > DEAF_TIME {
            state.lost = Some(state.route.explain(&session, error));
        }
    }

    /// Why the session was lost, once for each that was.
    pub(crate) fn take_loss(&self) -> Option<String> {
        let mut state = lock(&self.state);
        match &state.lost {
            Some(text) if !state.told => {
                let text = text.clone();
                state.told = true;
                Some(text)
            }
            _ => None,
        }
    }

    /// Tells the sender that the file is complete where no stream is there to do it: of an
    /// empty file, and when all of it was there already. It would wait for one.
    pub(crate) fn take_leave(&self, hello: &Hello) {
        let (route, session) = {
            let state = lock(&self.state);
            if state.open.values().any(|open| open.greeted) {
                return;
            }
            (state.route.clone(), state.session)
        };
        let words = [&hello.encode()[..], &Request::Finished.encode()].concat();
        // If it cannot be told at either port, it ends by itself after a while.
        let _ = [route.target(&session).0, session.control].into_iter().any(|address| {
            let stream = connect_unless(address, LEAVE_TIME, self.bell.as_fd());
            let told = stream.and_then(|mut stream| {
                stream.set_write_timeout(Some(LEAVE_TIME))?;
                stream.write_all(&words)
            });
            told.is_ok()
        });
    }

    /// Ends every stream. When the file is complete, the sender is told on each that is
    /// open, so that it ends too.
    pub(crate) fn end(&self, complete: bool) {
        let mut state = lock(&self.state);
        state.over = true;
        let _ = self.ringer.shutdown(Shutdown::Both);
        for Open { stream, greeted } in state.open.values() {
            let mut stream = stream;
            if complete && *greeted {
                // It is smaller than any socket's buffer; what does not go is not needed.
                let _ = stream.set_write_timeout(Some(Duration::from_millis(1)));
                let _ = stream.write_all(&Request::Finished.encode());
            }
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }
}

/// Between half of `delay` and all of it, so that streams do not come back at once.
fn jitter(delay: Duration) -> Duration {
    let mut byte = [255];
    let _ = random::fill(&mut byte);
    delay.mul_f64(0.5 + f64::from(byte[0]) / 510.0)
}

#[cfg(test)]
mod tests;
