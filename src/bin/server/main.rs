//! The server: listens, answers requests, hashes files, and starts a `sender` or a `receiver`
//! for each transfer. It moves no bytes over data streams itself. Only the answer to a GET
//! carries a file on the control connection.

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
mod ports;
mod post;
mod pushes;
mod put;
mod requests;
mod sending;
mod service;
mod stdio;
mod target;
#[cfg(test)]
#[path = "../../common/testing.rs"]
mod testing;
mod transfers;
mod uploads;

use config::{Config, ListenAt};
use ropewalk::app::options::Arguments;
use ropewalk::app::{program, programs};
use ropewalk::error::{ExitCode, Result};
use ropewalk::sys::sandbox;
use std::process;

fn main() -> process::ExitCode {
    program::main(&programs::SERVER, run)
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    // A core dump would show passwords and tokens. The server runs also where the system
    // refuses this.
    let _ = sandbox::limit_core_dumps();
    let handed = activation::listeners()?;
    let config = Config::from_arguments(&arguments, !handed.is_empty())?;
    if config.listen_at == ListenAt::Nowhere {
        return stdio::run(config);
    }
    let server = listen::Server::bind(config, handed)?;
    server.announce()?;
    server.run()
}
