//! The `wait` blocks of one answer that takes long. So a silent stream is always one that has
//! stalled.

#![forbid(unsafe_code)]

use crate::codec::wire::Header;
use crate::sys::stream::Stream;
use std::io;
use std::time::{Duration, Instant};

/// Sends `wait` blocks while an answer is made. The code that makes the answer asks for them, between
/// two steps: a single system call that takes long is not covered.
pub struct WaitBlocks<'a> {
    /// Where they go; `None` where no peer waits.
    stream: Option<&'a Stream>,
    every: Duration,
    due: Instant,
    failure: Option<io::Error>,
}

impl<'a> WaitBlocks<'a> {
    /// For an answer on `stream` that begins now. The time between two blocks is `every`.
    pub fn begin(stream: &'a Stream, every: Duration) -> WaitBlocks<'a> {
        WaitBlocks { stream: Some(stream), every, due: Instant::now() + every, failure: None }
    }

    /// For an answer for which no peer waits.
    #[cfg(test)]
    pub fn none() -> WaitBlocks<'a> {
        let every = Duration::from_secs(1);
        WaitBlocks { stream: None, every, due: Instant::now() + every, failure: None }
    }

    /// How long it is until the next one.
    pub fn until_due(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Sends a block if the last one, or the begin, is long enough ago.
    pub fn send_if_due(&mut self) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + self.every;
        // A block that was sent in part is the end of the stream: nothing may follow it.
        if let (Some(stream), None) = (self.stream, &self.failure) {
            self.failure = stream.write_all(&Header::Wait.encode()).err();
        }
    }

    /// Whether a block could not be sent.
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The answer is made.
    ///
    /// # Errors
    /// A block could not be sent: the stream is of no more use.
    pub fn end(self) -> io::Result<()> {
        self.failure.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::wire::HEADER_SIZE;
    use std::net::Shutdown;

    #[test]
    fn each_time_an_answer_has_taken_so_long_one_block_goes_out() {
        let (here, there) = Stream::pair().unwrap();
        let mut waits = WaitBlocks::begin(&here, Duration::from_secs(1000));
        waits.send_if_due();
        assert!(waits.until_due() > Duration::from_secs(900));
        waits.due = Instant::now();
        assert!(waits.until_due().is_zero());
        waits.send_if_due();
        waits.send_if_due();
        waits.end().unwrap();
        here.shut(Shutdown::Write);
        let mut bytes = [0; 2 * HEADER_SIZE];
        assert_eq!(there.read(&mut bytes).unwrap(), HEADER_SIZE);
        assert_eq!(Header::parse(&bytes), Ok(Some((HEADER_SIZE, Header::Wait))));
        assert_eq!(there.read(&mut bytes).unwrap(), 0);
    }

    #[test]
    fn an_answer_is_over_when_its_peer_is_gone() {
        let (here, there) = Stream::pair().unwrap();
        drop(there);
        let mut waits = WaitBlocks::begin(&here, Duration::ZERO);
        waits.send_if_due();
        waits.send_if_due();
        assert_eq!(waits.end().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
