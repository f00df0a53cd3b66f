//! Makes durable what has arrived, every few seconds, and keeps the disk busy in
//! between, so that little is left for the last sync.

#![forbid(unsafe_code)]

use crate::sys::file;
use crate::transfer::queue::Queue;
use crate::transfer::store::Kept;
use std::io;
use std::time::{Duration, Instant};

/// Most bytes between two checkpoints.
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// Write-back is started each time this much has arrived.
const WRITE_BACK_BYTES: u64 = 16 << 20;

/// Makes checkpoints until the end, at least one in `time`.
///
/// # Errors
/// A failed sync. It is to end the transfer: the kernel may have dropped what it could not write,
/// so trying again would only hide it.
pub(super) fn run(queue: &Queue, kept: &Kept, time: Duration) -> io::Result<()> {
    let start = queue.progress().done;
    let (mut durable, mut started, mut last) = (start, start, Instant::now());
    loop {
        let left = time.saturating_sub(last.elapsed());
        let (done, over) = queue.wait_for_done(started + WRITE_BACK_BYTES, left);
        if over {
            return Ok(()); // everything is synced at the end
        }
        if done >= started + WRITE_BACK_BYTES {
            file::start_write_back(&kept.part, 0, 0);
            started = done;
        }
        let due = last.elapsed() >= time || done >= durable + CHECKPOINT_BYTES;
        if due && done > durable {
            kept.journal.checkpoint(&kept.part)?;
            durable = done;
        }
        if due {
            last = Instant::now();
        }
    }
}
