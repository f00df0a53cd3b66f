//! The connections to a server that another program reaches, such as ssh. Each connection is a
//! child. The first carries the request for a session, and then the first stream of it. Every
//! other one joins the session.
//!
//! ```text
//!   first    ── POST, reply ──► its socket goes to the worker: a stream
//!   further  ── join, wait  ──► its socket goes to the worker, or carries a HEAD
//! ```
//!
//! When the stream of the first connection has ended in order, the client of a push joins the
//! session over that connection again, and asks there what came of the push. So one login is enough.
//! The reaper ends a child once nobody here holds its connection any more.

#![forbid(unsafe_code)]

mod child;
mod ending;
mod lines;
mod reaper;

use crate::config::rsh::{Rsh, Turn};
use child::{Child, NotJoined};
use lines::Lines;
use reaper::Reaper;
use ropewalk::app::job;
use ropewalk::app::supervise::{Place, Supervisor};
use ropewalk::app::terminal;
use ropewalk::codec::message::new_stream::NewStream;
use ropewalk::codec::text::escape;
use ropewalk::codec::wire::Join;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::random;
use ropewalk::sys::sync::{lock, wait, wait_until};
use ropewalk::sys::thread;
use ropewalk::transfer::timing::Timing;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// The most children that log in at once. sshd drops more of them by chance (MaxStartups).
const MOST_STARTING: usize = 8;

/// The most failed logins. After more of them a guard such as fail2ban locks the user out.
const MOST_LOGIN_FAILURES: u32 = 2;

/// The most joins of streams that may fail for want of the session, before no other is tried.
const MOST_UNJOINED: u32 = 2;

/// How often a connection is tried that the other side refuses.
const ATTEMPTS: u32 = 5;

/// After this time no further attempt is made: the owner of the stream or of the request asks again.
/// So a network that drops everything costs about that long, and then the session counts as lost.
const ATTEMPTS_TIME: Duration = Duration::from_secs(30);

/// The shortest pause between two of these attempts; the longest is three times that.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the last requests of a push may take to join over the first connection: bytes of the
/// stream may be on their way before them.
const AGAIN_TIME: Duration = Duration::from_secs(30);

/// The children of one fetch or push.
pub(crate) struct Children {
    rsh: Rsh,
    /// The host as the user typed it, escaped.
    shown: String,
    quiet: bool,
    supervisor: Arc<Supervisor>,
    reaper: Reaper,
    lines: Arc<Lines>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether a child was started.
    begun: bool,
    /// Whether a further child has joined: then several may log in at once.
    proven: bool,
    /// Further children that have not joined yet.
    starting: usize,
    login_failures: u32,
    /// Joins of this session that failed for want of the session.
    unjoined: u32,
    /// The session of which streams are wanted.
    token: Option<[u8; 16]>,
    /// The number of the session.
    generation: u64,
    /// The child that carries a request for a session, and its socket.
    asking: Option<(Arc<Child>, OwnedFd)>,
    /// The connection that asked for the session, which becomes its first stream.
    first: Option<OwnedFd>,
    /// The first connection of a push, after its socket went to the sender.
    lent: Lent,
    /// The worker, which gets the streams.
    lifeline: Option<UnixStream>,
    over: bool,
}

/// What becomes of the first connection of a push.
#[derive(Default)]
enum Lent {
    /// Nothing: there is none.
    #[default]
    No,
    /// It is a stream.
    Stream(UnixStream),
    /// Its stream has ended in order.
    Returned(UnixStream),
    /// It carries HTTP.
    Http(UnixStream),
}

/// A place among the children that log in at once. Dropping this frees the place.
struct Slot<'a>(&'a Children);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).starting -= 1;
        self.0.changed.notify_all();
    }
}

