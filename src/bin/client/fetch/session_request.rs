//! The request for another session when a session was lost. It has its own thread, so that
//! the client goes on reading the receiver's reports.

#![forbid(unsafe_code)]

use super::offered::Offered;
use super::session_guard::SessionGuard;
use super::transfer::Transfer;
use crate::control::{Answer, Offer};
use ropewalk::app::job;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::backoff::Backoff;
use ropewalk::sys::thread;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// The first and the longest pause between two requests.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// The thread that asks the server.
pub(super) struct SessionRequest<'scope> {
    thread: ScopedJoinHandle<'scope, Result<()>>,
    /// Dropped when no session is needed any more.
    needed: mpsc::Sender<()>,
}

/// The loss that a request is about.
pub(super) struct Loss {
    /// Why the session was lost.
    pub(super) text: String,
    /// The first loss of a row without a byte between the losses.
    pub(super) since: Instant,
}

impl<'scope> SessionRequest<'scope> {
    /// Begins to ask for a session after `loss`. The worker at the other end of `lifeline`
    /// gets the session; without a session this ends the worker.
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        transfer: &'scope Transfer<'_>,
        lifeline: &'scope UnixStream,
        loss: Loss,
    ) -> Result<SessionRequest<'scope>> {
        let (needed, over) = mpsc::channel();
        let run = move || {
            let outcome = ask_until_granted(transfer, lifeline, loss, &over);
            if outcome.is_err() {
                let _ = lifeline.shutdown(Shutdown::Both);
            }
            outcome
        };
        let thread = thread::spawn_scoped(scope, "session request", run);
        Ok(SessionRequest {
            thread: thread.map_err(|error| Error::system("thread", &error))?,
            needed,
        })
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// The reason why there is no other session. None where the worker ended first.
    pub(super) fn end(self) -> Result<()> {
        drop(self.needed);
        self.thread.join().unwrap_or_else(|_| Err(Error::internal("the session request was lost")))
    }
}

/// Asks the server for another session until it grants one, the time is over, or the worker
/// needs none any more. Time passes from the first loss on: a server that grants sessions
/// without a byte is lost too.
fn ask_until_granted(
    transfer: &Transfer<'_>,
    lifeline: &UnixStream,
    loss: Loss,
    over: &mpsc::Receiver<()>,
) -> Result<()> {
    let retry_for = transfer.fetch.config.retry_for;
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut cause = Error::new(ExitCode::Network, loss.text);
    let mut retry_after = Duration::ZERO;
    loop {
        let left = retry_for.saturating_sub(loss.since.elapsed());
        if left.is_zero() {
            return Err(unreachable(retry_for, &cause));
        }
        let pause = backoff.delay().max(retry_after).min(left);
        if over.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return Ok(());
        }
        retry_after = Duration::ZERO;
        match ask_once(transfer) {
            Ok(Answer::Now(offer)) => return hand_over(transfer, offer, lifeline),
            Ok(Answer::Later(error, delay)) => (cause, retry_after) = (error, delay),
            Err(error) if error.code() == ExitCode::Network => cause = error,
            // Another attempt would be another failed login.
            Err(error) if transfer.server.children().is_some_and(|all| all.is_locked_out()) => {
                return Err(error);
            }
            // The server runs again, but lacks something that it needs, such as a mount.
            Err(error) if error.code() == ExitCode::Refused => cause = error,
            Err(error) => return Err(error),
        }
    }
}

fn unreachable(retry_for: Duration, cause: &Error) -> Error {
    let seconds = retry_for.as_secs();
    let text = format!("lost the server, and could not reach it again in {seconds} s: {cause}");
    Error::new(ExitCode::Network, text)
}

fn ask_once(transfer: &Transfer<'_>) -> Result<Answer<Offer>> {
    let (server, config) = (transfer.server, transfer.fetch.config);
    let stream = server.connect_anew()?;
    let request = transfer.fetch.request(None, matches!(transfer.offer, Offered::Tree(_)));
    server.request_session(stream, &config.file, request, transfer.fetch.interrupt)
}

/// Gives the session to the worker, if it is of the same file.
fn hand_over(transfer: &Transfer<'_>, offer: Offer, lifeline: &UnixStream) -> Result<()> {
    let offer = match &offer {
        Offer::Ropewalk(offer) => Offered::File(offer),
        Offer::Tree(offer) => Offered::Tree(offer),
        Offer::Classic(_) => {
            let text = "the server now speaks only the classic protocol, which cannot resume";
            return Err(Error::protocol(text));
        }
        Offer::UpToDate(_) => {
            return Err(Error::protocol("the server offers no other session"));
        }
    };
    let guard = SessionGuard::new(transfer.server, offer, transfer.fetch.config.single_port);
    if !offer.is_of_same(transfer.offer) {
        let what = match transfer.offer {
            Offered::File(_) => "the file on the server has changed",
            Offered::Tree(_) => "the server has another folder of this name now",
        };
        return Err(Error::new(ExitCode::Changed, what));
    }
    let session = transfer.session(offer).to_json();
    let announce =
        || job::say(lifeline, &session).map_err(|error| Error::system("receiver", &error));
    match transfer.server.children() {
        Some(children) => children.begin(offer.token(), announce)?,
        None => announce()?,
    }
    transfer.guard.replace(guard);
    Ok(())
}
