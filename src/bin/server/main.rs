//! The file download server: listens, answers requests, and has a `sender` carry
//! each file. It never moves a file's bytes over a data stream itself.

#![forbid(unsafe_code)]

mod config;
mod listen;
mod requests;
mod transfers;

use config::Config;
use ropewalk::app::options::Arguments;
use ropewalk::app::{program, programs};
use ropewalk::error::{ExitCode, Result};
use std::process;

fn main() -> process::ExitCode {
    program::main(&programs::SERVER, run)
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let config = Config::from_arguments(&arguments)?;
    let server = listen::Server::bind(config)?;
    server.announce()?;
    server.run()
}
