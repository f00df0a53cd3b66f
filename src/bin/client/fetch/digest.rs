//! The server's MD5 of the file, asked for on a second connection while the transfer
//! is under way.

#![forbid(unsafe_code)]

use super::{Fetch, compare};
use crate::control::{Held, Md5, REMINDER, RopewalkOffer, Server};
use crate::interrupt::Interrupt;
use ropewalk::app::{SMALL_STACK, terminal};
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::hash::hex;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The pause before the digest is asked for again after the connection was lost, and
/// the longest one.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// How often a server may hold a request for long and then send it away. One that never
/// comes to an end with a file would do so for ever.
const MOST_REFUSALS: u32 = 3;

/// How often a request may be held for long and then cut off. With the usual `--retry-for` these
/// are 16 hours: every hash that is under way has ended by then.
const MOST_CUTS: u32 = 1000;

/// A digest that is on its way.
pub(super) struct Digest {
    server: Server,
    news: Receiver<News>,
}

/// What the thread tells that asks for it.
enum News {
    /// Since when the server holds the request; `None` while it does not.
    Held(Option<Instant>),
    /// This is the end; `None` when the server makes no digest.
    Answer(Result<Option<String>>),
}

impl Digest {
    /// Asks for it where the user wants one.
    pub(super) fn begin(
        fetch: &Fetch<'_>,
        server: &Server,
        offer: &RopewalkOffer,
    ) -> Result<Option<Digest>> {
        let config = fetch.config;
        match config.verify {
            Verify::Md5 => {
                let (file, etag) = (&config.file, &offer.etag);
                Digest::ask(server, file, etag, config.retry_for, fetch.interrupt).map(Some)
            }
            Verify::Crc32c | Verify::None => Ok(None),
        }
    }

    /// Asks for it, and goes on asking for `retry_for` when the connection is lost: the
    /// server goes on hashing, and whoever asks again joins.
    fn ask(
        server: &Server,
        file: &[u8],
        etag: &str,
        retry_for: Duration,
        interrupt: &Arc<Interrupt>,
    ) -> Result<Digest> {
        let (asked, interrupt) = (server.clone(), interrupt.clone());
        let (file, etag) = (file.to_vec(), etag.to_string());
        let (tell, news) = mpsc::channel();
        let ask = move || {
            let told = tell.clone();
            let hold = move |since| drop(told.send(News::Held(since)));
            let answer = ask_again(&asked, (&file, &etag), retry_for, &hold, &interrupt);
            let _ = tell.send(News::Answer(answer.map(|md5| md5.map(|md5| hex(&md5)))));
        };
        Builder::new()
            .name("digest".into())
            .stack_size(SMALL_STACK)
            .spawn(ask)
            .map_err(|error| Error::system("thread", &error))?;
        Ok(Digest { server: server.clone(), news })
    }

