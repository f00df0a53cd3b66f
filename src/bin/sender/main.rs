//! Sends one file, or everything below a folder, over the streams that connect to it: for a
//! server, which hands it the listener and the open file or folder, or by hand.

#![forbid(unsafe_code)]

mod config;

use config::{Task, Transfer};
use ropewalk::app::job::Job;
use ropewalk::app::options::Arguments;
use ropewalk::app::report::{Mended, Report, Tally};
use ropewalk::app::{program, programs};
use ropewalk::codec::message::handed::HandedStream;
use ropewalk::codec::message::rate::NewRate;
use ropewalk::error::{ExitCode, Result};
use ropewalk::sys::stream::Stream;
use ropewalk::sys::{process, sandbox};
use ropewalk::transfer::classic::blocks::MAX_STREAMS;
use ropewalk::transfer::meter::Reading;
use ropewalk::transfer::source::tree::MAX_OPEN;

/// Descriptors of a sender: twice as many streams as there can be, since a stream that
/// comes again does not wait for its dead one; as many strangers; and some for the rest.
const DESCRIPTORS: u64 = 4 * MAX_STREAMS + 64;

/// Further descriptors of each stream of a tree: for the files that it keeps open, and the folders
/// on the way to one that it opens or lists.
const DESCRIPTORS_IN_TREE: u64 = MAX_OPEN as u64 + 4;

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
    let (task, rate) = config::from_job(&mut job)?;
    // Before the first thread, which Landlock would leave as it was.
    let confined = confine(&task);
    Report::Confined { text: confined.to_string() }.send();
    let entrance = task.acceptor.entrance();
    job.watch_lifeline(move |word, descriptor| {
        if let (Some(rate), Ok(new)) = (&rate, NewRate::from_json(&word)) {
            rate.change(new.rate);
        }
        if let (Some(descriptor), Ok(handed)) = (descriptor, HandedStream::from_json(&word)) {
            entrance.hand(Stream::from(descriptor), handed.hello.to_vec());
        }
    })?;
    match run(task, |report| report.send()) {
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

/// Gives up the rights that the task does not need.
fn confine(task: &Task) -> sandbox::Report {
    let folder = match &task.transfer {
        Transfer::Classic(_) => None,
        Transfer::Ropewalk { source, .. } => source.folder(),
    };
    match folder {
        None => sandbox::confine_sender(DESCRIPTORS),
        Some(folder) => {
            // As many streams as there can be twice.
            let descriptors = DESCRIPTORS + 2 * MAX_STREAMS * DESCRIPTORS_IN_TREE;
            sandbox::confine_tree_source(descriptors, folder)
        }
    }
}

/// Started by hand: quiet when all goes well.
fn run_by_hand(arguments: &Arguments) -> Result<ExitCode> {
    let task = config::from_arguments(arguments)?;
    confine(&task);
    run(task, |_| {})?;
    Ok(ExitCode::Success)
}

fn run(task: Task, report: impl FnMut(Report)) -> Result<Reading> {
    match task.transfer {
        Transfer::Classic(source) => source.accept(task.acceptor, report),
        Transfer::Ropewalk { source, token, streams } => {
            source.accept(task.acceptor, &token, streams, report)
        }
    }
}
