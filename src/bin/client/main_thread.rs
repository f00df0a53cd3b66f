//! The client's main thread: it starts the thread of the fetch, waits for its end, and stops
//! it when a signal comes.

#![forbid(unsafe_code)]

use crate::config::{Config, Task};
use crate::destination::{Named, OpenDestination};
use crate::fetch::{self, resume_hint};
use crate::interrupt::{Interrupt, interrupted};
use crate::progress::Progress;
use crate::push::{self, Kept, Source};
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

/// Stack of the fetch thread, which resolves names: plug-ins of the C library for that need
/// more than a small stack.
const RESOLVER_STACK: usize = 1 << 20;

/// How long the receiver of a folder has to put in place what is complete: the disk decides. A
/// second signal does not wait.
const LANDING_GRACE: Duration = Duration::from_secs(10);

/// Time for the fetch to remove its files after a second signal.
const CLEAN_UP_TIME: Duration = Duration::from_millis(500);

/// What the thread does.
enum Work {
    Fetch(OpenDestination),
    Push(Source),
}

/// Fetches or pushes the file of `config`, unless a signal ends that.
pub(crate) fn run_until_signal(config: Config, progress: Arc<Progress>) -> Result<Summary> {
    let work = match &config.task {
        Task::Fetch(destination) => Work::Fetch(destination.open(config.trace.as_deref())?),
        Task::Push(path) => Work::Push(Source::open(path, config.trace.as_deref())?),
    };
    let config = Arc::new(config);
    let signals = Signals::install(&MAIN_SIGNALS, &[]).map_err(failed)?;
    let kept = Arc::new(Kept::default());
    let outcome = wait(&signals, &config, work, &progress, &kept);
    // From here on a message may block on a full pipe, and no thread is left that could end
    // the wait: signals must end the process again.
    signals.release();
    outcome.map_err(|error| match error.code() {
        ExitCode::Interrupted | ExitCode::Terminated | ExitCode::HungUp
            if progress.is_of_tree() =>
        {
            error.advise(kept.advice(&config))
        }
        ExitCode::Interrupted | ExitCode::Terminated | ExitCode::HungUp => {
            // Also when the signal came early: an earlier run may have left something.
            let destination = match &config.task {
                Task::Fetch(destination) => destination.open(None),
                Task::Push(_) => return error.advise(kept.advice(&config)),
            };
            match destination {
                Ok(OpenDestination::Named(Named { file: Ok(output), .. })) => {
                    resume_hint::add(error, &output, &config.command)
                }
                Ok(_) | Err(_) => error,
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
    work: Work,
    progress: &Arc<Progress>,
    kept: &Arc<Kept>,
) -> Result<Summary> {
    let supervisor = Arc::new(Supervisor::start(&[]).map_err(failed)?);
    let interrupt = Arc::new(Interrupt::default());
    let (finished, finish) = UnixStream::pair().map_err(failed)?;
    let fetch: JoinHandle<Result<Summary>> = {
        let (config, supervisor, interrupt, progress, kept) =
            (config.clone(), supervisor.clone(), interrupt.clone(), progress.clone(), kept.clone());
        Builder::new()
            .name("fetch".into())
            .stack_size(RESOLVER_STACK)
            .spawn(move || {
                let _finish = finish; // dropped at the end, also after a panic
                match work {
                    Work::Fetch(destination) => {
                        fetch::run(&config, destination, &supervisor, &interrupt, &progress)
                    }
                    Work::Push(source) => {
                        push::run(&config, &source, &supervisor, &interrupt, &progress, &kept)
                    }
                }
            })
            .map_err(failed)?
    };
    loop {
        let wake = signals.wait(&[finished.as_fd()], None).map_err(failed)?;
        match wake.signal {
            None => break,
            Some(Signal::Pause) => pause(&supervisor).map_err(failed)?,
            // The second signal kills the workers, and gives the fetch a moment to clean up.
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
                // The end of the workers ends the fetch, which ends this loop.
                let grace = if progress.is_of_tree() { LANDING_GRACE } else { STOP_GRACE };
                supervisor.stop(grace).map_err(failed)?;
            }
        }
    }
    let outcome = fetch.join().unwrap_or_else(|_| Err(Error::internal("the fetch was lost")));
    match (outcome, interrupt.stopped()) {
        // The signal is the cause of any other error.
        (Err(error), Some(signal)) if error.code() != interrupted(signal).code() => {
            Err(interrupted(signal))
        }
        (outcome, _) => outcome,
    }
}

/// Ctrl-Z: stops the receiver, then this process, and resumes the receiver afterwards. The
/// terminal belongs to the shell meanwhile, so nothing may be drawn.
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
    // Not even SIGKILL ends a worker that waits for a dead disk.
    poll::readable(&[ended.as_fd()], Some(grace + CLEAN_UP_TIME)).map(drop)
}
