//! Makes durable what has arrived, every few seconds, and keeps the disk busy in
//! between, so that little is left for the last sync.

#![forbid(unsafe_code)]

use super::{Kept, Shared};
use ropewalk::error::Error;
use ropewalk::sys::file;
use std::time::{Duration, Instant};

/// Longest time between two checkpoints.
const CHECKPOINT_TIME: Duration = Duration::from_secs(2);

/// Most bytes between two checkpoints.
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// Write-back is started each time this much has arrived.
const WRITE_BACK_BYTES: u64 = 16 << 20;

/// Makes checkpoints until the end. A failed sync ends the transfer: the kernel may
/// have dropped what it could not write, so trying again would only hide it.
pub(super) fn run(shared: &Shared, kept: &Kept) {
    let start = shared.queue.progress().done;
    let (mut durable, mut started, mut last) = (start, start, Instant::now());
    loop {
        let left = CHECKPOINT_TIME.saturating_sub(last.elapsed());
        let (done, over) = shared.queue.wait_for_done(started + WRITE_BACK_BYTES, left);
        if over {
            return; // the parent syncs everything
        }
        if done >= started + WRITE_BACK_BYTES {
            file::start_write_back(&kept.part, 0, 0);
            started = done;
        }
        let due = last.elapsed() >= CHECKPOINT_TIME || done >= durable + CHECKPOINT_BYTES;
        if due && done > durable {
            if let Err(error) = kept.journal.checkpoint(&kept.part) {
                return shared.fail(Error::system(&shared.job.shown, &error));
            }
            durable = done;
        }
        if due {
            last = Instant::now();
        }
    }
}
