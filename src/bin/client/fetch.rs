//! One fetch, from the first connection to the file in its place.

#![forbid(unsafe_code)]

use crate::config::Config;
use crate::control::{Control, Offer};
use crate::interrupt::Interrupt;
use ropewalk::app::report::Report;
use ropewalk::app::supervise::{Supervisor, Worker};
use ropewalk::app::workers;
use ropewalk::codec::json::Value;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::process::Ended;
use ropewalk::transfer::output::{Output, PartFile};
use ropewalk::transfer::pieces;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// What is said of a fetch that succeeded.
#[derive(Debug)]
pub(crate) struct Summary {
    bytes: u64,
    time: Duration,
    streams: u64,
    md5: String,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64();
        let rate = self.bytes as f64 / 1e6 / seconds.max(1e-9);
        write!(
            f,
            "{} bytes in {seconds:.3} s ({rate:.1} MB/s) over {} streams, md5 {}",
            self.bytes, self.streams, self.md5
        )
    }
}

/// Fetches what `config` asks for.
pub(crate) fn run(
    config: &Config,
    output: Output,
    supervisor: &Supervisor,
    interrupt: &Interrupt,
) -> Result<Summary> {
    let begun = Instant::now();
    let receiver = workers::find("receiver")?;
    let control = Control::connect(&config.server, config.connect_time)?;
    interrupt.watch(control.stream())?;
    let offer = control.ask(&config.file, config.threads)?;
    let part = output.open_part()?;
    part.start_over()?;
    let address = control.data_address(offer.port);
    let worker = {
        let pieces = pieces(&part, config.threads)?;
        let files: Vec<BorrowedFd<'_>> =
            std::iter::once(part.file()).chain(&pieces).map(AsFd::as_fd).collect();
        supervisor
            .start_worker(&receiver, job(&part, address, config.threads), &files)
            .map_err(|error| Error::system("receiver", &error))?
    };
    let (bytes, streams, md5) = follow(worker)?;
    check(&part, &offer, &md5)?;
    part.commit(true)?;
    Ok(Summary { bytes, time: begun.elapsed(), streams, md5 })
}

/// The files of the streams after the first.
fn pieces(part: &PartFile, threads: u8) -> Result<Vec<File>> {
    let output = part.output();
    pieces::nameless(output.folder(), OsStr::new("ropewalk"), usize::from(threads) - 1)
        .map_err(|error| Error::system(output.shown(), &error))
}

fn job(part: &PartFile, address: SocketAddr, threads: u8) -> Vec<(String, Value)> {
    vec![
        ("protocol".to_string(), Value::from_u64(1)),
        ("address".to_string(), Value::from(address.to_string())),
        ("threads".to_string(), Value::from_u64(threads.into())),
        ("shown".to_string(), Value::from(part.output().shown())),
    ]
}

/// Reads what the receiver reports until its end: bytes, streams and the MD5.
fn follow(mut worker: Worker) -> Result<(u64, u64, String)> {
    let died = |what: &str| Error::new(ExitCode::System, format!("receiver: {what}"));
    let mut last = None;
    while let Some(report) =
        worker.reports.next_report().map_err(|error| Error::system("receiver", &error))?
    {
        last = Some(report);
    }
    let ended = worker.wait();
    match (last, ended) {
        (Some(Report::Done { tally, md5: Some(md5), .. }), Some(Ended::Exited(0))) => {
            Ok((tally.bytes, tally.streams, md5))
        }
        (Some(Report::Failed { code, text }), _) => Err(Error::new(code, text)),
        (_, Some(Ended::Killed(signal))) => Err(died(&format!("stopped by signal {signal}"))),
        (_, Some(Ended::Exited(code))) => Err(died(&format!("ended with exit code {code}"))),
        (_, None) => Err(died("was lost")),
    }
}

fn check(part: &PartFile, offer: &Offer, md5: &str) -> Result<()> {
    if md5 == offer.hash {
        return Ok(());
    }
    let shown = part.output().shown();
    let text = format!("{shown}: MD5 differs: {md5} came, the server said {}", offer.hash);
    Err(Error::new(ExitCode::Integrity, text))
}
