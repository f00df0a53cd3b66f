//! Sends one file, or everything below a folder: for a server, over streams that connect to it; for a
//! client, over streams that it opens; or by hand. Its parent hands it the open file or folder.

#![forbid(unsafe_code)]

mod config;

use config::Task;
use ropewalk::app::job::Job;
use ropewalk::app::options::Arguments;
use ropewalk::app::report::{Mended, Report, Tally};
use ropewalk::app::streams::Link;
use ropewalk::app::{program, programs};
use ropewalk::codec::message::rate::NewRate;
use ropewalk::error::{ExitCode, Result};
use ropewalk::hash::hex;
use ropewalk::sys::sandbox::Peers;
use ropewalk::sys::{process, sandbox};
use ropewalk::transfer::classic::blocks::MAX_STREAMS;
use ropewalk::transfer::link::Link as _;
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

/// Started by a server or a client: reports go to it, errors too.
fn run_job() -> Result<ExitCode> {
    let mut job = Job::from_parent()?;
    let (task, rate) = config::from_job(&mut job)?;
    // Before the first thread, which Landlock would leave as it was.
    let confined = confine(&task);
    Report::Confined { text: confined.to_string() }.send();
    match &task {
        Task::Ropewalk { link, .. } => link.watch_lifeline(&job, rate)?,
        Task::Classic { .. } => job.watch_lifeline(move |word, _| {
            if let (Some(rate), Ok(new)) = (&rate, NewRate::from_json(&word)) {
                rate.change(new.rate);
            }
        })?,
    }
    match run(task, |report| report.send()) {
        Ok(Sent { reading, mended, md5 }) => {
            let tally = Tally { streams: reading.peak, ..reading.into() };
            Report::Done { tally, md5: md5.map(|md5| hex(&md5)), mended }.send();
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
    let (folder, peers) = match task {
        Task::Classic { .. } => (None, Peers::Come),
        Task::Ropewalk { source, link, .. } => match link {
            Link::Accepted { .. } => (source.folder(), Peers::Come),
            Link::Dialled { .. } => (source.folder(), Peers::AreDialled),
        },
    };
    match folder {
        None => sandbox::confine_sender(DESCRIPTORS, peers),
        Some(folder) => {
            // As many streams as there can be twice.
            let descriptors = DESCRIPTORS + 2 * MAX_STREAMS * DESCRIPTORS_IN_TREE;
            sandbox::confine_tree_source(descriptors, folder, peers)
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

/// What was sent.
struct Sent {
    reading: Reading,
    /// What went wrong meanwhile.
    mended: Mended,
    /// The MD5 of what was read in order.
    md5: Option<[u8; 16]>,
}

fn run(task: Task, report: impl FnMut(Report)) -> Result<Sent> {
    let accepted = |reading| Sent { reading, mended: Mended::default(), md5: None };
    match task {
        Task::Classic { source, acceptor } => source.accept(*acceptor, report).map(accepted),
        Task::Ropewalk { source, link: Link::Accepted { acceptor, token }, streams } => {
            source.accept(*acceptor, &token, streams, report).map(accepted)
        }
        Task::Ropewalk { source, link: Link::Dialled { dialler, .. }, .. } => {
            let reading = source.dial(&dialler, report)?;
            let (reconnects, single_port) = (source.reconnects(), dialler.shares_port());
            let mended = Mended { reconnects, single_port, ..Mended::default() };
            Ok(Sent { reading, mended, md5: source.md5() })
        }
    }
}
