//! The dialler: keeps each of its streams connected, and finds out when their session is lost. Then
//! the parent asks the server for another session.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use super::dial::Dial;
use super::open::OpenStreams;
use super::{End, Event, Joined, Link, Stop, Terms};
use crate::codec::message::session::Session;
use crate::codec::wire::Request;
use crate::sys::backoff::{Backoff, jitter};
use crate::sys::stream::Stream;
use crate::sys::sync::{lock, wait, wait_until};
use crate::transfer::queue::growth::{FIRST_CARRIED, FIRST_STREAMS};
use crate::transfer::timing::Timing;
use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A session is lost after this many refusals in a row while no stream is open: nothing listens
/// there any more.
const MAX_REFUSALS: u32 = 2;

/// The dialler of one transfer.
pub struct Dialler {
    dial: Box<dyn Dial>,
    timing: Timing,
    state: Mutex<State>,
    changed: Condvar,
    open: OpenStreams,
}

struct State {
    token: [u8; 16],
    streams: u8,
    /// The number of the session. Failures of an old session do not count against a new one.
    generation: u64,
    refusals: u32,
    quiet_since: Instant,
    lost: Loss,
    over: bool,
}

/// Whether the session is lost.
enum Loss {
    No,
    /// The session is lost for this reason, and the parent does not know.
    Found(String),
    /// The session is lost, and the parent knows.
    Told,
}

/// The session that a stream belongs to.
#[derive(Clone, Copy)]
struct Current {
    generation: u64,
    token: [u8; 16],
    streams: u8,
}

impl Dialler {
    /// Dials at most `streams` streams of the session with this token.
    pub fn new(dial: Box<dyn Dial>, token: [u8; 16], streams: u8, timing: Timing) -> Dialler {
        let state = State {
            token,
            streams,
            generation: 0,
            refusals: 0,
            quiet_since: Instant::now(),
            lost: Loss::No,
            over: false,
        };
        let (open, changed) = (OpenStreams::default(), Condvar::new());
        Dialler { dial, timing, state: Mutex::new(state), changed, open }
    }

    /// Keeps stream `number` of `end` connected until the end does not want it, or the transfer is
    /// over.
    pub fn keep(&self, number: usize, end: &impl End) {
        let mut backoff = Backoff::new(self.timing.first_backoff, self.timing.last_backoff);
        let mut opened_before = false;
        while let Some(current) = self.current() {
            // A new session may allow fewer streams than the last one.
            if !end.wants(number) || number >= usize::from(current.streams) {
                return;
            }
            let stop = match self.dial.dial(Instant::now() + self.timing.connect) {
                Err(error) => Stop::Broken(error),
                Ok(stream) => {
                    end.notice(number, Event::Opened);
                    if std::mem::replace(&mut opened_before, true) {
                        end.notice(number, Event::Reopened);
                    }
                    let stream = Arc::new(stream);
                    let (stop, moved) = self.converse(&stream, number, current, end);
                    // The parent may hold it too, and what carries it may hang.
                    let stalled = matches!(&stop, Stop::Broken(error) if is_stall(error));
                    if stalled && !stream.is_tcp() {
                        stream.shut(Shutdown::Both);
                    }
                    if moved {
                        backoff.reset();
                    }
                    end.notice(number, Event::Closed);
                    stop
                }
            };
            let delay = match stop {
                Stop::Over => return,
                Stop::Unneeded => return self.open.remove(number),
                Stop::Fatal(error) => {
                    self.open.remove(number);
                    return end.fail(error);
                }
                Stop::Broken(error) => {
                    let event = if is_stall(&error) { Event::Stalled } else { Event::Broken };
                    end.notice(number, event);
                    self.failed(number, current.generation, &error);
                    backoff.delay()
                }
                Stop::Wrong(what) => {
                    end.notice(number, Event::Broken);
                    self.failed(number, current.generation, &io::Error::other(what.clone()));
                    end.violated(&what);
                    self.timing.damage_backoff
                }
            };
            if !self.pause(delay) {
                return;
            }
        }
    }

    /// Speaks on an open stream. Returns why that ended, and whether the stream brought something
    /// good.
    fn converse(
        &self,
        stream: &Arc<Stream>,
        number: usize,
        current: Current,
        end: &impl End,
    ) -> (Stop, bool) {
        if !self.open.add(number, stream) {
            return (Stop::Over, false);
        }
        let terms = end.terms(number);
        let joined = Joined {
            link: self,
            stream,
            number,
            generation: current.generation,
            terms,
            hello: Some(terms.hello(current.token)),
            is_good: Cell::new(false),
        };
        (end.converse(&joined), joined.is_good.get())
    }

