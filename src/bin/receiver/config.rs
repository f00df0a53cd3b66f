//! The receiver's job as validated values: from its parent, or from positional
//! arguments (those of the classic receiver).

#![forbid(unsafe_code)]

use ropewalk::app::job::Job;
use ropewalk::app::options::{Arguments, number};
use ropewalk::app::report::Report;
use ropewalk::app::resolve::resolve;
use ropewalk::app::streams::Link;
use ropewalk::codec::message::receiver_job::{ReceiverJob, ReceiverProtocol, Sink, TreeJob};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::transfer::classic::blocks::MAX_STREAMS;
use ropewalk::transfer::classic::piped::Piped;
use ropewalk::transfer::queue::rate::Rate;
use ropewalk::transfer::sink::tree::{self, TreeSink};
use ropewalk::transfer::sink::{self, Wanted};
use ropewalk::transfer::store::journal::Journal;
use ropewalk::transfer::store::pipe::Pipe;
use ropewalk::transfer::store::{self, Kept, Store};
use ropewalk::transfer::timing::Timing;
use ropewalk::transfer::trace::Recorder;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// What to receive, in one of the two protocols.
pub(crate) enum Transfer {
    /// From a classic server.
    Classic(Target),
    /// The same, given out in order instead of being kept.
    ClassicPiped(Box<Piped>),
    /// From the other end of a session.
    Ropewalk { sink: Box<sink::Sink>, link: Link, rate: Option<Arc<Rate>> },
    /// The same for a tree. With the folder, where there is one.
    Tree { sink: Box<TreeSink>, link: Link, rate: Option<Arc<Rate>>, folder: Option<File> },
}

/// Where classic streams come from and where they go.
pub(crate) struct Target {
    /// Addresses of the sender, to be tried in this order.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The output's name for error messages, escaped.
    pub(crate) shown: String,
    /// Bytes per second at most.
    pub(crate) rate: Option<Rate>,
    /// Whether to report what each stream does.
    pub(crate) trace: bool,
    /// One file for each stream, at least one.
    pub(crate) files: Vec<File>,
}

/// The job that a client handed over, with its descriptors ([`ReceiverJob`]).
pub(crate) fn from_job(job: &mut Job) -> Result<Transfer> {
    let ReceiverJob { shown, trace, rate, protocol } = ReceiverJob::from_json(job.object())?;
    let rate = rate.map(Rate::new);
    match protocol {
        ReceiverProtocol::Classic { address, streams, piped: true } => {
            let pipe = Pipe::new(job.descriptor()?);
            let recorder = trace.then(Recorder::default);
            let timing = Timing::default();
            let piped = Piped { address, streams, shown, rate, recorder, pipe, timing };
            Ok(Transfer::ClassicPiped(Box::new(piped)))
        }
        ReceiverProtocol::Classic { address, streams, piped: false } => {
            let files =
                (0..streams).map(|_| job.descriptor().map(File::from)).collect::<Result<_>>()?;
            let addresses = vec![address];
            Ok(Transfer::Classic(Target { addresses, shown, rate, trace, files }))
        }
        ReceiverProtocol::Ropewalk { streams, sink, size, is_open_ended, grows, verify } => {
            let ((link, timing), streams) = (Link::from_job(streams, job)?, streams.count());
            let rate = rate.map(Arc::new);
            let store = match sink {
                Sink::Piped => Store::piped(Pipe::new(job.descriptor()?)),
                Sink::Kept { sync, basis } => Store::Kept(kept(job, sync, basis, &shown)?),
            };
            let wanted =
                Wanted { size, streams, grows, verify, rate: rate.clone(), trace, shown, store };
            let sink = Box::new(match is_open_ended {
                true => sink::Sink::open_ended(wanted, timing),
                false => sink::Sink::new(wanted, timing),
            });
            Ok(Transfer::Ropewalk { sink, link, rate })
        }
        ReceiverProtocol::Tree(tree) => tree_from_job(job, *tree, (shown, trace, rate)),
    }
}

/// A tree, with what every job has.
fn tree_from_job(
    job: &mut Job,
    tree: TreeJob,
    (shown, trace, rate): (String, bool, Option<Rate>),
) -> Result<Transfer> {
    let TreeJob { streams, top, has_folder, sync, grows, verify, options, limits } = tree;
    let ((link, timing), streams) = (Link::from_job(streams, job)?, streams.count());
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Error::new(ExitCode::System, format!("{shown}: another client is writing to it"))
        }
        _ => Error::system(&shown, &error),
    };
    let folder = has_folder.then(|| job.descriptor().map(File::from)).transpose()?;
    let store = match &folder {
        Some(folder) => {
            let copy = folder.try_clone().map_err(failed)?;
            Some(store::tree::Tree::open(copy, sync, timing).map_err(failed)?)
        }
        None => None,
    };
    let rate = rate.map(Arc::new);
    let wanted = tree::Wanted {
        streams,
        grows,
        verify,
        rate: rate.clone(),
        trace,
        shown,
        top,
        store,
        options,
        limits,
    };
    let sink = Box::new(TreeSink::new(wanted, timing, Box::new(|report: Report| report.send())));
    Ok(Transfer::Tree { sink, link, rate, folder })
}

/// The part file, its journal, and with `basis` an older file.
fn kept(job: &mut Job, sync: bool, basis: bool, shown: &str) -> Result<Kept> {
    let part = File::from(job.descriptor()?);
    let (_, journal, contents) = Journal::open(File::from(job.descriptor()?))
        .map_err(|error| Error::system(shown, &error))?
        .ok_or_else(|| Error::protocol("the job has an invalid journal"))?;
    let basis = basis.then(|| job.descriptor().map(File::from)).transpose()?;
    Ok(Kept { part, journal, contents, sync, basis })
}

/// `HOST PORT THREADS DIRECTORY`.
pub(crate) fn from_arguments(arguments: &Arguments) -> Result<Target> {
    let port = number("port", arguments.positional(1), 1..=65535)? as u16;
    let threads = number("streams", arguments.positional(2), 1..=MAX_STREAMS)?;
    let host = arguments.positional(0);
    let host = host.to_str().ok_or_else(|| {
        Error::usage(format!("host: '{}' is not a host name", escape(host.as_bytes())))
    })?;
    let addresses = resolve(host.trim_matches(['[', ']']), port)?;
    let folder = Path::new(arguments.positional(3));
    let shown = escape(folder.as_os_str().as_bytes());
    let files = (0..threads)
        .map(|number| File::create(folder.join(format!("{number}.prt"))))
        .collect::<std::io::Result<_>>()
        .map_err(|error| Error::system(&shown, &error))?;
    Ok(Target { addresses, shown, rate: None, trace: false, files })
}
