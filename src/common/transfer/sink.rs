//! The sink: wants the bytes, asks for ranges on every stream, checks what comes and stores it.
//! Beside the streams, threads check what an earlier run left, make the MD5, and sync.

#![forbid(unsafe_code)]

mod audit;
mod channel;
mod checkpoint;
mod delta;
mod follower;
mod health;
mod pool;
mod run;
mod search;
mod stream;
pub mod tree;
mod work;

use self::work::{Parts, Plan, Work, start_thread};
use super::link::acceptor::Acceptor;
use super::link::dialler::Dialler;
use super::link::token::Token;
use super::link::{End, Joined, Link, Stop, Terms};
use super::queue::rate::Rate;
use super::queue::window::block_size;
use super::queue::{self, Progress, Queue};
use super::store::{Kept, Store};
use super::timing::Timing;
use super::trace::{Position, Recorder};
use crate::codec::message::report::{Mended, Report, Tally};
use crate::codec::message::verify::Verify;
use crate::codec::wire::{HASH_UNIT, OPEN_WINDOW};
use crate::error::{Error, Result};
use crate::hash::hex;
use delta::Delta;
use health::Health;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};
use stream::Conversation;

/// Why a file is not taken that is larger than allowed.
const TOO_LARGE: &str = "the file is larger than this server takes";

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
    /// What holds the streams to a limit.
    pub rate: Option<Arc<Rate>>,
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

/// A sink of one file at work: what its threads share.
pub struct Sink {
    wanted: Wanted,
    /// Whether the source says only at the end how many bytes there are.
    is_open_ended: bool,
    queue: Queue,
    /// What an older file may have of the new one.
    delta: Option<Delta>,
    recorder: Option<Recorder>,
    health: Health,
    /// When the last byte had come.
    last_byte: OnceLock<Instant>,
}

impl Sink {
    /// A sink that has received nothing.
    pub fn new(wanted: Wanted, timing: Timing) -> Sink {
        let (size, room) = (wanted.size, wanted.store.room());
        Sink::of_size(wanted, size, room, timing)
    }

    /// The same of something whose size the source does not know before its end, and which it
    /// cannot read again. Its `size` is the most that is taken.
    pub fn open_ended(wanted: Wanted, timing: Timing) -> Sink {
        // One byte more shows that there is more than that.
        let size = wanted.size.saturating_add(1);
        Sink { is_open_ended: true, ..Sink::of_size(wanted, size, Some(OPEN_WINDOW), timing) }
    }

    fn of_size(mut wanted: Wanted, size: u64, room: Option<u64>, timing: Timing) -> Sink {
        let basis = match &mut wanted.store {
            Store::Kept(kept) => kept.basis.take(),
            Store::Piped(_) => None,
        };
        let delta = basis.and_then(|basis| Delta::new(basis).ok());
        let piece = match delta {
            Some(_) => wanted.block(0).next_multiple_of(HASH_UNIT),
            None => wanted.block(0),
        };
        let mut queue = Queue::new(size, piece, &wanted.store.held());
        queue = match delta {
            Some(_) => queue.with_timing(&timing.with_hashes()).with_aligned_pieces(),
            None => queue.with_timing(&timing),
        };
        if let Some(room) = room {
            queue = queue.with_room(room);
        }
        Sink {
            recorder: wanted.trace.then(Recorder::default),
            wanted,
            is_open_ended: false,
            queue,
            delta,
            health: Health::new(timing),
            last_byte: OnceLock::new(),
        }
    }

