//! Sends one file over the streams that connect to it: for a server, which hands it
//! the listener and the open file, or by hand. Needs no file system for the former.

#![forbid(unsafe_code)]

mod classic;
mod config;
mod pulled;
mod streams;

use classic::Classic;
use config::Transfer;
use pulled::Pulled;
use ropewalk::app::job::Job;
use ropewalk::app::options::Arguments;
use ropewalk::app::report::{Mended, Report, Tally};
use ropewalk::app::{program, programs};
use ropewalk::error::{ExitCode, Result};
use ropewalk::sys::process;
use ropewalk::transfer::meter::Reading;
use std::net::TcpListener;
use std::sync::Arc;

fn main() -> std::process::ExitCode {
    program::main(&programs::SENDER, |arguments| {
        // Each of up to 255 streams holds a descriptor. Where the limit cannot be
        // raised, some of the streams cannot be had.
        let _ = process::raise_descriptor_limit();
        match arguments.has("job") {
            true => run_job(),
            false => run_by_hand(&arguments),
        }
    })
}

/// Started by a server: reports go to it, errors too.
fn run_job() -> Result<ExitCode> {
    let mut job = Job::from_parent()?;
    job.watch_lifeline(|_| {})?;
    let (transfer, listener) = config::from_job(&mut job)?;
    match serve(transfer, listener) {
        Ok(reading) => {
            let tally = Tally { streams: reading.peak, ..reading.into() };
            Report::Done { tally, md5: None, mended: Mended::default() }.send();
            Ok(ExitCode::Success)
        }
        Err(error) => {
            Report::failed(&error).send();
            Ok(error.code())
        }
    }
}

/// Started by hand: quiet when all goes well.
fn run_by_hand(arguments: &Arguments) -> Result<ExitCode> {
    let (transfer, listener) = config::from_arguments(arguments)?;
    serve(Transfer::Classic(Box::new(transfer)), listener)?;
    Ok(ExitCode::Success)
}

fn serve(transfer: Transfer, listener: TcpListener) -> Result<Reading> {
    match transfer {
        Transfer::Classic(classic) => {
            let idle = classic.limits.idle;
            let classic: Arc<Classic> = Arc::from(classic);
            streams::serve(&classic, listener, idle)?;
            Ok(classic.meter.read())
        }
        Transfer::Pulled(pulled) => {
            let idle = pulled.limits.idle;
            let pulled: Arc<Pulled> = Arc::from(pulled);
            streams::serve(&pulled, listener, idle)?;
            Ok(pulled.meter.read())
        }
    }
}