    /// Waits until every stream has ended in order, for `limit` at most, where that is of use.
    pub fn wait_for_ends(&self, limit: Duration) {
        if self.dial.lends() {
            self.open.wait_until_empty(limit);
        }
    }

    /// How many streams `auto` begins with.
    pub fn first_streams(&self) -> u8 {
        if self.dial.lends() { FIRST_CARRIED } else { FIRST_STREAMS }
    }

    /// Opens streams of `session` from now on.
    pub fn renew(&self, session: &Session) {
        let mut state = lock(&self.state);
        self.dial.renew(session);
        (state.token, state.streams) = (session.token, session.streams);
        state.generation += 1;
        state.refusals = 0;
        state.quiet_since = Instant::now();
        state.lost = Loss::No;
        self.changed.notify_all();
    }

    /// The session to use; waits while it is lost. `None` when the transfer is over.
    fn current(&self) -> Option<Current> {
        let mut state = lock(&self.state);
        loop {
            match (state.over, &state.lost) {
                (true, _) => return None,
                (false, Loss::No) => {
                    let State { generation, token, streams, .. } = *state;
                    return Some(Current { generation, token, streams });
                }
                (false, Loss::Found(_) | Loss::Told) => state = wait(&self.changed, state),
            }
        }
    }

    /// Waits for a random time from half of `delay` to all of it. A new session, or the end of the
    /// transfer, ends the wait. `false` when the transfer is over.
    fn pause(&self, delay: Duration) -> bool {
        let deadline = Instant::now() + jitter(delay);
        let state = lock(&self.state);
        let generation = state.generation;
        let moves_on = |state: &State| state.over || state.generation != generation;
        let state = wait_until(&self.changed, state, deadline, moves_on);
        !state.over
    }

    /// Stream `number` broke, or could not be connected. `NotFound` means that the server has no
    /// such session any more.
    fn failed(&self, number: usize, generation: u64, error: &io::Error) {
        let mut state = lock(&self.state);
        self.open.remove(number);
        let lost = !matches!(state.lost, Loss::No);
        if state.over || state.generation != generation || lost {
            return;
        }
        if self.dial.failed(error) {
            state.quiet_since = Instant::now();
            return;
        }
        let over = error.kind() == io::ErrorKind::NotFound;
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        state.refusals += u32::from(refused);
        let quiet = state.quiet_since.elapsed();
        let silent = state.refusals >= MAX_REFUSALS || quiet > self.timing.loss;
        if over || (silent && self.open.is_empty()) || quiet > self.timing.deaf {
            state.lost = Loss::Found(self.dial.explain(error));
        }
    }
}

/// Whether a stream ended because its peer brought or took nothing for too long.
fn is_stall(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ETIMEDOUT) || error.kind() == io::ErrorKind::WouldBlock
}

impl Link for Dialler {
    fn open(&self) -> &OpenStreams {
        &self.open
    }

    fn streams(&self) -> u8 {
        lock(&self.state).streams
    }

    fn is_good(&self, generation: u64) {
        let mut state = lock(&self.state);
        if state.generation == generation {
            self.dial.is_good();
            state.refusals = 0;
            state.quiet_since = Instant::now();
        }
    }

    fn is_alive(&self) {
        lock(&self.state).quiet_since = Instant::now();
    }

    fn is_trusted(&self) -> bool {
        self.dial.is_trusted()
    }

    fn is_proven(&self) -> bool {
        self.dial.is_proven()
    }

    fn shares_port(&self) -> bool {
        self.dial.shares_port()
    }

    fn take_loss(&self) -> Option<String> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut state.lost, Loss::Told) {
            Loss::Found(text) => Some(text),
            before => {
                state.lost = before;
                None
            }
        }
    }

    fn end(&self, complete: Option<Terms>) {
        if let Some(terms) = complete.filter(|_| !self.open.has_greeted()) {
            let token = lock(&self.state).token;
            self.dial.take_leave(&terms.hello(token));
        }
        lock(&self.state).over = true;
        self.dial.end();
        self.open.end(complete.map(|_| Request::Finished));
        self.changed.notify_all();
    }
}
