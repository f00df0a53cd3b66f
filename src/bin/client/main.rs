//! The file download client: asks a server for a file, has a `receiver` fetch it,
//! compares its digest and puts it in place.

#![forbid(unsafe_code)]

mod config;
mod control;
mod destination;
mod fetch;
mod interrupt;
mod trace;

use config::Config;
use destination::Destination;
use ropewalk::app::options::Arguments;
use ropewalk::app::{program, programs, terminal};
use ropewalk::error::{ExitCode, Result};
use ropewalk::sys::process;

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
    let quiet = config.quiet;
    let piped = config.destination == Destination::StandardOutput;
    let summary = interrupt::run_until_signal(config)?;
    if !quiet {
        let line = format!("{summary}\n");
        // The file is in place, whether or not anybody can read this.
        let _ = match piped {
            true => terminal::print_beside(line.as_bytes()),
            false => terminal::print(line.as_bytes()),
        };
    }
    Ok(ExitCode::Success)
}
