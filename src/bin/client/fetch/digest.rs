//! The server's MD5 of the file, asked for on a second connection while the transfer
//! is under way.

#![forbid(unsafe_code)]

use super::{Fetch, compare};
use crate::config::Verify;
use crate::control::{PulledOffer, Server};
use crate::interrupt::Interrupt;
use ropewalk::app::{SMALL_STACK, terminal};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::hash::hex;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// The pause before the digest is asked for again after the connection was lost, and
/// the longest one.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// A digest that is on its way.
pub(super) struct Digest {
    thread: JoinHandle<Result<Option<String>>>,
}

impl Digest {
    /// Asks for it where the user wants one.
    pub(super) fn begin(
        fetch: &Fetch<'_>,
        server: &Server,
        offer: &PulledOffer,
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
        let (server, interrupt) = (server.clone(), interrupt.clone());
        let (file, etag) = (file.to_vec(), etag.to_string());
        let ask = move || {
            let mut backoff = FIRST_BACKOFF;
            let mut failing_since: Option<Instant> = None;
            loop {
                let begun = Instant::now();
                match server.ask_md5(&file, &etag, retry_for, &interrupt) {
                    Err(error) if may_pass(&error) => {
                        // A wait that was cut off after a while was no failure.
                        let since = match failing_since {
                            Some(since) if begun.elapsed() < retry_for => since,
                            _ => *failing_since.insert(Instant::now()),
                        };
                        if since.elapsed() >= retry_for || !interrupt.pause(backoff) {
                            return Err(error);
                        }
                        backoff = (backoff * 2).min(LAST_BACKOFF);
                    }
                    answer => return answer.map(|md5| md5.map(|md5| hex(&md5))),
                }
            }
        };
        let thread = Builder::new()
            .name("digest".into())
            .stack_size(SMALL_STACK)
            .spawn(ask)
            .map_err(|error| Error::system("thread", &error))?;
        Ok(Digest { thread })
    }

    /// Waits for it. `None` when the server makes none.
    fn wait(self) -> Result<Option<String>> {
        self.thread.join().unwrap_or_else(|_| {
            Err(Error::new(ExitCode::System, "internal error: the digest was lost"))
        })
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
    let said = digest.wait()?;
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
