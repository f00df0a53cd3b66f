//! The sink: wants the bytes, asks for ranges on every stream, checks what comes and stores it.
//! Beside the streams, threads check what an earlier run left, make the MD5, and sync.

#![forbid(unsafe_code)]

mod audit;
mod checkpoint;
mod delta;
mod follower;
mod pool;
mod stream;

use super::link::acceptor::Acceptor;
use super::link::dialler::Dialler;
use super::link::hello::{Accepted, Greeter};
use super::link::token::Token;
use super::link::{End, Event, Joined, Link, Stop, Terms};
use super::meter::Meter;
use super::queue::rate::Rate;
use super::queue::window::block_size;
use super::queue::{self, Progress, Queue};
use super::store::Store;
use super::timing::Timing;
use super::trace::{Mark, Position, Recorder};
use crate::codec::message::report::{Mended, Report, Tally};
use crate::codec::message::verify::Verify;
use crate::codec::wire::HASH_UNIT;
use crate::error::{Error, ExitCode, Result};
use crate::hash::hex;
use crate::sys::sync::lock;
use crate::sys::thread;
use delta::Delta;
use pool::Pool;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};
use stream::{Conversation, FLOOR_BLOCKS};

/// Blocks without a good one between them after which the transfer is given up.
const MAX_BAD_IN_A_ROW: u32 = 100;

/// What is to be received, and how.
pub struct Wanted {
    /// Bytes of the file.
    pub size: u64,
    /// How many streams; where it grows, the most.
    pub streams: u8,
    /// Whether to find out how many streams it should have.
    pub grows: bool,
    /// How to check.
    pub verify: Verify,
    /// Bytes per second at most, and what holds the streams to it.
    pub limit: Option<u64>,
    /// The same, for the streams to share.
    pub rate: Option<Rate>,
    /// Whether to report what each stream does.
    pub trace: bool,
    /// The output's name for error messages, escaped.
    pub shown: String,
    /// Where it goes.
    pub store: Store,
}

impl Wanted {
    /// A stream more than there are blocks has nothing to do.
    fn most_streams(&self) -> u8 {
        let blocks = self.size.div_ceil(self.block(0).into());
        u8::try_from(blocks).unwrap_or(u8::MAX).max(1)
    }

    /// Bytes of a block on stream `number`. Where more streams may come, the first streams
    /// keep their block size; but not where what waits to go out needs the memory.
    fn block(&self, number: usize) -> u32 {
        match &self.store {
            Store::Kept(_) if self.grows => block_size(u8::try_from(number + 1).unwrap_or(u8::MAX)),
            _ => block_size(self.streams),
        }
    }
}

/// A sink at work: what its threads share.
pub struct Sink {
    wanted: Wanted,
    timing: Timing,
    queue: Queue,
    /// What an older file may have of the new one.
    delta: Option<Delta>,
    meter: Meter,
    recorder: Option<Recorder>,
    bad_in_a_row: AtomicU32,
    /// Bytes that have come from the network: counts on from 0 when it is full.
    arrived: AtomicUsize,
    /// How many streams there should be now: those with smaller numbers.
    streams: AtomicU32,
    health: Mutex<Health>,
}

/// What went wrong so far, and how well the streams move.
#[derive(Default)]
struct Health {
    failure: Option<Error>,
    bad_blocks: u64,
    reconnects: u64,
    last_good: Option<Instant>,
    /// What `arrived` said last, and since when that is so.
    arrived: usize,
    last_byte: Option<Instant>,
    /// How long an answer takes, by stream.
    answers: HashMap<usize, Duration>,
}

