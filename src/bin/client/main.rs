//! The client: asks a server for a file, lets a `receiver` fetch it, compares its MD5 and
//! puts it in place. Or it lets a `sender` push one, and asks what came of it.

#![forbid(unsafe_code)]

mod children;
mod config;
mod control;
mod destination;
mod fetch;
mod interrupt;
mod login;
mod main_thread;
mod picture;
mod progress;
mod push;
mod session_guard;
mod session_request;
mod summary;

use config::{Config, Task};
use destination::Destination;
use progress::{Display, Progress};
use ropewalk::app::options::Arguments;
use ropewalk::app::{program, programs, terminal};
use ropewalk::error::{ExitCode, Result};
use ropewalk::sys::process;
use std::sync::Arc;
use summary::Summary;

fn main() -> std::process::ExitCode {
    // A write beyond the file-size limit then fails with EFBIG and does not end the process.
    process::ignore(libc::SIGXFSZ);
    // Up to 255 classic streams need a file each. Where the limit cannot be raised, opening
    // these files fails with a message.
    let _ = process::raise_descriptor_limit();
    program::main(&programs::CLIENT, run)
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let config = Config::from_arguments(&arguments)?;
    let report = Report::of(&config);
    let progress = Arc::new(Progress::new());
    let display = Display::start(&config, &progress)?;
    let outcome = main_thread::run_until_signal(config, progress);
    let was_shown = display.end(&outcome);
    match outcome {
        Ok(summary) => {
            report.print(&summary, was_shown);
            Ok(summary.exit_code())
        }
        Err(error) if was_shown => Ok(error.code()),
        Err(error) => Err(error),
    }
}

/// How the client prints its summary.
struct Report {
    quiet: bool,
    verbose: bool,
    /// Whether the file goes to a descriptor, which may be standard output.
    piped: bool,
}

impl Report {
    fn of(config: &Config) -> Report {
        let piped = matches!(config.task, Task::Fetch(Destination::Descriptor(_)));
        Report { quiet: config.quiet, verbose: config.verbose, piped }
    }

    /// Prints the summary, on standard error where standard output may carry the file. An
    /// error while printing is none of the fetch: the file is in place.
    fn print(&self, summary: &Summary, was_shown: bool) {
        if self.quiet {
            return;
        }
        let colored =
            if self.piped { terminal::is_colored() } else { terminal::output_is_colored() };
        let line = format!("{}\n", summary.line(self.verbose, colored));
        let _ = match self.piped {
            true if was_shown => Ok(()),
            true => terminal::print_beside(line.as_bytes()),
            false => terminal::print(line.as_bytes()),
        };
    }
}
