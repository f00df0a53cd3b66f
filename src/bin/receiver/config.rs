//! The receiver's job as validated values: from its parent, or from positional
//! arguments (those of the seed's own receiver).

#![forbid(unsafe_code)]

use ropewalk::app::job::Job;
use ropewalk::app::options::{Arguments, number};
use ropewalk::app::resolve::resolve;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use ropewalk::transfer::blocks::MAX_STREAMS;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where streams come from and where they go.
pub(crate) struct Target {
    /// Addresses of the sender, to be tried in this order.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The output's name for error messages, escaped.
    pub(crate) shown: String,
    /// One file for each stream, at least one.
    pub(crate) files: Vec<File>,
}

/// The job that a client handed over: descriptors are the files of the streams.
pub(crate) fn from_job(job: &mut Job) -> Result<Target> {
    let bad = |what: &str| Error::protocol(format!("the job's '{what}' cannot be"));
    let address = job.text("address")?.parse().map_err(|_| bad("address"))?;
    let threads = job.number("threads")?;
    if !(1..=MAX_STREAMS).contains(&threads) {
        return Err(bad("threads"));
    }
    let shown = job.text("shown")?.to_string();
    let files = (0..threads).map(|_| job.descriptor().map(File::from)).collect::<Result<_>>()?;
    Ok(Target { addresses: vec![address], shown, files })
}

/// `HOST PORT THREADS DIRECTORY`.
pub(crate) fn from_arguments(arguments: &Arguments) -> Result<Target> {
    let port = number("port", arguments.positional(1), 1..=65535)? as u16;
    let threads = number("threads", arguments.positional(2), 1..=MAX_STREAMS)?;
    let host = arguments.positional(0);
    let host = host.to_str().ok_or_else(|| {
        Error::usage(format!("host: '{}' is no name of a host", escape(host.as_bytes())))
    })?;
    let addresses = resolve(host.trim_matches(['[', ']']), port)?;
    let folder = Path::new(arguments.positional(3));
    let shown = escape(folder.as_os_str().as_bytes());
    let files = (0..threads)
        .map(|number| File::create(folder.join(format!("{number}.prt"))))
        .collect::<std::io::Result<_>>()
        .map_err(|error| Error::system(&shown, &error))?;
    Ok(Target { addresses, shown, files })
}