/// The streams of a sink, while they may come.
enum Streams<'scope> {
    Dialled(Pool<'scope>),
    /// Called at the end: the acceptor takes no stream any more.
    Accepted(Box<dyn FnOnce() + 'scope>),
}

impl Sink {
    /// A sink that has received nothing.
    pub fn new(mut wanted: Wanted, timing: Timing) -> Sink {
        let basis = match &mut wanted.store {
            Store::Kept(kept) => kept.basis.take(),
            Store::Piped(_) => None,
        };
        let delta = basis.and_then(|basis| Delta::new(basis).ok());
        let piece = match delta {
            Some(_) => wanted.block(0).next_multiple_of(HASH_UNIT),
            None => wanted.block(0),
        };
        let mut queue = Queue::new(wanted.size, piece, &wanted.store.held()).with_timing(&timing);
        if delta.is_some() {
            queue = queue.with_aligned_pieces();
        }
        if let Some(room) = wanted.store.room() {
            queue = queue.with_room(room);
        }
        Sink {
            recorder: wanted.trace.then(Recorder::default),
            wanted,
            timing,
            queue,
            delta,
            meter: Meter::default(),
            bad_in_a_row: AtomicU32::new(0),
            arrived: AtomicUsize::new(0),
            streams: AtomicU32::new(0),
            health: Mutex::default(),
        }
    }

    /// Receives everything over streams that `dialler` opens. `report` gets progress, and word
    /// when a session is lost.
    ///
    /// # Errors
    /// The first failure that ended the transfer.
    pub fn dial(&self, dialler: &Dialler, report: impl FnMut(Report)) -> Result<Report> {
        std::thread::scope(|scope| {
            let start = || Pool::start(scope, self, dialler).map(Streams::Dialled);
            self.run(scope, dialler, start, report)
        })
    }

    /// Receives everything over streams that come to `acceptor` and show `token`.
    ///
    /// # Errors
    /// The first failure that ended the transfer; no stream came.
    pub fn accept(
        &self,
        acceptor: Acceptor,
        token: &Token,
        report: impl FnMut(Report),
    ) -> Result<Report> {
        let accepted = &*Accepted::new(self.wanted.streams);
        let greeter = &Greeter {
            end: self,
            is_sink: true,
            token,
            accepted,
            timing: self.timing,
            told_until: &|| None,
        };
        std::thread::scope(|scope| {
            let start = || {
                self.want(self.wanted.streams);
                let entrance = acceptor.entrance();
                let serve = move || match acceptor.serve(greeter, &mut || {}) {
                    Err(error) if self.queue.end().is_none() => self.fail(error),
                    // This sink has heard of it, or has everything.
                    Ok(()) | Err(_) => {}
                };
                start_thread(scope, "acceptor", serve)?;
                Ok(Streams::Accepted(Box::new(move || entrance.close())))
            };
            self.run(scope, accepted, start, report)
        })
    }

    /// Starts every thread, waits for the end of the queue, and ends what is left.
    fn run<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        link: &'scope dyn Link,
        start_streams: impl FnOnce() -> Result<Streams<'scope>>,
        mut report: impl FnMut(Report),
    ) -> Result<Report> {
        let mut threads = Threads::default();
        let started = threads.start(scope, self, link).and_then(|()| start_streams());
        let mut streams = started.map_err(|error| self.fail(error)).ok();
        while !self.queue.wait_for_end(self.timing.report) {
            if let Some(text) = link.take_loss() {
                report(Report::Lost { text });
            }
            report(self.progress());
            self.take_slice().map(&mut report);
            self.look_whether_bytes_come(link);
            if let Some(Streams::Dialled(pool)) = &mut streams {
                pool.adjust(scope, self);
            }
        }
        let last_byte = Instant::now();
        report(self.progress()); // the parent may show that the MD5 is waited for
        self.take_slice().map(&mut report);
        if let Some(recorder) = &self.recorder {
            recorder.end();
        }
        self.end_streams(link, streams);
        let md5 = threads.follower.and_then(|follower| {
            loop {
                match follower.recv_timeout(self.timing.report) {
                    Ok(md5) => break md5,
                    Err(RecvTimeoutError::Timeout) => report(self.progress()),
                    Err(RecvTimeoutError::Disconnected) => break None,
                }
            }
        });
        report(self.progress()); // the MD5 is made: now the parent waits for the server's
        // No other thread hears of a sync that fails now.
        threads.checkpoint.map(ScopedJoinHandle::join);
        self.take_slice().map(&mut report);
        self.outcome(md5, last_byte.elapsed(), link.shares_port())
    }

    /// Ends every stream. The source hears that it is not needed any more, where that is so.
    fn end_streams(&self, link: &dyn Link, streams: Option<Streams<'_>>) {
        let complete = self.queue.end() == Some(queue::End::Complete);
        link.end(complete.then(|| self.terms(0)));
        if let Some(Streams::Accepted(close)) = streams {
            close();
        }
        self.close();
    }
}

