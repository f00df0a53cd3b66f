//! The source: has the bytes, and answers the requests of the sink on every stream. It keeps no
//! state about what has arrived.

#![forbid(unsafe_code)]

pub mod confine;
pub mod identity;
pub mod tree;

mod answers;
mod blocks;
mod ending;
pub mod feed;
mod wait_blocks;
mod wishes;

use self::identity::Version;
use super::link::acceptor::Acceptor;
use super::link::dialler::Dialler;
use super::link::hello::{Accepted, Greeter, close, tell};
use super::link::keepers::Keepers;
use super::link::token::Token;
use super::link::{End, Event, Joined, Link, Stop, Terms};
use super::meter::{Meter, Reading};
use super::queue::rate::{Rate, Throttle};
use super::timing::Timing;
use super::trace::{Position, Recorder};
use crate::codec::message::report::Report;
use crate::codec::text::escape;
use crate::codec::wire::{ErrorCode, Header, LONGEST_REQUEST, MAX_BLOCK, Request};
use crate::error::{Error, ExitCode, Result};
use crate::sys::socket::{self, Keepalive};
use crate::sys::stream::Stream;
use crate::sys::sync::{lock, wait_for};
use crate::sys::thread;
use answers::{Answers, Named};
use ending::Ending;
use feed::Feed;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;
use tree::Tree;
use wishes::Wishes;

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
    /// What is read in order, once: it has no size before its end.
    Feed(Feed),
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
    /// How often a stream was connected again.
    reconnects: AtomicU32,
    /// When the sink said something on any stream.
    heard: Mutex<Option<Instant>>,
    /// What records the streams, where that is wanted.
    recorder: Option<Recorder>,
    /// How many streams are wanted, where they are dialled.
    wishes: Wishes,
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
    /// The peer wants fewer streams.
    Unneeded,
    /// The peer does not take the stream.
    Refused(ErrorCode),
}

/// The end of a stream on which something came that is no request.
const DAMAGED: Halt = Halt::Tell(ErrorCode::Request, "a request was damaged");

