//! The file download server: listens, answers requests, hashes files, and has a
//! `sender` carry each one. It never moves bytes over a data stream itself; only a GET
//! gets them on the control connection.

#![forbid(unsafe_code)]

mod activation;
mod answer;
mod auth;
mod body;
mod conditions;
mod config;
mod connections;
mod digests;
mod download;
mod files;
mod index;
mod listen;
mod log;
mod media;
mod metrics;
mod origin;
mod places;
mod ports;
mod post;
mod requests;
mod service;
mod sessions;
mod shares;
mod target;
mod transfers;

use config::Config;
use ropewalk::app::options::Arguments;
use ropewalk::app::{program, programs};
use ropewalk::error::{ExitCode, Result};
use ropewalk::sys::sandbox;
use std::process;

fn main() -> process::ExitCode {
    program::main(&programs::SERVER, run)
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    // Before there are passwords and tokens in it. A system that refuses that is served
    // just the same.
    let _ = sandbox::limit_core_dumps();
    let handed = activation::listeners()?;
    let config = Config::from_arguments(&arguments, !handed.is_empty())?;
    let server = listen::Server::bind(config, handed)?;
    server.announce()?;
    server.run()
}