    /// Waits for it. `None` when the server makes none. All bytes are there, so from now
    /// on nothing else shows that the server lives: `silence` bounds how long it may hold the
    /// request.
    fn wait(self, silence: Option<Duration>, quiet: bool) -> Result<Option<String>> {
        let begun = Instant::now();
        let (mut held, mut remind_at) = (None, begun + REMINDER);
        loop {
            let silent_at = held.zip(silence).map(|(since, limit)| begun.max(since) + limit);
            let until = silent_at.map_or(remind_at, |at: Instant| at.min(remind_at));
            let left = until.saturating_duration_since(Instant::now());
            match self.news.recv_timeout(left) {
                Ok(News::Held(since)) => held = since,
                Ok(News::Answer(answer)) => return answer,
                Err(RecvTimeoutError::Disconnected) => {
                    let text = "internal error: the digest was lost";
                    return Err(Error::new(ExitCode::System, text));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if let Some(limit) = silence.filter(|_| silent_at.is_some_and(|at| at <= now)) {
                return Err(self.server.silent("MD5", limit));
            }
            if remind_at <= now {
                remind_at = now + REMINDER;
                if !quiet {
                    let seconds = begun.elapsed().as_secs();
                    let what = match held {
                        Some(_) => "still waiting for the server's MD5",
                        None => "asking the server again for its MD5",
                    };
                    terminal::log(format_args!("every byte came {seconds} s ago, {what}"));
                }
            }
        }
    }
}

/// Asks until there is an answer, or until asking has failed for `retry_for`.
fn ask_again(
    server: &Server,
    (file, etag): (&[u8], &str),
    retry_for: Duration,
    hold: &dyn Fn(Option<Instant>),
    interrupt: &Interrupt,
) -> Result<Option<[u8; 16]>> {
    let mut failures = Failures::new(retry_for);
    let mut backoff = FIRST_BACKOFF;
    loop {
        let (begun, held) = (Instant::now(), Held::new(hold));
        let (error, delay, was_refused) = match server.ask_md5(file, etag, &held, interrupt) {
            Ok(Md5::Is(md5)) => return Ok(md5),
            Ok(Md5::Later(error, delay)) => (error, delay, true),
            Err(error) if may_pass(&error) => (error, Duration::ZERO, false),
            Err(error) => return Err(error),
        };
        match failures.add(begun, held.lasted(), was_refused, Instant::now()) {
            Some(left) if interrupt.pause(backoff.max(delay).min(left)) => {}
            _ => return Err(error),
        }
        backoff = (backoff * 2).min(LAST_BACKOFF);
    }
}

/// A row of requests that failed.
struct Failures {
    /// How long it may last.
    retry_for: Duration,
    since: Option<Instant>,
    /// How many requests were held for long and then sent away.
    refusals: u32,
    /// How many were held for long and then cut off.
    cuts: u32,
}

impl Failures {
    /// None has failed yet.
    fn new(retry_for: Duration) -> Failures {
        Failures { retry_for, since: None, refusals: 0, cuts: 0 }
    }

    /// Another one, `begun` then, has failed `now`, after the server had `held` it. Answers for
    /// how long to go on. Only a request that was held for long is no failure, and ends the
    /// row before it; what it took to connect is time of the row.
    fn add(
        &mut self,
        begun: Instant,
        held: Duration,
        was_refused: bool,
        now: Instant,
    ) -> Option<Duration> {
        let (ends, most) = match was_refused {
            true => (&mut self.refusals, MOST_REFUSALS),
            false => (&mut self.cuts, MOST_CUTS),
        };
        let was_held = held >= self.retry_for && *ends < most;
        if was_held {
            self.since = None;
            *ends += 1;
        }
        let since = *self.since.get_or_insert(if was_held { now } else { begun + held });
        let left = self.retry_for.saturating_sub(now.saturating_duration_since(since));
        Some(left).filter(|left| !left.is_zero())
    }
}

/// Waits for the server's digest, and compares it with that of what came, `md5`, in the
/// output `shown`. Answers the digest, where there was one to compare.
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

/// Whether the same request may succeed later.
fn may_pass(error: &Error) -> bool {
    match error.code() {
        ExitCode::Network => true,
        ExitCode::Success
        | ExitCode::System
        | ExitCode::Usage
        | ExitCode::Refused
        | ExitCode::Protocol
        | ExitCode::Integrity
        | ExitCode::Changed
        | ExitCode::HungUp
        | ExitCode::Interrupted
        | ExitCode::Terminated => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY_FOR: Duration = Duration::from_secs(5);
    const LONG: Duration = Duration::from_secs(60);

    /// How many requests fail until it is over, each of which takes `taken`, of which the
    /// server holds it for `held`.
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
    fn a_server_that_holds_a_request_and_sends_it_away_is_not_asked_for_ever() {
        assert_eq!(attempts(LONG, LONG, true), MOST_REFUSALS as usize + 1);
    }

    #[test]
    fn without_time_to_retry_the_first_failure_is_the_last() {
        let mut failures = Failures::new(Duration::ZERO);
        let now = Instant::now();
        assert_eq!(failures.add(now, LONG, false, now), None);
    }
}
