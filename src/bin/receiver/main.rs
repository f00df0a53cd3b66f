//! Receives one file over several streams: for a client, which hands it the open
//! output, or by hand, into part files. Opens nothing for the former.

#![forbid(unsafe_code)]

mod classic;
mod config;

use config::Target;
use ropewalk::app::job::Job;
use ropewalk::app::options::Arguments;
use ropewalk::app::report::{Report, Tally};
use ropewalk::app::{program, programs};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::hash::hex;
use ropewalk::sys::process;
use ropewalk::transfer::{meter::Reading, pieces};

fn main() -> std::process::ExitCode {
    // A file-size limit is an error like any other, not the end of the process.
    process::ignore(libc::SIGXFSZ);
    program::main(&programs::RECEIVER, |arguments| match arguments.has("job") {
        true => run_job(),
        false => run_by_hand(&arguments),
    })
}

/// Started by a client: reports go to it, errors too.
fn run_job() -> Result<ExitCode> {
    let mut job = Job::from_parent()?;
    job.watch_lifeline()?;
    let last = match receive_and_join(config::from_job(&mut job)?) {
        Ok(report) => report,
        Err(error) => Report::failed(&error),
    };
    last.send();
    Ok(match last {
        Report::Failed { code, .. } => code,
        Report::Progress(_) | Report::Done { .. } => ExitCode::Success,
    })
}

/// Receives into the pieces and makes one file of them.
fn receive_and_join(target: Target) -> Result<Report> {
    let Target { addresses, shown, mut files } = target;
    let reading = classic::receive(&addresses, &files, &shown, |reading| {
        Report::Progress(reading.into()).send();
    })?;
    let others = files.split_off(1);
    let first = &files[0];
    let (md5, bytes) =
        pieces::join(first, others).map_err(|error| Error::system(&shown, &error))?;
    let tally = Tally { bytes, streams: reading.peak, offset: bytes };
    Ok(Report::Done { tally, md5: Some(hex(&md5)) })
}

/// Started by hand: quiet when all goes well, and the part files stay.
fn run_by_hand(arguments: &Arguments) -> Result<ExitCode> {
    let Target { addresses, shown, files } = config::from_arguments(arguments)?;
    classic::receive(&addresses, &files, &shown, |_: Reading| {})?;
    Ok(ExitCode::Success)
}
