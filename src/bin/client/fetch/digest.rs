//! The server's MD5 of the file. A thread asks for it on a second connection while the
//! transfer is under way.

#![forbid(unsafe_code)]

use super::{Fetch, compare};
use crate::control::{Answer, HoldClock, REMINDER_INTERVAL, RopewalkOffer, Server};
use crate::interrupt::Interrupt;
use ropewalk::app::terminal;
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::hash::hex;
use ropewalk::sys::backoff::Backoff;
use ropewalk::sys::thread;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The first and the longest pause before the client asks again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often a server may hold a request for long and then refuse it. A server that never
/// finishes a file would do so for ever.
const MOST_REFUSALS: u32 = 3;

/// How often a connection may break after the server has held the request for long. With the
/// default of `--retry-for` these are 16 hours, longer than any hash takes.
const MOST_CUTS: u32 = 1000;

/// An MD5 that the server is making.
pub(super) struct Digest {
    server: Server,
    news: Receiver<News>,
}

/// What the asking thread reports.
enum News {
    /// Since when the server holds the request; `None` while it does not.
    Held(Option<Instant>),
    /// The end; `None` when the server makes no MD5.
    Answer(Result<Option<String>>),
}

impl Digest {
    /// Asks for the MD5, if the user wants the file checked by it.
    pub(super) fn begin(
        fetch: &Fetch<'_>,
        server: &Server,
        offer: &RopewalkOffer,
    ) -> Result<Option<Digest>> {
        match fetch.config.verify {
            Verify::Md5 => Digest::ask(fetch, server, offer).map(Some),
            Verify::Crc32c | Verify::None => Ok(None),
        }
    }

    /// Starts the thread. A lost connection loses no work: the server goes on hashing, and the
    /// next request joins.
    fn ask(fetch: &Fetch<'_>, server: &Server, offer: &RopewalkOffer) -> Result<Digest> {
        let (asked, interrupt) = (server.clone(), fetch.interrupt.clone());
        let (file, etag) = (fetch.config.file.clone(), offer.etag.clone());
        let retry_for = fetch.config.retry_for;
        let (tell, news) = mpsc::channel();
        let ask = move || {
            let told = tell.clone();
            let hold = move |since| drop(told.send(News::Held(since)));
            let answer = ask_until_answered(&asked, (&file, &etag), retry_for, &hold, &interrupt);
            let _ = tell.send(News::Answer(answer.map(|md5| md5.map(|md5| hex(&md5)))));
        };
        thread::spawn("digest", ask).map_err(|error| Error::system("thread", &error))?;
        Ok(Digest { server: server.clone(), news })
    }

    /// Waits for the MD5; `None` when the server makes none. Call it when all bytes are there.
    /// From then on only this request shows that the server lives, so `silence` limits how
    /// long the server may hold it.
    fn wait(self, silence: Option<Duration>, quiet: bool) -> Result<Option<String>> {
        let begun = Instant::now();
        let (mut held, mut remind_at) = (None, begun + REMINDER_INTERVAL);
        loop {
            let silent_at = held.zip(silence).map(|(since, limit)| begun.max(since) + limit);
            let until = silent_at.map_or(remind_at, |at: Instant| at.min(remind_at));
            let left = until.saturating_duration_since(Instant::now());
            match self.news.recv_timeout(left) {
                Ok(News::Held(since)) => held = since,
                Ok(News::Answer(answer)) => return answer,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("the digest was lost"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if let Some(limit) = silence.filter(|_| silent_at.is_some_and(|at| at <= now)) {
                return Err(self.server.silent("MD5", limit));
            }
            if remind_at <= now {
                remind_at = now + REMINDER_INTERVAL;
                if !quiet {
                    remind(begun.elapsed(), held.is_some());
                }
            }
        }
    }
}

/// Tells the user what the client waits for, `waited` after the last byte.
fn remind(waited: Duration, is_held: bool) {
    let seconds = waited.as_secs();
    let what = match is_held {
        true => "still waiting for the server's MD5",
        false => "asking the server again for its MD5",
    };
    terminal::log(format_args!("all bytes arrived {seconds} s ago; {what}"));
}

/// Asks until there is an answer, or until requests have failed for `retry_for`.
fn ask_until_answered(
    server: &Server,
    (file, etag): (&[u8], &str),
    retry_for: Duration,
    hold: &dyn Fn(Option<Instant>),
    interrupt: &Interrupt,
) -> Result<Option<[u8; 16]>> {
    let mut failures = Failures::new(retry_for);
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let (begun, held) = (Instant::now(), HoldClock::new(hold));
        let (error, delay, was_refused) = match server.ask_md5(file, etag, &held, interrupt) {
            Ok(Answer::Now(md5)) => return Ok(md5),
            Ok(Answer::Later(error, delay)) => (error, delay, true),
            Err(error) if error.code() == ExitCode::Network => (error, Duration::ZERO, false),
            Err(error) => return Err(error),
        };
        let pause = backoff.delay().max(delay);
        match failures.add(begun, held.lasted(), was_refused, Instant::now()) {
            Some(left) if interrupt.pause(pause.min(left)) => {}
            _ => return Err(error),
        }
    }
}

/// A row of failed requests.
struct Failures {
    /// How long the row may last.
    retry_for: Duration,
    since: Option<Instant>,
    /// How many requests the server held for long and then refused.
    refusals: u32,
    /// How many requests the server held for long until the connection broke.
    cuts: u32,
}

impl Failures {
    /// An empty row.
    fn new(retry_for: Duration) -> Failures {
        Failures { retry_for, since: None, refusals: 0, cuts: 0 }
    }

