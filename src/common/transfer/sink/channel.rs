//! One stream of a sink: sends requests, reads blocks, and says when the stream has stalled. What
//! is in a request and in a block is for the conversation.

#![forbid(unsafe_code)]

use super::health::Health;
use crate::codec::text::escape_limited;
use crate::codec::wire::{ErrorCode, HEADER_SIZE, Header, MAX_ERROR_TEXT, Request, WireError};
use crate::error::{Error, ExitCode};
use crate::hash::crc32c::crc32c;
use crate::transfer::link::{Joined, Stop};
use crate::transfer::queue::rate::Rate;
use std::io;
use std::time::{Duration, Instant};

/// One stream.
pub(super) struct Channel<'a> {
    health: &'a Health,
    rate: Option<&'a Rate>,
    joined: &'a Joined<'a>,
    /// Blocks and parts of them; and where the next one starts, and where the bytes end.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    last_byte: Instant,
    /// When something was sent last.
    last_sent: Instant,
    /// Whether the hello has gone out.
    greeted: bool,
    /// Since when the source asks to wait for the next answer.
    waiting: Option<Instant>,
    /// When the others were last told that blocks are good.
    told: Option<Instant>,
    /// The number of the last wish for streams that was sent here.
    wish: u32,
    /// Whether there is another port to try while nothing good has come here.
    doubted: bool,
}

