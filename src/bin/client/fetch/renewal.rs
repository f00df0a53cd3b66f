//! Asking for another session when one was lost: on a thread of its own, so that the
//! receiver's reports are read meanwhile.

#![forbid(unsafe_code)]

use super::lease::Lease;
use super::transfer::Transfer;
use crate::control::{Again, Offer, RopewalkOffer};
use ropewalk::app::{SMALL_STACK, job};
use ropewalk::error::{Error, ExitCode, Result};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// The pause before another session is asked for again, and the longest one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(3);

/// The thread that asks.
pub(super) struct Renewal<'scope> {
    thread: ScopedJoinHandle<'scope, Result<()>>,
    /// Dropped when no session is needed any more.
    needed: mpsc::Sender<()>,
}

impl<'scope> Renewal<'scope> {
    /// Begins to ask, since the session was `lost`; the first of a row of losses without a
    /// byte between them was at `since`. The receiver with this lifeline gets the session,
    /// and is ended when there is none.
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        transfer: &'scope Transfer<'_>,
        lifeline: &'scope UnixStream,
        lost: String,
        since: Instant,
    ) -> Result<Renewal<'scope>> {
        let (needed, over) = mpsc::channel();
        let run = move || {
            let renewed = renew(transfer, lifeline, &lost, since, &over);
            if renewed.is_err() {
                let _ = lifeline.shutdown(Shutdown::Both);
            }
            renewed
        };
        let thread = Builder::new().name("renewal".into()).stack_size(SMALL_STACK);
        let thread =
            thread.spawn_scoped(scope, run).map_err(|error| Error::system("thread", &error))?;
        Ok(Renewal { thread, needed })
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// Why there is no other session. None where the receiver ended first.
    pub(super) fn end(self) -> Result<()> {
        drop(self.needed);
        self.thread.join().unwrap_or_else(|_| {
            Err(Error::new(ExitCode::System, "internal error: the renewal was lost"))
        })
    }
}

/// Asks the server for another session, until there is one, too much time has gone by, or
/// none is needed any more.
fn renew(
    transfer: &Transfer<'_>,
    lifeline: &UnixStream,
    lost: &str,
    since: Instant,
    over: &mpsc::Receiver<()>,
) -> Result<()> {
    let config = transfer.fetch.config;
    let mut backoff = FIRST_BACKOFF;
    let mut why = Error::new(ExitCode::Network, lost.to_string());
    let mut wanted = Duration::ZERO;
    // A server that grants sessions of which nothing comes is lost too.
    loop {
        let left = config.retry_for.saturating_sub(since.elapsed());
        if left.is_zero() {
            let seconds = config.retry_for.as_secs();
            let text =
                format!("lost the server, and could not reach it again in {seconds} s: {why}");
            return Err(Error::new(ExitCode::Network, text));
        }
        if over.recv_timeout(backoff.max(wanted).min(left)) == Err(RecvTimeoutError::Disconnected) {
            return Ok(());
        }
        backoff = (backoff * 2).min(LAST_BACKOFF);
        wanted = Duration::ZERO;
        match another(transfer) {
            Ok(Again::Offer(offer)) => return go_on(transfer, offer, lifeline),
            Ok(Again::Later(error, delay)) => (why, wanted) = (error, delay),
            Err(error) if error.code() == ExitCode::Network => why = error,
            // The server has come back, but not everything that it needs yet.
            Err(error) if error.code() == ExitCode::Refused => why = error,
            Err(error) => return Err(error),
        }
    }
}

/// Asks once for one more session.
fn another(transfer: &Transfer<'_>) -> Result<Again> {
    let (server, config) = (transfer.server, transfer.fetch.config);
    let stream = server.connect()?;
    server.ask_again(stream, &config.file, config.threads, transfer.fetch.interrupt)
}

/// Hands the session to the receiver, if it is one of the same file.
fn go_on(transfer: &Transfer<'_>, offer: Offer, lifeline: &UnixStream) -> Result<()> {
    let offer: RopewalkOffer = match offer {
        Offer::Ropewalk(offer) => offer,
        Offer::Classic(_) => {
            let text = "the server now speaks only the classic protocol, which cannot resume";
            return Err(Error::protocol(text));
        }
    };
    let lease = Lease::new(transfer.server, &offer, transfer.fetch.config.single_port);
    if offer.etag != transfer.offer.etag {
        return Err(Error::new(ExitCode::Changed, "the file on the server has changed"));
    }
    let session = transfer.session(&offer).to_json();
    job::say(lifeline, &session).map_err(|error| Error::system("receiver", &error))?;
    transfer.lease.replace(lease);
    Ok(())
}