/// Looks at what came on a stream that this end opened, and is no request: it may be the error
/// block of an end that does not take the stream. `None` while that is incomplete.
fn refusal(bytes: &[u8]) -> std::result::Result<Option<(usize, Request<'_>)>, Halt> {
    if !Header::may_be_error(bytes) {
        return Err(DAMAGED);
    }
    match Header::parse(bytes) {
        Ok(None) => Ok(None),
        Ok(Some((_, Header::Error { code, .. }))) => Err(Halt::Refused(code)),
        Ok(Some(_)) | Err(_) => Err(DAMAGED),
    }
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
            reconnects: AtomicU32::new(0),
            heard: Mutex::default(),
            recorder: None,
            wishes: Wishes::new(None),
            outcome: Mutex::default(),
            settled: Condvar::new(),
        })
    }

    /// The same, where the sink finds out how many streams it should have. It begins with `first`.
    #[must_use]
    pub fn that_grows(self, first: u8) -> Source {
        Source { wishes: Wishes::new(Some(first)), ..self }
    }

    /// The same, which reports what each stream does.
    #[must_use]
    pub fn with_trace(self) -> Source {
        Source { recorder: Some(Recorder::default()), ..self }
    }

    /// The folder of a tree.
    pub fn folder(&self) -> Option<BorrowedFd<'_>> {
        match &self.content {
            Content::File { .. } | Content::Feed(_) => None,
            Content::Tree(tree) => Some(tree.folder()),
        }
    }

    /// How often a stream was connected again.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed).into()
    }

    /// The MD5 of what was read in order, if one was made.
    pub fn md5(&self) -> Option<[u8; 16]> {
        match &self.content {
            Content::Feed(feed) => feed.md5(),
            Content::File { .. } | Content::Tree(_) => None,
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

    /// Answers on streams that `dialler` opens, as many as are wanted and the session has. `report`
    /// gets progress, and word when a session is lost.
    ///
    /// # Errors
    /// The file changed or cannot be read; the sink gave up; no thread can be had.
    pub fn dial(&self, dialler: &Dialler, mut report: impl FnMut(Report)) -> Result<Reading> {
        let outcome = std::thread::scope(|scope| {
            if let Content::Feed(feed) = &self.content {
                let run = || self.contained(|| feed.run());
                if let Err(error) = thread::spawn_scoped(scope, "input", run) {
                    self.settle(Err(Error::system("thread", &error)));
                }
            }
            let mut keepers = Keepers::default();
            let outcome = loop {
                let wanted = self.wishes.streams().min(dialler.streams());
                let filled = keepers.fill(scope, wanted, move |number| self.keep(dialler, number));
                match filled {
                    // With fewer threads than wanted it goes on.
                    Err(error) if keepers.most() == 0 => {
                        self.settle(Err(Error::system("thread", &error)));
                    }
                    Ok(()) | Err(_) => {}
                }
                if let Some(outcome) = self.wait_for_outcome() {
                    break outcome;
                }
                if let Some(text) = dialler.take_loss() {
                    report(Report::Lost { text });
                }
                report(self.progress());
                self.moving().map(&mut report);
                self.take_slice().map(&mut report);
            };
            self.take_slice().map(&mut report);
            // The other streams are told, and have the time to read it.
            if self.ending.since().is_some() {
                dialler.open().wait_until_empty(self.timing.linger);
            } else if outcome.is_ok() {
                dialler.wait_for_ends(self.timing.leave);
            }
            dialler.end(None);
            self.close();
            outcome
        });
        outcome.map(|()| self.meter.read())
    }

    /// What was recorded since the last call, where that is wanted. How much of a file the sink has
    /// without a gap is not known here: it counts what was sent.
    fn take_slice(&self) -> Option<Report> {
        let position = Position { prefix: self.meter.read().bytes, hashed: None, files: None };
        self.recorder.as_ref().map(|recorder| Report::Trace(recorder.take(position)))
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
        self.contained(|| dialler.keep(number, self));
    }

    fn contained(&self, run: impl FnOnce()) {
        if thread::contained(run).is_none() {
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
        self.begin(joined)?;
        let stream = joined.stream;
        let _open = self.meter.open();
        let mut answers = Answers::new(self, joined);
        let (mut bytes, mut filled) = ([0; LONGEST_REQUEST], 0);
        let mut told: Option<Instant> = None;
        loop {
            let mut used = 0;
            while let Some((count, request)) = match Request::parse(&bytes[used..filled]) {
                Ok(parsed) => parsed,
                Err(_) if joined.hello.is_some() && told.is_none() => refusal(&bytes[..filled])?,
                Err(_) => return Err(DAMAGED),
            } {
                used += count;
                joined.is_good.set(true);
                if told.is_none_or(|told| told.elapsed() >= self.timing.tell) {
                    told = Some(Instant::now());
                    *lock(&self.heard) = told;
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
                    // What carries the stream may end it for silence in this direction too.
                    Request::Idle => stream.write_all(&Header::Wait.encode())?,
                    Request::Streams { wanted, turn } if joined.hello.is_some() => {
                        self.wishes.hear(joined.generation, turn, wanted);
                    }
                    Request::Streams { .. } => {
                        return Err(Halt::Tell(ErrorCode::Request, "this end opens no streams"));
                    }
                }
            }
            bytes.copy_within(used..filled, 0);
            filled -= used;
            answers.flush()?;
            if joined.hello.is_some() && !self.wants(joined.number) {
                return Err(Halt::Unneeded);
            }
            // A sink has something to ask for at first. Where nobody answers at a data port, there
            // may be another port to try.
            let is_doubted = told.is_none() && joined.hello.is_some() && !joined.link.is_trusted();
            match (is_doubted, stream.is_tcp()) {
                (true, _) => self.ending.wait_or(stream, Some(self.timing.trust))?,
                (false, true) => self.ending.wait_or(stream, None)?,
                (false, false) => self.wait_carried(stream)?,
            }
            self.check_ending()?;
            match stream.read(&mut bytes[filled..])? {
                0 => return Err(Halt::Broken(io::ErrorKind::UnexpectedEof.into())),
                count => filled += count,
            }
        }
    }

    /// Waits until a stream that another program carries has something to read.
    fn wait_carried(&self, stream: &Stream) -> io::Result<()> {
        let Timing { mute, lonely_mute, stall, .. } = self.timing;
        let late = |error: &io::Error| error.raw_os_error() == Some(libc::ETIMEDOUT);
        let waited = self.ending.wait_or(stream, Some(mute));
        if !waited.as_ref().is_err_and(late) {
            return waited;
        }
        let heard = *lock(&self.heard);
        match heard.is_some_and(|heard| heard.elapsed() < stall) {
            true => waited,
            false => self.ending.wait_or(stream, Some(lonely_mute.saturating_sub(mute))),
        }
    }

    /// Sets what a new stream needs, and shows the hello, where there is one to show.
    fn begin(&self, joined: &Joined<'_>) -> std::result::Result<(), Halt> {
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
        match self.ending.reason() {
            Some(_) => Err(Halt::Tell(ErrorCode::Session, "the session has ended")),
            None => Ok(()),
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
            ErrorCode::Read => Stop::Fatal(Error::new(ExitCode::System, text)),
            ErrorCode::Version
            | ErrorCode::Request
            | ErrorCode::Session
            | ErrorCode::Left
            | ErrorCode::Other(_) => Stop::Broken(io::Error::other(text)),
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
                // What carried a stream that was dialled can go on: it is not shut.
                if joined.hello.is_some() {
                    joined.link.open().remove(joined.number);
                }
                self.settle(Ok(()));
                Stop::Over
            }
            Err(Halt::Left) => {
                let text = "the client has given up the rest";
                Stop::Fatal(Error::new(ExitCode::Network, text))
            }
            Err(Halt::Unneeded) => {
                let _ = close(joined.stream, self.timing);
                Stop::Unneeded
            }
            Err(Halt::Broken(error)) => Stop::Broken(error),
            Err(Halt::Refused(ErrorCode::Version)) => {
                Stop::Fatal(Error::protocol("the receiver speaks another version"))
            }
            Err(Halt::Refused(ErrorCode::Session)) => {
                Stop::Broken(io::Error::new(io::ErrorKind::NotFound, "no such session"))
            }
            Err(Halt::Refused(_)) => Stop::Broken(io::Error::other("the receiver ends the stream")),
            Err(Halt::Tell(code, text)) => self.tell(joined.stream, code, text),
        }
    }

    fn wants(&self, number: usize) -> bool {
        number < usize::from(self.wishes.streams())
    }

    fn notice(&self, number: usize, event: Event) {
        if event == Event::Reopened {
            self.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        self.recorder.iter().for_each(|recorder| recorder.notice(number, event));
    }

    fn fail(&self, error: Error) {
        self.settle(Err(error));
    }

    /// The stream is closed; the peer may open another.
    fn violated(&self, _what: &str) {}

    /// No stream waits for its share of the rate any more, or for input.
    fn close(&self) {
        if let Content::Feed(feed) = &self.content {
            feed.close();
        }
        self.throttle.rate.iter().for_each(|rate| Rate::lift(rate));
    }
}
