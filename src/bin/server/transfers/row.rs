//! One transfer, download or upload as the table holds it.

#![forbid(unsafe_code)]

use super::totals::Kind;
use ropewalk::app::job;
use ropewalk::codec::message::rate::NewRate;
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::Rate;
use std::collections::BTreeMap;
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// All rows by id. A later row has a higher id.
pub(super) type Rows = BTreeMap<u64, Row>;

/// A transfer, a download or an upload.
pub(super) struct Row {
    /// The address that its limit counts for (`origin.rs`).
    pub(super) origin: IpAddr,
    pub(super) stage: Stage,
    /// Which kind of transfer it is, where a worker does it.
    pub(super) moves: Kind,
    /// A number that changes whenever something moves.
    pub(super) progress: u64,
    /// When `progress` changed last, or when the bytes were first allowed to move.
    pub(super) moved_at: Instant,
    /// The rate that it was told last, in bytes per second.
    pub(super) told: Option<u64>,
    /// Bytes of the file that were sent or received.
    pub(super) bytes: u64,
    /// Files of a folder that were sent.
    pub(super) files: u64,
    /// Open streams.
    pub(super) streams: u64,
    /// The most streams that were open at once.
    pub(super) stream_peak: u64,
}

/// What a row stands for, and what it is doing.
pub(super) enum Stage {
    /// A transfer that was admitted and has no sender yet. A classic client waits for its
    /// digest.
    Preparing,
    /// A sender of classic streams, with its lifeline. Its client could not go on if it
    /// ended. It ends by itself when its streams stall.
    Classic(UnixStream),
    /// A worker with ropewalk streams, which may be silent without limit. Its client can get
    /// another session.
    Session {
        /// What its streams show.
        token: Token,
        lifeline: Arc<UnixStream>,
    },
    /// A session that lost its place to another transfer. Its sender is ending.
    Evicted,
    /// A GET, with its rate where there is a limit.
    Download(Option<Arc<Rate>>),
    /// A PUT, likewise.
    Upload(Option<Arc<Rate>>),
    /// It has ended, but its line is not logged yet.
    Ended,
}

impl Row {
    /// A row that has moved nothing yet.
    pub(super) fn new(origin: IpAddr, stage: Stage, now: Instant) -> Row {
        Row {
            origin,
            stage,
            moves: Kind::Transfer,
            progress: 0,
            moved_at: now,
            told: None,
            bytes: 0,
            files: 0,
            streams: 0,
            stream_peak: 0,
        }
    }

    /// Whether it counts for the limits on the number of transfers.
    pub(super) fn has_place(&self) -> bool {
        matches!(self.stage, Stage::Preparing | Stage::Classic(_) | Stage::Session { .. })
    }

    /// Whether it gets a part of the limit on the rate.
    pub(super) fn has_share(&self) -> bool {
        match self.stage {
            Stage::Classic(_) | Stage::Session { .. } => true,
            Stage::Download(_) | Stage::Upload(_) => true,
            Stage::Preparing | Stage::Evicted | Stage::Ended => false,
        }
    }

    /// What it is counted as while it is under way; `None` before its sender has started
    /// and after its end.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.stage {
            Stage::Classic(_) | Stage::Session { .. } | Stage::Evicted => Some(self.moves),
            Stage::Download(_) => Some(Kind::Download),
            Stage::Upload(_) => Some(Kind::Upload),
            Stage::Preparing | Stage::Ended => None,
        }
    }

    /// How long it has moved nothing.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.moved_at)
    }

    /// Records how far it has come.
    pub(super) fn reached(&mut self, progress: u64, now: Instant) {
        if self.progress != progress {
            (self.progress, self.moved_at) = (progress, now);
        }
    }

    /// Tells it its rate, in bytes per second, unless it has heard that already. A sender
    /// that does not listen now is told the next time.
    pub(super) fn tell(&mut self, rate: u64) {
        if self.told == Some(rate) {
            return;
        }
        let hears = match &self.stage {
            Stage::Classic(lifeline) => say_rate(lifeline, rate),
            Stage::Session { lifeline, .. } => say_rate(lifeline, rate),
            Stage::Download(Some(own)) | Stage::Upload(Some(own)) => {
                own.change(rate);
                true
            }
            Stage::Download(None) | Stage::Upload(None) => false,
            Stage::Preparing | Stage::Evicted | Stage::Ended => false,
        };
        self.told = hears.then_some(rate);
    }

    /// Ends a session: its sender sees its parent go.
    pub(super) fn evict(&mut self) {
        if let Stage::Session { lifeline, .. } = &self.stage {
            let _ = lifeline.shutdown(Shutdown::Both);
            self.stage = Stage::Evicted;
        }
    }
}

fn say_rate(lifeline: &UnixStream, rate: u64) -> bool {
    job::say(lifeline, &NewRate { rate }.to_json()).is_ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What the row of a test is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) enum Sort {
        Preparing,
        Classic,
        Session,
        Evicted,
        Download,
        Upload,
        Ended,
    }

    /// A row of a client at 192.0.2.`host` that moved something last at `moved_at`.
    pub(in super::super) fn row(sort: Sort, host: u8, moved_at: Instant) -> Row {
        let lifeline = || UnixStream::pair().unwrap().0;
        let stage = match sort {
            Sort::Preparing => Stage::Preparing,
            Sort::Classic => Stage::Classic(lifeline()),
            Sort::Session => {
                Stage::Session { token: Token::random().unwrap(), lifeline: Arc::new(lifeline()) }
            }
            Sort::Evicted => Stage::Evicted,
            Sort::Download => Stage::Download(None),
            Sort::Upload => Stage::Upload(None),
            Sort::Ended => Stage::Ended,
        };
        Row::new([192, 0, 2, host].into(), stage, moved_at)
    }

    /// Numbers rows from 1 on.
    pub(in super::super) fn rows(rows: impl IntoIterator<Item = Row>) -> Rows {
        (1..).zip(rows).collect()
    }

    #[test]
    fn only_a_change_counts_as_progress() {
        let start = Instant::now();
        let mut row = row(Sort::Session, 1, start);
        let second = Duration::from_secs(1);
        row.reached(0, start + second);
        assert_eq!(row.silence(start + second), second);
        row.reached(7, start + second);
        row.reached(7, start + 3 * second);
        assert_eq!(row.silence(start + 3 * second), 2 * second);
    }

    #[test]
    fn a_row_without_a_sender_holds_a_place_and_no_share() {
        let now = Instant::now();
        for (sort, place, share) in [
            (Sort::Preparing, true, false),
            (Sort::Classic, true, true),
            (Sort::Session, true, true),
            (Sort::Evicted, false, false),
            (Sort::Download, false, true),
            (Sort::Upload, false, true),
            (Sort::Ended, false, false),
        ] {
            let row = row(sort, 1, now);
            assert_eq!((row.has_place(), row.has_share()), (place, share), "{sort:?}");
        }
    }
}
