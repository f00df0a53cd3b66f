//! How the streams of a sink fare: what has come, what was bad, how long an answer takes, and how
//! many streams there should be.

#![forbid(unsafe_code)]

use crate::error::{Error, ExitCode, system_words};
use crate::sys::sync::lock;
use crate::transfer::link::Link;
use crate::transfer::meter::Meter;
use crate::transfer::timing::Timing;
use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Blocks that a stream asks for at least: two, so that the source always has one to send.
pub(super) const FLOOR_BLOCKS: u32 = 2;

/// Bad blocks without a good one between them after which the transfer is given up.
const MAX_BAD_IN_A_ROW: u32 = 100;

/// Where the bits begin that count changes of the number of streams.
const TURN: u32 = u8::BITS;

/// What the threads of a sink know together about its streams.
pub(super) struct Health {
    pub(super) timing: Timing,
    pub(super) meter: Meter,
    bad_in_a_row: AtomicU32,
    /// Bytes that have come from the network: counts on from 0 when it is full.
    arrived: AtomicUsize,
    /// How many streams there should be now: those with smaller numbers. In the bits above
    /// [`TURN`], how often that has changed.
    streams: AtomicU32,
    /// Whether the peer opens the streams: it is the client then.
    is_dialled: AtomicBool,
    /// Whether it is told how many.
    tells_peer: AtomicBool,
    events: Mutex<Events>,
}

/// What went wrong so far, and how well the streams move.
#[derive(Default)]
struct Events {
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

impl Health {
    pub(super) fn new(timing: Timing) -> Health {
        Health {
            timing,
            meter: Meter::default(),
            bad_in_a_row: AtomicU32::new(0),
            arrived: AtomicUsize::new(0),
            streams: AtomicU32::new(0),
            is_dialled: AtomicBool::new(false),
            tells_peer: AtomicBool::new(false),
            events: Mutex::default(),
        }
    }

    /// How many streams there should be now.
    pub(super) fn streams(&self) -> u8 {
        self.streams.load(Ordering::Relaxed) as u8
    }

    /// So many there should be from now on. One thread calls this.
    pub(super) fn want(&self, streams: u8) {
        let before = self.streams.load(Ordering::Relaxed);
        if before as u8 != streams {
            let turn = (before >> TURN).wrapping_add(1) << TURN;
            self.streams.store(turn | u32::from(streams), Ordering::Relaxed);
        }
    }

    /// The peer opens the streams. With `grows` it is told how many there should be.
    pub(super) fn is_dialled(&self, grows: bool) {
        self.is_dialled.store(true, Ordering::Relaxed);
        self.tells_peer.store(grows, Ordering::Relaxed);
    }

    /// What messages call the source.
    pub(super) fn source(&self) -> &'static str {
        match self.is_dialled.load(Ordering::Relaxed) {
            true => "client",
            false => "server",
        }
    }

    /// An error of this end, for the user of the client.
    pub(super) fn words_here(&self, error: &io::Error) -> String {
        match self.is_dialled.load(Ordering::Relaxed) {
            true => format!("{} on the server", system_words(error)),
            false => system_words(error),
        }
    }

    /// What the peer is to be told of the number of streams, if it has to open them: the wish, and
    /// its number.
    pub(super) fn wish(&self) -> Option<(u8, u32)> {
        let streams = self.streams.load(Ordering::Relaxed);
        self.tells_peer.load(Ordering::Relaxed).then_some((streams as u8, streams >> TURN))
    }

    /// Keeps the first failure.
    pub(super) fn fail(&self, error: Error) {
        lock(&self.events).failure.get_or_insert(error);
    }

    /// Takes the first failure.
    pub(super) fn take_failure(&self) -> Option<Error> {
        lock(&self.events).failure.take()
    }

    /// Damaged blocks, and streams that were opened again.
    pub(super) fn faults(&self) -> (u64, u64) {
        let events = lock(&self.events);
        (events.bad_blocks, events.reconnects)
    }

    /// A stream was opened again.
    pub(super) fn reopened(&self) {
        lock(&self.events).reconnects += 1;
    }

    /// So many bytes have come.
    pub(super) fn arrived(&self, bytes: usize) {
        self.arrived.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All bytes that have come; starts over at 0 where a word is short.
    pub(super) fn all_arrived(&self) -> usize {
        self.arrived.load(Ordering::Relaxed)
    }

    /// A block was good. Called for each, so it takes no lock.
    pub(super) fn good_block(&self) {
        if self.bad_in_a_row.load(Ordering::Relaxed) > 0 {
            self.bad_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a block that was not good, or a stream that broke the protocol.
    ///
    /// # Errors
    /// There were too many in a row: the transfer is to end.
    pub(super) fn bad_block(&self, damaged: bool, what: &str) -> Result<(), Error> {
        lock(&self.events).bad_blocks += u64::from(damaged);
        if self.bad_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_BAD_IN_A_ROW {
            let text = format!("{MAX_BAD_IN_A_ROW} bad blocks in a row, the last one: {what}");
            return Err(Error::new(ExitCode::Integrity, text));
        }
        Ok(())
    }

    /// Blocks of stream `number` are good, and an answer takes this long: called now and
    /// then while they are.
    pub(super) fn keeps_moving(&self, number: usize, answer: Option<Duration>) {
        let mut events = lock(&self.events);
        events.last_good = Some(Instant::now());
        events.answers.extend(answer.map(|answer| (number, answer)));
    }

    /// How long an answer may take for a stream that has had none: as long as the slowest
    /// of the others takes for what it has asked for at first. While no stream has had one,
    /// bytes that come are those of a slow path; to ask for them again would only make it
    /// slower.
    pub(super) fn expected_answer(&self) -> Duration {
        let events = lock(&self.events);
        let slowest = events.answers.values().max().map(|slowest| *slowest * FLOOR_BLOCKS);
        let flows = events.last_byte.is_some_and(|last| last.elapsed() < self.timing.flow);
        let Timing { first_answer, slow_answer, .. } = self.timing;
        slowest.unwrap_or(if flows { slow_answer } else { first_answer })
    }

    /// Notes down whether anything has come since the last call. To be called several times
    /// a second.
    pub(super) fn look_whether_bytes_come(&self, link: &dyn Link) {
        let arrived = self.all_arrived();
        let mut events = lock(&self.events);
        if std::mem::replace(&mut events.arrived, arrived) != arrived {
            events.last_byte = Some(Instant::now());
            drop(events);
            // However long it takes until they are a block.
            link.is_alive();
        }
    }

    /// Whether any stream has brought something in the last `limit`.
    pub(super) fn others_move(&self, limit: Duration) -> bool {
        lock(&self.events).last_good.is_some_and(|last| last.elapsed() < limit)
    }
}