    /// Receives everything over streams that `dialler` opens. `report` gets progress, and word
    /// when a session is lost.
    ///
    /// # Errors
    /// The first failure that ended the transfer.
    pub fn dial(&self, dialler: &Dialler, report: impl FnMut(Report)) -> Result<Report> {
        run::dial(self, dialler, report)
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
        run::accept(self, acceptor, token, report)
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

impl Work for Sink {
    type Threads<'scope> = Threads<'scope>;

    fn terms_of(&self, number: usize) -> Terms {
        Terms {
            max_block: self.wanted.block(number),
            unchecked: self.wanted.verify == Verify::None,
            from_source: false,
        }
    }

    fn speak(&self, joined: &Joined<'_>) -> Stop {
        Conversation::new(self, joined).run()
    }

    fn release(&self, number: usize) {
        self.queue.release(number);
    }

    fn abort(&self) {
        self.queue.abort();
    }

    fn parts(&self) -> Parts<'_> {
        let Wanted { streams, grows, .. } = self.wanted;
        Parts {
            health: &self.health,
            recorder: self.recorder.as_ref(),
            rate: self.wanted.rate.as_deref(),
            plan: Plan { streams, grows },
        }
    }

    fn most_streams(&self) -> u8 {
        self.wanted.most_streams()
    }

    fn start_threads<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        link: &'scope dyn Link,
        threads: &mut Threads<'scope>,
    ) -> Result<()> {
        let mut name = "out";
        if let Store::Kept(kept) = &self.wanted.store {
            if !kept.contents.is_empty() {
                let run = || self.guarded(|| audit::run(&self.queue, kept, || {}));
                start_thread(scope, "audit", run)?;
            }
            if kept.sync {
                let run = || self.guarded(|| self.keep_durable(kept));
                threads.checkpoint = Some(start_thread(scope, "checkpoint", run)?);
            }
            // Where the source keeps a window, it hears how far this end has come without a gap.
            if self.wanted.verify != Verify::Md5 && !self.is_open_ended {
                return Ok(());
            }
            name = "md5";
        }
        let (result, follower) = mpsc::channel();
        start_thread(scope, name, move || {
            let _ = result.send(self.guarded(|| follower::run(self, link)).flatten());
        })?;
        threads.follower = Some(follower);
        Ok(())
    }

    fn wait_for_end(&self) -> bool {
        self.queue.wait_for_end(self.health.timing.report)
    }

    fn is_complete(&self) -> bool {
        self.queue.end() == Some(queue::End::Complete)
    }

    fn is_over(&self) -> bool {
        self.queue.end().is_some()
    }

    fn reports(&self, report: &mut dyn FnMut(Report)) {
        report(self.progress());
        self.take_slice().map(report);
    }

    fn same(&self) -> u64 {
        self.delta.as_ref().map_or(0, Delta::same)
    }

    fn has_ended(&self) {
        let _ = self.last_byte.set(Instant::now());
    }

    fn finish(
        &self,
        threads: Threads<'_>,
        link: &dyn Link,
        report: &mut dyn FnMut(Report),
    ) -> Result<Report> {
        let md5 = threads.follower.and_then(|follower| {
            loop {
                match follower.recv_timeout(self.health.timing.report) {
                    Ok(md5) => break md5,
                    Err(RecvTimeoutError::Timeout) => report(self.progress()),
                    Err(RecvTimeoutError::Disconnected) => break None,
                }
            }
        });
        report(self.progress()); // the MD5 is made: now the parent waits for the server's
        // No other thread hears of a sync that fails now.
        threads.checkpoint.map(ScopedJoinHandle::join);
        self.take_slice().map(report);
        let lag = self.last_byte.get().map_or(Duration::ZERO, Instant::elapsed);
        self.outcome(md5, lag, link.shares_port())
    }
}

impl Sink {
    /// Makes checkpoints until the end.
    fn keep_durable(&self, kept: &Kept) {
        if let Err(error) = checkpoint::run(&self.queue, kept, self.health.timing.checkpoint) {
            self.fail(Error::system(&self.wanted.shown, &error));
        }
    }

    /// What was recorded since the last call, where that is wanted.
    fn take_slice(&self) -> Option<Report> {
        let recorder = self.recorder.as_ref()?;
        let Progress { prefix, followed, .. } = self.queue.progress();
        let hashed = followed.filter(|_| self.wanted.verify == Verify::Md5);
        Some(Report::Trace(recorder.take(Position { prefix, hashed, files: None })))
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
            ..self.health.meter.read().tally(self.is_over())
        })
    }

    /// What came of it, after all threads but the streams have ended.
    fn outcome(
        &self,
        md5: Option<[u8; 16]>,
        md5_lag: Duration,
        single_port: bool,
    ) -> Result<Report> {
        match (self.health.take_failure(), self.queue.end()) {
            (Some(error), _) => Err(error),
            (None, Some(queue::End::Complete))
                if self.wanted.verify != Verify::Md5 || md5.is_some() =>
            {
                // Streams that did not help do not count.
                let streams = self.health.meter.read().peak.min(self.health.streams().into());
                let progress = self.queue.progress();
                let (bytes, again) = (self.queue.size(), progress.repeats);
                let same = self.same();
                let tally =
                    Tally { bytes, streams, offset: bytes, again, same, ..Tally::default() };
                let (bad_blocks, reconnects) = self.health.faults();
                let mended = Mended {
                    bad_blocks,
                    reconnects,
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
