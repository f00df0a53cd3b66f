//! The file download client: asks a server for a file, has a `receiver` fetch it,
//! compares its digest and puts it in place.

#![forbid(unsafe_code)]

mod config;
mod control;
mod destination;
mod fetch;
mod interrupt;
mod login;
mod main_thread;
mod progress;
mod summary;
mod trace;

use config::Config;
use destination::Destination;
use progress::{Progress, Watcher};
use ropewalk::app::options::Arguments;
use ropewalk::app::{program, programs, terminal};
use ropewalk::error::{ExitCode, Result};
use ropewalk::sys::process;
use std::sync::Arc;

fn main() -> std::process::ExitCode {
    // A file-size limit is an error like any other, not the end of the process.
    process::ignore(libc::SIGXFSZ);
    // The files of up to 255 classic streams are open here at once. Where the limit
    // cannot be raised, opening them says so.
    let _ = process::raise_descriptor_limit();
    program::main(&programs::CLIENT, run)
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let config = Config::from_arguments(&arguments)?;
    let (quiet, verbose) = (config.quiet, config.verbose);
    let piped = matches!(config.destination, Destination::Descriptor(_));
    let progress = Arc::new(Progress::new());
    let watcher = Watcher::start(&config, &progress)?;
    let outcome = main_thread::run_until_signal(config, progress);
    let said = watcher.end(&outcome);
    let summary = match outcome {
        Ok(summary) => {
            let colored =
                if piped { terminal::is_colored() } else { terminal::output_is_colored() };
            format!("{}\n", summary.line(verbose, colored))
        }
        Err(error) if said => return Ok(error.code()),
        Err(error) => return Err(error),
    };
    if !quiet {
        // The file is in place, whether or not anybody can read this.
        let _ = match piped {
            true if said => Ok(()),
            true => terminal::print_beside(summary.as_bytes()),
            false => terminal::print(summary.as_bytes()),
        };
    }
    Ok(ExitCode::Success)
}
