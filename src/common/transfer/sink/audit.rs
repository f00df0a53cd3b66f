//! What an earlier run left is read again before it counts: a range whose bytes are
//! not those that the journal vouches for is asked for anew.

#![forbid(unsafe_code)]

use super::Sink;
use crate::transfer::store::Kept;
use crate::transfer::store::journal::{AUDIT_BUFFER, Recorded};

/// Checks every range, in order, so that the prefix grows first.
pub(super) fn run(sink: &Sink, kept: &Kept) {
    let mut buffer = vec![0; AUDIT_BUFFER];
    for (&start, &(end, recorded)) in &kept.contents {
        if sink.queue.end().is_some() {
            return;
        }
        let good = recorded.holds_in(&kept.part, start..end, &mut buffer);
        sink.queue.checked(start..end, good, recorded == Recorded::Hole);
    }
}