/// The threads whose end counts, beside the streams.
#[derive(Default)]
struct Threads<'scope> {
    /// The result of the thread that follows the prefix, for the MD5 or to give the bytes
    /// out; `None` without such a thread.
    follower: Option<mpsc::Receiver<Option<[u8; 16]>>>,
    checkpoint: Option<ScopedJoinHandle<'scope, Option<()>>>,
}

impl<'scope> Threads<'scope> {
    /// Starts every thread.
    fn start<'env>(
        &mut self,
        scope: &'scope Scope<'scope, 'env>,
        sink: &'scope Sink,
        link: &'scope dyn Link,
    ) -> Result<()> {
        let mut name = "out";
        if let Store::Kept(kept) = &sink.wanted.store {
            if !kept.contents.is_empty() {
                start_thread(scope, "audit", || sink.guarded(|| audit::run(sink, kept)))?;
            }
            if kept.sync {
                let run = || sink.guarded(|| checkpoint::run(sink, kept));
                self.checkpoint = Some(start_thread(scope, "checkpoint", run)?);
            }
            if sink.wanted.verify != Verify::Md5 {
                return Ok(());
            }
            name = "md5";
        }
        let (result, follower) = mpsc::channel();
        start_thread(scope, name, move || {
            let _ = result.send(sink.guarded(|| follower::run(sink, link)).flatten());
        })?;
        self.follower = Some(follower);
        Ok(())
    }
}

/// Starts one thread.
fn start_thread<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    thread::spawn_scoped(scope, name, run).map_err(|error| Error::system("thread", &error))
}

impl End for Sink {
    fn terms(&self, number: usize) -> Terms {
        Terms {
            max_block: self.wanted.block(number),
            unchecked: self.wanted.verify == Verify::None,
            from_source: false,
        }
    }

    /// A conversation that panics ends the transfer: what it had taken from the queue would be
    /// missing for ever.
    fn converse(&self, joined: &Joined<'_>) -> Stop {
        self.guarded(|| Conversation::new(self, joined).run()).unwrap_or(Stop::Over)
    }

    fn wants(&self, number: usize) -> bool {
        number < usize::from(self.streams())
    }

    fn notice(&self, number: usize, event: Event) {
        match event {
            Event::Opened => self.record(|to| to.opened(number)),
            Event::Reopened => {
                lock(&self.health).reconnects += 1;
                self.record(|to| to.mark(number, Mark::Reopened));
            }
            Event::Closed => {
                self.queue.release(number);
                self.record(|to| to.closed(number));
            }
            Event::Broken => self.record(|to| to.mark(number, Mark::Broken)),
            Event::Stalled => self.record(|to| to.mark(number, Mark::Stalled)),
        }
    }

    fn fail(&self, error: Error) {
        lock(&self.health).failure.get_or_insert(error);
        self.queue.abort();
    }

    fn violated(&self, what: &str) {
        self.bad_block(false, what);
    }

    /// No stream waits for the queue or for its share of the rate any more.
    fn close(&self) {
        if self.queue.end().is_none() {
            self.fail(Error::new(ExitCode::Network, "no stream is accepted any more"));
        }
        self.wanted.rate.iter().for_each(Rate::lift);
    }
}

impl Sink {
    /// Runs what a thread does. `None` for a thread that panics, which ends the transfer.
    fn guarded<T>(&self, run: impl FnOnce() -> T) -> Option<T> {
        let done = thread::contained(run);
        if done.is_none() {
            self.fail(Error::internal("a thread died"));
        }
        done
    }

    /// How many streams there should be now.
    fn streams(&self) -> u8 {
        u8::try_from(self.streams.load(Ordering::Relaxed)).unwrap_or(u8::MAX)
    }

    /// So many there should be from now on.
    fn want(&self, streams: u8) {
        self.streams.store(streams.into(), Ordering::Relaxed);
    }

    /// Records something, where that is wanted. That streams are closed at the end is not
    /// recorded.
    fn record(&self, record: impl FnOnce(&Recorder)) {
        if let Some(recorder) = self.recorder.as_ref().filter(|_| self.queue.end().is_none()) {
            record(recorder);
        }
    }

