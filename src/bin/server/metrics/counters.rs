//! What the server has done since it was started, in numbers. Knows no format.

#![forbid(unsafe_code)]

use ropewalk::codec::http::Status;
use ropewalk::sys::sync::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How a transfer or a download ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was sent.
    Complete,
    /// The file changed on the way.
    Changed,
    /// Anything else.
    Failed,
}

impl Outcome {
    /// All, in the order in which they are counted.
    pub(super) const ALL: [Outcome; 3] = [Outcome::Complete, Outcome::Changed, Outcome::Failed];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Changed => "changed",
            Outcome::Failed => "failed",
        }
    }
}

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A sender's streams.
    Transfer,
    /// A GET that is answered with a file or an index.
    Download,
}

/// The numbers of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    /// How many are under way.
    pub(super) active: u64,
    /// How many have ended, in the order of [`Outcome::ALL`].
    pub(super) ended: [u64; Outcome::ALL.len()],
    /// Bytes of files that were sent, also by those under way.
    pub(super) bytes: u64,
    /// Streams that are open.
    pub(super) streams: u64,
    /// Of each that has ended the most streams that it had open at once, together.
    pub(super) streams_ended: u64,
    /// How long those that have ended took, together.
    pub(super) time: Duration,
}

/// All numbers at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) transfers: Numbers,
    pub(super) downloads: Numbers,
    /// Answers with a status of 400 or more, by that.
    pub(super) errors: BTreeMap<u16, u64>,
}

impl Totals {
    fn of(&mut self, kind: Kind) -> &mut Numbers {
        match kind {
            Kind::Transfer => &mut self.transfers,
            Kind::Download => &mut self.downloads,
        }
    }
}

/// Counts. Under a lock, since not every processor has atomics of 64 bits.
pub(crate) struct Counters {
    /// In seconds since 1970.
    pub(super) started: f64,
    totals: Mutex<Totals>,
}

impl Counters {
    /// From now on.
    pub(crate) fn new() -> Arc<Counters> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Arc::new(Counters { started: started.as_secs_f64(), totals: Mutex::default() })
    }

    /// Counts an answer if it says that something was wrong.
    pub(crate) fn answered(&self, status: Status) {
        if status.code() >= 400 {
            *lock(&self.totals).errors.entry(status.code()).or_default() += 1;
        }
    }

    /// One more is under way, until the answer is dropped.
    pub(crate) fn begin(self: &Arc<Counters>, kind: Kind) -> Counted {
        lock(&self.totals).of(kind).active += 1;
        let (bytes, streams, most_streams) = (0, 0, 0);
        Counted { owner: self.clone(), kind, begun: Instant::now(), bytes, streams, most_streams }
    }

    /// The numbers now.
    pub(super) fn totals(&self) -> Totals {
        lock(&self.totals).clone()
    }
}

/// A transfer or a download that is under way. One that is dropped without an outcome
/// never began.
pub(crate) struct Counted {
    owner: Arc<Counters>,
    kind: Kind,
    begun: Instant,
    bytes: u64,
    streams: u64,
    most_streams: u64,
}

impl Counted {
    /// So many bytes were sent in all, and so many streams are open.
    pub(crate) fn reached(&mut self, bytes: u64, streams: u64) {
        let mut totals = lock(&self.owner.totals);
        let numbers = totals.of(self.kind);
        numbers.bytes += bytes.saturating_sub(self.bytes);
        numbers.streams = numbers.streams - self.streams + streams;
        self.bytes = self.bytes.max(bytes);
        self.streams = streams;
        self.most_streams = self.most_streams.max(streams);
    }

    /// It has ended.
    pub(crate) fn end(self, outcome: Outcome) {
        let mut totals = lock(&self.owner.totals);
        let numbers = totals.of(self.kind);
        let place = Outcome::ALL.iter().position(|&own| own == outcome);
        if let Some(count) = place.and_then(|place| numbers.ended.get_mut(place)) {
            *count += 1;
        }
        numbers.streams_ended += self.most_streams;
        numbers.time += self.begun.elapsed();
        drop(totals); // before `self`, whose end takes the lock again
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut totals = lock(&self.owner.totals);
        let numbers = totals.of(self.kind);
        numbers.active -= 1;
        numbers.streams -= self.streams;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_counts_its_bytes_at_once() {
        let counters = Counters::new();
        let mut first = counters.begin(Kind::Transfer);
        let mut second = counters.begin(Kind::Transfer);
        first.reached(10, 4);
        first.reached(30, 3);
        second.reached(5, 1);
        let now = counters.totals().transfers;
        assert_eq!((now.active, now.bytes, now.streams), (2, 35, 4));
        first.end(Outcome::Complete);
        drop(second);
        let end = counters.totals().transfers;
        assert_eq!((end.active, end.bytes, end.streams), (0, 35, 0));
        assert_eq!((end.ended, end.streams_ended), ([1, 0, 0], 4));
    }

    #[test]
    fn kinds_are_counted_apart() {
        let counters = Counters::new();
        counters.begin(Kind::Download).end(Outcome::Failed);
        let totals = counters.totals();
        assert_eq!((totals.transfers.ended, totals.downloads.ended), ([0; 3], [0, 0, 1]));
    }

    #[test]
    fn only_answers_that_say_no_are_errors() {
        let counters = Counters::new();
        for status in [Status::OK, Status::NOT_MODIFIED, Status::NOT_FOUND, Status::NOT_FOUND] {
            counters.answered(status);
        }
        assert_eq!(counters.totals().errors, BTreeMap::from([(404, 2)]));
    }
}
