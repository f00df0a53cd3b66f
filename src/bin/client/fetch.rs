//! One fetch, from the first connection to the file in its place.

#![forbid(unsafe_code)]

mod blame;
mod classic;
mod digest;
pub(crate) mod kept;
mod lease;
mod piped;
mod pulled;
mod renewal;
mod transfer;

use crate::config::Config;
use crate::control::{Offer, Server};
use crate::destination::Goal;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::summary::Summary;
use crate::trace::Gathered;
use lease::Lease;
use ropewalk::app::report::Report;
use ropewalk::app::supervise::{Supervisor, Worker};
use ropewalk::app::{terminal, workers};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::process::Ended;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// What every fetch needs.
pub(crate) struct Fetch<'a> {
    /// What the user asked for.
    pub(crate) config: &'a Config,
    /// Who starts the receiver.
    pub(crate) supervisor: &'a Supervisor,
    /// What a signal ends.
    pub(crate) interrupt: &'a Arc<Interrupt>,
    /// Where it is noted down how it goes.
    pub(crate) progress: &'a Progress,
    receiver: PathBuf,
    begun: Instant,
    gathered: &'a Gathered,
}

/// Fetches what `config` asks for.
pub(crate) fn run(
    config: &Config,
    goal: Goal,
    supervisor: &Supervisor,
    interrupt: &Arc<Interrupt>,
    progress: &Progress,
) -> Result<Summary> {
    let gathered = Gathered::default();
    let outcome = fetch(config, goal, supervisor, interrupt, progress, &gathered);
    gathered.draw(config, &outcome);
    outcome
}

fn fetch(
    config: &Config,
    goal: Goal,
    supervisor: &Supervisor,
    interrupt: &Arc<Interrupt>,
    progress: &Progress,
    gathered: &Gathered,
) -> Result<Summary> {
    let begun = Instant::now();
    let receiver = workers::find("receiver")?;
    let fetch = Fetch { config, supervisor, interrupt, progress, receiver, begun, gathered };
    let (server, stream) = Server::find(config, interrupt)?;
    let offer = server.ask(stream, &config.file, config.threads, config.retry_for, interrupt)?;
    match offer {
        Offer::Classic(offer) => match goal {
            Goal::File(output) => classic::run(&fetch, output, &server, &offer),
            Goal::Descriptor(open) => piped::classic(&fetch, &open, &server, &offer),
        },
        Offer::Ropewalk(offer) => {
            let lease = Lease::new(&server, &offer, config.single_port);
            match goal {
                Goal::File(output) => pulled::run(&fetch, output, &server, &offer, &lease),
                Goal::Descriptor(open) => piped::pulled(&fetch, &open, &server, &offer, &lease),
            }
        }
    }
}

impl Fetch<'_> {
    /// Says what the fetch has to do without, unless only errors are wanted.
    fn warn(&self, what: Option<String>) {
        if let Some(what) = what.filter(|_| !self.config.quiet) {
            terminal::log(format_args!("warning: {what}"));
        }
    }
}

/// Waits for a worker that has said its last, and judges what that was.
fn last_word(worker: &Worker, last: Option<Report>) -> Result<Report> {
    let died = |what: &str| Error::new(ExitCode::System, format!("receiver: {what}"));
    match (last, worker.wait()) {
        (Some(Report::Failed { code, text }), _) => Err(Error::new(code, text)),
        (Some(done @ Report::Done { .. }), Some(Ended::Exited(0))) => Ok(done),
        (_, Some(Ended::Killed(signal))) => Err(died(&format!("stopped by signal {signal}"))),
        (_, Some(Ended::Exited(code))) => Err(died(&format!("ended with exit code {code}"))),
        (_, None) => Err(died("was lost")),
    }
}

/// Compares the MD5 of what came, the output `shown`, with what the server said.
fn compare(shown: &str, came: &str, said: &str) -> Result<()> {
    if came == said {
        return Ok(());
    }
    let text = format!("{shown}: MD5 differs: {came} here, {said} on the server");
    Err(Error::new(ExitCode::Integrity, text))
}
