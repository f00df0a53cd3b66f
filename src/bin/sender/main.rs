//! Sends one file over the streams that connect to it: for a server, which hands it
//! the listener and the open file, or by hand. Needs no file system for the former.

#![forbid(unsafe_code)]

mod classic;
mod config;

use classic::Classic;
use ropewalk::app::job::Job;
use ropewalk::app::options::Arguments;
use ropewalk::app::report::{Report, Tally};
use ropewalk::app::{program, programs};
use ropewalk::error::{ExitCode, Result};
use ropewalk::transfer::meter::Reading;
use std::process;

fn main() -> process::ExitCode {
    program::main(&programs::SENDER, |arguments| match arguments.has("job") {
        true => run_job(),
        false => run_by_hand(&arguments),
    })
}

/// Started by a server: reports go to it, errors too.
fn run_job() -> Result<ExitCode> {
    let mut job = Job::from_parent()?;
    job.watch_lifeline()?;
    let (transfer, listener) = config::from_job(&mut job)?;
    match transfer.serve(listener, |reading| Report::Progress(tally(reading)).send()) {
        Ok(reading) => {
            let all = Tally { streams: reading.peak, ..tally(reading) };
            Report::Done { tally: all, md5: None }.send();
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
    let (transfer, listener): (Classic, _) = config::from_arguments(arguments)?;
    transfer.serve(listener, |_| {})?;
    Ok(ExitCode::Success)
}

fn tally(reading: Reading) -> Tally {
    Tally { bytes: reading.bytes, streams: reading.open }
}
