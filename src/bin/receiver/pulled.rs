//! The receiver of the ropewalk protocol: starts and ends the threads that pull ranges into the
//! part file, hash it, check what an earlier run left, and sync it.

#![forbid(unsafe_code)]

mod audit;
mod checkpoint;
mod crew;
mod follower;
mod lane;
mod route;
pub(crate) mod session;
pub(crate) mod sessions;
mod store;
mod stream;

pub(crate) use store::{Kept, Store};

use crew::Crew;
use ropewalk::app::SMALL_STACK;
use ropewalk::app::report::{Mended, REPORT_INTERVAL, Report, Tally};
use ropewalk::codec::wire::Hello;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::hash::hex;
use ropewalk::sys::sync::lock;
use ropewalk::transfer::meter::Meter;
use ropewalk::transfer::queue::{End, Progress, Queue};
use ropewalk::transfer::rate::Rate;
use ropewalk::transfer::trace::{Recorder, Standing};
use ropewalk::transfer::window::block_size;
use sessions::Sessions;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};
use stream::FLOOR_BLOCKS;

/// Blocks without a good one between them after which the transfer is given up.
const MAX_BAD_IN_A_ROW: u32 = 100;

/// How long an answer takes where nobody can know: while nothing comes, and while
/// something does.
const FIRST_PACE: Duration = Duration::from_secs(1);
const SLOW_PACE: Duration = Duration::from_secs(15);

/// Bytes come, when one has come in this time.
const FLOW_TIME: Duration = Duration::from_secs(5);

/// How the bytes are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    /// A CRC32C of each block, and the MD5 of the whole.
    Md5,
    /// A CRC32C of each block.
    Crc32c,
    /// Not at all.
    None,
}

/// What a client wants received.
pub(crate) struct Job {
    /// Bytes of the file.
    pub(crate) size: u64,
    /// How many streams; where it grows, the most.
    pub(crate) threads: u8,
    /// Whether to find out how many streams it should have.
    pub(crate) grows: bool,
    /// How to check.
    pub(crate) verify: Verify,
    /// Bytes per second at most, and what holds the streams to it.
    pub(crate) limit: Option<u64>,
    pub(crate) rate: Option<Rate>,
    /// Whether to report what each stream does.
    pub(crate) trace: bool,
    /// The output's name for error messages, escaped.
    pub(crate) shown: String,
    /// Where it goes.
    pub(crate) store: Store,
}

/// What the threads share.
struct Shared {
    job: Job,
    queue: Queue,
    meter: Meter,
    recorder: Option<Recorder>,
    sessions: Arc<Sessions>,
    bad_in_a_row: AtomicU32,
    /// Bytes that have come from the network: counts on from 0 when it is full.
    arrived: AtomicUsize,
    /// How many streams there should be now: those with smaller numbers.
    wanted: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failure: Option<Error>,
    bad_blocks: u64,
    reconnects: u64,
    last_good: Option<Instant>,
    /// What `arrived` said last, and since when that is so.
    arrived: usize,
    last_byte: Option<Instant>,
    /// How long an answer takes, by stream.
    paces: HashMap<usize, Duration>,
}

/// Receives the whole file. `report` gets progress, and word when a session is lost.
pub(crate) fn receive(
    job: Job,
    sessions: Arc<Sessions>,
    mut report: impl FnMut(Report),
) -> Result<Report> {
    let mut queue = Queue::new(job.size, job.block(0), &job.store.held());
    if let Some(room) = job.store.room() {
        queue = queue.with_room(room);
    }
    let shared = Shared {
        recorder: job.trace.then(Recorder::default),
        job,
        queue,
        meter: Meter::default(),
        sessions,
        bad_in_a_row: AtomicU32::new(0),
        arrived: AtomicUsize::new(0),
        wanted: AtomicU32::new(0),
        state: Mutex::default(),
    };
    std::thread::scope(|scope| {
        let mut threads = Threads::default();
        if let Err(error) = threads.start(scope, &shared) {
            shared.fail(error);
        }
        while !shared.queue.wait_for_end(REPORT_INTERVAL) {
            if let Some(text) = shared.sessions.take_loss() {
                report(Report::Lost { text });
            }
            report(shared.progress());
            shared.take_slice().map(&mut report);
            shared.look_whether_bytes_come();
            if let Some(crew) = &mut threads.crew {
                crew.adjust(scope, &shared);
            }
        }
        let last_byte = Instant::now();
        report(shared.progress()); // the parent may show that the MD5 is waited for
        shared.take_slice().map(&mut report);
        if let Some(recorder) = &shared.recorder {
            recorder.end();
        }
        let complete = shared.queue.end() == Some(End::Complete);
        if complete {
            shared.sessions.take_leave(&shared.hello(0));
        }
        shared.sessions.end(complete);
        shared.job.rate.iter().for_each(Rate::lift);
        let md5 = threads.follower.and_then(|follower| {
            loop {
                match follower.recv_timeout(REPORT_INTERVAL) {
                    Ok(md5) => break md5,
                    Err(RecvTimeoutError::Timeout) => report(shared.progress()),
                    Err(RecvTimeoutError::Disconnected) => break None,
                }
            }
        });
        report(shared.progress()); // the MD5 is made: now the parent waits for the server's
        // A sync that fails now is told to nobody else.
        threads.checkpoint.map(ScopedJoinHandle::join);
        shared.take_slice().map(&mut report);
        shared.outcome(md5, last_byte.elapsed())
    })
}

