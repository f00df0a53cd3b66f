//! The client's main thread: waits for the fetch, which has a thread of its own, and
//! for signals, which end it in order.

#![forbid(unsafe_code)]

use crate::config::Config;
use crate::destination::Goal;
use crate::fetch::{self, kept};
use crate::interrupt::{Interrupt, interrupted};
use crate::progress::Progress;
use crate::summary::Summary;
use ropewalk::app::signals::{MAIN_SIGNALS, Signal, Signals};
use ropewalk::app::supervise::{STOP_GRACE, Supervisor};
use ropewalk::app::terminal::{self, prompt};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::{poll, process};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Stack of the thread that looks names up: the C library's plug-ins for that need more
/// than a thread that only moves bytes.
const RESOLVER_STACK: usize = 1 << 20;

/// How long the fetch has, after a second signal, to remove what it has written.
const CLEAN_UP_TIME: Duration = Duration::from_millis(500);

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
