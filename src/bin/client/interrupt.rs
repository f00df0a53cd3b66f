//! The client's main thread: waits for the fetch, which has a thread of its own, and
//! for signals, which end it in order.

#![forbid(unsafe_code)]

use crate::config::Config;
use crate::destination::Goal;
use crate::fetch::{self, Summary, kept};
use crate::progress::Progress;
use ropewalk::app::signals::{MAIN_SIGNALS, Signal, Signals};
use ropewalk::app::supervise::{STOP_GRACE, Supervisor};
use ropewalk::app::terminal::{self, prompt};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::sync::{lock, wait_for};
use ropewalk::sys::{poll, process};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Stack of the thread that looks names up: the C library's plug-ins for that need more
/// than a thread that only moves bytes.
const RESOLVER_STACK: usize = 1 << 20;

/// How long the fetch has, after a second signal, to remove what it has written.
const CLEAN_UP_TIME: Duration = Duration::from_millis(500);

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
    fn stop(&self, signal: Signal) -> bool {
        let mut state = lock(&self.state);
        state.stopped = Some(signal);
        state.bells.clear();
        for stream in state.watched.iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
        state.connected
    }

    fn stopped(&self) -> Option<Signal> {
        lock(&self.state).stopped
    }

    /// The error to end with when a signal has come.
    pub(crate) fn error(&self) -> Option<Error> {
        self.stopped().map(interrupted)
    }
}

fn interrupted(signal: Signal) -> Error {
    let (code, name) = match signal {
        Signal::Terminate => (ExitCode::Terminated, "SIGTERM"),
        Signal::HangUp => (ExitCode::HungUp, "SIGHUP"),
        Signal::Interrupt | Signal::Pause | Signal::Child | Signal::User => {
            (ExitCode::Interrupted, "SIGINT")
        }
    };
    Error::new(code, format!("stopped by {name}"))
}

/// Fetches what `config` asks for, unless a signal ends that. Notes down how it goes.
pub(crate) fn run_until_signal(config: Config, progress: Arc<Progress>) -> Result<Summary> {
    let goal = config.destination.locate(config.trace.as_deref())?;
    let config = Arc::new(config);
    let signals = Signals::install(&MAIN_SIGNALS, &[]).map_err(failed)?;
    let outcome = wait(&signals, &config, goal, progress);
    // What is said now may wait for somebody who takes nothing, and no thread is left that
    // could end that.
    signals.release();
    outcome.map_err(|error| match error.code() {
        ExitCode::Interrupted | ExitCode::Terminated | ExitCode::HungUp => {
            // Whenever the signal came: an earlier run may have left something too.
            match config.destination.locate(None) {
                Ok(Goal::File(output)) => kept::add(error, &output, &config.command),
                Ok(Goal::Descriptor(_)) | Err(_) => error,
            }
        }
        _ => error,
    })
}

fn failed(error: io::Error) -> Error {
    Error::system("start", &error)
}

fn wait(
    signals: &Signals,
    config: &Arc<Config>,
    goal: Goal,
    progress: Arc<Progress>,
) -> Result<Summary> {
    let supervisor = Arc::new(Supervisor::start(&[]).map_err(failed)?);
    let interrupt = Arc::new(Interrupt::default());
    let (finished, finish) = UnixStream::pair().map_err(failed)?;
    let fetch: JoinHandle<Result<Summary>> = {
        let (config, supervisor, interrupt) =
            (config.clone(), supervisor.clone(), interrupt.clone());
        Builder::new()
            .name("fetch".into())
            .stack_size(RESOLVER_STACK)
            .spawn(move || {
                let _finish = finish; // closed at the end, also by a panic
                fetch::run(&config, goal, &supervisor, &interrupt, &progress)
            })
            .map_err(failed)?
    };
    loop {
        let wake = signals.wait(&[finished.as_fd()], None).map_err(failed)?;
        match wake.signal {
            None => break,
            Some(Signal::Pause) => pause(&supervisor).map_err(failed)?,
            // The second one waits for no worker, and not long for the fetch to clean up.
            Some(signal) if interrupt.stopped().is_some() => {
                stop_workers(&supervisor, Duration::ZERO).map_err(failed)?;
                let ended = poll::readable(&[finished.as_fd()], Some(CLEAN_UP_TIME));
                if ended.map_err(failed)? == [true] {
                    break;
                }
                return Err(interrupted(signal));
            }
            Some(signal) if !interrupt.stop(signal) => {
                stop_workers(&supervisor, Duration::ZERO).map_err(failed)?;
                return Err(interrupted(signal));
            }
            Some(_) => {
                // Its end is seen as the end of the fetch.
                supervisor.stop(STOP_GRACE).map_err(failed)?;
            }
        }
    }
    let outcome = fetch.join().unwrap_or_else(|_| {
        Err(Error::new(ExitCode::System, "internal error: the fetch was lost"))
    });
    match (outcome, interrupt.stopped()) {
        // What a signal has broken is not worth a word of its own.
        (Err(error), Some(signal)) if error.code() != interrupted(signal).code() => {
            Err(interrupted(signal))
        }
        (outcome, _) => outcome,
    }
}

/// Ctrl-Z: the receiver stops first, and goes on after this process does. The terminal is
/// the shell's meanwhile, so nothing may be drawn any more.
fn pause(supervisor: &Supervisor) -> io::Result<()> {
    supervisor.pause()?;
    {
        let _hush = terminal::hush();
        prompt::leave();
        process::stop_self()?;
    }
    prompt::come_back();
    supervisor.resume()
}

fn stop_workers(supervisor: &Supervisor, grace: Duration) -> io::Result<()> {
    let ended = supervisor.stop(grace)?;
    // One that waits for a dead disk cannot even be killed.
    poll::readable(&[ended.as_fd()], Some(grace + CLEAN_UP_TIME)).map(drop)
}