/// The threads whose end counts.
#[derive(Default)]
struct Threads<'scope> {
    crew: Option<Crew<'scope>>,
    /// What comes of following the prefix, where a thread does that: for the MD5, or to
    /// give the bytes out.
    follower: Option<mpsc::Receiver<Option<[u8; 16]>>>,
    checkpoint: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<'scope> Threads<'scope> {
    /// Starts every thread.
    fn start<'env>(
        &mut self,
        scope: &'scope Scope<'scope, 'env>,
        shared: &'scope Shared,
    ) -> Result<()> {
        self.crew = Some(Crew::start(scope, shared)?);
        let mut name = "out";
        if let Store::Kept(kept) = &shared.job.store {
            if !kept.contents.is_empty() {
                spawn(scope, "audit", || shared.guarded(|| audit::run(shared, kept)))?;
            }
            if kept.sync {
                let run = || shared.guarded(|| checkpoint::run(shared, kept));
                self.checkpoint = Some(spawn(scope, "checkpoint", run)?);
            }
            if shared.job.verify != Verify::Md5 {
                return Ok(());
            }
            name = "md5";
        }
        let (result, follower) = mpsc::channel();
        spawn(scope, name, move || {
            let _ = result.send(shared.guarded(|| follower::run(shared)));
        })?;
        self.follower = Some(follower);
        Ok(())
    }
}

/// Starts one thread.
fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    run: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let thread = Builder::new().name(name.into()).stack_size(SMALL_STACK);
    thread.spawn_scoped(scope, run).map_err(|error| Error::system("thread", &error))
}

impl Job {
    /// A stream more than there are blocks has nothing to do.
    fn most_streams(&self) -> u8 {
        let blocks = self.size.div_ceil(self.block(0).into());
        u8::try_from(blocks).unwrap_or(u8::MAX).max(1)
    }

    /// Bytes of a block on stream `number`. Where more streams may come, those that are
    /// there already keep theirs; but not where what waits to go out needs the memory.
    fn block(&self, number: usize) -> u32 {
        match &self.store {
            Store::Kept(_) if self.grows => block_size(u8::try_from(number + 1).unwrap_or(u8::MAX)),
            _ => block_size(self.threads),
        }
    }
}

impl Shared {
    /// Ends the transfer with `error`, unless it has ended already.
    fn fail(&self, error: Error) {
        lock(&self.state).failure.get_or_insert(error);
        self.queue.abort();
    }