    /// What was recorded since the last call, where that is wanted.
    fn take_slice(&self) -> Option<Report> {
        let recorder = self.recorder.as_ref()?;
        let Progress { prefix, followed, .. } = self.queue.progress();
        let hashed = followed.filter(|_| self.wanted.verify == Verify::Md5);
        Some(Report::Trace(recorder.take(Position { prefix, hashed })))
    }

    /// A block was good. Called for each, so it takes no lock.
    fn good_block(&self) {
        if self.bad_in_a_row.load(Ordering::Relaxed) > 0 {
            self.bad_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Blocks of stream `number` are good, and an answer takes this long: called now and
    /// then while they are.
    fn keeps_moving(&self, number: usize, answer: Option<Duration>) {
        let mut health = lock(&self.health);
        health.last_good = Some(Instant::now());
        health.answers.extend(answer.map(|answer| (number, answer)));
    }

    /// How long an answer may take for a stream that has had none: as long as the slowest
    /// of the others takes for what it has asked for at first. While no stream has had one,
    /// bytes that come are those of a slow path; to ask for them again would only make it
    /// slower.
    fn expected_answer(&self) -> Duration {
        let health = lock(&self.health);
        let slowest = health.answers.values().max().map(|slowest| *slowest * FLOOR_BLOCKS);
        let flows = health.last_byte.is_some_and(|last| last.elapsed() < self.timing.flow);
        let Timing { first_answer, slow_answer, .. } = self.timing;
        slowest.unwrap_or(if flows { slow_answer } else { first_answer })
    }

    /// Notes down whether anything has come since the last call. To be called several times
    /// a second.
    fn look_whether_bytes_come(&self, link: &dyn Link) {
        let arrived = self.arrived.load(Ordering::Relaxed);
        let mut health = lock(&self.health);
        if std::mem::replace(&mut health.arrived, arrived) != arrived {
            health.last_byte = Some(Instant::now());
            drop(health);
            // However long it takes until they are a block.
            link.is_alive();
        }
    }

    /// Counts a block that was not good, or a stream that broke the protocol.
    fn bad_block(&self, damaged: bool, what: &str) {
        lock(&self.health).bad_blocks += u64::from(damaged);
        if self.bad_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_BAD_IN_A_ROW {
            let text = format!("{MAX_BAD_IN_A_ROW} bad blocks in a row, the last one: {what}");
            self.fail(Error::new(ExitCode::Integrity, text));
        }
    }

    /// Whether any stream has brought something in the last `limit`.
    fn others_move(&self, limit: Duration) -> bool {
        lock(&self.health).last_good.is_some_and(|last| last.elapsed() < limit)
    }

    /// Bytes that an older file had.
    fn same(&self) -> u64 {
        self.delta.as_ref().map_or(0, Delta::same)
    }

    fn progress(&self) -> Report {
        let progress = self.queue.progress();
        let hashed = progress.followed.filter(|_| self.wanted.verify == Verify::Md5);
        Report::Progress(Tally {
            bytes: progress.done + progress.held,
            again: progress.repeats,
            held: progress.held,
            same: self.same(),
            hashed,
            ..self.meter.read().into()
        })
    }

    /// What came of it, after all threads but the streams have ended.
    fn outcome(
        &self,
        md5: Option<[u8; 16]>,
        md5_lag: Duration,
        single_port: bool,
    ) -> Result<Report> {
        let mut health = lock(&self.health);
        match (health.failure.take(), self.queue.end()) {
            (Some(error), _) => Err(error),
            (None, Some(queue::End::Complete))
                if self.wanted.verify != Verify::Md5 || md5.is_some() =>
            {
                // Streams that did not help do not count.
                let streams = self.meter.read().peak.min(self.streams().into());
                let progress = self.queue.progress();
                let (bytes, again) = (self.wanted.size, progress.repeats);
                let same = self.same();
                let tally =
                    Tally { bytes, streams, offset: bytes, again, same, ..Tally::default() };
                let mended = Mended {
                    bad_blocks: health.bad_blocks,
                    reconnects: health.reconnects,
                    asked_again: progress.asked_again,
                    md5_lag_ms: md5_lag.as_millis() as u64,
                    single_port,
                };
                Ok(Report::Done { tally, md5: md5.map(|md5| hex(&md5)), mended })
            }
            (None, _) => Err(Error::internal("nothing came of it")),
        }
    }
}