impl Children {
    /// No children yet.
    ///
    /// # Errors
    /// The system has no room for the thread that ends them.
    pub(crate) fn new(
        rsh: &Rsh,
        typed: &str,
        quiet: bool,
        supervisor: &Arc<Supervisor>,
    ) -> Result<Arc<Children>> {
        let shown = escape(typed.as_bytes());
        let reaper = Reaper::start(supervisor, Timing::default().hang_up);
        Ok(Arc::new(Children {
            rsh: rsh.clone(),
            lines: Arc::new(Lines::new(&shown, quiet)),
            shown,
            quiet,
            supervisor: supervisor.clone(),
            reaper: reaper.map_err(|error| Error::system("start", &error))?,
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Starts a child that asks for a session. The first one may ask a person for a password.
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let (turn, place) = {
            let mut state = lock(&self.state);
            if state.is_locked_out() {
                return Err(self.locked_out());
            }
            match std::mem::replace(&mut state.begun, true) {
                false => (Turn::First, Place::Foreground),
                true => (Turn::Further, Place::Own),
            }
        };
        let (child, socket) = self.start(turn, place)?;
        let failed = |error| Error::system(self.rsh.program(), &error);
        let asks = socket.try_clone().map_err(failed)?;
        lock(&self.state).asking = Some((child, socket.into()));
        Ok(TcpStream::from(OwnedFd::from(asks)))
    }

    /// The error for a request that had joined the session and got no reply.
    pub(crate) fn lost(&self) -> Error {
        let text = format!("{}: the connection ended without a reply", self.shown);
        Error::new(ExitCode::Network, text)
    }

    /// The error for a request on the last connection that got no reply. `noise` is the first line
    /// of what came instead.
    pub(crate) fn no_reply(&self, noise: Option<&[u8]>) -> Error {
        let asking = {
            let mut state = lock(&self.state);
            state.lent = Lent::No;
            state.asking.take()
        };
        let Some((child, socket)) = asking else { return self.lost() };
        drop(socket);
        let failure = ending::explain(&self.rsh, &self.shown, self.quiet, &child.ending(), noise);
        if failure.is_login {
            lock(&self.state).login_failures += 1;
        }
        failure.error
    }

    /// The last request got a session with this token. `announce` tells the receiver of it before
    /// any stream comes. The children of the session before are ended.
    pub(crate) fn begin(
        &self,
        token: [u8; 16],
        announce: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let asking = {
            let mut state = lock(&self.state);
            state.token = Some(token);
            state.generation += 1;
            state.unjoined = 0;
            (state.first, state.lent) = (None, Lent::No);
            state.asking.take()
        };
        self.reaper.end_others(asking.as_ref().map(|(child, _)| child));
        announce()?;
        lock(&self.state).first = asking.map(|(_, socket)| socket);
        self.changed.notify_all();
        Ok(())
    }

    /// Streams go to the worker at the other end of `lifeline`.
    pub(crate) fn serve(&self, lifeline: UnixStream) {
        lock(&self.state).lifeline = Some(lifeline);
    }

    /// The sender of a push has ended, in order or not.
    pub(crate) fn sender_ended(&self, in_order: bool) {
        let mut state = lock(&self.state);
        state.lent = match std::mem::take(&mut state.lent) {
            Lent::Stream(socket) if in_order => Lent::Returned(socket),
            _ => Lent::No,
        };
    }

    /// The worker wants one more stream.
    pub(crate) fn want(self: &Arc<Children>) -> Result<()> {
        let (children, generation) = (self.clone(), lock(&self.state).generation);
        let bring = move || children.bring(generation);
        thread::spawn("child", bring).map_err(|error| Error::system("thread", &error))?;
        Ok(())
    }

    /// Joins the session with a connection for HTTP.
    pub(crate) fn join_http(&self) -> Result<TcpStream> {
        let socket = match self.first_again() {
            Some(socket) => socket,
            None => self.open(true).map_err(|text| Error::new(ExitCode::Network, text))?,
        };
        Ok(TcpStream::from(OwnedFd::from(socket)))
    }

    /// The first connection, if it is free for HTTP and still joins the session.
    fn first_again(&self) -> Option<UnixStream> {
        let (lent, token) = {
            let mut state = lock(&self.state);
            (std::mem::take(&mut state.lent), state.token?)
        };
        let socket = match lent {
            Lent::No | Lent::Stream(_) => return None,
            Lent::Http(socket) => socket,
            Lent::Returned(socket) => {
                child::join_again(&socket, Join { token, http: true }, AGAIN_TIME).ok()?;
                socket
            }
        };
        let copy = socket.try_clone().ok()?;
        lock(&self.state).lent = Lent::Http(socket);
        Some(copy)
    }

    /// Whether another attempt to connect would be one failed login too many.
    pub(crate) fn is_locked_out(&self) -> bool {
        lock(&self.state).is_locked_out()
    }

    /// Ends all children, and waits until they have ended.
    pub(crate) fn end(&self) {
        {
            let mut state = lock(&self.state);
            state.over = true;
            (state.asking, state.first, state.lent) = (None, None, Lent::No);
        }
        self.changed.notify_all();
        self.reaper.end();
    }

    /// Hands one stream to the worker, or tells it why there is none.
    fn bring(&self, generation: u64) {
        let first = self.take_first();
        let opened = first.map_or_else(|| self.open(false).map(OwnedFd::from), Ok);
        let lifeline = {
            let state = lock(&self.state);
            // The worker waits for no stream of an old session.
            if state.over || state.generation != generation {
                return;
            }
            state.lifeline.as_ref().and_then(|lifeline| lifeline.try_clone().ok())
        };
        let Some(lifeline) = lifeline else { return };
        // A worker that has ended hears nothing, and needs nothing.
        let _ = match opened {
            Ok(socket) => job::hand(&lifeline, NewStream::Open.to_json(), socket.as_fd()),
            Err(text) => job::say(&lifeline, &NewStream::Failed { text }.to_json()),
        };
    }

    /// The connection that asked for the session, once.
    fn take_first(&self) -> Option<OwnedFd> {
        let mut state = lock(&self.state);
        let first = state.first.take()?;
        if self.rsh.is_push() {
            state.lent = first.try_clone().map_or(Lent::No, |copy| Lent::Stream(copy.into()));
        }
        Some(first)
    }

    /// A connection that has joined the session. Tries again what the other side refuses for now.
    fn open(&self, http: bool) -> std::result::Result<UnixStream, String> {
        let (mut attempts, begun) = (0, Instant::now());
        loop {
            let (slot, token) = self.slot(http)?;
            let joined = self.join(Join { token, http });
            // Before the place is free: nobody else may try a login too many.
            match &joined {
                // HTTP is answered even where no session is.
                Ok(_) => lock(&self.state).proven |= !http,
                Err(NotJoined::Login(text)) => self.count_login(text),
                // Also where the session has just ended, with everything that is needed.
                Err(NotJoined::NoSession(_)) => lock(&self.state).unjoined += 1,
                Err(NotJoined::Refused(_)) => {}
            }
            drop(slot);
            attempts += 1;
            match joined {
                Ok(socket) => return Ok(socket),
                Err(NotJoined::Login(_)) => {}
                Err(NotJoined::NoSession(text)) => return Err(format!("{}: {text}", self.shown)),
                Err(NotJoined::Refused(text))
                    if attempts >= ATTEMPTS || begun.elapsed() >= ATTEMPTS_TIME =>
                {
                    return Err(text);
                }
                Err(NotJoined::Refused(_)) => self.pause(),
            }
        }
    }

    /// Counts a failed login, and tells the user when it was the last that is risked.
    fn count_login(&self, text: &str) {
        let failures = {
            let mut state = lock(&self.state);
            state.login_failures += 1;
            state.login_failures
        };
        if failures == MOST_LOGIN_FAILURES && !self.quiet {
            terminal::log(format_args!("no further connections: {text}"));
        }
    }

    /// Waits for a place among those that log in: the first further one goes alone.
    fn slot(&self, http: bool) -> std::result::Result<(Slot<'_>, [u8; 16]), String> {
        let mut state = lock(&self.state);
        loop {
            if state.over {
                return Err(format!("{}: the transfer is over", self.shown));
            }
            if state.is_locked_out() || !http && state.unjoined >= MOST_UNJOINED {
                return Err(format!("{}: no further connections", self.shown));
            }
            let most = if state.proven { MOST_STARTING } else { 1 };
            match state.token {
                Some(token) if state.starting < most => {
                    state.starting += 1;
                    return Ok((Slot(self), token));
                }
                _ => state = wait(&self.changed, state),
            }
        }
    }

    /// One attempt to join the session.
    fn join(&self, join: Join) -> std::result::Result<UnixStream, NotJoined> {
        let (child, socket) = self
            .start(Turn::Further, Place::Own)
            .map_err(|error| NotJoined::Refused(error.to_string()))?;
        match child::join(&socket, join) {
            Ok(()) => Ok(socket),
            Err(child::Answer::NoSession(text)) => Err(NotJoined::NoSession(text)),
            Err(child::Answer::Other(noise)) => {
                drop(socket);
                child.hang_up(&self.supervisor);
                let (ending, noise) = (child.ending(), noise.as_deref());
                let failure = ending::explain(&self.rsh, &self.shown, true, &ending, noise);
                let text = failure.error.to_string();
                match failure.is_login {
                    true => Err(NotJoined::Login(text)),
                    false => Err(NotJoined::Refused(text)),
                }
            }
        }
    }

    fn start(&self, turn: Turn, place: Place) -> Result<(Arc<Child>, UnixStream)> {
        let failed = |error: io::Error| {
            let told = Error::system(self.rsh.path(), &error);
            match error.kind() {
                io::ErrorKind::NotFound => told.advise("--rsh names a program of this machine"),
                _ => told,
            }
        };
        self.reaper.child(&self.rsh.line(turn), place, &self.lines).map_err(failed)
    }

    /// Waits for a random time before the next attempt, or until the transfer is over.
    fn pause(&self) {
        let mut byte = [0];
        let _ = random::fill(&mut byte);
        let deadline = Instant::now() + PAUSE + PAUSE * 2 * u32::from(byte[0]) / 255;
        drop(wait_until(&self.changed, lock(&self.state), deadline, |state| state.over));
    }

    fn locked_out(&self) -> Error {
        let text = format!("{}: {MOST_LOGIN_FAILURES} logins have failed", self.shown);
        Error::new(ExitCode::Refused, text)
    }
}

impl State {
    fn is_locked_out(&self) -> bool {
        self.login_failures >= MOST_LOGIN_FAILURES
    }
}