    /// Runs what a thread does; one that panics ends the transfer, since what it had
    /// taken from the queue would be missing for ever.
    fn guarded<T>(&self, run: impl FnOnce() -> T) -> T {
        struct Guard<'a>(&'a Shared);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.fail(Error::new(ExitCode::System, "internal error: a thread died"));
                }
            }
        }
        let _guard = Guard(self);
        run()
    }

    /// How many streams there should be now.
    fn wanted(&self) -> u8 {
        u8::try_from(self.wanted.load(Ordering::Relaxed)).unwrap_or(u8::MAX)
    }

    /// So many there should be from now on.
    fn want(&self, streams: u8) {
        self.wanted.store(streams.into(), Ordering::Relaxed);
    }

    /// Whether stream `number` should be there.
    fn needs(&self, number: usize) -> bool {
        number < usize::from(self.wanted())
    }

    /// Records something, where that is wanted. That streams are closed at the end is none.
    fn record(&self, record: impl FnOnce(&Recorder)) {
        if let Some(recorder) = self.recorder.as_ref().filter(|_| self.queue.end().is_none()) {
            record(recorder);
        }
    }

    /// What was recorded since the last call, where that is wanted.
    fn take_slice(&self) -> Option<Report> {
        let recorder = self.recorder.as_ref()?;
        let Progress { prefix, followed, .. } = self.queue.progress();
        let hashed = followed.filter(|_| self.job.verify == Verify::Md5);
        Some(Report::Trace(recorder.take(Standing { prefix, hashed })))
    }

    /// A block was good. Called for each, so it takes no lock.
    fn good_block(&self) {
        if self.bad_in_a_row.load(Ordering::Relaxed) > 0 {
            self.bad_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Blocks of stream `number` are good, and an answer takes this long: called now and
    /// then while they are.
    fn keeps_moving(&self, number: usize, generation: u64, pace: Option<Duration>) {
        let mut state = lock(&self.state);
        state.last_good = Some(Instant::now());
        state.paces.extend(pace.map(|pace| (number, pace)));
        drop(state);
        self.sessions.is_good(generation);
    }

    /// How long an answer may take for a stream that has had none: as long as the slowest
    /// of the others takes for what it has asked for at first. Where there is none either, a
    /// second; but while bytes come they are those of a slow path, and to ask for them again
    /// would only make it slower.
    fn pace(&self) -> Duration {
        let state = lock(&self.state);
        let slowest = state.paces.values().max().copied();
        let flows = state.last_byte.is_some_and(|last| last.elapsed() < FLOW_TIME);
        let slowest = slowest.map(|pace| pace * FLOOR_BLOCKS);
        slowest.unwrap_or(if flows { SLOW_PACE } else { FIRST_PACE })
    }

    /// Notes down whether anything has come since the last call. To be called several times
    /// a second.
    fn look_whether_bytes_come(&self) {
        let arrived = self.arrived.load(Ordering::Relaxed);
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.arrived, arrived) != arrived {
            state.last_byte = Some(Instant::now());
            drop(state);
            self.sessions.flows();
        }
    }

    /// What stream `number` begins with.
    fn hello(&self, number: usize) -> Hello {
        Hello {
            token: self.sessions.token().bytes(),
            max_block: self.job.block(number),
            unchecked: self.job.verify == Verify::None,
        }
    }

    /// Counts a block that was not, or a stream that broke the protocol.
    fn bad_block(&self, damaged: bool, what: &str) {
        lock(&self.state).bad_blocks += u64::from(damaged);
        if self.bad_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_BAD_IN_A_ROW {
            let text = format!("{MAX_BAD_IN_A_ROW} bad blocks in a row, the last one: {what}");
            self.fail(Error::new(ExitCode::Integrity, text));
        }
    }

    /// Whether any stream has brought something in the last `limit`.
    fn others_move(&self, limit: Duration) -> bool {
        lock(&self.state).last_good.is_some_and(|last| last.elapsed() < limit)
    }

    fn count_reconnect(&self) {
        lock(&self.state).reconnects += 1;
    }

    fn progress(&self) -> Report {
        let progress = self.queue.progress();
        let hashed = progress.followed.filter(|_| self.job.verify == Verify::Md5);
        Report::Progress(Tally {
            bytes: progress.done + progress.held,
            again: progress.repeats,
            held: progress.held,
            hashed,
            ..self.meter.read().into()
        })
    }

    /// What came of it, after all threads but the streams have ended.
    fn outcome(&self, md5: Option<[u8; 16]>, md5_lag: Duration) -> Result<Report> {
        let mut state = lock(&self.state);
        match (state.failure.take(), self.queue.end()) {
            (Some(error), _) => Err(error),
            (None, Some(End::Complete)) if self.job.verify != Verify::Md5 || md5.is_some() => {
                // Those that did not help do not count.
                let streams = self.meter.read().peak.min(self.wanted().into());
                let progress = self.queue.progress();
                let (bytes, again) = (self.job.size, progress.repeats);
                let tally = Tally { bytes, streams, offset: bytes, again, ..Tally::default() };
                let mended = Mended {
                    bad_blocks: state.bad_blocks,
                    reconnects: state.reconnects,
                    asked_again: progress.asked_again,
                    md5_lag_ms: md5_lag.as_millis() as u64,
                    single_port: self.sessions.single_port(),
                };
                Ok(Report::Done { tally, md5: md5.map(|md5| hex(&md5)), mended })
            }
            (None, _) => Err(Error::new(ExitCode::System, "internal error: nothing came of it")),
        }
    }
}