    /// Adds a request that began at `begun` and failed at `now`, after the server had `held`
    /// it. Returns how much longer to try; `None` is the end. A request that was held for long
    /// is no failure and ends the row before it. The time of connecting counts for the row.
    fn add(
        &mut self,
        begun: Instant,
        held: Duration,
        was_refused: bool,
        now: Instant,
    ) -> Option<Duration> {
        let (count, most) = match was_refused {
            true => (&mut self.refusals, MOST_REFUSALS),
            false => (&mut self.cuts, MOST_CUTS),
        };
        let was_held = held >= self.retry_for && *count < most;
        if was_held {
            self.since = None;
            *count += 1;
        }
        let since = *self.since.get_or_insert(if was_held { now } else { begun + held });
        let left = self.retry_for.saturating_sub(now.saturating_duration_since(since));
        Some(left).filter(|left| !left.is_zero())
    }
}

/// Waits for the server's MD5, and compares it with `md5` of the output `shown`. Returns the
/// MD5, where there were two to compare.
pub(super) fn settle(
    fetch: &Fetch<'_>,
    digest: Option<Digest>,
    md5: Option<String>,
    shown: &str,
) -> Result<Option<String>> {
    let (Some(digest), Some(md5)) = (digest, md5) else { return Ok(None) };
    let said = digest.wait(fetch.config.silence, fetch.config.quiet)?;
    match &said {
        Some(said) => compare(shown, &md5, said)?,
        None if fetch.config.quiet => {}
        None => terminal::log("the server gave no MD5: only the blocks were checked"),
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY_FOR: Duration = Duration::from_secs(5);
    const LONG: Duration = Duration::from_secs(60);

    /// How many requests fail until the row is over. Each takes `taken`, and the server holds
    /// it for `held` of that.
    fn attempts(taken: Duration, held: Duration, was_refused: bool) -> usize {
        let mut failures = Failures::new(RETRY_FOR);
        let begun = Instant::now();
        let mut over = |number: &u32| {
            let now = begun + taken * (number + 1);
            failures.add(begun + taken * *number, held, was_refused, now).is_none()
        };
        (0..10_000).position(|number| over(&number)).map_or(10_000, |number| number + 1)
    }

    #[test]
    fn attempts_that_take_long_by_themselves_are_a_row_of_failures() {
        assert_eq!(attempts(RETRY_FOR * 2, Duration::ZERO, false), 1);
        assert_eq!(attempts(Duration::from_secs(1), Duration::ZERO, false), 5);
        assert_eq!(attempts(RETRY_FOR, Duration::from_secs(1), true), 2);
    }

    #[test]
    fn a_request_that_is_held_and_cut_off_again_and_again_is_no_failure() {
        assert!(attempts(LONG, LONG, false) >= 1000);
    }

    #[test]
    fn a_server_that_cuts_off_every_request_is_not_asked_for_ever() {
        assert_eq!(attempts(LONG, LONG, false), MOST_CUTS as usize + 1);
    }

    #[test]
    fn a_server_that_holds_a_request_and_refuses_it_is_not_asked_for_ever() {
        assert_eq!(attempts(LONG, LONG, true), MOST_REFUSALS as usize + 1);
    }

    #[test]
    fn without_time_to_retry_the_first_failure_is_the_last() {
        let mut failures = Failures::new(Duration::ZERO);
        let now = Instant::now();
        assert_eq!(failures.add(now, LONG, false, now), None);
    }
}
