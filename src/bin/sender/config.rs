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
use ropewalk::codec::json::Value;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::{file, socket};
use ropewalk::transfer::blocks::{BlockPlan, MAX_STREAMS};
use ropewalk::transfer::identity::Version;
use ropewalk::transfer::rate::Rate;
use ropewalk::transfer::session::Token;
use std::fs::File;
use std::net::{IpAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
    let bad = |what: &str| Error::protocol(format!("the job has an invalid '{what}'"));
    let threads = u8::try_from(job.number("threads")?).map_err(|_| bad("threads"))?;
    let peer: Option<IpAddr> = match job.object().get("peer") {
        Some(_) => Some(job.text("peer")?.parse().map_err(|_| bad("peer"))?),
        None => None,
    };
    let limits = Limits {
        idle: Duration::from_millis(job.number("idle_ms")?),
        stall: Duration::from_millis(job.number("stall_ms")?),
    };
    let rate =
        job.object().get("rate").and_then(Value::as_u64).map(|rate| Arc::new(Rate::new(rate)));
    let pace = Pace { rate, streams: threads };
    let transfer = match job.number("protocol")? {
        1 => Transfer::Classic(Box::new(Classic {
            file,
            plan: BlockPlan::with_block_size(job.number("size")?, job.number("block_size")?),
            threads,
            peer: Some(peer.ok_or_else(|| bad("peer"))?),
            limits,
            pace: pace.clone(),
            meter: Default::default(),
            numbers: Default::default(),
            reports: true,
        })),
        2 => Transfer::Pulled(Box::new(Pulled {
            file,
            version: Version::from_object(job.object()).ok_or_else(|| bad("version"))?,
            stored: job.number("stored")?,
            token: Token::from_hex(job.text("session")?).ok_or_else(|| bad("session"))?,
            threads,
            peer,
            limits,
            pace: pace.clone(),
            meter: Default::default(),
            verdict: Verdict::new().map_err(|error| Error::system("start", &error))?,
        })),
        _ => return Err(bad("protocol")),
    };
    Ok((transfer, listener, pace.rate))
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
