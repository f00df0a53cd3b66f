//! The request for another session when a session was lost. It has its own thread, so that
//! the client goes on reading the worker's reports.

#![forbid(unsafe_code)]

use crate::control::Answer;
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

/// A transfer that can get another session.
pub(crate) trait Renewal: Sync {
    /// What the server offers.
    type Offer;

    /// How long to try, from the first loss on.
    fn retry_for(&self) -> Duration;

    /// Asks the server once.
    fn ask(&self) -> Result<Answer<Self::Offer>>;

    /// Gives the session to the worker, if it is of the same thing.
    fn hand_over(&self, offer: Self::Offer, lifeline: &UnixStream) -> Result<()>;

    /// Whether another attempt would be another failed login.
    fn is_locked_out(&self) -> bool;
}

/// The thread that asks the server.
pub(crate) struct SessionRequest<'scope> {
    thread: ScopedJoinHandle<'scope, Result<()>>,
    /// Dropped when no session is needed any more.
    needed: mpsc::Sender<()>,
}

/// The loss that a request is about.
pub(crate) struct Loss {
    /// Why the session was lost.
    pub(crate) text: String,
    /// The first loss of a row without a byte between the losses.
    pub(crate) since: Instant,
}

impl<'scope> SessionRequest<'scope> {
    /// Begins to ask for a session after `loss`. The worker at the other end of `lifeline`
    /// gets the session; without a session this ends the worker.
    pub(crate) fn start<R: Renewal>(
        scope: &'scope Scope<'scope, '_>,
        renewal: &'scope R,
        lifeline: &'scope UnixStream,
        loss: Loss,
    ) -> Result<SessionRequest<'scope>> {
        let (needed, over) = mpsc::channel();
        let run = move || {
            let outcome = ask_until_granted(renewal, lifeline, loss, &over);
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
    pub(crate) fn end(self) -> Result<()> {
        drop(self.needed);
        self.thread.join().unwrap_or_else(|_| Err(Error::internal("the session request was lost")))
    }
}

/// Asks the server for another session until it grants one, the time is over, or the worker
/// needs none any more. Time passes from the first loss on: a server that grants sessions
/// without a byte is lost too.
fn ask_until_granted<R: Renewal>(
    renewal: &R,
    lifeline: &UnixStream,
    loss: Loss,
    over: &mpsc::Receiver<()>,
) -> Result<()> {
    let retry_for = renewal.retry_for();
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
        match renewal.ask() {
            Ok(Answer::Now(offer)) => return renewal.hand_over(offer, lifeline),
            Ok(Answer::Later(error, delay)) => (cause, retry_after) = (error, delay),
            Err(error) if error.code() == ExitCode::Network => cause = error,
            Err(error) if renewal.is_locked_out() => return Err(error),
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
