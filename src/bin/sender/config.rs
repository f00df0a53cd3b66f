//! The sender's job as validated values: from its parent, or from positional
//! arguments (those of the seed's own sender).

#![forbid(unsafe_code)]

use crate::classic::{Classic, Limits};
use ropewalk::app::job::Job;
use ropewalk::app::options::{Arguments, number};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::{file, socket};
use ropewalk::transfer::blocks::{BlockPlan, MAX_STREAMS};
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The job that a server handed over: descriptors are the listener and the file.
pub(crate) fn from_job(job: &mut Job) -> Result<(Classic, TcpListener)> {
    let listener = TcpListener::from(job.descriptor()?);
    let file = File::from(job.descriptor()?);
    let bad = |what: &str| Error::protocol(format!("the job's '{what}' cannot be"));
    let threads = u8::try_from(job.number("threads")?).map_err(|_| bad("threads"))?;
    let peer = job.text("peer")?.parse().map_err(|_| bad("peer"))?;
    let plan = BlockPlan::with_block_size(job.number("size")?, job.number("block_size")?);
    let limits = Limits {
        idle: Duration::from_millis(job.number("idle_ms")?),
        stall: Duration::from_millis(job.number("stall_ms")?),
    };
    Ok((Classic { file, plan, threads, peer: Some(peer), limits }, listener))
}

/// `PORT PATH BLOCK_SIZE THREADS`.
pub(crate) fn from_arguments(arguments: &Arguments) -> Result<(Classic, TcpListener)> {
    let port = number("port", arguments.positional(0), 0..=65535)? as u16;
    let block_size = number("block_size", arguments.positional(2), 1..=i64::MAX as u64)?;
    let threads = number("threads", arguments.positional(3), 1..=MAX_STREAMS)? as u8;
    let path = Path::new(arguments.positional(1));
    let shown = escape(path.as_os_str().as_bytes());
    let failed = |error| Error::system(&shown, &error);
    let file = file::open_without_blocking(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(Error::new(ExitCode::System, format!("{shown}: not a regular file")));
    }
    let plan = BlockPlan::with_block_size(found.len(), block_size);
    let listener = socket::listen_everywhere(port)
        .map_err(|error| Error::system(format!("port {port}"), &error))?;
    Ok((Classic { file, plan, threads, peer: None, limits: Limits::default() }, listener))
}
