//! What an earlier run left is read again before it counts: a range whose bytes are
//! not those that the journal vouches for is asked for anew.

#![forbid(unsafe_code)]

use crate::transfer::queue::Queue;
use crate::transfer::store::Kept;
use crate::transfer::store::journal::{AUDIT_BUFFER, Recorded};

/// Checks every range, in order, so that the prefix grows first. `told` is called after each.
pub(super) fn run(queue: &Queue, kept: &Kept, told: impl Fn()) {
    let mut buffer = vec![0; AUDIT_BUFFER];
    for (&start, &(end, recorded)) in &kept.contents {
        if queue.end().is_some() {
            return;
        }
        let good = recorded.holds_in(&kept.part, start..end, &mut buffer);
        queue.checked(start..end, good, recorded == Recorded::Hole);
        told();
    }
}
