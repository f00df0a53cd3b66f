//! The source: has the bytes, and answers the requests of the sink on every stream. It keeps no
//! state about what has arrived.

#![forbid(unsafe_code)]

pub mod confine;
pub mod identity;
pub mod tree;

mod answers;
mod blocks;
mod ending;
mod wait_blocks;

use self::identity::Version;
use super::link::acceptor::Acceptor;
use super::link::dialler::Dialler;
use super::link::hello::{Accepted, Greeter, tell};
use super::link::token::Token;
use super::link::{End, Event, Joined, Link, Stop, Terms};
use super::meter::{Meter, Reading};
use super::queue::rate::{Rate, Throttle};
use super::timing::Timing;
use crate::codec::message::report::Report;
use crate::codec::text::escape;
use crate::codec::wire::{ErrorCode, LONGEST_REQUEST, MAX_BLOCK, Request};
use crate::error::{Error, ExitCode, Result};
use crate::sys::socket::{self, Keepalive};
use crate::sys::stream::Stream;
use crate::sys::sync::{lock, wait_for};
use crate::sys::thread;
use answers::{Answers, Named};
use ending::Ending;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Condvar, Mutex};
use std::time::Instant;
use tree::Tree;

/// Probes of a stream that asks for nothing: the kernel finds a dead peer within two minutes.
const PROBES: u8 = 4;

/// What a source has to send.
pub enum Content {
    /// A single file.
    File {
        /// It, opened for reading.
        file: File,
        /// What it was when the session began, and has to stay.
        version: Version,
        /// Bytes that it takes on the disk; fewer than its size where it has holes.
        stored: u64,
    },
    /// A folder and everything below it.
    Tree(Tree),
}

/// One end of a transfer: has the bytes.
pub struct Source {
    content: Content,
    throttle: Throttle,
    timing: Timing,
    meter: Meter,
    /// Of a tree, the name of the file that was asked for last.
    moving: Mutex<Vec<u8>>,
    /// Whether the file has ended the session.
    ending: Ending,
    /// How the transfer ended, where the streams are dialled.
    outcome: Mutex<Option<Result<()>>>,
    settled: Condvar,
}

/// Why a stream ends before its peer closes it.
enum Halt {
    /// The connection is of no more use.
    Broken(io::Error),
    /// The peer is told why, and then it is over.
    Tell(ErrorCode, &'static str),
    /// The peer said that all is done.
    Finished,
    /// The peer said that it gives up the rest.
    Left,
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Halt {
        Halt::Broken(error)
    }
}

impl Source {
    /// Of this content.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(content: Content, throttle: Throttle, timing: Timing) -> io::Result<Source> {
        Ok(Source {
            content,
            throttle,
            timing,
            meter: Meter::default(),
            moving: Mutex::default(),
            ending: Ending::new()?,
            outcome: Mutex::default(),
            settled: Condvar::new(),
        })
    }

