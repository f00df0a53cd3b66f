//! What the server's transfers, downloads and uploads have moved so far, in numbers. Knows no format.

#![forbid(unsafe_code)]

use std::time::Duration;

/// How a transfer, a download or an upload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was sent, or is in place.
    Complete,
    /// The file changed meanwhile.
    Changed,
    /// Anything else.
    Failed,
}

impl Outcome {
    /// All, in the order of [`Numbers::ended`].
    pub(crate) const ALL: [Outcome; 3] = [Outcome::Complete, Outcome::Changed, Outcome::Failed];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Changed => "changed",
            Outcome::Failed => "failed",
        }
    }
}

/// The ways in which the server moves files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A sender does it, over streams.
    Transfer,
    /// A GET that is answered with a file or an index.
    Download,
    /// A PUT whose body the server receives.
    Upload,
    /// A receiver does it, over streams.
    Push,
}

/// The numbers of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// How many are under way.
    pub(crate) active: u64,
    /// How many have ended, by outcome, in the order of [`Outcome::ALL`].
    pub(crate) ended: [u64; Outcome::ALL.len()],
    /// Bytes of files that were sent or received, those of transfers under way included.
    pub(crate) bytes: u64,
    /// Files of folders that were sent, those of transfers under way included.
    pub(crate) files: u64,
    /// Open streams.
    pub(crate) streams: u64,
    /// The sum, over all that have ended, of the most streams that each had open at once.
    pub(crate) stream_peaks: u64,
    /// How long those that have ended took together.
    pub(crate) time: Duration,
}

impl Numbers {
    /// Counts an end.
    pub(super) fn end(&mut self, outcome: Outcome, stream_peak: u64, took: Duration) {
        let count = Outcome::ALL.iter().zip(&mut self.ended).find(|(own, _)| **own == outcome);
        if let Some((_, count)) = count {
            *count += 1;
        }
        self.stream_peaks += stream_peak;
        self.time += took;
    }
}

/// The numbers of all kinds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) transfers: Numbers,
    pub(crate) downloads: Numbers,
    pub(crate) uploads: Numbers,
    pub(crate) pushes: Numbers,
}

impl Totals {
    /// The numbers of this kind.
    pub(super) fn of(&mut self, kind: Kind) -> &mut Numbers {
        match kind {
            Kind::Transfer => &mut self.transfers,
            Kind::Download => &mut self.downloads,
            Kind::Upload => &mut self.uploads,
            Kind::Push => &mut self.pushes,
        }
    }
}
