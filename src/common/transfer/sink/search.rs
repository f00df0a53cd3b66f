//! The search of `auto` for the number of streams, with its readings of a sink.

#![forbid(unsafe_code)]

use super::work::{Plan, Work};
use crate::transfer::link::Link;
use crate::transfer::queue::growth::Growth;
use crate::transfer::queue::rate::Rate;
use std::time::Instant;

/// The number of streams of a sink, and what it was found by.
pub(super) struct Search {
    /// `None` where the number is given.
    growth: Option<Growth>,
    begun: Instant,
    /// Bytes that have come, and what the counter of them said then.
    bytes: u64,
    counted: usize,
}

impl Search {
    /// Begins with `first` streams, where the number is not given.
    pub(super) fn begin<W: Work>(work: &W, first: u8) -> Search {
        let Plan { streams, grows } = work.parts().plan;
        let growth = grows.then(|| Growth::new(first, streams));
        let first = growth.as_ref().map_or(streams, Growth::streams);
        work.health().want(first.min(work.most_streams()));
        Search { growth, begun: Instant::now(), bytes: 0, counted: 0 }
    }

    /// Takes a reading, and says how many streams there should be. To be called several times a
    /// second. `false` where the number is given.
    pub(super) fn go_on<W: Work>(&mut self, work: &W, link: &dyn Link) -> bool {
        let Some(growth) = &mut self.growth else { return false };
        // The counter may start over, where a word is short, but not between two calls.
        let counted = work.health().all_arrived();
        self.bytes += counted.wrapping_sub(std::mem::replace(&mut self.counted, counted)) as u64;
        growth.stop_at(link.streams());
        growth.is_limited_to(work.parts().rate.map(Rate::limit));
        let now = self.begun.elapsed();
        // A stream that finds bytes to be the same helps as much as one that brings them.
        let bytes = self.bytes + work.same();
        let wanted = growth.sample(now, bytes, link.open().round_trip());
        work.health().want(wanted.min(work.most_streams()));
        true
    }

    /// The system has no room for more than so many streams. It goes on with those.
    pub(super) fn stop_at<W: Work>(&mut self, work: &W, most: u8) {
        self.growth.iter_mut().for_each(|growth| growth.stop_at(most));
        work.health().want(most);
    }
}
