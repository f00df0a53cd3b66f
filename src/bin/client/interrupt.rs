//! The client's main thread: waits for the fetch, which has a thread of its own, and
//! for signals, which end it in order.

#![forbid(unsafe_code)]

use crate::config::Config;
use crate::fetch::{self, Summary};
use ropewalk::app::SMALL_STACK;
use ropewalk::app::signals::{MAIN_SIGNALS, Signal, Signals};
use ropewalk::app::supervise::{STOP_GRACE, Supervisor};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::sync::lock;
use ropewalk::sys::{poll, process};
use ropewalk::transfer::output::Output;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long the fetch has, after a second signal, to remove what it has written.
const CLEAN_UP_TIME: Duration = Duration::from_millis(500);

/// What a signal has to end besides the workers: a wait for the server.
#[derive(Default)]
pub(crate) struct Interrupt {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stopped: Option<Signal>,
    control: Option<Arc<TcpStream>>,
}

impl Interrupt {
    /// From now on a signal ends `control` too. The fetch leaves nothing on the disk
    /// before it has called this.
    pub(crate) fn watch(&self, control: &Arc<TcpStream>) -> Result<()> {
        let mut state = lock(&self.state);
        match state.stopped {
            Some(signal) => Err(interrupted(signal)),
            None => {
                state.control = Some(control.clone());
                Ok(())
            }
        }
    }

    /// Ends what is watched. `false` when nothing is yet, so that the fetch has nothing
    /// to clean up and never will.
    fn stop(&self, signal: Signal) -> bool {
        let mut state = lock(&self.state);
        state.stopped = Some(signal);
        match &state.control {
            Some(control) => {
                let _ = control.shutdown(Shutdown::Both);
                true
            }
            None => false,
        }
    }

    fn stopped(&self) -> Option<Signal> {
        lock(&self.state).stopped
    }
}

fn interrupted(signal: Signal) -> Error {
    let (code, name) = match signal {
        Signal::Terminate => (ExitCode::Terminated, "SIGTERM"),
        Signal::HangUp => (ExitCode::HungUp, "SIGHUP"),
        Signal::Interrupt | Signal::Pause | Signal::Child => (ExitCode::Interrupted, "SIGINT"),
    };
    Error::new(code, format!("stopped by {name}"))
}

/// Fetches what `config` asks for, unless a signal ends that.
pub(crate) fn run_until_signal(config: Config) -> Result<Summary> {
    let output = Output::locate(&config.output)?;
    let failed = |error: io::Error| Error::system("start", &error);
    let signals = Signals::install(&MAIN_SIGNALS).map_err(failed)?;
    let supervisor = Arc::new(Supervisor::start().map_err(failed)?);
    let interrupt = Arc::new(Interrupt::default());
    let (finished, finish) = UnixStream::pair().map_err(failed)?;
    let fetch: JoinHandle<Result<Summary>> = {
        let (supervisor, interrupt) = (supervisor.clone(), interrupt.clone());
        Builder::new()
            .name("fetch".into())
            .stack_size(SMALL_STACK)
            .spawn(move || {
                let _finish = finish; // closed at the end, also by a panic
                fetch::run(&config, output, &supervisor, &interrupt)
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
        (Err(_), Some(signal)) => Err(interrupted(signal)),
        (outcome, _) => outcome,
    }
}

/// Ctrl-Z: the receiver stops first, and goes on after this process does.
fn pause(supervisor: &Supervisor) -> io::Result<()> {
    supervisor.pause()?;
    process::stop_self()?;
    supervisor.resume()
}

fn stop_workers(supervisor: &Supervisor, grace: Duration) -> io::Result<()> {
    use std::io::Read;
    supervisor.stop(grace)?.read_to_end(&mut Vec::new())?;
    Ok(())
}