    /// The folder of a tree.
    pub fn folder(&self) -> Option<BorrowedFd<'_>> {
        match &self.content {
            Content::File { .. } => None,
            Content::Tree(tree) => Some(tree.folder()),
        }
    }

    /// Answers on the streams that come to `acceptor` and show `token`.
    ///
    /// # Errors
    /// The file changed or cannot be read; the sink gave up; no stream came.
    pub fn accept(
        &self,
        acceptor: Acceptor,
        token: &Token,
        streams: u8,
        mut report: impl FnMut(Report),
    ) -> Result<Reading> {
        let told_until = || self.ending.since().map(|since| since + self.timing.linger);
        let greeter = Greeter {
            end: self,
            is_sink: false,
            token,
            accepted: &Accepted::new(streams),
            timing: self.timing,
            told_until: &told_until,
        };
        acceptor.serve(&greeter, &mut || report(self.progress()))?;
        Ok(self.meter.read())
    }

    /// Answers on streams that `dialler` opens, as many as the session has. `report` gets
    /// progress, and word when a session is lost.
    ///
    /// # Errors
    /// The file changed or cannot be read; the sink gave up; no thread can be had.
    pub fn dial(&self, dialler: &Dialler, mut report: impl FnMut(Report)) -> Result<Reading> {
        let outcome = std::thread::scope(|scope| {
            for number in 0..usize::from(dialler.streams()) {
                let run = move || self.keep(dialler, number);
                if let Err(error) = thread::spawn_scoped(scope, "stream", run) {
                    self.settle(Err(Error::system("thread", &error)));
                }
            }
            let outcome = loop {
                if let Some(outcome) = self.wait_for_outcome() {
                    break outcome;
                }
                if let Some(text) = dialler.take_loss() {
                    report(Report::Lost { text });
                }
                report(self.progress());
                self.moving().map(&mut report);
            };
            // The other streams are told, and have the time to read it.
            if self.ending.since().is_some() {
                dialler.open().wait_until_empty(self.timing.linger);
            }
            dialler.end(None);
            self.close();
            outcome
        });
        outcome.map(|()| self.meter.read())
    }

    fn progress(&self) -> Report {
        Report::Progress(self.meter.read().into())
    }

    /// Which file of a tree is moving.
    fn moving(&self) -> Option<Report> {
        let name = lock(&self.moving);
        (!name.is_empty()).then(|| Report::Moving { path: escape(&name) })
    }

    /// Keeps stream `number` connected. A thread that panics ends the transfer.
    fn keep(&self, dialler: &Dialler, number: usize) {
        if thread::contained(|| dialler.keep(number, self)).is_none() {
            self.fail(Error::internal("a thread died"));
        }
    }

    /// The transfer has ended so, unless it had ended already.
    fn settle(&self, outcome: Result<()>) {
        lock(&self.outcome).get_or_insert(outcome);
        self.settled.notify_all();
    }

    /// How the transfer ended, if it does so within the report time.
    fn wait_for_outcome(&self) -> Option<Result<()>> {
        let mut outcome = lock(&self.outcome);
        if outcome.is_none() {
            outcome = wait_for(&self.settled, outcome, self.timing.report);
        }
        outcome.take()
    }

    /// Answers requests in their order.
    fn answer_all(
        &self,
        joined: &Joined<'_>,
    ) -> std::result::Result<std::convert::Infallible, Halt> {
        let stream: &Stream = joined.stream;
        stream.send_at_once();
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(Some(self.timing.source_stall))?;
        stream.detect_dead_peer(
            Keepalive::probes(PROBES),
            self.timing.source_stall + socket::SILENCE,
        );
        // Whatever ends the stream, no socket waits for a peer that takes no more.
        stream.reset_on_close(true);
        if let Some(hello) = joined.hello {
            stream.write_all(&hello.encode())?;
        }
        if self.ending.reason().is_some() {
            return Err(Halt::Tell(ErrorCode::Session, "the session has ended"));
        }
        let _open = self.meter.open();
        let mut answers = Answers::new(self, stream, joined.terms);
        let (mut bytes, mut filled) = ([0; LONGEST_REQUEST], 0);
        let mut told: Option<Instant> = None;
        loop {
            let mut used = 0;
            while let Some((count, request)) = Request::parse(&bytes[used..filled])
                .map_err(|_| Halt::Tell(ErrorCode::Request, "a request was damaged"))?
            {
                used += count;
                joined.is_good.set(true);
                if told.is_none_or(|told| told.elapsed() >= self.timing.tell) {
                    told = Some(Instant::now());
                    joined.link.is_good(joined.generation);
                }
                self.check_ending()?;
                match request {
                    Request::Range { name, identity, offset, length, hash } => {
                        // The codec has checked that the range ends.
                        let range = offset..offset + u64::from(length);
                        answers.range(&Named { name, identity }, range, hash)?;
                    }
                    Request::Md5 { name, identity, offset, length, state } => {
                        let range = offset..offset + u64::from(length);
                        answers.md5(&Named { name, identity }, range, state)?;
                    }
                    Request::List { name, after, room } => answers.list(name, after, room)?,
                    Request::Finished => return Err(Halt::Finished),
                    Request::Leave => return Err(Halt::Left),
                    Request::Idle => {}
                }
            }
            bytes.copy_within(used..filled, 0);
            filled -= used;
            answers.flush()?;
            // A sink has something to ask for at first. Where nobody answers at a data port, there
            // may be another port to try.
            let is_doubted = told.is_none() && joined.hello.is_some() && !joined.link.is_trusted();
            self.ending.wait_or(stream, is_doubted.then_some(self.timing.trust))?;
            self.check_ending()?;
            match stream.read(&mut bytes[filled..])? {
                0 => return Err(Halt::Broken(io::ErrorKind::UnexpectedEof.into())),
                count => filled += count,
            }
        }
    }

    fn check_ending(&self) -> std::result::Result<(), Halt> {
        match self.ending.reason() {
            Some((code, text)) => Err(Halt::Tell(code, text)),
            None => Ok(()),
        }
    }

    /// Tells the peer why the stream ends. An error of the file ends every stream.
    fn tell(&self, stream: &Stream, code: ErrorCode, text: &'static str) -> Stop {
        if matches!(code, ErrorCode::Changed | ErrorCode::Read) {
            self.ending.set(code, text);
        }
        let _ = tell(stream, code, text, self.timing);
        match code {
            ErrorCode::Changed => {
                let text = format!("the file changed: {text}");
                Stop::Fatal(Error::new(ExitCode::Changed, text))
            }
            ErrorCode::Read => Stop::Fatal(Error::new(ExitCode::System, "the file cannot be read")),
            ErrorCode::Version | ErrorCode::Request | ErrorCode::Session | ErrorCode::Other(_) => {
                Stop::Broken(io::Error::other(text))
            }
        }
    }
}

impl End for Source {
    /// The sink's requests say how large a block may be.
    fn terms(&self, _number: usize) -> Terms {
        Terms { max_block: MAX_BLOCK, unchecked: false, from_source: true }
    }

    fn converse(&self, joined: &Joined<'_>) -> Stop {
        match self.answer_all(joined) {
            Ok(never) => match never {},
            Err(Halt::Finished) => {
                self.settle(Ok(()));
                Stop::Over
            }
            Err(Halt::Left) => {
                let text = "the client has given up the rest";
                Stop::Fatal(Error::new(ExitCode::Network, text))
            }
            Err(Halt::Broken(error)) => Stop::Broken(error),
            Err(Halt::Tell(code, text)) => self.tell(joined.stream, code, text),
        }
    }

    fn wants(&self, _number: usize) -> bool {
        true
    }

    fn notice(&self, _number: usize, _event: Event) {}

    fn fail(&self, error: Error) {
        self.settle(Err(error));
    }

    /// The stream is closed; the peer may open another.
    fn violated(&self, _what: &str) {}

    /// No stream waits for its share of the rate any more.
    fn close(&self) {
        self.throttle.rate.iter().for_each(|rate| Rate::lift(rate));
    }
}
