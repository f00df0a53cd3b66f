//! Makes durable what has arrived, every few seconds, and keeps the disk busy in
//! between, so that little is left for the last sync.

#![forbid(unsafe_code)]

use super::Sink;
use crate::error::Error;
use crate::sys::file;
use crate::transfer::link::End;
use crate::transfer::store::Kept;
use std::time::Instant;

/// Most bytes between two checkpoints.
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// Write-back is started each time this much has arrived.
const WRITE_BACK_BYTES: u64 = 16 << 20;

/// Makes checkpoints until the end. A failed sync ends the transfer: the kernel may
/// have dropped what it could not write, so trying again would only hide it.
pub(super) fn run(sink: &Sink, kept: &Kept) {
    let time = sink.health.timing.checkpoint;
    let start = sink.queue.progress().done;
    let (mut durable, mut started, mut last) = (start, start, Instant::now());
    loop {
        let left = time.saturating_sub(last.elapsed());
        let (done, over) = sink.queue.wait_for_done(started + WRITE_BACK_BYTES, left);
        if over {
            return; // the parent syncs everything
        }
        if done >= started + WRITE_BACK_BYTES {
            file::start_write_back(&kept.part, 0, 0);
            started = done;
        }
        let due = last.elapsed() >= time || done >= durable + CHECKPOINT_BYTES;
        if due && done > durable {
            if let Err(error) = kept.journal.checkpoint(&kept.part) {
                return sink.fail(Error::system(&sink.wanted.shown, &error));
            }
            durable = done;
        }
        if due {
            last = Instant::now();
        }
    }
}
