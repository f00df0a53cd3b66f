//! Ends every wait of the fetch when a signal comes.

#![forbid(unsafe_code)]

use ropewalk::app::signals::Signal;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::sync::{lock, wait_until};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

/// The waits that a signal ends. Workers are the supervisor's business.
#[derive(Default)]
pub(crate) struct Interrupt {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: Option<Signal>,
    /// Connections that a signal shuts down.
    watched: Vec<Weak<TcpStream>>,
    /// The far ends of wake sockets. A signal closes them.
    wake_sockets: Vec<UnixStream>,
    /// Whether the fetch has made its first connection.
    connected: bool,
}

impl Interrupt {
    /// Lets a signal shut `stream` down, while the returned reference lives. Before its first
    /// call the fetch leaves nothing on the disk.
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

    /// A socket that becomes readable when a signal comes, for a poll on several descriptors.
    pub(crate) fn wake_socket(&self) -> io::Result<UnixStream> {
        let (here, there) = UnixStream::pair()?;
        let mut state = lock(&self.state);
        if state.stopped.is_none() {
            state.wake_sockets.push(there);
        }
        Ok(here)
    }

    /// Waits for `delay`. `false` when a signal has come.
    pub(crate) fn pause(&self, delay: Duration) -> bool {
        let (state, deadline) = (lock(&self.state), Instant::now() + delay);
        let state = wait_until(&self.changed, state, deadline, |state| state.stopped.is_some());
        state.stopped.is_none()
    }

    /// Ends every wait. `false` when the fetch has not connected yet: then it has nothing to
    /// clean up, and never will.
    pub(crate) fn stop(&self, signal: Signal) -> bool {
        let mut state = lock(&self.state);
        state.stopped = Some(signal);
        state.wake_sockets.clear();
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
