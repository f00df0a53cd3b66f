//! The sender's job as validated values: from its parent, or from positional
//! arguments (those of the classic sender).

#![forbid(unsafe_code)]

use crate::classic::Classic;
use crate::pulled::Pulled;
use crate::streams::{Limits, Pace};
use crate::verdict::Verdict;
use ropewalk::app::job::Job;
use ropewalk::app::options::{Arguments, number};
use ropewalk::app::terminal;
use ropewalk::codec::message::sender_job::{SenderJob, SenderProtocol};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::{file, socket};
use ropewalk::transfer::blocks::{BlockPlan, MAX_STREAMS};
use ropewalk::transfer::rate::Rate;
use ropewalk::transfer::session::Token;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// What to do, in one of the two protocols.
pub(crate) enum Transfer {
    /// For a classic client.
    Classic(Box<Classic>),
    /// For a ropewalk client.
    Pulled(Box<Pulled>),
}

/// The job that a server handed over: descriptors are the listener and the file.
/// With them the limit on how fast to send, which the server may change.
pub(crate) fn from_job(job: &mut Job) -> Result<(Transfer, TcpListener, Option<Arc<Rate>>)> {
    let listener = TcpListener::from(job.descriptor()?);
    let file = File::from(job.descriptor()?);
    let SenderJob { streams, idle, stall, rate, protocol } = SenderJob::from_json(job.object())?;
    let limits = Limits { idle, stall };
    let pace = Pace { rate: rate.map(|rate| Arc::new(Rate::new(rate))), streams };
    let transfer = match protocol {
        SenderProtocol::Classic { size, block_size, peer } => {
            Transfer::Classic(Box::new(Classic {
                file,
                plan: BlockPlan::with_block_size(size, block_size),
                threads: streams,
                peer: Some(peer),
                limits,
                pace: pace.clone(),
                meter: Default::default(),
                numbers: Default::default(),
                reports: true,
            }))
        }
        SenderProtocol::Pulled { token, stored, version, peer } => {
            Transfer::Pulled(Box::new(Pulled {
                file,
                version,
                stored,
                token: Token::from_bytes(token),
                threads: streams,
                peer,
                limits,
                pace: pace.clone(),
                meter: Default::default(),
                verdict: Verdict::new().map_err(|error| Error::system("start", &error))?,
            }))
        }
    };
    Ok((transfer, listener, pace.rate))
}

/// `PORT PATH BLOCK_SIZE THREADS`.
pub(crate) fn from_arguments(arguments: &Arguments) -> Result<(Classic, TcpListener)> {
    let port = number("port", arguments.positional(0), 0..=65535)? as u16;
    let block_size = number("block_size", arguments.positional(2), 1..=i64::MAX as u64)?;
    let threads = number("streams", arguments.positional(3), 1..=MAX_STREAMS)? as u8;
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
    if port == 0 {
        // Whoever asks for any port has to be told which one it is.
        let failed = |error| Error::system("standard output", &error);
        let address = listener.local_addr().map_err(failed)?;
        terminal::print(format!("listening on {address}\n").as_bytes()).map_err(failed)?;
    }
    let transfer = Classic {
        file,
        plan,
        threads,
        peer: None,
        limits: Limits::default(),
        pace: Pace::default(),
        meter: Default::default(),
        numbers: Default::default(),
        reports: false,
    };
    Ok((transfer, listener))
}
