//! What a signal of the user ends: every wait of the fetch for the server.

#![forbid(unsafe_code)]

use ropewalk::app::signals::Signal;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::sync::{lock, wait_for};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

/// What a signal has to end besides the workers: waits for the server.
#[derive(Default)]
pub(crate) struct Interrupt {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: Option<Signal>,
    watched: Vec<Weak<TcpStream>>,
    /// Closed when a signal comes.
    bells: Vec<UnixStream>,
    /// Whether the fetch has come as far as its first connection.
    connected: bool,
}

impl Interrupt {
    /// From now on a signal ends `stream` too, while the answer lives. The fetch leaves
    /// nothing on the disk before it has called this once.
    pub(crate) fn watch(&self, stream: &Arc<TcpStream>) -> Result<Arc<TcpStream>> {
        let mut state = lock(&self.state);
        match state.stopped {
            Some(signal) => Err(interrupted(signal)),
            None => {
                state.connected = true;
                state.watched.retain(|watched| watched.strong_count() > 0);
                state.watched.push(Arc::downgrade(stream));
                Ok(stream.clone())
            }
        }
    }

    /// What becomes readable when a signal comes, for a wait that has more to wait for.
    pub(crate) fn bell(&self) -> io::Result<UnixStream> {
        let (here, there) = UnixStream::pair()?;
        let mut state = lock(&self.state);
        if state.stopped.is_none() {
            state.bells.push(there);
        }
        Ok(here)
    }

    /// Waits for `delay`. `false` when a signal has come.
    pub(crate) fn pause(&self, delay: Duration) -> bool {
        let deadline = Instant::now() + delay;
        let mut state = lock(&self.state);
        while state.stopped.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = wait_for(&self.changed, state, left);
        }
        false
    }

    /// Ends what is watched. `false` when there was nothing yet, so that the fetch has
    /// nothing to clean up and never will.
    pub(crate) fn stop(&self, signal: Signal) -> bool {
        let mut state = lock(&self.state);
        state.stopped = Some(signal);
        state.bells.clear();
        for stream in state.watched.iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
        state.connected
    }

    /// The signal that has come.
    pub(crate) fn stopped(&self) -> Option<Signal> {
        lock(&self.state).stopped
    }

    /// The error to end with when a signal has come.
    pub(crate) fn error(&self) -> Option<Error> {
        self.stopped().map(interrupted)
    }
}

/// The error with which `signal` ends the client.
pub(crate) fn interrupted(signal: Signal) -> Error {
    let (code, name) = match signal {
        Signal::Terminate => (ExitCode::Terminated, "SIGTERM"),
        Signal::HangUp => (ExitCode::HungUp, "SIGHUP"),
        Signal::Interrupt | Signal::Pause | Signal::Child | Signal::User => {
            (ExitCode::Interrupted, "SIGINT")
        }
    };
    Error::new(code, format!("stopped by {name}"))
}