impl<'a> Channel<'a> {
    /// For blocks of at most `room` bytes, with their headers.
    pub(super) fn new(
        health: &'a Health,
        rate: Option<&'a Rate>,
        joined: &'a Joined<'a>,
        room: usize,
    ) -> Channel<'a> {
        Channel {
            health,
            rate,
            joined,
            buffer: vec![0; room.max(HEADER_SIZE + MAX_ERROR_TEXT as usize)],
            start: 0,
            filled: 0,
            last_byte: Instant::now(),
            last_sent: Instant::now(),
            greeted: false,
            waiting: None,
            told: None,
            wish: 0,
            doubted: !joined.link.is_trusted(),
        }
    }

    /// Sets the stream's timeouts.
    pub(super) fn begin(&self) -> io::Result<()> {
        let (stream, timing) = (self.joined.stream, &self.health.timing);
        stream.send_at_once();
        let look = if self.doubted { timing.trust } else { timing.stall };
        stream.set_read_timeout(Some(look.min(timing.idle_word)))?;
        stream.set_write_timeout(Some(timing.stall))
    }

    /// The most bytes of a block with its header.
    pub(super) fn room(&self) -> usize {
        self.buffer.len()
    }

    /// The header of the next block. Until it is there, at most `most` bytes are read.
    pub(super) fn header(&mut self, most: usize) -> Result<Header, Stop> {
        loop {
            match Header::parse(&self.buffer[self.start..self.filled]) {
                Ok(Some((_, header))) if HEADER_SIZE + header.payload() > self.room() => {
                    return Err(Stop::Wrong("a block is longer than agreed".into()));
                }
                Ok(Some((_, header))) => return Ok(header),
                Ok(None) => self.fill(most.max(HEADER_SIZE))?,
                Err(error @ WireError::NotRopewalk) => return Err(io::Error::other(error).into()),
                Err(error) => return Err(Stop::Wrong(error.to_string())),
            }
        }
    }

    /// Waits for the whole block, of so many bytes with its header. Meanwhile at most `most` bytes
    /// are read.
    pub(super) fn wait_for(&mut self, whole: usize, most: usize) -> Result<(), Stop> {
        while self.filled - self.start < whole {
            self.fill(most.max(whole))?;
        }
        Ok(())
    }

    /// What follows the header of a block of so many bytes, which was waited for.
    pub(super) fn payload(&self, whole: usize) -> &[u8] {
        &self.buffer[self.start + HEADER_SIZE..self.start + whole]
    }

    /// Goes on behind a block of so many bytes.
    pub(super) fn pass(&mut self, whole: usize) {
        self.start += whole;
        if self.start == self.filled {
            (self.start, self.filled) = (0, 0);
        }
    }

    /// Reads at least one byte more, up to `most` bytes from the start of the block.
    fn fill(&mut self, most: usize) -> Result<(), Stop> {
        if self.start + most > self.buffer.len() {
            self.buffer.copy_within(self.start..self.filled, 0);
            (self.start, self.filled) = (0, self.filled - self.start);
        }
        let target = self.buffer.len().min(self.start + most);
        let wanted = (target - self.filled) as u64;
        let streams = self.health.streams().into();
        let now = self.rate.map_or(wanted, |rate| rate.portion(wanted, streams)) as usize;
        loop {
            match self.joined.stream.read(&mut self.buffer[self.filled..self.filled + now]) {
                Ok(0) => return Err(Stop::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.filled += count;
                    self.health.arrived(count);
                    if let Some(rate) = self.rate {
                        rate.take(count as u64);
                    }
                    self.last_byte = Instant::now();
                    return self.stay_in_touch();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.is_stalled() {
                        return Err(Stop::Broken(io::Error::from_raw_os_error(libc::ETIMEDOUT)));
                    }
                    self.stay_in_touch()?;
                }
                Err(error) => return Err(Stop::Broken(error)),
            }
        }
    }

    /// Whether nothing has come for too long.
    fn is_stalled(&self) -> bool {
        let timing = &self.health.timing;
        let limit = match self.health.others_move(timing.stall) {
            _ if self.doubted && !self.joined.link.is_proven() => timing.trust,
            true => timing.stall,
            false => timing.lonely_stall,
        };
        self.last_byte.elapsed() >= limit
    }

    /// Sends `message`, and empties it.
    pub(super) fn send(&mut self, message: &mut Vec<u8>) -> Result<(), Stop> {
        if message.is_empty() {
            return Ok(());
        }
        self.joined.stream.write_all(message)?;
        self.last_sent = Instant::now();
        message.clear();
        if !std::mem::replace(&mut self.greeted, true) {
            self.joined.link.open().greeted(self.joined.number);
        }
        Ok(())
    }

    /// How long an idle stream may wait: at most `delay`, and until the source has to hear of it.
    pub(super) fn until_word(&self, delay: Option<Duration>) -> Duration {
        let word = self.health.timing.idle_word.saturating_sub(self.last_sent.elapsed());
        delay.map_or(word, |delay| delay.min(word))
    }

    /// Nothing was asked for until now: idle is not stalled.
    pub(super) fn was_idle(&mut self) -> Result<(), Stop> {
        self.last_byte = Instant::now();
        self.stay_in_touch()
    }

    /// Tells the source how many streams are wanted, if that has changed. And that this end is
    /// there, if it has heard nothing for long: what carries the stream may end it for silence.
    fn stay_in_touch(&mut self) -> Result<(), Stop> {
        if let Some((wanted, turn)) = self.health.wish().filter(|(_, turn)| *turn != self.wish) {
            self.wish = turn;
            return self.send(&mut Request::Streams { wanted, turn: turn.into() }.encode());
        }
        match self.last_sent.elapsed() < self.health.timing.idle_word {
            true => Ok(()),
            false => self.send(&mut Request::Idle.encode()),
        }
    }

    /// The source needs longer for the next answer.
    pub(super) fn wait(&mut self) -> Result<(), Stop> {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        match since.elapsed() < self.health.timing.longest_wait {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ETIMEDOUT).into()),
        }
    }

    /// An answer has come.
    pub(super) fn has_answer(&mut self) {
        self.waiting = None;
    }

    /// A block was good, and an answer takes this long.
    pub(super) fn is_good(&mut self, answer: Option<Duration>) {
        self.doubted = false;
        self.health.good_block();
        if self.told.is_none_or(|told| told.elapsed() >= self.health.timing.tell) {
            self.told = Some(Instant::now());
            self.health.keeps_moving(self.joined.number, answer);
            self.joined.link.is_good(self.joined.generation);
        }
    }

    /// What the source says instead of a block of so many bytes. Nothing follows it.
    pub(super) fn peer_error(&self, code: ErrorCode, crc: u32, whole: usize) -> Stop {
        let text = self.payload(whole);
        if crc32c(text) != crc {
            return Stop::Wrong("an error's checksum differs".into());
        }
        let words = escape_limited(text, MAX_ERROR_TEXT as usize);
        let peer = self.health.source();
        match code {
            ErrorCode::Changed => {
                let text = format!("the file changed on the {peer} while it was sent: {words}");
                Stop::Fatal(Error::new(ExitCode::Changed, text))
            }
            ErrorCode::Read => Stop::Fatal(Error::new(
                ExitCode::Refused,
                format!("the {peer} cannot read the file: {words}"),
            )),
            ErrorCode::Version => {
                Stop::Fatal(Error::protocol(format!("the sender refuses the stream: {words}")))
            }
            ErrorCode::Left => Stop::Fatal(Error::new(
                ExitCode::Network,
                format!("the {peer} has given up the rest"),
            )),
            ErrorCode::Session => Stop::Broken(io::Error::new(io::ErrorKind::NotFound, words)),
            ErrorCode::Request | ErrorCode::Other(_) => Stop::Wrong(format!("sender: {words}")),
        }
    }
}
